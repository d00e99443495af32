"""Search folders for numbers, in every form of :mod:`fallow.local.leak_forms`, and for texts that betray a person; say where, never which.

``python -m fallow.local.leaks --numbers FILE.csv FOLDER…`` prints a line per hit and exits with 1; 0: nothing was found; 2: something
could not be read, so nothing is certain. Raw bytes of every file are searched, SQLite databases cell by cell as well (a page can
split a text), gzip files unpacked as well. A PostgreSQL database must be dumped first: it compresses long values. Imports its neighbour.
"""

import argparse
import csv
import gzip
import io
import re
import sqlite3
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fallow.local.leak_forms import Forms, Found

_WINDOW = 8 * 1024 * 1024
#: Longer than any form: what lies across two windows is seen whole in one of them.
_OVERLAP = 512
_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_DIGITS = range(8, 16)


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A number where it must not be.

    Attributes:
        path: the file.
        place: where in it: "byte 17", "unpacked byte 17", "table t, column c, row 3", or "its name".
        form: what was found.
        index: which of the numbers that were searched for; behind them, which of the texts.
    """

    path: Path
    place: str
    form: str
    index: int


class PlaceUnreadable(RuntimeError):
    """A file could not be searched, so that finding nothing would prove nothing."""


def search(paths: Iterable[Path], numbers: Sequence[str], *, texts: Sequence[str] = (), skip: Iterable[Path] = ()) -> list[Leak]:
    """Search files and folders.

    Args:
        paths: files, or folders with everything below them.
        numbers: each ``+`` and digits.
        texts: what else betrays a person, such as a name or a subscription's id; found in plain, hexadecimal, UTF-16 and base64.
        skip: files and folders that may hold numbers: the carrier's, the platforms', the enrolled file.

    Returns:
        Every hit, sorted.

    Raises:
        PlaceUnreadable: a file could not be read whole.
    """
    forms = Forms(numbers, texts)
    left_out = [each.resolve() for each in skip]
    return sorted({leak for path in _files(paths, left_out) for leak in _in_file(path, forms)})


def read_numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file of cancelled numbers with their lines, those of lines that will be rejected too."""
    rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
    numbers: dict[str, int] = {}
    for row in rows:
        plain = unicodedata.normalize("NFKC", row["number"] or "").partition(";")[0]
        digits = re.sub(r"[^0-9]", "", plain) if re.fullmatch(r"[^A-Za-z]*", plain) else ""
        if len(digits) in _DIGITS:
            numbers.setdefault("+" + digits, rows.line_num)
    return numbers


def _files(paths: Iterable[Path], left_out: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for each in below:
            resolved = each.resolve()
            if each.is_file() and not any(resolved.is_relative_to(skipped) for skipped in left_out):
                yield each


def _in_file(path: Path, forms: Forms) -> Iterator[Leak]:
    for found in forms.look(path.name.encode()):
        yield Leak(path, "its name", found.form, found.index)
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
            file.seek(0)
            yield from (Leak(path, f"byte {found.offset}", found.form, found.index) for found in _in_stream(file, forms))
        if start == _SQLITE:
            yield from _in_cells(path, forms)
        if start.startswith(_GZIP):
            with gzip.open(path) as unpacked:
                found_in = _in_stream(unpacked, forms)
                yield from (Leak(path, f"unpacked byte {found.offset}", found.form, found.index) for found in found_in)
    except (OSError, EOFError, sqlite3.Error) as error:
        raise PlaceUnreadable(f"{path} can't be searched whole ({type(error).__name__}).") from error


def _in_stream(stream: BinaryIO | gzip.GzipFile, forms: Forms) -> Iterator[Found]:
    """Search window after window; each is looked at with the end of the one before it, and what was seen before is left out."""
    before, at = b"", 0
    seen = set[Found]()
    while window := stream.read(_WINDOW):
        content = before + window
        begins = at - len(before)
        here = {Found(begins + found.offset, found.index, found.form) for found in forms.look(content)}
        yield from here - seen
        seen, before, at = here, content[-_OVERLAP:], at + len(window)


def _in_cells(path: Path, forms: Forms) -> Iterator[Leak]:
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
        connection.text_factory = bytes
        listed = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        # A virtual table shows what its ordinary shadow tables hold, and may need a module that is not here.
        for name in (name.decode() for name, sql in listed if not (sql or b"").upper().startswith(b"CREATE VIRTUAL")):
            for place, found in _in_table(connection, name, forms):
                yield Leak(path, place, found.form, found.index)


def _in_table(connection: sqlite3.Connection, name: str, forms: Forms) -> Iterator[tuple[str, Found]]:
    cursor = connection.execute(f'SELECT * FROM "{name}"')
    columns = [column for column, *_ in cursor.description]
    cells, places, size = list[bytes](), list[tuple[int, int, int]](), 0
    for row_no, row in enumerate(cursor, start=1):
        for column_no, cell in enumerate(row):
            if cell is not None:
                cells.append(cell if isinstance(cell, bytes) else str(cell).encode())
                places.append((size, row_no, column_no))
                size += len(cells[-1]) + 1
        if size > _WINDOW:
            yield from _placed(name, columns, b"\n".join(cells), places, forms)
            cells, places, size = [], [], 0
    yield from _placed(name, columns, b"\n".join(cells), places, forms)


def _placed(
    table: str, columns: Sequence[str], content: bytes, places: Sequence[tuple[int, int, int]], forms: Forms
) -> Iterator[tuple[str, Found]]:
    for found in forms.look(content):
        _, row_no, column_no = places[bisect_right(places, (found.offset, sys.maxsize, 0)) - 1]
        yield f"table {table}, column {columns[column_no]}, row {row_no}", found


def main(arguments: Sequence[str] | None = None) -> int:
    """Search as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fallow.local.leaks", description="Search folders for phone numbers.")
    parser.add_argument("--numbers", type=Path, required=True, help="CSV with a column `number`")
    parser.add_argument("--skip", type=Path, action="append", default=[], help="file or folder that may hold numbers")
    parser.add_argument("paths", type=Path, nargs="+", metavar="FOLDER", help="file or folder to search")
    asked = parser.parse_args(arguments)
    numbers = read_numbers(asked.numbers)
    lines = list(numbers.values())
    try:
        leaks = search(asked.paths, list(numbers), skip=[asked.numbers, *asked.skip])
    except PlaceUnreadable as unreadable:
        sys.stderr.write(f"{unreadable}\n")
        return 2
    for leak in leaks:
        sys.stdout.write(f"{leak.path}: {leak.place}: {leak.form} of the number on line {lines[leak.index]}\n")
    sys.stdout.write(f"{len(leaks)} hits, {len(numbers)} numbers\n")
    return 1 if leaks else 0


if __name__ == "__main__":
    raise SystemExit(main())
