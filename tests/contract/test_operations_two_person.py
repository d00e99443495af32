"""What takes two people, on both databases: who may, when, and what each command does."""

from datetime import timedelta

import pytest
from builders import World, a_person, advance, ask_all, enrolled, number, state_of, wipe_all
from builders_commands import FORMER_HOLDER, by_two, refusing, silent
from builders_cycles import DOCUMENT, answer, engine, events_of, facts_of, owed_by, row_of, staff
from memory_ports import START
from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, FallowError, InputRefused, NotKnown, PersonRefused, SecondPersonNeeded
from fallow.domain.events import Kind
from fallow.domain.gate import LineStatus
from fallow.domain.lifecycle import ACTIVE, Command, State, allows
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.domain.people import Role
from fallow.operations.people import revoke
from fallow.operations.proposals import PROPOSAL_STANDS_FOR
from fallow.operations.two_person import ARGUMENTS
from fallow.store.tables import EvidenceRow


def test_two_people_carry_out_what_takes_two(world: World) -> None:
    """Each of them is named in the event, and neither is the enroller."""
    people = staff(world)
    for index, (command, state) in enumerate({Command.RECLAIM: State.RECLAIMED, Command.RETIRE: State.RETIRED}.items()):
        cycle_id = enrolled(world, first=index, by=people.enroller)[0]

        by_two(world, people, cycle_id, command, **(FORMER_HOLDER if command is Command.RECLAIM else {}))

        body = events_of(world, cycle_id)[-1].body
        assert state_of(world, cycle_id) is state
        assert (body["by"], body["second"], body["reference"]) == (people.operator.person_id, people.approver.person_id, "case 1")
        assert row_of(world, cycle_id).wake_at is not None


def test_the_same_person_cannot_propose_and_approve(world: World) -> None:
    """Not even one who may do either."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world, by=people.enroller)[0]
    proposal = two.propose(people.approver, cycle_id, Command.RETIRE, "court 1", {})

    with pytest.raises(SecondPersonNeeded):
        two.approve(people.approver, proposal)
    assert state_of(world, cycle_id) is State.ENROLLED
    two.approve(people.other_approver, proposal)
    assert state_of(world, cycle_id) is State.RETIRED


def test_the_enroller_can_neither_propose_nor_approve(world: World) -> None:
    """Who brought a number in does not decide over it."""
    two, enroller, people = engine(world).two_person, a_person(world, Role.ADMINISTRATOR), staff(world)
    cycle_id = enrolled(world, by=enroller)[0]

    with pytest.raises(SecondPersonNeeded):
        two.propose(enroller, cycle_id, Command.RETIRE, "court 1", {})
    proposal = two.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {})
    with pytest.raises(SecondPersonNeeded):
        two.approve(enroller, proposal)
    assert state_of(world, cycle_id) is State.ENROLLED


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR, Role.SHOP, Role.PLATFORM])
def test_only_approvers_approve(world: World, role: Role) -> None:
    """A second operator is not enough."""
    people, two = staff(world), engine(world).two_person
    proposal = two.propose(people.operator, enrolled(world)[0], Command.RETIRE, "court 1", {})

    with pytest.raises(PersonRefused):
        two.approve(a_person(world, role), proposal)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SHOP, Role.PLATFORM])
def test_others_may_not_even_propose(sqlite_world: World, role: Role) -> None:
    """Default deny."""
    with pytest.raises(PersonRefused):
        engine(sqlite_world).two_person.propose(a_person(sqlite_world, role), enrolled(sqlite_world)[0], Command.RETIRE, "court 1", {})


def test_a_proposal_is_decided_once(world: World) -> None:
    """The second approver is told; an unknown proposal is not known."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    proposal = two.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {})
    two.approve(people.approver, proposal)

    with pytest.raises(CommandRefused, match="decided before"):
        two.approve(people.other_approver, proposal)
    with pytest.raises(NotKnown):
        two.approve(people.approver, "pr_nobody")
    assert [event.kind for event in events_of(world, cycle_id)].count(Kind.NUMBER_RETIRED) == 1


