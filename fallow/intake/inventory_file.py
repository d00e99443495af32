"""The file in which inventory says where numbers are: assigned, ported, in service or on sale, and since when. Imports the domain."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from fallow.domain.number import E164
from fallow.intake.csv_lines import Cells, Columns, Rejection, read_lines

COLUMNS = ("number", "country", "status", "since")


class Status(StrEnum):
    """Where inventory says that a number is."""

    #: A contract has it, whether its line is connected yet or not.
    ASSIGNED = "assigned"
    #: It went to another carrier.
    PORTED = "ported"
    #: Its line works.
    IN_SERVICE = "in-service"
    #: It is offered to buyers.
    ON_SALE = "on-sale"


#: Somebody has the number.
TAKEN = frozenset({Status.ASSIGNED, Status.IN_SERVICE})


@dataclass(frozen=True, slots=True)
class Statement:
    """What one line says.

    Attributes:
        line: line of the file, the header being line 1.
        number: the number; never logged.
        status: where it is.
        since: since when, UTC.
    """

    line: int
    number: E164
    status: Status
    since: datetime


def read_statements(source: BinaryIO | bytes, now: datetime) -> Iterator[Statement | Rejection]:
    """Read a file of inventory's statements; the same number may come more than once.

    Args:
        source: the file, opened for bytes, or its content.
        now: no instant may lie after it.

    Yields:
        One Statement or one Rejection per line that is not blank, in order.

    Raises:
        RowMalformed: the header is missing or not the expected one, so that no line can be read.
    """
    return read_lines(source, Columns(COLUMNS), lambda cells: _statement(cells, now))


def _statement(cells: Cells, now: datetime) -> Statement:
    number = cells.number()
    status = Status(cells.listed("status", frozenset(map(str, Status))))
    return Statement(cells.line, number, status, cells.instant("since", now))
