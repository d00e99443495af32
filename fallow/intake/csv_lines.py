"""What every CSV file that people hand in has in common: header, lines, cells, and lines that are refused. Imports the domain.

One physical line is one row, so that the line number in a rejection is the one an editor shows; a quoted line break is
refused. Why a line was refused names the line and the column, never the cell: it could hold a number.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import BinaryIO, TypeVar

from fallow.domain.errors import InputRefused, RowMalformed
from fallow.domain.number import E164
from fallow.domain.reference import holds_number
from fallow.intake.instants import read_instant
from fallow.intake.numbering import read_number

COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
#: Longest line read; the longest honest one is below 500 bytes.
_LINE_BYTES = 4_096

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file, in any order.

    Attributes:
        needed: every file has them.
        optional: may be left out; their cells then read as "".
    """

    needed: Sequence[str]
    optional: Sequence[str] = ()

    def fit(self, header: Sequence[str]) -> bool:
        """Tell whether ``header`` names each column once, and no other."""
        return len(header) == len(set(header)) and set(self.needed) <= set(header) <= {*self.needed, *self.optional}


@dataclass(frozen=True, slots=True)
class Cells:
    """One line that could be split: its number, the header being line 1, and its cells by column."""

    line: int
    by_column: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Return the cell of ``column`` as it stands."""
        return self.by_column[column]

    def matching(self, column: str, pattern: re.Pattern[str], remedy: str) -> str:
        """Return a cell that has the form of ``pattern`` and holds no number.

        Raises:
            RowMalformed: it does not.
        """
        if not pattern.fullmatch(self[column]) or holds_number(self[column]):
            raise RowMalformed(f"Column {column} does not have the expected form.", remedy=remedy)
        return self[column]

    def listed(self, column: str, words: frozenset[str]) -> str:
        """Return a cell that is one of ``words``.

        Raises:
            RowMalformed: it is not.
        """
        if self[column] not in words:
            raise RowMalformed(f"Column {column} is none of the known words.", remedy=f"write one of {', '.join(sorted(words))}.")
        return self[column]

    def country(self) -> str:
        """Return the column ``country``.

        Raises:
            RowMalformed: it is no ISO 3166 code.
        """
        return self.matching("country", COUNTRY, "write the ISO 3166 code, such as CN.")

    def number(self) -> E164:
        """Return the column ``number``, read as one of the column ``country``.

        Raises:
            RowMalformed: either can't be used.
        """
        country = self.country()
        return self.read("number", lambda cell: read_number(cell, country))

    def instant(self, column: str, now: datetime) -> datetime:
        """Return a cell as an instant that is not after ``now``.

        Raises:
            RowMalformed: it is none.
        """
        return self.read(column, lambda cell: read_instant(cell, now))

    def read(self, column: str, reader: Callable[[str], Read]) -> Read:
        """Return a cell as ``reader`` reads it; its refusal names the column.

        Raises:
            RowMalformed: ``reader`` refused the cell.
        """
        try:
            return reader(self[column])
        except InputRefused as refused:
            raise _CellRefused(column, refused) from None


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


def read_lines(source: BinaryIO | bytes, columns: Columns, reader: Callable[[Cells], Read]) -> Iterator[Read | Rejection]:
    """Read a CSV file: UTF-8 with or without byte order mark; comma, semicolon or TAB.

    Args:
        source: the file, opened for bytes, or its content.
        columns: what its header must name.
        reader: reads one line, or refuses it.

    Yields:
        What ``reader`` made of it, or one Rejection, for each line that is not blank, in order.

    Raises:
        RowMalformed: the header is missing or not the expected one, so that no line can be read.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    delimiter, header = _header(stream, columns)
    absent = dict.fromkeys(columns.optional, "")
    for line, text in _lines(stream):
        if text == "":
            continue
        try:
            yield reader(Cells(line, absent | _cells(text, delimiter, header)))
        except RowMalformed as refused:
            code = refused.cause_code if isinstance(refused, _CellRefused) else refused.code
            yield Rejection(line, code, f"Line {line}. {refused}")


def pages(lines: Iterator[Read | Rejection], most: int) -> Iterator[tuple[list[Read], list[Rejection]]]:
    """Yield what was read, ``most`` lines at a time, each page parted into what was taken and what was not."""
    while page := list(islice(lines, most)):
        yield [each for each in page if not isinstance(each, Rejection)], [each for each in page if isinstance(each, Rejection)]


def _header(stream: BinaryIO, columns: Columns) -> tuple[str, list[str]]:
    raw = stream.readline(_LINE_BYTES)
    try:
        text = raw.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        text = ""
    for delimiter in (",", ";", "\t"):
        header = text.split(delimiter)
        if columns.fit(header):
            return delimiter, header
    what = "The first line is not the expected header in UTF-8."
    more = f"; {', '.join(columns.optional)} may follow" if columns.optional else ""
    raise RowMalformed(what, remedy=f"begin the file with {','.join(columns.needed)} (comma, semicolon or TAB){more}.")


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
