"""``enrol``: a file of cancelled numbers becomes cycles; each rejected line is named."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fallow.cli.ending import PARTLY
from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile

if TYPE_CHECKING:
    from fallow.operations.enrol import BatchReport

File = Annotated[str, typer.Argument(metavar="FILE", help="CSV file; `-` for standard input.")]


def enrol(file: File, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Enrol a CSV file of cancelled numbers. The same file again starts nothing twice. Exit code 3 where lines were rejected."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.enrol import enrol_file  # noqa: PLC0415 - heavy

    content = content_of(file)
    with acting(key_file) as (here, person):
        report = enrol_file(here, person, content)
    rejections = [{"line": line, "code": code, "why": why} for line, code, why in report.rejections]
    if json:
        print_json({**asdict(report), "rejections": rejections})
    else:
        print_line(_result(report))
        if rejections:
            print_table(("line", "code", "why"), [tuple(each.values()) for each in rejections])
    return PARTLY if rejections else 0


def _result(report: "BatchReport") -> str:
    lines = f"{report.rows} {'line' if report.rows == 1 else 'lines'}"
    counts = f"{report.accepted} enrolled, {len(report.rejections)} rejected"
    if report.again:
        return f"{lines}: 0 new; this very file was enrolled before, with {counts} then (batch {report.batch_id})"
    return f"{lines}: {counts} (batch {report.batch_id})"


def content_of(file: str) -> bytes:
    """Return the content of a file, or of standard input for ``-``.

    Raises:
        typer.BadParameter: it can't be read.
    """
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        what = f"the file can't be read ({error.strerror})"
        raise typer.BadParameter(what) from None
