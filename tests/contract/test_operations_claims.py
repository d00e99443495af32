"""People who come back for their number, on both databases: the SIM-fraud door, its lock, and what must not happen meanwhile."""

from datetime import timedelta

import pytest
from builders import World, a_person, advance, enrolled, state_of
from builders_commands import DAY, by_two, claim
from builders_cycles import Staff, engine, events_of, facts_of, row_of, staff
from memory_ports import START

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown, PersonRefused, SecondPersonNeeded
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.domain.people import Role
from fallow.operations.open_proposals import open_proposals
from fallow.operations.people import admit, authenticate, revoke
from fallow.operations.proposals import PROPOSAL_STANDS_FOR

WAITS, LOCKED = Attention(Reason.RECLAIM_WAITS), Attention(Reason.RECLAIM_LOCKED)
WRONGFUL = Attention(Reason.WRONGFUL_DISCONNECT)
EXPIRY = PROPOSAL_STANDS_FOR + timedelta(seconds=1)


def locked(world: World, people: Staff) -> str:
    """Return a cycle two claims of which were denied: one by the operator, one by an approver."""
    cycle_id = enrolled(world, by=people.enroller)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))
    for person in (people.operator, people.approver):
        engine(world).two_person.deny(people.other_approver, claim(world, person, cycle_id), "photo differs")
    return cycle_id


def ripened(world: World, cycle_id: str) -> State:
    """Let the release date come and the cycle go as far as it may; return where it stands."""
    advance(world, cycle_id, State.RESELLABLE)
    return state_of(world, cycle_id)


@pytest.mark.parametrize("ground", ["former-holder", "successor", "wrongful"])
def test_a_reclaim_keeps_its_ground(world: World, ground: str) -> None:
    """Who came back, and with which right, can be read for ever; nothing waits any more."""
    people = staff(world)
    cycle_id = enrolled(world)[0]

    by_two(world, people, cycle_id, Command.RECLAIM, ground=ground)

    event = events_of(world, cycle_id)[-1]
    assert (event.kind, event.body["ground"], event.body["second"]) == (Kind.HOLDER_RECLAIMED, ground, people.approver.person_id)
    assert (state_of(world, cycle_id), facts_of(world, cycle_id).attention) == (State.RECLAIMED, frozenset())


def test_a_claimed_number_is_not_wiped(world: World) -> None:
    """The release date passes and nothing happens, until the claim is denied: then the number goes on by itself."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    proposal = claim(world, people.operator, cycle_id)

    waiting = (ripened(world, cycle_id), facts_of(world, cycle_id).attention)
    engine(world).two_person.deny(people.approver, proposal, "photo differs")

    assert waiting == (State.QUARANTINED, {WAITS})
    assert row_of(world, cycle_id).wake_at is not None
    assert facts_of(world, cycle_id).attention == frozenset()
    assert ripened(world, cycle_id) is State.RESELLABLE


def test_of_two_claims_each_must_be_decided(world: World) -> None:
    """Denying one leaves the number waiting for the other; the other may be the right one."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    wrong, right = claim(world, people.operator, cycle_id), claim(world, people.approver, cycle_id, "successor")

    two.deny(people.other_approver, wrong, "photo differs")
    waiting = facts_of(world, cycle_id).attention
    two.approve(people.other_approver, right)

    assert waiting == {WAITS}
    assert state_of(world, cycle_id) is State.RECLAIMED


def test_one_person_does_not_decide_by_retrying(world: World) -> None:
    """While a claim stands, retry leaves it waiting; once it has expired retry lets the number go on, and says nothing of a denial."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    proposal = claim(world, people.operator, cycle_id)

    engine(world).commands.retry(people.operator, cycle_id, "hurry")
    hurried = facts_of(world, cycle_id).attention
    world.clock.pass_by(EXPIRY)
    with pytest.raises(CommandRefused, match="no longer stands"):
        engine(world).two_person.approve(people.approver, proposal)
    engine(world).commands.retry(people.operator, cycle_id, "claim expired")

    assert hurried == {WAITS}
    assert (facts_of(world, cycle_id).attention, facts_of(world, cycle_id).denials) == (frozenset(), 0)
    assert ripened(world, cycle_id) is State.RESELLABLE


def test_a_claim_whose_proposer_left_stops_nothing_for_ever(world: World) -> None:
    """Their key is revoked, so nobody could approve it: retry clears it."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    claim(world, people.operator, cycle_id)
    with world.installation.db.begin() as tx:
        revoke(tx, people.operator.person_id)

    engine(world).commands.retry(people.enroller, cycle_id, "colleague left")

    assert facts_of(world, cycle_id).attention == frozenset()


