"""The file of residual traffic: what still reached each number on each day. Imports the domain.

Counts only. Who called and what a message said have no column, so they can't be handed in by mistake.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fallow.domain.errors import RowMalformed
from fallow.domain.number import E164
from fallow.domain.traffic import DayCount
from fallow.intake.csv_lines import Cells, Columns, Rejection, read_lines
from fallow.intake.instants import read_day

COLUMNS = ("number", "country", "date", "call_attempts", "messages", "otp_like_messages")
#: Largest count of one day; more is a slip of the pen.
MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """What one line states.

    Attributes:
        line: line of the file, the header being line 1.
        number: the number; never logged.
        day: its counters of one day.
    """

    line: int
    number: E164
    day: DayCount


def read_traffic(source: BinaryIO | bytes, now: datetime) -> Iterator[Counted | Rejection]:
    """Read a file of daily counters; the same number and day may come more than once.

    Args:
        source: the file, opened for bytes, or its content.
        now: no day may lie after it.

    Yields:
        One Counted or one Rejection per line that is not blank, in order.

    Raises:
        RowMalformed: the header is missing or not the expected one, so that no line can be read.
    """
    return read_lines(source, Columns(COLUMNS), lambda cells: _counted(cells, now))


def _counted(cells: Cells, now: datetime) -> Counted:
    number = cells.number()
    day = DayCount(
        cells.read("date", lambda cell: read_day(cell, now)),
        _count(cells, "call_attempts"),
        _count(cells, "messages"),
        _count(cells, "otp_like_messages"),
    )
    return Counted(cells.line, number, day)


def _count(cells: Cells, column: str) -> int:
    # Not by Cells.matching: a large count has as many digits as a number.
    cell = cells[column]
    if not (cell.isascii() and cell.isdecimal() and len(cell) <= len(str(MOST)) and int(cell) <= MOST):
        what = f"Column {column} is no whole number from 0 to {MOST}."
        raise RowMalformed(what, remedy="write how many there were on that day; 0 where there were none.")
    return int(cell)
