"""The file of cancelled numbers, row by row: each line becomes a :class:`Row` or a :class:`Rejection`. Imports the domain."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from fallow.domain.claims import REMINDER_BEFORE, Channel
from fallow.domain.errors import RowMalformed
from fallow.domain.number import E164
from fallow.domain.reference import REMEDY, holds_number
from fallow.intake.csv_lines import Cells, Columns, Rejection, read_lines
from fallow.intake.words import DISCONNECT_REASONS, NUMBER_CLASSES

__all__ = ["COLUMNS", "DUPLICATE_IN_FILE", "OPTIONAL", "Rejection", "Row", "read_rows"]

COLUMNS = (
    "number",
    "country",
    "carrier",
    "range_holder",
    "class",
    "disconnected_at",
    "reason",
    "prior_holders",
    "hold_reference",
    "source_ref",
)
#: May be left out of a file.
OPTIONAL = ("pool", "holder_reminded_at", "reminder_channel", "subscription")
DUPLICATE_IN_FILE = "duplicate-in-file"

_CARRIER = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_POOL = re.compile(r"([a-z][a-z0-9-]{0,39})?", re.ASCII)
_FREE_TEXT = re.compile(r"[A-Za-z0-9 ._:/#-]{0,64}", re.ASCII)
_PRIOR_HOLDERS = re.compile(r"[0-9]{1,2}", re.ASCII)
#: What exports write where there is none. As a subscription it would be everybody's, and a newer holder's rows the former one's.
_PLACEHOLDERS = {"0", "n/a", "na", "none", "null", "nil", "unknown", "undefined", "tbd", "x"}
_SHORTEST_NATIONAL = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One cancelled number.

    Attributes:
        line: line of the file, the header being line 1.
        number: the number; never logged.
        country: ISO 3166 alpha-2.
        carrier: id of the carrier whose line it was.
        range_holder: id of the carrier the range was allocated to; another one means that the number is handed back.
        number_class: one of :data:`fallow.intake.words.NUMBER_CLASSES`.
        disconnected_at: when the former holder's line ended, UTC.
        reason: one of :data:`fallow.intake.words.DISCONNECT_REASONS`.
        prior_holders: holders before the one who leaves now; None where unknown.
        hold_reference: reference of a legal hold already in place, or None.
        source_ref: the carrier's own reference of this row.
        pool: the carrier's own pool, such as residential; "" where none is stated.
        reminded_at: when the former holder was reminded of the accounts on the number, or None.
        reminder_channel: how; one of :class:`fallow.domain.claims.Channel`.
        subscription: the carrier's id of the former holder's subscription, or None; never logged.
    """

    line: int
    number: E164
    country: str
    carrier: str
    range_holder: str
    number_class: str
    disconnected_at: datetime
    reason: str
    prior_holders: int | None
    hold_reference: str | None
    source_ref: str
    pool: str = ""
    reminded_at: datetime | None = None
    reminder_channel: str | None = None
    subscription: str | None = field(default=None, repr=False)


def read_rows(source: BinaryIO | bytes, now: datetime) -> Iterator[Row | Rejection]:
    """Read a file of cancelled numbers.

    Args:
        source: the file, opened for bytes, or its content.
        now: no instant may lie after it.

    Yields:
        One Row or one Rejection per line that is not blank, in order.

    Raises:
        RowMalformed: the header is missing or not the expected one, so that no line can be read.
    """
    first_lines: dict[str, int] = {}
    for read in read_lines(source, Columns(COLUMNS, OPTIONAL), lambda cells: _row(cells, now)):
        first = first_lines.setdefault(read.number.text, read.line) if isinstance(read, Row) else read.line
        if first == read.line:
            yield read
        else:
            yield Rejection(read.line, DUPLICATE_IN_FILE, f"Line {read.line}, column number: the same number is on line {first}.")


def _row(cells: Cells, now: datetime) -> Row:
    number = cells.number()
    disconnected_at = cells.instant("disconnected_at", now)
    reminded_at, channel = _reminder(cells, disconnected_at, now)
    return Row(
        line=cells.line,
        number=number,
        country=cells["country"],
        carrier=cells.matching("carrier", _CARRIER, "write the carrier's id, such as china-mobile."),
        range_holder=cells.matching("range_holder", _CARRIER, "write the id of the carrier that holds the range."),
        number_class=cells.listed("class", NUMBER_CLASSES),
        disconnected_at=disconnected_at,
        reason=cells.listed("reason", DISCONNECT_REASONS),
        prior_holders=_prior_holders(cells),
        hold_reference=_free_text(cells, "hold_reference", number) or None,
        source_ref=_free_text(cells, "source_ref", number),
        pool=cells.matching("pool", _POOL, "write the pool's id, such as residential, or leave it empty."),
        reminded_at=reminded_at,
        reminder_channel=channel,
        subscription=_subscription(cells, number),
    )


def _reminder(cells: Cells, disconnected_at: datetime, now: datetime) -> tuple[datetime | None, str | None]:
    if not cells["holder_reminded_at"] and not cells["reminder_channel"]:
        return None, None
    reminded_at = cells.instant("holder_reminded_at", now)
    if reminded_at < disconnected_at - REMINDER_BEFORE:
        what = "Column holder_reminded_at lies more than a year before the end of the line."
        raise RowMalformed(what, remedy="give the reminder that belongs to this cancellation, or leave it empty.")
    return reminded_at, cells.listed("reminder_channel", frozenset(map(str, Channel)))


def _prior_holders(cells: Cells) -> int | None:
    if cells["prior_holders"] in {"", "unknown"}:
        return None
    return int(cells.matching("prior_holders", _PRIOR_HOLDERS, "write how many held it before, or leave it empty."))


def _subscription(cells: Cells, number: E164) -> str | None:
    """Return the id; it may be all digits, as carriers' ids are, since it is only ever stored sealed. The number itself is none."""
    cell = cells["subscription"]
    if not _FREE_TEXT.fullmatch(cell) or _spells(number, cell):
        what = "Column subscription holds other characters than A-Z a-z 0-9 . _ : / # - and space, is too long, or holds the number itself."
        raise RowMalformed(what, remedy="give the carrier's own id of the subscription, at most 64 characters, or leave it empty.")
    if cell and (cell.strip().lower() in _PLACEHOLDERS or not any(map(str.isalnum, cell))):
        what = "Column subscription holds a placeholder, which would stand for everybody's subscription."
        raise RowMalformed(what, remedy="give the carrier's own id of this one subscription, or leave it empty.")
    return cell or None


def _free_text(cells: Cells, column: str, number: E164) -> str:
    """Return a reference that can't carry a number past the vault: nobody's with separators, and not this one with anything between."""
    cell = cells[column]
    if not _FREE_TEXT.fullmatch(cell) or holds_number(cell) or _spells(number, cell):
        what = f"Column {column} holds other characters, is too long, or looks like a number."
        raise RowMalformed(what, remedy=f"leave it empty, or {REMEDY}")
    return cell


def _spells(number: E164, cell: str) -> bool:
    """Tell whether a cell's digits hold this number, with its calling code or without, whatever stands between them."""
    digits = re.sub(r"[^0-9]", "", cell)
    return any(number.text[start:] in digits for start in range(1, 5) if len(number.text[start:]) >= _SHORTEST_NATIONAL)
