"""What must be true before wiping besides the date: the former holder reminded, and nobody calling the number any more."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from builders import RULE, World, advance, an_installation, enrolled, state_of
from builders_cycles import engine, events_of, facts_of, row_of, staff

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.ports import Look
from fallow.domain.traffic import QuietRule
from fallow.store import cycles
from fallow.store.tables import TrafficRow

DAY = timedelta(days=1)
QUIET = QuietRule(window_days=14, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=30 * DAY)
STILL_CALLED, UNKNOWN = Attention(Reason.STILL_CALLED), Attention(Reason.TRAFFIC_UNKNOWN)
NOT_REMINDED = Attention(Reason.REMINDER_MISSING)


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Give a way to make a world with a policy of its own."""
    worlds = list[World]()

    def make(**policy: object) -> World:
        worlds.append(an_installation(tmp_path, url=database_url, **policy))
        return worlds[-1]

    yield make
    for world in worlds:
        world.installation.db.close()


def ripe(world: World, **cells: str) -> str:
    """Return a quarantined cycle whose release date has come."""
    cycle_id = enrolled(world, **cells)[0]
    engine(world).stages.begin_quarantine(ref(cycle_id))
    world.clock.pass_to(row_of(world, cycle_id).release_at)
    return cycle_id


def look(world: World, cycle_id: str) -> Look:
    """Take the step at the end of quarantine, twice: what one look decides the next one confirms."""
    for _ in range(2):
        seen = engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())
    return seen


def count(world: World, cycle_id: str, back: int, attempts: int = 0, otp_like: int = 0) -> None:
    """Write the counters of the day ``back`` days ago."""
    on_date = world.clock.now().date() - back * DAY
    with world.installation.db.begin() as tx:
        row = TrafficRow(number_id=ref(cycle_id).number_id, on_date=on_date, attempts=attempts, messages=0, otp_like=otp_like)
        tx.session.merge(row)


def count_all(world: World, cycle_id: str, newest: int = 1, days: int = 14, **noisy: int) -> None:
    """Write a silent window that ends ``newest`` days ago; ``noisy`` goes on its oldest day."""
    for back in range(newest, newest + days):
        count(world, cycle_id, back, **(noisy if back == newest + days - 1 else {}))


def today(world: World) -> date:
    """Return the database's day."""
    return world.clock.now().date()


def test_a_quiet_number_goes_on(made: Callable[..., World]) -> None:
    """Two attempts in fourteen whole days and no one-time password are quiet, and what was seen is on record."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    count_all(world, cycle_id, attempts=2)

    assert look(world, cycle_id).done
    with world.installation.db.read() as tx:
        (judged,) = [event.body for event in cycles.events(tx, cycle_id) if event.kind is Kind.TRAFFIC_JUDGED]
    assert (judged["verdict"], judged["attempts"], judged["missing"]) == ("quiet", 2, 0)
    assert judged["to_on"] == (today(world) - DAY).isoformat()


@pytest.mark.parametrize("noise", [{"attempts": 3}, {"otp_like": 1}])
def test_a_number_that_is_called_waits(made: Callable[..., World], noise: dict[str, int]) -> None:
    """At the limit it waits, with one timer set to the day on which the noise leaves the window, and nobody is bothered yet."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    count_all(world, cycle_id, **noise)

    seen = look(world, cycle_id)

    assert (seen.state, seen.done, seen.attention) == (State.QUARANTINED, False, [])
    assert seen.look_at is not None
    assert seen.look_at.date() == today(world) - 14 * DAY + 16 * DAY
    assert [event.kind for event in events_of(world, cycle_id)].count(Kind.TRAFFIC_JUDGED) == 1


