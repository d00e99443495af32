"""One person's commands on both databases: who may, when, and what each one does."""

from datetime import timedelta, timezone
from itertools import product

import pytest
from builders import World, a_person, advance, enrolled, state_of
from builders_commands import DAY, ONE_PERSON, order, refusing, silent
from builders_cycles import answer, engine, events_of, facts_of, owed_by, row_of, staff
from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown, PersonRefused, SecondPersonNeeded
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, Command, State, allows
from fallow.domain.obligations import Outcome, Status
from fallow.domain.people import Role
from fallow.store.tables import HoldRow


@pytest.mark.parametrize(("command", "role"), list(product(ONE_PERSON, [Role.APPROVER, Role.AUDITOR, Role.SHOP, Role.PLATFORM])))
def test_only_staff_may_command(sqlite_world: World, command: Command, role: Role) -> None:
    """Whoever else asks changes nothing, and the line register is not asked for them."""
    cycle_id = enrolled(sqlite_world)[0]
    before = events_of(sqlite_world, cycle_id)
    sqlite_world.lines.down = True

    with pytest.raises(PersonRefused):
        order(sqlite_world, a_person(sqlite_world, role), cycle_id, command)

    assert events_of(sqlite_world, cycle_id) == before


def test_every_one_person_command_obeys_the_table_in_every_state(sqlite_world: World) -> None:
    """Each cell with a state on the way to REASSIGNED, held or not, is what the lifecycle says."""
    world, people = sqlite_world, staff(sqlite_world)
    ids = iter(enrolled(world, len(ACTIVE) * 2 * len(ONE_PERSON) + 2 * len(ONE_PERSON)))
    for state, command, held in product((*ACTIVE, State.RESELLABLE), ONE_PERSON, (False, True)):
        cycle_id = next(ids)
        advance(world, cycle_id, state)
        if held:
            engine(world).commands.hold(people.operator, cycle_id, "case 0")
        if allows(state, command, held=held):
            order(world, people.operator, cycle_id, command)
            continue
        before = events_of(world, cycle_id)
        with pytest.raises(CommandRefused):
            order(world, people.operator, cycle_id, command)
        assert events_of(world, cycle_id) == before


