"""Commands that only look: cycles, one cycle, targets, open proposals."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fallow.cli.asking import ask_number
from fallow.cli.showing import print_facts, print_json, print_line, print_table
from fallow.cli.words import CycleId, Json, KeyFile
from fallow.domain.lifecycle import State

_Flag = Annotated[bool | None, typer.Option()]


def list_numbers(
    *,
    state: Annotated[State | None, typer.Option("--state", case_sensitive=False, help="Only cycles in this state.")] = None,
    held: Annotated[bool | None, typer.Option("--held/--not-held", help="Only with, or without, an open hold.")] = None,
    attention: Annotated[
        bool | None, typer.Option("--attention/--no-attention", help="Only those that do, or don't, wait for a person.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CYCLE", help="Go on after this cycle, the last of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Most rows.")] = 100,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """List cycles, a page at a time, in the order of their ids."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = status.list_cycles(here, person, state=state, held=held, attention=attention, after=after, limit=limit)
    if json:
        print_json(found)
        return
    rows = [
        (
            each["cycle_id"],
            each["state"],
            _overlays(each),
            each["country"],
            each["carrier"],
            _short(each["disconnected_at"]),
            _short(each["release_at"]),
        )
        for each in found
    ]
    print_table(("cycle", "state", "overlays", "country", "carrier", "disconnected", "release"), rows)
    if len(found) == limit:
        print_line(f"more: --after {found[-1]['cycle_id']}")


def count(*, key_file: KeyFile = None, json: Json = False) -> None:
    """Count cycles by state, and those that are HELD or wait for a person."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = status.counts(here, person)
    if json:
        print_json(found)
    else:
        print_table(("state", "cycles"), [(state, count) for state, count in found.items() if count])


def show(cycle: CycleId, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Show everything that is known of one cycle: obligations, holds, proposals and its timeline."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = status.show(here, person, cycle)
    if json:
        print_json(found)
    else:
        _print_cycle(found)


def find(*, key_file: KeyFile = None, json: Json = False) -> None:
    """Name the cycles of a number, latest first. The number is read from standard input or asked for."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.domain.errors import NotKnown  # noqa: PLC0415 - with its neighbours
    from fallow.operations import status  # noqa: PLC0415 - heavy

    number = ask_number()
    with acting(key_file) as (here, person):
        found = status.find_number(here, person, number)
    if not found:
        what = "The number was never enrolled here."
        raise NotKnown(what, remedy="check its digits; `fallow enrol` takes a file of cancelled numbers.")
    if json:
        print_json(found)
        return
    for cycle_id in found:
        print_line(cycle_id)


def targets(*, key_file: KeyFile = None, json: Json = False) -> None:
    """List record systems and platforms with what they still owe, and their last trouble."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import status  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = status.targets(here, person)
    if json:
        print_json(found)
        return
    keys = ("target_id", "kind", "open", "refused", "unconfirmed", "failures", "paused_until", "trouble")
    print_table(("target", *keys[1:]), [[each[key] for key in keys] for each in found])


def proposals(*, key_file: KeyFile = None, json: Json = False) -> None:
    """List what was proposed and waits for a second person."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.open_proposals import open_proposals  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = open_proposals(here, person)
    if json:
        print_json(found)
        return
    rows = [
        (
            each["proposal_id"],
            each["command"],
            each["cycle_id"],
            _words(each["arguments"]),
            each["proposed_by"],
            _short(each["proposed_at"]),
            "expired" if each["expired"] else _short(each["due_by"] or each["expires_at"]),
        )
        for each in found
    ]
    print_table(("proposal", "command", "cycle", "arguments", "proposed by", "at", "decide by"), rows)


def _print_cycle(found: dict[str, Any]) -> None:
    apart = ("obligations", "holds", "proposals", "timeline", "attention", "held", "demo", "explanation", "explanation_zh")
    facts = {name: _plain(name, value) for name, value in found.items() if name not in apart}
    first = {"cycle_id": found["cycle_id"], "state": found["state"], "overlays": _overlays(found)}
    print_facts({**first, **facts, "policy": _cited(found["policy"])})
    print_line(found["explanation"])
    print_line(found["explanation_zh"])
    for each in found["attention"]:
        contact = f" Contact: {each['contact']}." if each["contact"] else ""
        print_line(f"ATTENTION {' '.join(filter(None, (each['reason'], each['target_id'])))}: {each['next']}{contact}")
    for each in found["obligations"]:
        if each["awaits_confirmation"]:
            print_line(_awaits(each))
    _print_list("holds", found["holds"], ("hold_id", "reference", "review_on", "placed_by", "placed_at"))
    _print_list("proposals", found["proposals"], ("proposal_id", "command", "proposed_by", "proposed_at"))
    owed = [
        {**each, "signed_under": each["signed_by"] and each["signed_by"]["kind"], "confirmed": each["confirmed"] is not None}
        for each in found["obligations"]
    ]
    _print_list("obligations", owed, ("target_id", "kind", "status", "outcome", "signed_under", "confirmed", "attempts", "asked", "due_at"))
    print_line("timeline")
    print_table(("at", "event", ""), [(_short(each["at"]), each["kind"], _words(each["body"])) for each in found["timeline"]])


def _awaits(owed: dict[str, Any]) -> str:
    """Say that a number whose platform has answered is not finished: its word is to be confirmed."""
    if not owed["awaited_already"]:
        return f"is looked at once more at {owed['target_id']} from {_short(owed['awaited_since'])} on"
    asked = f"asked {times} times" if (times := owed["status_queries"]) != 1 else "asked once"
    return f"waits for the confirmation of {owed['target_id']} since {_short(owed['awaited_since'])}, {asked}"


def _cited(policy: dict[str, Any]) -> str:
    sets = f", rule sets {', '.join(policy['rule_sets'])}" if policy["rule_sets"] else ""
    return f"{policy['policy_id']} version {policy['version']}{sets}, frozen as {policy['digest'][:12]}"


def _print_list(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    if rows:
        print_line(title)
        print_table([name.replace("_", " ") for name in columns], [[_plain(name, each[name]) for name in columns] for each in rows])


def _overlays(cycle: dict[str, Any]) -> str:
    words = [word for word, shown in (("HELD", cycle["held"]), ("ATTENTION", cycle["attention"]), ("DEMO", cycle["demo"])) if shown]
    return " ".join(words) or "-"


def _short(instant: str | None) -> str:
    return "-" if instant is None else f"{instant[:19].replace('T', ' ')}Z"


def _plain(name: str, value: Any) -> Any:
    return _short(value) if name.endswith("_at") else value


def _words(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items() if value not in (None, [], ""))
