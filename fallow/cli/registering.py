"""``platform propose`` and what follows it: ping, approve, deny, decommission; and the terms that one operator may set."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fallow.cli.showing import print_facts, print_json, print_line
from fallow.cli.words import Json, KeyFile, Reference

if TYPE_CHECKING:
    from fallow.domain.people import Person
    from fallow.operations.installation import Installation

_Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="Which platform or hub, as `fallow platform list` names it.")]
_Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="pp_…; `fallow platform proposals` lists them.")]
_File = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="TOML with one [[platform]] table, all of it.")
]


def propose(file: _File, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose a platform or hub, or a change of one, and show what it changes. Then it is pinged, and another person approves it."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy
    from fallow.platforms.platform_map import load_proposed  # noqa: PLC0415 - heavy

    table = load_proposed(file)
    with acting(key_file) as (here, person):
        shown = _proposed(here, person, Registering(here).propose(person, table))
    _show_proposal(shown, f"next: fallow platform ping {shown['proposal_id']}", json=json)


def decommission(platform: _Platform, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose that PLATFORM is asked no more and may answer no more; another person approves it. What it answered stays evidence."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        shown = _proposed(here, person, Registering(here).propose_decommission(person, platform, reference))
    _show_proposal(shown, f"another person runs: fallow platform approve {shown['proposal_id']} (or: fallow platform deny)", json=json)


def ping(proposal: _Proposal, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Have the proposed endpoint prove that it holds the proposed key; an added one, where keys are added. Counts for a day."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy

    async def pinged(here: "Installation", person: "Person") -> None:
        try:
            await Registering(here).ping(person, proposal)
        finally:
            await here.registered.way.transport.aclose()

    with acting(key_file) as (here, person):
        asyncio.run(pinged(here, person))
        shown = _proposed(here, person, proposal)
    if json:
        print_json({"proposal_id": proposal, "platform_id": shown["platform_id"], "pinged_at": shown["pinged_at"]})
    else:
        print_line(f"{shown['platform_id']} is proved; another person runs: fallow platform approve {proposal} (or: fallow platform deny)")


def approve(proposal: _Proposal, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Enter what another person proposed into the registry; it counts within a second or two, without a restart."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        platform_id = Registering(here).approve(person, proposal)
    _say(json, f"{proposal} is approved and done: {platform_id}", proposal_id=proposal, platform_id=platform_id)


def deny(proposal: _Proposal, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Close a proposal for good; who made it may take it back. The reference says why."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        platform_id = Registering(here).deny(person, proposal, reference)
    _say(json, f"{proposal} is denied: {platform_id}", proposal_id=proposal, platform_id=platform_id)


def terms(
    platform: _Platform,
    *,
    rate: Annotated[float | None, typer.Option("--rate", metavar="N", help="Items per second: 0.001 to 10000.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Most items in one request: 1 to 1000.")] = None,
    lanes: Annotated[int | None, typer.Option("--lanes", metavar="N", help="Most requests in flight at once: 1 to 32.")] = None,
    remind_after: Annotated[
        str | None, typer.Option("--remind-after", metavar="DURATION", help="Without an answer it is asked again after: 12h, 1d.")
    ] = None,
    reminders: Annotated[int | None, typer.Option("--reminders", metavar="N", help="How often, before a person is asked.")] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="Longest time for one request: 10s.")] = None,
    contact: Annotated[str | None, typer.Option("--contact", metavar="TEXT", help="Whom to ask at the platform.")] = None,
    language: Annotated[str | None, typer.Option("--language", metavar="TAG", help="Of the people who read requests: en, zh-CN.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Set how fast and how often PLATFORM is asked, and whom to call there: what one operator may decide. The rest stays."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.registering import Registering  # noqa: PLC0415 - heavy

    options = {
        "rate_per_second": rate,
        "batch": batch,
        "lanes": lanes,
        "remind_after": remind_after,
        "reminders": reminders,
        "timeout": timeout,
        "contact": contact,
        "language": language,
    }
    given = {name: value for name, value in options.items() if value is not None}
    with acting(key_file) as (here, person):
        Registering(here).set_terms(person, platform, given)
    if json:
        print_json({"platform_id": platform, "terms": given})
    else:
        print_line(f"{platform}: {', '.join(f'{name} {value}' for name, value in given.items())}")


def _proposed(here: "Installation", person: "Person", proposal_id: str) -> dict[str, Any]:
    from fallow.operations.platform_status import show_platform_proposal  # noqa: PLC0415 - heavy

    return show_platform_proposal(here, person, proposal_id)


def _show_proposal(shown: dict[str, Any], following: str, *, json: bool) -> None:
    if json:
        print_json(shown)
        return
    keys, url = shown["keys"], shown["url"]
    facts = {"proposal": shown["proposal_id"], "platform": shown["platform_id"], "changes": shown["changes"]}
    facts |= {f"keys {word} (sha-256)": keys[word] for word in ("added", "removed") if keys[word]}
    print_facts({**facts, "url before": url["before"], "url after": url["after"]})
    print_line(following)


def _say(json: bool, text: str, **result: str) -> None:  # noqa: FBT001 - passed on as it was given
    if json:
        print_json(result)
    else:
        print_line(text)