def test_a_proposal_whose_time_is_over_is_not_carried_out(world: World) -> None:
    """The number was withdrawn meanwhile: whoever wants it retired is told that it is not here any more."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    proposal = two.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {})
    engine(world).commands.withdraw(people.operator, cycle_id, "ported")

    with pytest.raises(CommandRefused, match="WITHDRAWN"):
        two.approve(people.approver, proposal)
    assert state_of(world, cycle_id) is State.WITHDRAWN


def test_a_proposal_does_not_stand_for_ever(world: World) -> None:
    """After a week it must be made anew, and so must one whose proposer's key was revoked."""
    people, two = staff(world), engine(world).two_person
    old, young = enrolled(world, 2)
    stale = two.propose(people.operator, old, Command.RETIRE, "court 1", {})
    world.clock.pass_by(PROPOSAL_STANDS_FOR + timedelta(seconds=1))
    left = two.propose(people.operator, young, Command.RETIRE, "court 1", {})
    with world.installation.db.begin() as tx:
        revoke(tx, people.operator.person_id)

    for proposal in (stale, left):
        with pytest.raises(CommandRefused, match="no longer stands"):
            two.approve(people.approver, proposal)
    assert {state_of(world, old), state_of(world, young)} == {State.ENROLLED}


def test_a_reclaim_is_refused_under_a_hold(world: World) -> None:
    """Neither proposed nor approved: the hold keeps the number here."""
    people, operations = staff(world), engine(world)
    cycle_id = enrolled(world)[0]
    proposal = operations.two_person.propose(people.operator, cycle_id, Command.RECLAIM, "id check", FORMER_HOLDER)
    operations.commands.hold(people.operator, cycle_id, "court 1")

    for attempt in (
        lambda: operations.two_person.approve(people.approver, proposal),
        lambda: operations.two_person.propose(people.operator, cycle_id, Command.RECLAIM, "id check", FORMER_HOLDER),
    ):
        with pytest.raises(CommandRefused, match="HELD"):
            attempt()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (Command.RETIRE, {"hold_id": "h_1"}),
        (Command.RECLAIM, {}),
        (Command.RECLAIM, {"ground": "+33199000000"}),
        (Command.RECLAIM, {"ground": "former-holder", "number": "+33199000000"}),
        (Command.UNLOCK, {"ground": "former-holder"}),
        (Command.UNLOCK, {}),
        (Command.REMIND, {}),
        (Command.LIFT, {}),
        (Command.LIFT, {"hold_id": "h_none"}),
        (Command.LIFT, {"hold_id": "+33199000000"}),
        (Command.ATTEST, {"target_id": "alpha-pay"}),
        (Command.RECALL, {"line_cancelled_at": "yesterday"}),
        (Command.HOLD, {}),
        (Command.SELL, {}),
    ],
)
def test_a_proposal_takes_exactly_its_arguments(world: World, command: Command, arguments: dict[str, str]) -> None:
    """Anything missing, more, unknown or unreadable is refused as such, and kept nowhere."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    if command is Command.LIFT:
        engine(world).commands.hold(people.operator, cycle_id, "case 1")
    before = events_of(world, cycle_id)

    with pytest.raises(FallowError):
        engine(world).two_person.propose(people.operator, cycle_id, command, "case 1", arguments)
    assert events_of(world, cycle_id) == before


@pytest.mark.parametrize("how", [refusing, silent])
def test_a_platform_that_refused_or_kept_silent_can_be_attested(world: World, how: object) -> None:
    """On the digest of its own document, by two people; the tag names it apart and its category is not clear."""
    cycle_id = how(world)

    by_two(world, staff(world), cycle_id, Command.ATTEST, target_id="beta-chat", document_sha256=DOCUMENT)
    advance(world, cycle_id, State.RESELLABLE)

    owed = owed_by(world, cycle_id)["beta-chat"]
    assert (owed.status, owed.outcome) == (Status.DISCHARGED, Outcome.ATTESTED)
    assert state_of(world, cycle_id) is State.RESELLABLE
    with world.installation.db.read() as tx:
        kept = tx.session.exec(select(EvidenceRow).where(EvidenceRow.digest == owed.evidence)).one()
    assert DOCUMENT in kept.body


def test_what_did_not_refuse_cannot_be_attested(world: World) -> None:
    """Neither a platform that is still being asked, nor one that cleared, nor a record system, nor one unknown."""
    cycle_id = refusing(world, "beta-chat")
    advance(world, cycle_id, State.UNBINDING)
    world.platforms["gamma-bank"].says = lambda _: None
    other = enrolled(world, first=1)[0]
    advance(world, other, State.UNBINDING)
    engine(world).stages.clear(ref(other), TargetKind.PLATFORM)
    ask_all(world)

    for target, of in (("alpha-pay", cycle_id), ("crm", cycle_id), ("nobody", cycle_id), ("gamma-bank", other)):
        with pytest.raises(CommandRefused, match="Only a platform that refused"):
            by_two(world, staff(world), of, Command.ATTEST, target_id=target, document_sha256=DOCUMENT)


@pytest.mark.parametrize("document", ["", "D" * 64, "d" * 63, "+33199000000", "g" * 64])
def test_only_a_digest_names_a_document(sqlite_world: World, document: str) -> None:
    """SHA-256 in lower-case hex, nothing else."""
    cycle_id = refusing(sqlite_world)

    with pytest.raises(InputRefused):
        by_two(sqlite_world, staff(sqlite_world), cycle_id, Command.ATTEST, target_id="beta-chat", document_sha256=document)


def test_an_attestation_overtaken_by_the_platform_is_not_carried_out(world: World) -> None:
    """Once the platform has cleared it itself, its own word stands, not the operator's."""
    people, two = staff(world), engine(world).two_person
    cycle_id = refusing(world)
    arguments = {"target_id": "beta-chat", "document_sha256": DOCUMENT}
    proposal = two.propose(people.operator, cycle_id, Command.ATTEST, "letter 1", arguments)
    answer(world, "beta-chat", cycle_id, Outcome.UNBOUND)

    with pytest.raises(CommandRefused):
        two.approve(people.approver, proposal)
    assert owed_by(world, cycle_id)["beta-chat"].outcome is Outcome.CLEAR