@pytest.mark.parametrize("command", [each for each in ONE_PERSON if each is not Command.LIFT])
def test_a_command_wakes_the_workflow_and_says_who_and_why(world: World, command: Command) -> None:
    """One transaction: event with person and reference, and the wake."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))

    order(world, people.operator, cycle_id, command)

    said = next(event.body for event in reversed(events_of(world, cycle_id)) if "by" in event.body)
    assert (said["by"], said["reference"]) == (people.operator.person_id, "case 1")
    assert row_of(world, cycle_id).wake_at is not None


@pytest.mark.parametrize("command", ONE_PERSON)
def test_an_unknown_cycle_is_refused(sqlite_world: World, command: Command) -> None:
    """No command invents a cycle."""
    with pytest.raises(NotKnown):
        engine(sqlite_world).commands.hold(staff(sqlite_world).operator, "n_nobody/1", "case 1")
    with pytest.raises((NotKnown, KeyError)):
        order(sqlite_world, staff(sqlite_world).operator, "n_nobody/1", command)


@pytest.mark.parametrize("reference", ["", "+8613800138000", "x" * 65])
def test_a_reference_that_could_be_a_number_is_refused(world: World, reference: str) -> None:
    """And nothing happened."""
    cycle_id = enrolled(world)[0]

    with pytest.raises(InputRefused):
        engine(world).commands.hold(staff(world).operator, cycle_id, reference)
    assert not facts_of(world, cycle_id).held


def test_a_hold_stops_every_stage_and_lifting_lets_it_go_on(world: World) -> None:
    """In no stage does a held number move; the quarantine clock goes on meanwhile."""
    people, operations = staff(world), engine(world)
    for index, state in enumerate(ACTIVE[1:]):
        cycle_id = enrolled(world, first=index)[0]
        advance(world, cycle_id, state)
        hold_id = operations.commands.hold(people.operator, cycle_id, "case 1")

        advance(world, cycle_id, State.RESELLABLE)
        held = state_of(world, cycle_id)
        operations.commands.lift(people.operator, cycle_id, hold_id, "case 1")
        advance(world, cycle_id, State.RESELLABLE)

        assert (held, state_of(world, cycle_id)) == (state, State.RESELLABLE)


def test_of_two_holds_each_must_be_lifted(world: World) -> None:
    """Lifting one leaves the number held; the same hold is lifted once."""
    people, commands = staff(world), engine(world).commands
    cycle_id = enrolled(world)[0]
    first = commands.hold(people.operator, cycle_id, "case 1")
    commands.hold(people.operator, cycle_id, "case 2")

    commands.lift(people.operator, cycle_id, first, "case 1")

    assert facts_of(world, cycle_id).held
    with pytest.raises(NotKnown):
        commands.lift(people.operator, cycle_id, first, "case 1")


def test_a_hold_of_another_cycle_cannot_be_lifted_here(world: World) -> None:
    """A hold belongs to its cycle."""
    people, commands = staff(world), engine(world).commands
    first, second = enrolled(world, 2)
    foreign = commands.hold(people.operator, first, "case 1")
    commands.hold(people.operator, second, "case 2")

    with pytest.raises(NotKnown):
        commands.lift(people.operator, second, foreign, "case 1")


def test_the_hold_on_a_crime_takes_two_people_to_lift(world: World) -> None:
    """One person is told so; with two, the hold and the attention go, and the number goes on."""
    people = staff(world)
    cycle_id = enrolled(world, reason="crime")[0]
    (hold_id,) = facts_of(world, cycle_id).holds

    with pytest.raises(SecondPersonNeeded):
        engine(world).commands.lift(people.operator, cycle_id, hold_id, "authority 1")
    two, hold = engine(world).two_person, {"hold_id": hold_id}
    two.approve(people.other_approver, two.propose(people.approver, cycle_id, Command.LIFT, "authority 1", hold))
    cycle = facts_of(world, cycle_id)
    advance(world, cycle_id, State.RESELLABLE)

    assert (cycle.holds, cycle.attention) == (frozenset(), frozenset())
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_retry_does_not_clear_a_crime(world: World) -> None:
    """No single person makes it go away."""
    cycle_id = enrolled(world, reason="crime")[0]

    engine(world).commands.retry(staff(world).operator, cycle_id, "case 1")

    assert facts_of(world, cycle_id).attention == {Attention(Reason.CRIME)}


@pytest.mark.parametrize("later", [timedelta(0), -DAY, -timedelta(seconds=1)])
def test_quarantine_is_never_shortened(world: World, later: timedelta) -> None:
    """Only a later instant is taken."""
    cycle_id = enrolled(world)[0]
    release_at = row_of(world, cycle_id).release_at

    with pytest.raises(InputRefused):
        engine(world).commands.extend(staff(world).operator, cycle_id, release_at + later, "case 1")
    with pytest.raises(InputRefused):
        engine(world).commands.extend(staff(world).operator, cycle_id, (release_at + DAY).replace(tzinfo=None), "case 1")
    assert row_of(world, cycle_id).release_at == release_at


def test_an_extension_is_kept_by_the_stage(world: World) -> None:
    """The old instant passes and nothing ends; the new one does."""
    cycle_id = enrolled(world)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))
    first = row_of(world, cycle_id).release_at
    engine(world).commands.extend(staff(world).operator, cycle_id, first + DAY, "case 1")

    world.clock.pass_to(first)
    look = engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())
    world.clock.pass_to(first + DAY)
    last = engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())

    assert (look.done, look.look_at, last.done) == (False, first + DAY, True)


@pytest.mark.parametrize("state", [State.UNBINDING, State.TAGGING, State.RESELLABLE])
def test_a_wiped_number_is_returned_at_once(world: World, state: State) -> None:
    """There is nothing left to wait for."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, state)

    engine(world).commands.hand_back(staff(world).operator, cycle_id, "range")

    assert state_of(world, cycle_id) is State.RETURNED


