"""Our own tables against each other: events without gaps, rows that are what the events add up to. Standard library only."""

import json
from collections import Counter

from .reading import Row, canonical, instant, sha256
from .verdict import Verdict
from .world import Case, World

_TWO_PEOPLE = {"HolderReclaimed", "NumberRetired", "CycleRecalled", "ReclaimDenied", "ReclaimUnlocked", "ProposalDenied"}


def check(world: World, verdict: Verdict) -> None:
    """Check every cycle, the outbox and the proposals."""
    for case in world.cases:
        with verdict.reading("events", f"cycle {case.cycle_id}"):
            _gapless(case, verdict)
            _folded(case, verdict)
            _obligations_folded(case, verdict)
            _holds(world, case, verdict)
            _attempts(world, case, verdict)
            _people(case, verdict)
    _outbox(world, verdict)
    for proposal in world.ledger["proposals"]:
        alone = proposal["decided_by"] == proposal["proposed_by"]
        verdict.demand("people", not alone, f"proposal {proposal['proposal_id']} was approved by the one who made it")


def _gapless(case: Case, verdict: Verdict) -> None:
    numbers = [event["seq"] for event in case.events]
    right = numbers == list(range(1, case.cycle["events_no"] + 1))
    verdict.demand("events", right, f"cycle {case.cycle_id}: its events have a gap, or are not as many as it says")
    impossible = "; ".join(case.past.impossible)
    verdict.demand("events", not impossible, f"cycle {case.cycle_id}: {impossible}")


def _folded(case: Case, verdict: Verdict) -> None:
    past, row = case.past, case.cycle
    folded = {
        "state": past.state,
        "policy": past.begun["policy"],
        "demo": past.begun["demo"],
        "enrolled_by": past.begun["enrolled_by"],
        "handback": past.handback,
        "holds": sorted(past.holds),
        "held": bool(past.holds),
        "attention": sorted(past.attention),
        "settled": list(past.settled),
        "tag": past.tag,
        "disconnected_at": instant(past.begun["disconnected_at"]),
        "enrolled_at": past.enrolled_at,
        "release_at": past.release_at,
        "quarantine_ended_at": past.settled_at.get("QUARANTINE"),
        "released_at": past.released_at,
    }
    stored = {name: _read(name, row[name]) for name in folded}
    differ = [name for name in folded if folded[name] != stored[name]]
    verdict.demand("events", not differ, f"cycle {case.cycle_id}: the events add up to another {', '.join(differ)}")


def _read(name: str, stored: object) -> object:
    if name in ("holds", "attention", "settled"):
        listed = json.loads(str(stored))
        return listed if name == "settled" else sorted(listed)
    if name in ("demo", "handback", "held"):
        return bool(stored)
    return instant(str(stored)) if name.endswith("_at") and stored is not None else stored


def _obligations_folded(case: Case, verdict: Verdict) -> None:
    columns = ("kind", "status", "outcome", "evidence", "confirmed")
    folded = {target: tuple(getattr(owed, name) for name in columns) for target, owed in case.past.obligations.items()}
    stored = {target: tuple(row[name] for name in columns) for target, row in case.owed.items()}
    differ = sorted(target for target in folded.keys() | stored.keys() if folded.get(target) != stored.get(target))
    verdict.demand("obligations", not differ, f"cycle {case.cycle_id}: obligations are not what the events tell: {', '.join(differ)}")


def _holds(world: World, case: Case, verdict: Verdict) -> None:
    open_holds = {row["hold_id"] for row in world.rows_of("holds", case.cycle_id) if row["lifted_at"] is None}
    verdict.same("events", open_holds, case.past.holds, f"cycle {case.cycle_id}: open holds")


def _attempts(world: World, case: Case, verdict: Verdict) -> None:
    """A settled stage cites the attempts made so far; later ones, of a sender that lost its lease, may follow."""
    rows = sorted(world.rows_of("attempts", case.cycle_id), key=_order)
    for stage, body in case.past.settled.items():
        mine = [row for row in rows if row["target_id"] in body["targets"]][: body["attempts"]]
        listed = [[row["target_id"], instant(row["at"]).isoformat(), row["result"]] for row in mine]
        right = sha256(canonical({"attempts": listed})) == body["digest"]
        verdict.demand("evidence", right, f"cycle {case.cycle_id}: the attempts of {stage} are not those it was settled on")


def _order(row: Row) -> int:
    return int(row["attempt_id"])


def _people(case: Case, verdict: Verdict) -> None:
    for event in case.events:
        if event["kind"] in _TWO_PEOPLE:
            body = json.loads(event["body"])
            apart = len({body["by"], body["second"], case.cycle["enrolled_by"]}) == 3  # noqa: PLR2004 - two people and the enroller
            verdict.demand("people", apart, f"cycle {case.cycle_id}: {event['kind']} was not decided by two people other than the enroller")


def _outbox(world: World, verdict: Verdict) -> None:
    told = Counter(row["cycle_id"] for row in world.ledger["outbox"] if row["kind"] == "NumberReleased")
    for case in world.cases:
        wanted = int(any(event["kind"] == "NumberReleased" for event in case.events) or case.cycle["state"] in ("RESELLABLE", "REASSIGNED"))
        verdict.demand("outbox", told[case.cycle_id] == wanted, f"cycle {case.cycle_id}: {told[case.cycle_id]} releases told, not {wanted}")
    strangers = set(told) - {case.cycle_id for case in world.cases}
    verdict.demand("outbox", not strangers, "the outbox tells of cycles that are not known")