def test_it_goes_on_once_it_has_become_quiet(made: Callable[..., World]) -> None:
    """New days without calls let it go on."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    count_all(world, cycle_id, attempts=9)
    waited = look(world, cycle_id)
    world.clock.pass_by(DAY)
    count(world, cycle_id, 1)

    assert not waited.done
    assert look(world, cycle_id).done


@pytest.mark.parametrize("missing", [1, 2, 14])
def test_missing_counters_are_not_quiet(made: Callable[..., World], missing: int) -> None:
    """A day without counters keeps the number where it is; only counters or a person move it."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    count_all(world, cycle_id, newest=1 + missing if missing < 14 else 1, days=14 - missing)

    seen = look(world, cycle_id)

    assert (seen.state, seen.done) == (State.QUARANTINED, False)
    assert seen.look_at == row_of(world, cycle_id).release_at + QUIET.patience_for
    assert row_of(world, cycle_id).traffic == "unknown"


@pytest.mark.parametrize(("noise", "attention"), [(5, STILL_CALLED), (None, UNKNOWN)])
def test_at_the_end_of_patience_a_person_must_look(made: Callable[..., World], noise: int | None, attention: Attention) -> None:
    """Noisy or unknown past its patience it is in ATTENTION; once it is quiet the next look clears that by itself."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    world.clock.pass_by(QUIET.patience_for)
    if noise is not None:
        count_all(world, cycle_id, attempts=noise)

    seen = look(world, cycle_id)
    assert (seen.done, seen.look_at, facts_of(world, cycle_id).attention) == (False, None, {attention})

    world.clock.pass_by(14 * DAY)
    count_all(world, cycle_id)
    assert look(world, cycle_id).done
    assert facts_of(world, cycle_id).attention == frozenset()


def test_the_rules_maximum_ends_patience(made: Callable[..., World]) -> None:
    """Where the rule's maximum comes first, the person is called then."""
    world = made(quiet=QUIET, rule=replace(RULE, maximum_for=RULE.quarantine_for + 3 * DAY))
    cycle_id = ripe(world)
    first = look(world, cycle_id)
    world.clock.pass_by(3 * DAY)

    assert first.attention == []
    assert first.look_at == row_of(world, cycle_id).overdue_at
    assert look(world, cycle_id).attention == [str(UNKNOWN)]


def test_a_number_called_again_does_not_pass_the_gate(made: Callable[..., World]) -> None:
    """Calls that begin after wiping are seen at the gate, which names them."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    count_all(world, cycle_id)
    look(world, cycle_id)
    advance(world, cycle_id, State.TAGGING)
    count(world, cycle_id, 1, attempts=40)
    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.TAGGING
    with world.installation.db.read() as tx:
        (why,) = [event.body["why"] for event in cycles.events(tx, cycle_id) if "gate-short" in str(event.body.get("attention"))]
    assert why == ["residual traffic is noisy"]


def test_a_waiting_number_is_not_taken_for_a_stalled_one(made: Callable[..., World]) -> None:
    """The sweep that heals lost nudges leaves it alone: it has a timer, and counters wake it."""
    world = made(quiet=QUIET)
    cycle_id = ripe(world)
    look(world, cycle_id)
    world.clock.pass_by(DAY)
    with world.installation.db.read() as tx:
        assert cycles.stalled(tx, 10) == []


def test_a_holder_not_reminded_stops_the_number(made: Callable[..., World]) -> None:
    """Where the rule wants a reminder nothing is wiped without one; recorded, the next look goes on."""
    world = made(rule=replace(RULE, reminder=True))
    cycle_id = ripe(world)
    assert look(world, cycle_id).attention == [str(NOT_REMINDED)]

    engine(world).commands.remind(staff(world).operator, cycle_id, world.clock.now() - DAY, "sms", "notice 7")

    assert look(world, cycle_id).done
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_temporals_clock_must_have_come_there_too(made: Callable[..., World]) -> None:
    """A database clock set forward moves no number: the workflow's time is asked as well."""
    world = made()
    cycle_id = ripe(world)
    release_at = row_of(world, cycle_id).release_at
    before = engine(world).stages.end_quarantine(ref(cycle_id), release_at - timedelta(seconds=1))

    assert (before.done, before.look_at) == (False, release_at)
    assert engine(world).stages.end_quarantine(ref(cycle_id), release_at).done