@pytest.mark.parametrize("state", [State.QUARANTINED, State.WIPING])
def test_an_unwiped_number_is_returned_once_wiped(world: World, state: State) -> None:
    """Nothing of the former holder leaves with it."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, state)

    engine(world).commands.hand_back(staff(world).operator, cycle_id, "range")
    ordered = state_of(world, cycle_id)
    advance(world, cycle_id, State.RESELLABLE)

    assert (ordered, state_of(world, cycle_id)) == (state, State.RETURNED)
    assert facts_of(world, cycle_id).settled == ("QUARANTINE", "WIPING")


def test_retry_arms_what_was_refused(world: World) -> None:
    """The obligation is open and due again, the attention gone; answered now, the number goes on."""
    cycle_id = refusing(world)
    before = (owed_by(world, cycle_id)["beta-chat"].status, facts_of(world, cycle_id).attention)

    engine(world).commands.retry(staff(world).operator, cycle_id, "settled")
    armed = (owed_by(world, cycle_id)["beta-chat"], facts_of(world, cycle_id).attention)
    world.platforms["beta-chat"].says = lambda _: Outcome.UNBOUND
    advance(world, cycle_id, State.RESELLABLE)

    assert before == (Status.REFUSED, {Attention(Reason.PLATFORM_REFUSED, "beta-chat")})
    assert (armed[0].status, armed[0].outcome, armed[0].evidence, armed[1]) == (Status.OPEN, None, None, frozenset())
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_retry_asks_a_silent_platform_again(world: World) -> None:
    """With all its reminders before a person is asked once more."""
    cycle_id = silent(world)
    asked = len(world.platforms["beta-chat"].asked)
    before = facts_of(world, cycle_id).attention

    engine(world).commands.retry(staff(world).operator, cycle_id, "called them")
    world.platforms["beta-chat"].says = lambda _: Outcome.NOT_BOUND
    advance(world, cycle_id, State.RESELLABLE)

    assert before == {Attention(Reason.PLATFORM_SILENT, "beta-chat")}
    assert asked == 3  # once, and two reminders
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_retry_wipes_again_what_was_incomplete(world: World) -> None:
    """Rows that remained stop the number until the records map is mended."""
    world.record_systems["crm"].remaining = 2
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    before = (state_of(world, cycle_id), facts_of(world, cycle_id).attention)

    world.record_systems["crm"].remaining = 0
    engine(world).commands.retry(staff(world).operator, cycle_id, "mended")
    world.clock.pass_by(DAY)
    advance(world, cycle_id, State.RESELLABLE)

    assert before == (State.WIPING, {Attention(Reason.WIPE_INCOMPLETE, "crm")})
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_retry_after_a_contradiction_waits_for_the_platform_and_goes_on(world: World) -> None:
    """In TAGGING too, one retry is enough: the number waits for the answer instead of for another person."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    operations = engine(world)
    answer(world, "alpha-pay", cycle_id, Outcome.REFUSED)
    operations.release.release(ref(cycle_id))
    contradicted = facts_of(world, cycle_id).attention

    operations.commands.retry(staff(world).operator, cycle_id, "settled")
    waiting = operations.release.release(ref(cycle_id))
    answer(world, "alpha-pay", cycle_id, Outcome.CLEAR)
    woken = row_of(world, cycle_id).wake_at
    operations.release.release(ref(cycle_id))

    assert contradicted == {Attention(Reason.PLATFORM_CONTRADICTED, "alpha-pay")}
    assert (waiting.state, waiting.attention) == ("TAGGING", [])
    assert woken is not None
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_a_reminder_is_recorded_with_when_and_how(world: World) -> None:
    """Who recorded it and under which reference too; the workflow looks again."""
    people, clock = staff(world), world.clock
    cycle_id = enrolled(world)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))
    reminded_at = clock.now().astimezone(timezone(timedelta(hours=8))) - timedelta(hours=1)

    engine(world).commands.remind(people.operator, cycle_id, reminded_at, "letter", "notice 7")

    event = events_of(world, cycle_id)[-1]
    said = {"at": reminded_at.isoformat(), "channel": "letter", "by": people.operator.person_id, "reference": "notice 7"}
    assert (event.kind, event.body) == (Kind.HOLDER_REMINDED, said)
    assert facts_of(world, cycle_id).reminded_at == reminded_at
    assert row_of(world, cycle_id).wake_at is not None


