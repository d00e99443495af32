"""Commands towards inventory and buyers: ``numbers export``, ``numbers tag``, ``numbers sell``."""

import csv
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from fallow.cli.asking import ask_number
from fallow.cli.showing import print_facts, print_json, print_line
from fallow.cli.words import Json, KeyFile
from fallow.domain.errors import InputRefused
from fallow.domain.people import Action, Person

if TYPE_CHECKING:
    from fallow.operations.installation import Installation
    from fallow.operations.inventory import Released

COLUMNS = ("number", "cycle_id", "tag", "released_at")
# A spreadsheet runs a cell that begins with one of these (OWASP CSV injection; also full-width and with a line feed).
_DANGEROUS = tuple("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}")


class Exportable(StrEnum):
    """States whose numbers leave the engine."""

    RESELLABLE = "RESELLABLE"


def export(
    *,
    state: Annotated[Exportable, typer.Option("--state", case_sensitive=False, help="Which numbers.")] = Exportable.RESELLABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="A new file, readable by you only; default: standard output.")
    ] = None,
    withheld: Annotated[
        bool, typer.Option("--withheld", help="Instead: exported numbers to take back, held, in doubt or ended since.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was exported before.")] = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Write released numbers as CSV for inventory, each once; held and sold ones are left out. With --withheld: those to take back.

    The column `number` is E.164 without the leading plus sign, because spreadsheets take a cell that begins with it for a formula.
    """
    del state  # there is one, and naming it says what the file holds
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy

    if json and output is None:
        what = "Numbers are written as CSV; --json describes the file that --output names."
        raise InputRefused(what, remedy="add --output FILE, or leave --json out.")
    with acting(key_file) as (here, person):
        person.demand(Action.EXPORT)  # before a file is made
        with _opened(output) as file:
            exported = _export(here, person, file, withheld=withheld, again=again)
    if json:
        print_json({"exported": exported, "output": str(output)})
    elif output is not None:
        print_line(f"{exported} {'number is' if exported == 1 else 'numbers are'} in {output}")


def tag(*, key_file: KeyFile = None, json: Json = False) -> None:
    """Show the signed disclosure tag of a number that is for sale. The number is read from standard input or asked for."""
    from dataclasses import asdict  # noqa: PLC0415 - with its neighbours

    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.sale import tag_for  # noqa: PLC0415 - heavy

    number = ask_number()
    with acting(key_file) as (here, person):
        signed = tag_for(here, person, number)
    if json:
        print_json(asdict(signed))
    else:
        print_facts({"cycle": signed.cycle_id, "tag": signed.digest, **signed.body})


def sell(
    *,
    tag: Annotated[str, typer.Option("--tag", help="Digest of the tag that the buyer acknowledged.")],
    acknowledgement: Annotated[str, typer.Option("--acknowledgement", help="Your reference of that acknowledgement.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Record a sale to a buyer who acknowledged this very tag. The number is read from standard input or asked for."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.sale import sell as record_sale  # noqa: PLC0415 - heavy

    number = ask_number()
    with acting(key_file) as (here, person):
        cycle_id = record_sale(here, person, number, tag, acknowledgement)
    if json:
        print_json({"cycle_id": cycle_id})
    else:
        print_line(f"{cycle_id} is sold")


def _export(here: "Installation", person: Person, file: TextIO, *, withheld: bool, again: bool) -> int:
    from fallow.operations import inventory  # noqa: PLC0415 - heavy

    listed, mark = (inventory.withheld, inventory.mark_withheld) if withheld else (inventory.released, inventory.mark_exported)
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    exported, after = 0, 0
    while page := listed(here, person, again=again, after=after):
        writer.writerows(cells(each) for each in page)
        file.flush()
        if file is not sys.stdout:
            os.fsync(file.fileno())
        mark(here, person, [each.outbox_id for each in page])
        exported, after = exported + len(page), page[-1].outbox_id
    file.flush()
    return exported


def cells(each: "Released") -> list[str]:
    """Return one row of :data:`COLUMNS`; a cell that a spreadsheet would run is marked as text by an apostrophe."""
    plain = [each.number.text.removeprefix("+"), each.cycle_id, each.tag, each.released_at.isoformat()]
    return [f"'{cell}" if cell.startswith(_DANGEROUS) else cell for cell in plain]


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        what = f"The file {output} can't be made ({error.strerror})."
        raise InputRefused(what, remedy="name a new file in a folder that you may write to.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        yield file