def test_every_two_person_command_obeys_the_table_in_every_state(sqlite_world: World) -> None:
    """Wherever the lifecycle refuses a command, held or not, it can't even be proposed."""
    world, people = sqlite_world, staff(sqlite_world)
    given = {
        **FORMER_HOLDER,
        "hold_id": "h_none",
        "target_id": "nobody",
        "document_sha256": DOCUMENT,
        "line_cancelled_at": START.isoformat(),
    }
    ids = enrolled(world, len(ACTIVE) + 1)
    for cycle_id, state in zip(ids, (*ACTIVE, State.RESELLABLE), strict=True):
        advance(world, cycle_id, state)
        for held in (False, True):
            if held:
                engine(world).commands.hold(people.operator, cycle_id, "case 0")
            refused = {command for command in ARGUMENTS if not allows(state, command, held=held)}
            for command in sorted(refused):
                arguments = {name: given[name] for name in ARGUMENTS[command]}
                with pytest.raises(CommandRefused, match=f"{state}.*{command} is refused"):
                    engine(world).two_person.propose(people.operator, cycle_id, command, "case 1", arguments)


@pytest.mark.parametrize("before", [State.QUARANTINED, State.TAGGING])
def test_a_line_back_in_service_stops_the_number_before_wiping_and_before_the_gate(world: World, before: State) -> None:
    """The register is asked again before what can't be undone, and at the end; its word then counts."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, before)
    world.lines.said[number(0)] = LineStatus.IN_SERVICE

    advance(world, cycle_id, State.RESELLABLE)
    stopped = (state_of(world, cycle_id), facts_of(world, cycle_id).attention)
    world.lines.said.clear()
    engine(world).commands.retry(staff(world).operator, cycle_id, "cut again")
    advance(world, cycle_id, State.RESELLABLE)

    assert stopped == (before, {Attention(Reason.LINE_IN_SERVICE)})
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_a_retired_number_is_left_alone_by_what_was_in_flight(world: World) -> None:
    """Receipts and answers that come later are written down and bring nothing back to life."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.UNBINDING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    by_two(world, people, cycle_id, Command.RETIRE)

    answer(world, "alpha-pay", cycle_id, Outcome.CLEAR)
    wipe_all(world)
    ask_all(world)
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.RETIRED