@pytest.mark.parametrize(
    ("after_disconnect", "channel"),
    [
        (2 * DAY, "sms"),  # the line ended a day ago: this is tomorrow
        (DAY + timedelta(seconds=1), "sms"),
        (-366 * DAY - timedelta(seconds=1), "sms"),
        (timedelta(0), "pigeon"),
        (timedelta(0), ""),
        (timedelta(0), "+33199000000"),
    ],
)
def test_a_reminder_that_can_t_be_one_is_refused(world: World, after_disconnect: timedelta, channel: str) -> None:
    """In the future, long before the line ended, or by no known channel: nothing is recorded, and the channel is not repeated."""
    cycle_id = enrolled(world)[0]
    before = events_of(world, cycle_id)
    reminded_at = row_of(world, cycle_id).disconnected_at + after_disconnect

    with pytest.raises(InputRefused) as refused:
        engine(world).commands.remind(staff(world).operator, cycle_id, reminded_at, channel, "notice 7")
    assert events_of(world, cycle_id) == before
    assert not channel or channel == "sms" or channel not in str(refused.value)


@pytest.mark.parametrize("after_disconnect", [-366 * DAY, DAY])
def test_a_reminder_may_precede_the_end_of_the_line_by_a_year(world: World, after_disconnect: timedelta) -> None:
    """To the day, and it may be of this very instant; without an offset it is refused."""
    people, cycle_id = staff(world), enrolled(world)[0]
    reminded_at = row_of(world, cycle_id).disconnected_at + after_disconnect

    with pytest.raises(InputRefused):
        engine(world).commands.remind(people.operator, cycle_id, reminded_at.replace(tzinfo=None), "sms", "notice 7")
    engine(world).commands.remind(people.operator, cycle_id, reminded_at, "sms", "notice 7")

    assert facts_of(world, cycle_id).reminded_at == reminded_at


def test_a_hold_keeps_its_review_date(world: World) -> None:
    """Today is early enough, yesterday is not; a hold without one has none."""
    people, commands = staff(world), engine(world).commands
    cycle_id, today = enrolled(world)[0], world.clock.now().date()

    with pytest.raises(InputRefused, match="review date"):
        commands.hold(people.operator, cycle_id, "case 1", today - DAY)
    dated = commands.hold(people.operator, cycle_id, "case 1", today)
    undated = commands.hold(people.operator, cycle_id, "case 2")

    with world.installation.db.read() as tx:
        kept = {hold.hold_id: hold.review_on for hold in tx.session.exec(select(HoldRow))}
    assert kept == {dated: today, undated: None}
    placed = [event.body.get("review_on") for event in events_of(world, cycle_id) if event.kind is Kind.HOLD_PLACED]
    assert placed == [today.isoformat(), None]


def test_a_ported_number_is_withdrawn_before_wiping_only(world: World) -> None:
    """Afterwards the refusal says what is possible instead."""
    people, commands = staff(world), engine(world).commands
    early, late = enrolled(world, 2)
    advance(world, late, State.WIPING)

    commands.withdraw(people.operator, early, "port 7")
    with pytest.raises(CommandRefused, match=r"WIPING: withdraw is refused.*retire or return the number instead"):
        commands.withdraw(people.operator, late, "port 7")

    assert (state_of(world, early), state_of(world, late)) == (State.WITHDRAWN, State.WIPING)


def test_an_ended_cycle_is_not_returned(world: World) -> None:
    """Whoever tries is told that the number is not here any more."""
    people, commands = staff(world), engine(world).commands
    cycle_id = enrolled(world)[0]
    commands.withdraw(people.operator, cycle_id, "port 7")

    with pytest.raises(CommandRefused, match=r"WITHDRAWN: return is refused.*has ended"):
        commands.hand_back(people.operator, cycle_id, "range")
