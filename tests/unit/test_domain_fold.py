"""Events add up to a cycle and its obligations."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import Cycle
from fallow.domain.events import Event, Kind, canonical
from fallow.domain.fold import apply, begin, fold
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = AT + timedelta(days=90)
PERSON = {"by": "p_1", "reference": "case 1"}
ENROLLED = Event(
    Kind.CYCLE_ENROLLED,
    AT,
    {
        "disconnected_at": (AT - timedelta(days=3)).isoformat(),
        "release_at": LATER.isoformat(),
        "policy": "f" * 64,
        "demo": False,
        "handback": False,
        "enrolled_by": "p_1",
        "batch_id": "b_1",
    },
)
#: What each kind of event changes of a cycle; an empty dict: deliberately nothing.
CHANGES: dict[Kind, tuple[dict[str, object], dict[str, object]]] = {
    Kind.LINE_CHECKED: ({"status": "off", "stage": "gate"}, {}),
    Kind.QUARANTINE_BEGAN: ({"release_at": LATER.isoformat()}, {"state": State.QUARANTINED}),
    Kind.QUARANTINE_EXTENDED: (
        {"release_at": (LATER + timedelta(days=1)).isoformat(), **PERSON},
        {"release_at": LATER + timedelta(days=1)},
    ),
    Kind.HOLD_PLACED: ({"hold_id": "h_2", "review_on": "2026-06-30", **PERSON}, {"holds": frozenset({"h_1", "h_2"})}),
    Kind.HOLD_LIFTED: ({"hold_id": "h_1", **PERSON}, {"holds": frozenset()}),
    Kind.ATTENTION_RAISED: (
        {"attention": "platform-silent:chat"},
        {"attention": frozenset({Attention(Reason.PLATFORM_REFUSED, "pay"), Attention(Reason.PLATFORM_SILENT, "chat")})},
    ),
    Kind.ATTENTION_CLEARED: ({"attention": "platform-refused:pay"}, {"attention": frozenset()}),
    Kind.OBLIGATIONS_OPENED: ({"target_kind": "records", "targets": ["billing"]}, {}),
    Kind.OBLIGATION_MOVED: ({"target_id": "crm", "status": "DISCHARGED", "outcome": "wiped", "evidence": "e"}, {}),
    Kind.OBLIGATION_CONFIRMED: ({"target_id": "crm", "evidence": "g"}, {}),
    Kind.STAGE_SETTLED: (
        {"stage": "QUARANTINE", "targets": [], "attempts": 0, "digest": "d"},
        {"settled": ("QUARANTINE",), "state": State.WIPING, "quarantine_ended_at": LATER},
    ),
    Kind.HOLDER_KEY_DESTROYED: ({"epoch": 3, "evidence": "e"}, {}),
    Kind.TAG_ISSUED: ({"tag": "t"}, {"tag": "t"}),
    Kind.NUMBER_RELEASED: ({"tag": "t", "gate": "g"}, {"state": State.RESELLABLE, "released_at": LATER}),
    Kind.NUMBER_SOLD: ({"tag": "t", "acknowledgement": "a", "by": "p_2"}, {"state": State.REASSIGNED}),
    Kind.HOLDER_REMINDED: (
        {"at": AT.isoformat(), "channel": "sms", **PERSON},
        {"reminded_at": AT},
    ),
    Kind.TRAFFIC_JUDGED: ({"stage": "wiping", "verdict": "quiet", "judged_on": "2026-01-01"}, {}),
    Kind.RECLAIM_DENIED: ({"proposal_id": "pr_1", "second": "p_2", **PERSON}, {"denials": 2}),
    Kind.RECLAIM_UNLOCKED: ({"second": "p_2", **PERSON}, {"denials": 0}),
    Kind.RETENTION_BEGAN: ({"target_id": "crm", "collection": "bills", "kept_until": "2028-01-31", "how": "seal", "rows": 2}, {}),
    Kind.RETENTION_OPENED: ({"proposal_id": "pr_1", "second": "p_2", **PERSON}, {}),
    Kind.RETENTION_READ: ({"proposal_id": "pr_1", "by": "p_1", "rows": 2}, {}),
    Kind.RETENTION_EXPIRED: ({"target_id": "crm", "collection": "bills", "kept_until": "2028-01-31", "how": "seal"}, {}),
    Kind.PROPOSAL_DENIED: ({"proposal_id": "pr_1", "second": "p_2", **PERSON}, {}),
    Kind.HOLDER_RECLAIMED: ({"second": "p_2", "ground": "successor", **PERSON}, {"state": State.RECLAIMED, "attention": frozenset()}),
    Kind.NUMBER_RETIRED: ({"second": "p_2", **PERSON}, {"state": State.RETIRED, "attention": frozenset()}),
    Kind.NUMBER_WITHDRAWN: (PERSON, {"state": State.WITHDRAWN, "attention": frozenset()}),
    Kind.RETURN_ORDERED: (PERSON, {"handback": True}),
    Kind.NUMBER_RETURNED: ({}, {"state": State.RETURNED, "attention": frozenset()}),
    Kind.CYCLE_RECALLED: ({"second": "p_2", "next_cycle": 2, **PERSON}, {}),
    Kind.COMMAND_PROPOSED: ({"command": "retire", "proposal_id": "pr_1", **PERSON}, {}),
    Kind.RETRY_ORDERED: (PERSON, {}),
    Kind.WORKFLOW_REPLACED: ({"why": "none ran"}, {}),
}
BEFORE = [
    ENROLLED,
    Event(Kind.HOLD_PLACED, AT, {"hold_id": "h_1", **PERSON}),
    Event(Kind.ATTENTION_RAISED, AT, {"attention": "platform-refused:pay"}),
    Event(Kind.RECLAIM_DENIED, AT, {"proposal_id": "pr_0", "second": "p_2", **PERSON}),
    Event(Kind.OBLIGATIONS_OPENED, AT, {"target_kind": "records", "targets": ["crm"]}),
]
FIELDS = Cycle.__dataclass_fields__


def test_enrolment_begins_a_cycle() -> None:
    """The first event holds what a cycle starts with."""
    cycle = begin(ENROLLED)

    assert cycle == Cycle(State.ENROLLED, AT - timedelta(days=3), AT, LATER, "f" * 64)
    assert (cycle.active, cycle.held) == (True, False)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CYCLE_ENROLLED])
def test_every_kind_of_event_changes_what_it_says_and_nothing_else(kind: Kind) -> None:
    """Each kind is handled, or deliberately changes nothing."""
    body, changes = CHANGES[kind]
    before, _ = fold(BEFORE)

    after = apply(before, Event(kind, LATER, body))

    assert {name: getattr(after, name) for name in FIELDS if getattr(after, name) != getattr(before, name)} == changes


@pytest.mark.parametrize(("stage", "state"), [("QUARANTINE", State.WIPING), ("WIPING", State.UNBINDING), ("UNBINDING", State.TAGGING)])
def test_each_settled_stage_leads_to_the_next(stage: str, state: State) -> None:
    """Only the end of quarantine is dated."""
    cycle = apply(begin(ENROLLED), Event(Kind.STAGE_SETTLED, LATER, {"stage": stage, "targets": [], "attempts": 0, "digest": "d"}))

    assert (cycle.state, cycle.settled) == (state, (stage,))
    assert cycle.quarantine_ended_at == (LATER if stage == "QUARANTINE" else None)


def test_obligations_open_and_move() -> None:
    """Opening makes one a target; moving replaces status, outcome and evidence."""
    moved = Event(Kind.OBLIGATION_MOVED, AT, {"target_id": "crm", "status": "REFUSED", "outcome": None, "evidence": "e"})
    again = Event(Kind.OBLIGATION_MOVED, AT, {"target_id": "crm", "status": "DISCHARGED", "outcome": "wiped", "evidence": "f"})

    _, owed = fold([*BEFORE, moved])
    _, settled = fold([*BEFORE, moved, again])

    assert owed == {"crm": Obligation("crm", TargetKind.RECORDS, Status.REFUSED, None, "e")}
    assert settled == {"crm": Obligation("crm", TargetKind.RECORDS, Status.DISCHARGED, Outcome.WIPED, "f")}


@pytest.mark.parametrize("events", [[], [Event(Kind.QUARANTINE_BEGAN, AT, {})], BEFORE[1:]])
def test_a_cycle_that_does_not_begin_with_enrolment_is_refused(events: list[Event]) -> None:
    """A story without its beginning proves nothing."""
    with pytest.raises(ValueError, match="CycleEnrolled"):
        fold(events)


def test_canonical_json_has_one_form() -> None:
    """Order of keys does not change what is digested, and everything is ASCII."""
    assert canonical({"b": [1], "a": "é"}) == canonical(dict(reversed({"b": [1], "a": "é"}.items()))) == '{"a":"\\u00e9","b":[1]}'
    assert json.loads(canonical({"a": "é"})) == {"a": "é"}


def test_a_confirmation_counts_until_the_obligation_moves() -> None:
    """What a platform said again is kept beside its answer, and gone with it."""
    opened = Event(Kind.OBLIGATIONS_OPENED, AT, {"target_kind": "platform", "targets": ["pay"]})
    cleared = Event(Kind.OBLIGATION_MOVED, AT, {"target_id": "pay", "status": "DISCHARGED", "outcome": "clear", "evidence": "e"})
    seen = Event(Kind.OBLIGATION_CONFIRMED, AT, {"target_id": "pay", "evidence": "f"})
    refused = Event(Kind.OBLIGATION_MOVED, AT, {"target_id": "pay", "status": "REFUSED", "outcome": "refused", "evidence": "g"})

    _, confirmed = fold([ENROLLED, opened, cleared, seen])
    _, taken_back = fold([ENROLLED, opened, cleared, seen, refused])

    assert confirmed["pay"] == Obligation("pay", TargetKind.PLATFORM, Status.DISCHARGED, Outcome.CLEAR, "e", "f")
    assert taken_back["pay"].confirmed is None