def test_a_reclaim_once_wiping_has_begun_is_refused_clearly(world: World) -> None:
    """With the state and what to do instead; a claim too late stops nothing either."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.WIPING)

    with pytest.raises(CommandRefused, match=r"WIPING: reclaim is refused.*only before wiping begins"):
        claim(world, people.operator, cycle_id)
    assert ripened(world, cycle_id) is State.RESELLABLE


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR, Role.SHOP, Role.PLATFORM])
def test_only_approvers_deny(world: World, role: Role) -> None:
    """Denying takes what approving takes."""
    people = staff(world)
    proposal = claim(world, people.operator, enrolled(world)[0])

    with pytest.raises(PersonRefused):
        engine(world).two_person.deny(a_person(world, role), proposal, "no")


def test_who_denies_is_somebody_else(world: World) -> None:
    """Neither who proposed it, nor who enrolled the number, nor who was admitted by the proposer; and nothing happened."""
    two, enroller, proposer = engine(world).two_person, a_person(world, Role.ADMINISTRATOR), a_person(world, Role.ADMINISTRATOR)
    cycle_id = enrolled(world, by=enroller)[0]
    with world.installation.db.begin() as tx:
        api_key = admit(tx, world.installation.keys, "a friend", Role.APPROVER, by=proposer)
    with world.installation.db.read() as tx:
        friend = authenticate(tx, world.installation.keys, api_key)
    proposal = claim(world, proposer, cycle_id)
    before = events_of(world, cycle_id)

    for person in (proposer, enroller, friend):
        with pytest.raises(SecondPersonNeeded):
            two.deny(person, proposal, "no")
    assert events_of(world, cycle_id) == before


@pytest.mark.parametrize("reference", ["", "+33199000000"])
def test_a_denial_needs_a_reason(world: World, reference: str) -> None:
    """Without a reference that can be kept nothing is denied."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    proposal = claim(world, people.operator, cycle_id)

    with pytest.raises(InputRefused):
        engine(world).two_person.deny(people.approver, proposal, reference)
    assert facts_of(world, cycle_id).denials == 0
    engine(world).two_person.approve(people.approver, proposal)


def test_a_proposal_is_denied_once_and_never_approved_after(world: World) -> None:
    """What is decided stays decided, either way; an unknown proposal is not known."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    denied = claim(world, people.operator, cycle_id)
    two.deny(people.approver, denied, "photo differs")

    for again in (lambda: two.deny(people.other_approver, denied, "no"), lambda: two.approve(people.other_approver, denied)):
        with pytest.raises(CommandRefused, match="decided before"):
            again()
    with pytest.raises(NotKnown):
        two.deny(people.approver, "pr_nobody", "no")
    assert (facts_of(world, cycle_id).denials, state_of(world, cycle_id)) == (1, State.ENROLLED)


def test_any_proposal_can_be_denied(world: World) -> None:
    """A retirement is denied with who, second and why, in any state, expired or not; only claims count towards the lock."""
    people, two = staff(world), engine(world).two_person
    ids = enrolled(world, 3)
    advance(world, ids[1], State.RESELLABLE)
    proposals = [two.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {}) for cycle_id in ids]
    engine(world).commands.withdraw(people.operator, ids[2], "ported")
    world.clock.pass_by(EXPIRY)

    for cycle_id, proposal in zip(ids, proposals, strict=True):
        two.deny(people.approver, proposal, "other number")
        event = events_of(world, cycle_id)[-1]
        assert event.kind is Kind.PROPOSAL_DENIED
        assert event.body == {
            "proposal_id": proposal,
            "by": people.operator.person_id,
            "second": people.approver.person_id,
            "reference": "other number",
        }
        assert facts_of(world, cycle_id).denials == 0
    assert open_proposals(world.installation, people.auditor) == []


def test_a_claim_denied_after_the_number_is_gone_locks_nothing(world: World) -> None:
    """The list is tidied; a cycle that nobody can claim any more is not stopped."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    late = [claim(world, people.operator, cycle_id), claim(world, people.approver, cycle_id)]
    world.clock.pass_by(EXPIRY)
    engine(world).commands.retry(people.operator, cycle_id, "claims expired")
    advance(world, cycle_id, State.UNBINDING)

    for proposal in late:
        two.deny(people.other_approver, proposal, "too late")

    assert (facts_of(world, cycle_id).denials, facts_of(world, cycle_id).attention) == (0, frozenset())
    assert ripened(world, cycle_id) is State.RESELLABLE


