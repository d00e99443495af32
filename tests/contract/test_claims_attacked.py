"""Ways round a claim, a lock or a quarantine that one person, or two who failed before, might try; and wakes that storm or sleep."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders import World, an_installation, enrolled
from builders_commands import DAY, by_two, claim
from builders_cycles import Staff, engine, facts_of, row_of, staff

from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, InputRefused, SecondPersonNeeded
from fallow.domain.lifecycle import Command, State
from fallow.domain.traffic import QuietRule
from fallow.store import cycles

QUIET = QuietRule(window_days=14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=30 * DAY)


def deny(world: World, people: Staff, proposal: str) -> None:
    """Deny a claim."""
    engine(world).two_person.deny(people.other_approver, proposal, "photo differs")


def unlocking(world: World, people: Staff, cycle_id: str) -> str:
    """Propose to unlock, by somebody whose claims were never denied."""
    return engine(world).two_person.propose(people.enroller, cycle_id, Command.UNLOCK, "case 9", {})


@pytest.mark.parametrize("order", ["withdraw", "hand_back"])
def test_one_person_does_not_take_a_claimed_number_away(world: World, order: str) -> None:
    """While a claim is open nobody withdraws the number or returns it."""
    people, cycle_id = staff(world), enrolled(world)[0]
    claim(world, people.approver, cycle_id)

    with pytest.raises(CommandRefused, match="claims the number"):
        getattr(engine(world).commands, order)(people.operator, cycle_id, "ported out")


def test_withdrawing_and_enrolling_again_shortens_no_quarantine(world: World) -> None:
    """An older disconnect is refused, and the release date of the withdrawn cycle stands."""
    people, first = staff(world), enrolled(world, reason="ordinary")[0]
    engine(world).commands.extend(people.operator, first, row_of(world, first).release_at + 90 * DAY, "case 1")
    engine(world).commands.withdraw(people.operator, first, "by mistake")
    world.clock.pass_by(DAY)
    backdated = enrolled(world, disconnected_at=(world.clock.now() - 400 * DAY).isoformat())
    again = enrolled(world)[0]

    assert backdated == [first]
    assert again != first
    assert row_of(world, again).release_at >= row_of(world, first).release_at


def test_denied_claimants_do_not_unlock_a_later_cycle(world: World) -> None:
    """The lock comes along into the next cycle, and with it whose claims it was."""
    people, first = staff(world), enrolled(world)[0]
    for person in (people.operator, people.approver):
        deny(world, people, claim(world, person, first))
    engine(world).commands.withdraw(people.operator, first, "by mistake")
    world.clock.pass_by(DAY)
    again = enrolled(world)[0]

    for person in (people.operator, people.approver):
        with pytest.raises(SecondPersonNeeded):
            engine(world).two_person.propose(person, again, Command.UNLOCK, "case 9", {})


def test_who_is_denied_after_proposing_does_not_unlock(world: World) -> None:
    """An unlock that was proposed by somebody whose own claim then failed is not carried out."""
    people, cycle_id = staff(world), enrolled(world)[0]
    own = claim(world, people.enroller, cycle_id)
    for person in (people.operator, people.approver):
        deny(world, people, claim(world, person, cycle_id))
    proposal = unlocking(world, people, cycle_id)
    deny(world, people, own)

    with pytest.raises(SecondPersonNeeded):
        engine(world).two_person.approve(people.other_approver, proposal)
    assert facts_of(world, cycle_id).denials == 3


def test_a_claim_made_before_the_lock_does_not_come_back_with_the_unlocking(world: World) -> None:
    """Unlocking closes what was still open: whoever means it claims again."""
    people, cycle_id = staff(world), enrolled(world)[0]
    sleeping = claim(world, people.operator, cycle_id)
    for person in (people.operator, people.approver):
        deny(world, people, claim(world, person, cycle_id))
    engine(world).two_person.approve(people.other_approver, unlocking(world, people, cycle_id))

    with pytest.raises(CommandRefused, match="decided before"):
        engine(world).two_person.approve(people.other_approver, sleeping)
    assert facts_of(world, cycle_id).attention == frozenset()


def test_a_reminder_to_the_holder_before_is_none(world: World) -> None:
    """A number that came back from its former holder needs a reminder of its own."""
    people, first = staff(world), enrolled(world)[0]
    by_two(world, people, first, Command.RECLAIM, ground="former-holder")
    reclaimed_at = world.clock.now()
    world.clock.pass_by(3 * DAY)
    again = enrolled(world)[0]

    with pytest.raises(InputRefused):
        engine(world).commands.remind(people.operator, again, reclaimed_at - DAY, "sms", "notice 1")
    engine(world).commands.remind(people.operator, again, reclaimed_at + DAY, "sms", "notice 2")


def test_no_extension_reaches_the_end_of_the_calendar(world: World) -> None:
    """A quarantine is extended by a hundred years at most."""
    people, cycle_id = staff(world), enrolled(world)[0]

    with pytest.raises(InputRefused):
        engine(world).commands.extend(people.operator, cycle_id, world.clock.now() + 36600 * DAY, "case 1")


@pytest.fixture
def noisy(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world whose policy has a quiet rule; nobody feeds counters."""
    world = an_installation(tmp_path, url=database_url, quiet=QUIET)
    yield world
    world.installation.db.close()


def looked_at_when_ripe(world: World, early: timedelta = timedelta(0)) -> str:
    """Return a ripe cycle that was looked at, by a Temporal clock that may be behind, and that still waits."""
    cycle_id = enrolled(world)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))
    world.clock.pass_to(row_of(world, cycle_id).release_at)
    assert not engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now() - early).done
    with world.installation.db.begin() as tx:
        cycles.lock_one(tx, cycle_id).wake_at = None
    return cycle_id


def stalled_after(world: World, span: timedelta) -> list[str]:
    """Let time pass and return what the sweep would wake."""
    world.clock.pass_by(span)
    with world.installation.db.read() as tx:
        return cycles.stalled(tx, 10)


def test_a_clock_ahead_of_temporals_starts_no_storm(world: World) -> None:
    """What waits for Temporal's clock is woken by the sweep once an hour, not at each sweep."""
    cycle_id = looked_at_when_ripe(world, early=DAY)

    assert stalled_after(world, timedelta(minutes=59)) == []
    assert stalled_after(world, timedelta(minutes=2)) == [cycle_id]


def test_a_number_that_is_not_quiet_never_sleeps_for_ever(noisy: World) -> None:
    """Should its timer be lost, the sweep wakes it after a day."""
    cycle_id = looked_at_when_ripe(noisy)

    assert stalled_after(noisy, timedelta(hours=24)) == []
    assert stalled_after(noisy, timedelta(hours=2)) == [cycle_id]
    assert row_of(noisy, cycle_id).state == State.QUARANTINED
