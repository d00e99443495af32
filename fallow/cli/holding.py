"""What is kept by law: list it, say whose number it was on a day, open what is sealed by two people."""

import json as jsonlib
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fallow.cli.asking import ask_number
from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import CycleId, Json, KeyFile, Reference

_COLUMNS = ("cycle", "system", "collection", "how", "until", "rows", "now", "basis")


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        what = "it is no calendar day: write 2026-01-31."
        raise typer.BadParameter(what) from None


def list_kept(
    *,
    cycle: Annotated[str | None, typer.Option("--cycle", metavar="CYCLE", help="Only what is kept of this cycle.")] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CYCLE", help="Go on after this cycle, the last of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Most cycles.")] = 100,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """List what is kept by law: of which cycle, where, how, why, until when, how many rows, and what was destroyed when."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.held_by_law import list_kept  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = list_kept(here, person, cycle_id=cycle, after=after, limit=limit)
    if json:
        print_json(found)
        return
    if not found:
        print_line("nothing is kept")
        return
    _print_kept(found)
    if cycle is None and len({each["cycle_id"] for each in found}) == limit:
        print_line(f"more: --after {found[-1]['cycle_id']}")


def who(
    on: Annotated[datetime, typer.Option("--on", parser=_day, metavar="DATE", help="The day, UTC: 2026-01-31.")],
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Say which cycle's former holder had a number on a day, and what is kept of them. The number is read from standard input."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.held_by_law import who_held  # noqa: PLC0415 - heavy

    number = ask_number()
    with acting(key_file) as (here, person):
        found = who_held(here, person, number, on.date())
    if json:
        print_json({"on": on.date().isoformat(), "cycle_id": found.cycle_id, "why": found.why, "kept": found.kept})
        return
    print_line(found.why)
    if found.kept:
        _print_kept(found.kept)


def open_sealed(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose to open what is sealed of a cycle; another person approves it. Neither may be the one who enrolled the number."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.opening import Opening  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        proposal_id = Opening(here).propose(person, cycle, reference)
    if json:
        print_json({"cycle_id": cycle, "proposal_id": proposal_id})
        return
    print_line(f"opening {cycle} is proposed; another person runs: fallow approve {proposal_id} (or: fallow deny)")
    print_line(f"within 24 hours of that either of you runs: fallow records held-by-law read {proposal_id}")


def read(
    proposal: Annotated[
        str, typer.Argument(metavar="PROPOSAL", help="pr_…, approved within the last 24 hours; you are one of its two people.")
    ],
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Print the sealed rows of an approved opening, one JSON object a line, --json or not. That you read them is recorded first."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.opening import Opening  # noqa: PLC0415 - heavy

    del json
    with acting(key_file) as (here, person):
        reading = Opening(here).read(person, proposal)
    for row in reading.rows:
        sys.stdout.write(jsonlib.dumps(row, sort_keys=True) + "\n")
    for each in reading.gone:
        sys.stderr.write(f"{each}\n")


def _print_kept(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            each["cycle_id"],
            each["target_id"],
            each["collection"],
            each["how"],
            each["kept_until"],
            each["rows"],
            _now(each),
            each["basis"],
        )
        for each in found
    ]
    print_table(_COLUMNS, rows)


def _now(kept: dict[str, Any]) -> str:
    if kept["destroyed_at"] is not None:
        return f"destroyed {kept['destroyed_at'][:10]}"
    if kept["suspended"]:
        return "kept, a hold suspends its end"
    return "overdue" if kept["overdue"] else "kept"
