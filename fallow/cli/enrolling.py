"""``enrol``: a file of cancelled numbers becomes cycles; each rejected line is named."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fallow.cli.ending import PARTLY
from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile

_File = Annotated[str, typer.Argument(metavar="FILE", help="CSV file; `-` for standard input.")]


def enrol(file: _File, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Enrol a CSV file of cancelled numbers. The same file again starts nothing twice. Exit code 3 where lines were rejected."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.enrol import enrol_file  # noqa: PLC0415 - heavy

    content = _content(file)
    with acting(key_file) as (here, person):
        report = enrol_file(here, person, content)
    rejections = [{"line": line, "code": code, "why": why} for line, code, why in report.rejections]
    if json:
        print_json({**asdict(report), "rejections": rejections})
    else:
        again = "; this very file was enrolled before, nothing was started again" if report.again else ""
        print_line(f"{report.rows} lines: {report.accepted} enrolled, {len(rejections)} rejected{again} (batch {report.batch_id})")
        if rejections:
            print_table(("line", "code", "why"), [tuple(each.values()) for each in rejections])
    return PARTLY if rejections else 0


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        what = f"the file can't be read ({error.strerror})"
        raise typer.BadParameter(what) from None
