"""``platform log``, ``platform replay``: what was exchanged with a platform, and a kept callback once more."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fallow.cli.ending import REFUSED
from fallow.cli.showing import print_facts, print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile

if TYPE_CHECKING:
    from fallow.operations.exchanges import Replayed

_Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="Which platform or hub, as `fallow targets` names it.")]
_Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="A callback's webhook-id, as `fallow platform log` shows it: msg_….")]


def log(
    platform: _Platform,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Most rows.")] = 50,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="Go on before this, the last of the page before.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """List what was exchanged with PLATFORM in 30 days, latest first: requests (out) and callbacks (in), never a body."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import exchanges  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = exchanges.delivery_log(here, person, platform, before=before, limit=limit)
    if json:
        print_json(found)
        return
    columns = ("id", "at", "direction", "delivery", "items", "octets", "status", "result", "took ms")
    print_table(columns, [tuple(each.values()) for each in found])
    if len(found) == limit:
        print_line(f"more: --before {found[-1]['exchange_id']}")


def replay(platform: _Platform, delivery: _Delivery, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Verify a kept callback under the keys of when it came, show what it said, and apply it again: nothing may change.

    Requests of ours can't be replayed: they hold numbers and are not kept. Exit code 1 where something did change.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import exchanges  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = exchanges.replay(here, person, platform, delivery)
    if json:
        print_json(exchanges.as_json(found))
    else:
        _print(found)
    return 0 if found.harmless else REFUSED


def _print(found: "Replayed") -> None:
    signed_at = datetime.fromtimestamp(found.signed_at, UTC)
    facts = {"delivery": found.delivery_id, "received": found.received_at.isoformat(), "signed": signed_at.isoformat()}
    print_facts({**facts, "digest": found.digest, "key (sha-256)": found.key_fingerprint})
    rows = [(each.reference, each.said, each.status or "unknown", each.settled_by_it, each.moved) for each in found.answers]
    print_table(("reference", "said", "obligation now", "settled by it", "moved again"), rows)
    print_line(f"acknowledged then: {found.acknowledged}")
    print_line(f"acknowledged now:  {found.again}")
    print_line("nothing changed" if found.harmless else "SOMETHING CHANGED: tell your auditor")