def test_two_denials_lock_the_door_whoever_claims(world: World) -> None:
    """After the second failed identity check nobody may claim, on no ground, and the queue says what to do."""
    people = staff(world)
    cycle_id = locked(world, people)

    denied = [event.body for event in events_of(world, cycle_id) if event.kind is Kind.RECLAIM_DENIED]
    assert [(body["by"], body["second"]) for body in denied] == [
        (people.operator.person_id, people.other_approver.person_id),
        (people.approver.person_id, people.other_approver.person_id),
    ]
    assert facts_of(world, cycle_id).attention == {LOCKED}
    for person, ground in (
        (people.other_approver, "successor"),
        (people.operator, "wrongful"),
        (a_person(world, Role.OPERATOR), "former-holder"),
    ):
        with pytest.raises(CommandRefused, match=r"locked: 2 claims failed.*unlock"):
            claim(world, person, cycle_id, ground)
    assert ripened(world, cycle_id) is State.QUARANTINED


def test_claims_by_many_people_count_together(world: World) -> None:
    """Open claims of different people at once: two are denied, the rest can't be approved, only denied."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    made = [claim(world, a_person(world, Role.OPERATOR), cycle_id) for _ in range(4)]
    for proposal in made[:2]:
        two.deny(people.approver, proposal, "photo differs")

    with pytest.raises(CommandRefused, match="locked"):
        two.approve(people.approver, made[2])
    both = facts_of(world, cycle_id).attention
    for proposal in made[2:]:
        two.deny(people.other_approver, proposal, "photo differs")

    assert both == {WAITS, LOCKED}
    assert (facts_of(world, cycle_id).attention, facts_of(world, cycle_id).denials) == ({LOCKED}, 4)


def test_two_others_unlock(world: World) -> None:
    """Then one more claim is taken, and counts from the beginning."""
    people, two = staff(world), engine(world).two_person
    cycle_id = locked(world, people)
    third = a_person(world, Role.APPROVER)

    two.approve(people.other_approver, two.propose(third, cycle_id, Command.UNLOCK, "visit 9", {}))

    event = events_of(world, cycle_id)[-2]
    assert event.kind is Kind.RECLAIM_UNLOCKED
    assert event.body == {"by": third.person_id, "second": people.other_approver.person_id, "reference": "visit 9"}
    assert (facts_of(world, cycle_id).denials, facts_of(world, cycle_id).attention) == (0, frozenset())
    two.deny(people.other_approver, claim(world, people.operator, cycle_id), "photo differs")
    assert facts_of(world, cycle_id).attention == frozenset()
    two.approve(people.approver, claim(world, people.operator, cycle_id))
    assert state_of(world, cycle_id) is State.RECLAIMED


def test_the_denied_claims_own_people_do_not_unlock(world: World) -> None:
    """Whoever made a denied claim neither proposes nor approves it, nor does the enroller, nor one person alone."""
    people, two = staff(world), engine(world).two_person
    cycle_id = locked(world, people)
    third = a_person(world, Role.APPROVER)

    for claimant in (people.operator, people.approver, people.enroller):
        with pytest.raises(SecondPersonNeeded):
            two.propose(claimant, cycle_id, Command.UNLOCK, "visit 9", {})
    proposal = two.propose(third, cycle_id, Command.UNLOCK, "visit 9", {})
    for second in (people.approver, third):
        with pytest.raises(SecondPersonNeeded):
            two.approve(second, proposal)
    with pytest.raises(PersonRefused):
        two.approve(people.operator, proposal)
    assert facts_of(world, cycle_id).denials == 2


def test_an_earlier_lock_does_not_bar_its_people_for_ever(world: World) -> None:
    """After an unlocking only the claims denied since then count."""
    people, two = staff(world), engine(world).two_person
    cycle_id = locked(world, people)
    third, fourth = a_person(world, Role.APPROVER), a_person(world, Role.APPROVER)
    two.approve(people.other_approver, two.propose(third, cycle_id, Command.UNLOCK, "visit 9", {}))
    for _ in range(2):
        two.deny(people.other_approver, claim(world, fourth, cycle_id), "photo differs")

    two.approve(people.approver, two.propose(people.operator, cycle_id, Command.UNLOCK, "visit 10", {}))

    assert facts_of(world, cycle_id).denials == 0


def test_withdrawing_a_locked_number_does_not_unlock_it(world: World) -> None:
    """Withdrawn and enrolled again by one person, a locked number is still locked: a new cycle is no way around two people."""
    people = staff(world)
    engine(world).commands.withdraw(people.operator, locked(world, people), "ported out")
    world.clock.pass_by(DAY)
    again = enrolled(world, by=people.enroller)[0]

    assert facts_of(world, again).denials == 2
    with pytest.raises(CommandRefused, match="locked"):
        claim(world, people.operator, again)


def test_what_is_not_locked_is_not_unlocked(world: World) -> None:
    """Nobody wipes out one denied claim in advance, and an unlocking can't be done twice."""
    people, two = staff(world), engine(world).two_person
    cycle_id = enrolled(world)[0]
    two.deny(people.other_approver, claim(world, people.operator, cycle_id), "photo differs")
    with pytest.raises(CommandRefused, match="not locked"):
        two.propose(people.approver, cycle_id, Command.UNLOCK, "visit 9", {})

    two.deny(people.other_approver, claim(world, people.operator, cycle_id), "photo differs")
    first, second = (two.propose(people.approver, cycle_id, Command.UNLOCK, "visit 9", {}) for _ in range(2))
    two.approve(people.other_approver, first)
    with pytest.raises(CommandRefused, match="not locked"):
        two.approve(people.other_approver, second)


