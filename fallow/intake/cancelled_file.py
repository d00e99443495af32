"""The file of cancelled numbers, row by row: each line becomes a :class:`Row` or a :class:`Rejection`. Imports the domain.

One physical line is one row, so that the line number in a rejection is the one an editor shows; a quoted line break is
refused. Why a row was refused names the line and the column, never the cell: it could hold a number.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fallow.domain.errors import InputRefused, RowMalformed
from fallow.domain.number import E164
from fallow.domain.reference import REMEDY, holds_number
from fallow.intake.instants import read_instant
from fallow.intake.numbering import read_number
from fallow.intake.words import DISCONNECT_REASONS, NUMBER_CLASSES

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
DUPLICATE_IN_FILE = "duplicate-in-file"

#: Longest line read; the longest honest one is below 500 bytes.
_LINE_BYTES = 4_096
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_CARRIER = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_FREE_TEXT = re.compile(r"[A-Za-z0-9 ._:/#-]{0,64}", re.ASCII)
_PRIOR_HOLDERS = re.compile(r"[0-9]{1,2}", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not taken.

    Attributes:
        line: line of the file, the header being line 1.
        code: an error's code, or ``duplicate-in-file``.
        why: line, column and remedy; never the cell.
    """

    line: int
    code: str
    why: str


class _CellRefused(RowMalformed):
    """A cell that can't be used; carries the code of what was wrong with it."""

    def __init__(self, column: str, cause: InputRefused) -> None:
        super().__init__(f"Column {column}: {cause.what}", remedy=cause.remedy)
        self.cause_code = cause.code


def read_rows(source: BinaryIO | bytes, now: datetime) -> Iterator[Row | Rejection]:
    """Read a file of cancelled numbers: UTF-8 with or without byte order mark; comma, semicolon or TAB.

    Args:
        source: the file, opened for bytes, or its content.
        now: no disconnect instant may lie after it.

    Yields:
        One Row or one Rejection per line that is not blank, in order.

    Raises:
        RowMalformed: the header is missing or not the expected one, so that no line can be read.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    delimiter, header = _header(stream)
    first_lines: dict[str, int] = {}
    for line, text in _lines(stream):
        if text == "":
            continue
        read = _read(line, text, delimiter, header, now)
        if isinstance(read, Row):
            first = first_lines.setdefault(read.number.text, line)
            if first != line:
                read = Rejection(line, DUPLICATE_IN_FILE, f"Line {line}, column number: the same number is on line {first}.")
        yield read


def _header(stream: BinaryIO) -> tuple[str, list[str]]:
    raw = stream.readline(_LINE_BYTES)
    try:
        text = raw.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        text = ""
    for delimiter in (",", ";", "\t"):
        header = text.split(delimiter)
        if sorted(header) == sorted(COLUMNS):
            return delimiter, header
    what = "The first line is not the expected header in UTF-8."
    raise RowMalformed(what, remedy=f"begin the file with {','.join(COLUMNS)} (comma, semicolon or TAB).")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str | None]]:
    """Yield number and text of each line after the header; None where the line is no UTF-8 or too long."""
    line = 1
    while raw := stream.readline(_LINE_BYTES):
        line += 1
        whole = raw.endswith(b"\n") or len(raw) < _LINE_BYTES
        while not whole and (more := stream.readline(_LINE_BYTES)):
            whole, raw = more.endswith(b"\n"), b"\xff"
        try:
            yield line, raw.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            yield line, None


def _read(line: int, text: str | None, delimiter: str, header: list[str], now: datetime) -> Row | Rejection:
    try:
        return _row(line, _cells(text, delimiter, header), now)
    except _CellRefused as refused:
        return Rejection(line, refused.cause_code, f"Line {line}. {refused}")
    except RowMalformed as refused:
        return Rejection(line, refused.code, f"Line {line}. {refused}")


def _cells(text: str | None, delimiter: str, header: list[str]) -> dict[str, str]:
    if text is None:
        what = "The line is not UTF-8 or is too long."
        raise RowMalformed(what, remedy="save the file as UTF-8, one number to the line.")
    try:
        cells = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        cells = []
    if len(cells) != len(header):
        what = f"The line does not have {len(header)} cells."
        raise RowMalformed(what, remedy="write one cell per column of the header; leave unknown ones empty.")
    return dict(zip(header, cells, strict=True))


def _row(line: int, cells: dict[str, str], now: datetime) -> Row:
    country = _matching(cells, "country", _COUNTRY, "write the ISO 3166 code, such as CN.")
    number = _number(cells["number"], country)
    return Row(
        line=line,
        number=number,
        country=country,
        carrier=_matching(cells, "carrier", _CARRIER, "write the carrier's id, such as china-mobile."),
        range_holder=_matching(cells, "range_holder", _CARRIER, "write the id of the carrier that holds the range."),
        number_class=_listed(cells, "class", NUMBER_CLASSES),
        disconnected_at=_instant(cells["disconnected_at"], now),
        reason=_listed(cells, "reason", DISCONNECT_REASONS),
        prior_holders=_prior_holders(cells),
        hold_reference=_free_text(cells, "hold_reference", number) or None,
        source_ref=_free_text(cells, "source_ref", number),
    )


def _number(cell: str, country: str) -> E164:
    try:
        return read_number(cell, country)
    except InputRefused as refused:
        raise _CellRefused("number", refused) from None


def _instant(cell: str, now: datetime) -> datetime:
    try:
        return read_instant(cell, now)
    except InputRefused as refused:
        raise _CellRefused("disconnected_at", refused) from None


def _matching(cells: dict[str, str], column: str, pattern: re.Pattern[str], remedy: str) -> str:
    if not pattern.fullmatch(cells[column]) or holds_number(cells[column]):
        raise RowMalformed(f"Column {column} does not have the expected form.", remedy=remedy)
    return cells[column]


def _listed(cells: dict[str, str], column: str, words: frozenset[str]) -> str:
    if cells[column] not in words:
        raise RowMalformed(f"Column {column} is none of the known words.", remedy=f"write one of {', '.join(sorted(words))}.")
    return cells[column]


def _prior_holders(cells: dict[str, str]) -> int | None:
    if cells["prior_holders"] in {"", "unknown"}:
        return None
    return int(_matching(cells, "prior_holders", _PRIOR_HOLDERS, "write how many held it before, or leave it empty."))


def _free_text(cells: dict[str, str], column: str, number: E164) -> str:
    """Return a reference that can't carry a number past the vault: nobody's with separators, and not this one with anything between."""
    cell = cells[column]
    digits = re.sub(r"[^0-9]", "", cell)
    splits_number = any(number.text[start:] in digits for start in range(1, 5) if len(number.text[start:]) >= _SHORTEST_NATIONAL)
    if not _FREE_TEXT.fullmatch(cell) or holds_number(cell) or splits_number:
        what = f"Column {column} holds other characters, is too long, or looks like a number."
        raise RowMalformed(what, remedy=f"leave it empty, or {REMEDY}")
    return cell
