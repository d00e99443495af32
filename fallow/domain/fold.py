"""``fold``: a cycle's events, in order, become its row and its obligations. The store writes rows only through :func:`apply`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from fallow.domain.attention import Attention, parse
from fallow.domain.cycle import Cycle
from fallow.domain.events import Event, Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind

_NEXT_STATE = {
    Kind.QUARANTINE_BEGAN: State.QUARANTINED,
    Kind.NUMBER_SOLD: State.REASSIGNED,
    Kind.HOLDER_RECLAIMED: State.RECLAIMED,
    Kind.NUMBER_RETIRED: State.RETIRED,
    Kind.NUMBER_WITHDRAWN: State.WITHDRAWN,
    Kind.NUMBER_RETURNED: State.RETURNED,
}
_AFTER_STAGE = {"QUARANTINE": State.WIPING, "WIPING": State.UNBINDING, "UNBINDING": State.TAGGING}


def begin(event: Event) -> Cycle:
    """Return the cycle that a CycleEnrolled event starts."""
    body = event.body
    return Cycle(
        State.ENROLLED,
        datetime.fromisoformat(body["disconnected_at"]),
        event.at,
        datetime.fromisoformat(body["release_at"]),
        body["policy"],
        demo=body["demo"],
        handback=body["handback"],
        denials=body.get("denials", 0),
    )


def apply(cycle: Cycle, event: Event) -> Cycle:
    """Return the cycle after one more event. Pure; total over :class:`Kind`."""
    changed = changes(cycle, event)
    return replace(cycle, **changed) if changed else cycle


class Standing(Protocol):
    """What of a cycle :func:`changes` looks at; attributes are those of :class:`Cycle`."""

    @property
    def holds(self) -> frozenset[str]:
        """Ids of the open holds."""
        ...

    @property
    def attention(self) -> frozenset[Attention]:
        """What waits for a person."""
        ...

    @property
    def settled(self) -> tuple[str, ...]:
        """Stages settled so far, in order."""
        ...

    @property
    def quarantine_ended_at(self) -> datetime | None:
        """When quarantine was settled."""
        ...

    @property
    def reminded_at(self) -> datetime | None:
        """When the former holder was last reminded."""
        ...

    @property
    def denials(self) -> int:
        """Failed claims."""
        ...


def changes(cycle: Standing, event: Event) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912 - one case a kind reads better than a table of lambdas
    """Return the attributes of :class:`Cycle` that one more event changes, with their new values."""
    body = event.body
    match event.kind:
        case Kind.QUARANTINE_EXTENDED:
            return {"release_at": datetime.fromisoformat(body["release_at"])}
        case Kind.HOLD_PLACED:
            return {"holds": cycle.holds | {body["hold_id"]}}
        case Kind.HOLD_LIFTED:
            return {"holds": cycle.holds - {body["hold_id"]}}
        case Kind.ATTENTION_RAISED:
            return {"attention": cycle.attention | {parse(body["attention"])}}
        case Kind.ATTENTION_CLEARED:
            return {"attention": cycle.attention - {parse(body["attention"])}}
        case Kind.STAGE_SETTLED:
            ended_at = event.at if body["stage"] == "QUARANTINE" else cycle.quarantine_ended_at
            settled = (*cycle.settled, body["stage"])
            return {"settled": settled, "state": _AFTER_STAGE[body["stage"]], "quarantine_ended_at": ended_at}
        case Kind.HOLDER_REMINDED:
            at = datetime.fromisoformat(body["at"])
            return {"reminded_at": max(at, cycle.reminded_at or at)}
        case Kind.RECLAIM_DENIED:
            return {"denials": cycle.denials + 1}
        case Kind.RECLAIM_UNLOCKED:
            return {"denials": 0}
        case Kind.TAG_ISSUED:
            return {"tag": body["tag"]}
        case Kind.RETURN_ORDERED:
            return {"handback": True}
        case Kind.NUMBER_RELEASED:
            return {"state": State.RESELLABLE, "released_at": event.at}
        case Kind.QUARANTINE_BEGAN | Kind.NUMBER_SOLD:
            return {"state": _NEXT_STATE[event.kind]}
        case kind if kind in _NEXT_STATE:
            return {"state": _NEXT_STATE[kind], "attention": frozenset()}
        case _:
            return {}


def apply_to_obligations(obligations: Mapping[str, Obligation], event: Event) -> dict[str, Obligation]:
    """Return the obligations, by target, after one more event."""
    after = dict(obligations)
    if event.kind is Kind.OBLIGATIONS_OPENED:
        kind = TargetKind(event.body["target_kind"])
        after |= {target_id: Obligation(target_id, kind) for target_id in event.body["targets"]}
    if event.kind is Kind.OBLIGATION_MOVED:
        before = after[event.body["target_id"]]
        outcome = event.body["outcome"]
        after[before.target_id] = Obligation(
            before.target_id,
            before.kind,
            Status(event.body["status"]),
            None if outcome is None else Outcome(outcome),
            event.body["evidence"],
        )
    if event.kind is Kind.OBLIGATION_CONFIRMED:
        seen = after[event.body["target_id"]]
        after[seen.target_id] = replace(seen, confirmed=event.body["evidence"])
    return after


def fold(events: Iterable[Event]) -> tuple[Cycle, dict[str, Obligation]]:
    """Return what a cycle's events, oldest first, add up to.

    Raises:
        ValueError: if the first event is not CycleEnrolled.
    """
    rest = iter(events)
    first = next(rest, None)
    if first is None or first.kind is not Kind.CYCLE_ENROLLED:
        what = "a cycle's first event must be CycleEnrolled"
        raise ValueError(what)
    cycle, obligations = begin(first), dict[str, Obligation]()
    for event in rest:
        cycle, obligations = apply(cycle, event), apply_to_obligations(obligations, event)
    return cycle, obligations