def test_retry_lets_a_locked_number_go_on_for_nobody(world: World) -> None:
    """The attention goes, the lock stays: still no claim is taken, and the number is recycled in the end."""
    people = staff(world)
    cycle_id = locked(world, people)

    engine(world).commands.retry(people.operator, cycle_id, "let go")

    with pytest.raises(CommandRefused, match="locked"):
        claim(world, people.other_approver, cycle_id)
    assert (facts_of(world, cycle_id).denials, facts_of(world, cycle_id).attention) == (2, frozenset())
    assert ripened(world, cycle_id) is State.RESELLABLE


def test_a_wrongful_disconnect_waits_for_its_holder(world: World) -> None:
    """Enrolled so, it is not wiped; two people give it back, or one says that it was none."""
    people = staff(world)
    back, none = enrolled(world, 2, reason="wrongful")
    before = {(ripened(world, cycle_id), facts_of(world, cycle_id).attention) for cycle_id in (back, none)}

    by_two(world, people, back, Command.RECLAIM, ground="wrongful")
    engine(world).commands.retry(people.operator, none, "was none")

    assert before == {(State.QUARANTINED, frozenset({WRONGFUL}))}
    assert (state_of(world, back), ripened(world, none)) == (State.RECLAIMED, State.RESELLABLE)


def test_people_cut_off_by_mistake_come_first(world: World) -> None:
    """Their claims head the list with the end of the next business day; the others follow by age, expired ones at the end."""
    people, two = staff(world), engine(world).two_person
    ids = enrolled(world, 5)
    old = two.propose(people.operator, ids[0], Command.RETIRE, "court 1", {})
    world.clock.pass_by(EXPIRY)
    first = claim(world, people.operator, ids[1])
    world.clock.pass_by(DAY)
    second = two.propose(people.operator, ids[2], Command.RETIRE, "wrongful", {})
    world.clock.pass_by(3 * DAY)
    urgent = claim(world, people.operator, ids[3], "wrongful")

    listed = open_proposals(world.installation, people.auditor)

    assert [each["proposal_id"] for each in listed] == [urgent, first, second, old]
    assert [each["expired"] for each in listed] == [False, False, False, True]
    # Monday 2 March 2026 and eleven days: proposed on a Friday, so Monday the 16th is the next business day.
    assert world.clock.now().date() == (START + 11 * DAY).date()
    assert [each["due_by"] for each in listed] == ["2026-03-17T00:00:00+00:00", None, None, None]
    assert listed[0]["expires_at"] == (world.clock.now() + PROPOSAL_STANDS_FOR).isoformat()


@pytest.mark.parametrize("command", [Command.RETIRE, Command.LIFT])
def test_what_is_tied_to_a_crime_takes_two_approvers(world: World, command: Command) -> None:
    """An operator can't even propose it; two approvers can, and another number's operator still may."""
    people, two = staff(world), engine(world).two_person
    cycle_id, other = *enrolled(world, reason="crime"), *enrolled(world, first=1)
    (hold_id,) = facts_of(world, cycle_id).holds
    arguments = {"hold_id": hold_id} if command is Command.LIFT else {}

    with pytest.raises(PersonRefused, match="two approvers"):
        two.propose(people.operator, cycle_id, command, "court 1", arguments)
    two.approve(people.other_approver, two.propose(people.approver, cycle_id, command, "court 1", arguments))
    two.propose(people.operator, other, Command.RETIRE, "court 2", {})

    ended = {Command.RETIRE: State.RETIRED, Command.LIFT: State.ENROLLED}
    assert (state_of(world, cycle_id), facts_of(world, cycle_id).attention) == (ended[command], frozenset())
