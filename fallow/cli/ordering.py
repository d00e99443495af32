"""Commands over one cycle: those of one person, and those that one proposes and another approves."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fallow.cli.showing import print_json, print_line
from fallow.cli.words import CycleId, Json, KeyFile, Reference
from fallow.domain.claims import Channel, Ground
from fallow.domain.errors import InstantMalformed
from fallow.domain.lifecycle import ACTIVE, Command, State

_HoldId = Annotated[str, typer.Option("--hold", metavar="HOLD", help="Which hold: h_…; `fallow numbers show` lists them.")]
_Until = Annotated[str, typer.Option("--until", metavar="INSTANT", help="The new end of quarantine, ISO 8601 with an offset.")]
_Target = Annotated[str, typer.Option("--target", help="The platform that refused or stayed silent.")]
_Document = Annotated[str, typer.Option("--document-sha256", help="SHA-256 (hex) of the document that the platform issued.")]
_CancelledAt = Annotated[str, typer.Option("--line-cancelled-at", metavar="INSTANT", help="When the present holder's line was cancelled.")]


class Proposable(StrEnum):
    """What takes two people."""

    RECLAIM = "reclaim"
    RETIRE = "retire"
    LIFT = "lift"
    ATTEST = "attest"
    RECALL = "recall"
    UNLOCK = "unlock"


def hold(
    cycle: CycleId,
    reference: Reference,
    *,
    review_on: Annotated[
        datetime | None, typer.Option("--review-on", formats=["%Y-%m-%d"], metavar="DATE", help="When somebody must review it.")
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Stop a number at once, under a case reference; of a sold, retired or returned one, only the end of what the law keeps."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import status  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        hold_id = Commands(here).hold(person, cycle, reference, None if review_on is None else review_on.date())
        state = status.show(here, person, cycle)["state"]
    reached = state in (*ACTIVE, State.RESELLABLE)
    late = "" if reached else f"; it is {state}, so that this suspends only the end of what the law keeps"
    _say(json, f"{cycle} is held: {hold_id}{late}", cycle_id=cycle, hold_id=hold_id, state=state)


def lift(cycle: CycleId, hold_id: _HoldId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Lift one hold. A hold on a number tied to a crime takes two people: `fallow propose lift`."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        Commands(here).lift(person, cycle, hold_id, reference)
    _say(json, f"{cycle}: hold {hold_id} is lifted", cycle_id=cycle)


def extend(cycle: CycleId, until: _Until, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Move the end of quarantine later; never earlier."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    instant = _instant(until)
    with acting(key_file) as (here, person):
        Commands(here).extend(person, cycle, instant, reference)
    _say(json, f"{cycle}: quarantine ends at {instant.isoformat()}", cycle_id=cycle)


def withdraw(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Take a number out before wiping: ported out, or enrolled by mistake."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        Commands(here).withdraw(person, cycle, reference)
    _say(json, f"{cycle} is withdrawn", cycle_id=cycle)


def hand_back(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Return a number to its range holder: after wiping where that is still to come, else at once."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        Commands(here).hand_back(person, cycle, reference)
    _say(json, f"{cycle} goes back to its range holder", cycle_id=cycle)


def remind(
    cycle: CycleId,
    at: Annotated[str, typer.Option("--at", metavar="INSTANT", help="When the former holder was reminded, ISO 8601 with an offset.")],
    channel: Annotated[Channel, typer.Option("--channel", help="How.")],
    reference: Reference,
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Record that the former holder was reminded of the accounts that hang on the number."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    instant = _instant(at)
    with acting(key_file) as (here, person):
        Commands(here).remind(person, cycle, instant, channel, reference)
    _say(json, f"{cycle}: the reminder by {channel} is recorded", cycle_id=cycle)


def retry(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Look again after the cause of ATTENTION was mended."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.commands import Commands  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        Commands(here).retry(person, cycle, reference)
    _say(json, f"{cycle} is tried again", cycle_id=cycle)


def propose(
    command: Annotated[Proposable, typer.Argument(help="What is proposed.")],
    cycle: CycleId,
    reference: Reference,
    *,
    hold_id: Annotated[str | None, typer.Option("--hold", metavar="HOLD", help="For lift: which hold.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="For attest: which platform.")] = None,
    document_sha256: Annotated[str | None, typer.Option("--document-sha256", help="For attest: the document's SHA-256.")] = None,
    line_cancelled_at: Annotated[str | None, typer.Option("--line-cancelled-at", metavar="INSTANT", help="For recall: when.")] = None,
    ground: Annotated[Ground | None, typer.Option("--ground", help="For reclaim: why.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Propose what takes two people; another person approves it. Neither may be the one who enrolled the number."""
    options = {
        "hold_id": hold_id,
        "target_id": target,
        "document_sha256": document_sha256,
        "line_cancelled_at": line_cancelled_at,
        "ground": ground,
    }
    given = {name: value for name, value in options.items() if value is not None}
    _propose(Command(command), cycle, reference, given, key_file, json=json)


def reclaim(
    cycle: CycleId,
    reference: Reference,
    *,
    ground: Annotated[
        Ground, typer.Option("--ground", help="Who comes back: the former holder, a successor, or somebody cut off by mistake.")
    ] = Ground.FORMER_HOLDER,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Propose that somebody takes the number back; the reference is the identity check's. Before wiping only."""
    _propose(Command.RECLAIM, cycle, reference, {"ground": ground}, key_file, json=json)


def unlock(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose to take claims again after two of them failed their identity check; nobody who made one can take part."""
    _propose(Command.UNLOCK, cycle, reference, {}, key_file, json=json)


def retire(cycle: CycleId, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose that the number is never sold again; the reference is the authority's."""
    _propose(Command.RETIRE, cycle, reference, {}, key_file, json=json)


def attest(
    cycle: CycleId, target: _Target, document_sha256: _Document, reference: Reference, *, key_file: KeyFile = None, json: Json = False
) -> None:
    """Propose to accept a document that the platform issued, in place of its signed answer."""
    given = {"target_id": target, "document_sha256": document_sha256}
    _propose(Command.ATTEST, cycle, reference, given, key_file, json=json)


def recall(cycle: CycleId, line_cancelled_at: _CancelledAt, reference: Reference, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Propose to take a sold number back into its next cycle; the present holder's line was cancelled and replaced first."""
    _propose(Command.RECALL, cycle, reference, {"line_cancelled_at": line_cancelled_at}, key_file, json=json)


def approve(
    proposal: Annotated[str, typer.Argument(metavar="PROPOSAL", help="pr_…; `fallow proposals` lists them.")],
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Approve and carry out what another person proposed."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.opening import Opening  # noqa: PLC0415 - heavy
    from fallow.operations.two_person import TwoPerson  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        cycle_id, opens = TwoPerson(here).approve(person, proposal), Opening(here).is_one(proposal)
    done = f"{proposal} is approved and done: {cycle_id}"
    following = f"; within 24 hours either of you runs: fallow records held-by-law read {proposal}"
    _say(json, done + (following if opens else ""), proposal_id=proposal, cycle_id=cycle_id)


def deny(
    proposal: Annotated[str, typer.Argument(metavar="PROPOSAL", help="pr_…; `fallow proposals` lists them.")],
    reference: Reference,
    *,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Deny what another person proposed; the reference says why. Two denied claims lock a number against further ones."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.two_person import TwoPerson  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        cycle_id = TwoPerson(here).deny(person, proposal, reference)
    _say(json, f"{proposal} is denied: {cycle_id}", proposal_id=proposal, cycle_id=cycle_id)


def _propose(command: Command, cycle: str, reference: str, given: dict[str, str], key_file: Path | None, *, json: bool) -> None:
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.two_person import TwoPerson  # noqa: PLC0415 - heavy

    if "line_cancelled_at" in given:
        given["line_cancelled_at"] = _instant(given["line_cancelled_at"]).isoformat()
    with acting(key_file) as (here, person):
        proposal_id = TwoPerson(here).propose(person, cycle, command, reference, given)
    text = f"{command} of {cycle} is proposed; another person runs: fallow approve {proposal_id} (or: fallow deny)"
    _say(json, text, cycle_id=cycle, proposal_id=proposal_id)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        instant.astimezone()
    except (ValueError, OverflowError):
        instant = datetime.min  # noqa: DTZ901 - refused below, as it has no offset
    if instant.tzinfo is None:
        what = "An instant is not ISO 8601 with an offset."
        raise InstantMalformed(what, remedy="write it as 2027-01-31T18:00:00+08:00.")
    return instant


def _say(json: bool, text: str, **result: str) -> None:  # noqa: FBT001 - passed on as it was given
    if json:
        print_json(result)
    else:
        print_line(text)
