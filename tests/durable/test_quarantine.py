"""Half a year of quarantine on the real server, by skipping the workflow's time; the database's clock is moved along with it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
import running
from running import Engine, fresh
from sqlmodel import select
from stoppable import a_world
from temporalio.client import Client
from temporalio.testing import TimeSkipper

from fallow.domain.lifecycle import State
from fallow.domain.rules import Rule
from fallow.store.tables import LeaseRow

HALF_A_YEAR = timedelta(days=180)
RULE = Rule("*", "*", "*", "*", HALF_A_YEAR, HALF_A_YEAR, source="a test")
#: The database's clock stops short of the release, because the leases must be renewed after a leap before anything is due.
SHORT_OF_RELEASE = timedelta(seconds=3)


@pytest_asyncio.fixture
async def engine(client: Client, tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine under a rule of 180 days, all observed; without a cache, since half a year later no cache holds the workflow."""
    async with running.at_work(a_world(tmp_path, rules=(RULE,)), client, cached=0) as at_work:
        yield at_work


async def leap(engine: Engine, cycle_id: str, span: timedelta) -> None:
    """Let the workflow's time and the database's pass by ``span``; wait until the senders have their leases again."""
    skipper = TimeSkipper(engine.client)
    assert await skipper.fast_forward(engine.handle(cycle_id), span)
    engine.world.clock.pass_to(await skipper.get_current_time(engine.handle(cycle_id)))
    await running.eventually(lambda: leases_hold(engine), lambda: "the leases to be renewed")


async def leap_over_release(engine: Engine, cycle_id: str) -> None:
    """Let time pass until the quarantine is over, by both clocks."""
    release_at = engine.row(cycle_id).release_at
    engine.world.clock.pass_to(release_at - SHORT_OF_RELEASE)
    await running.eventually(lambda: leases_hold(engine), lambda: "the leases to be renewed")
    engine.world.clock.pass_to(release_at)
    skipper = TimeSkipper(engine.client)
    rest = release_at - await skipper.get_current_time(engine.handle(cycle_id))
    await skipper.fast_forward(engine.handle(cycle_id), rest + timedelta(seconds=1))


def leases_hold(engine: Engine) -> bool:
    """Tell whether every lease is in force by the database's clock."""
    with engine.world.installation.db.read() as tx:
        leases = tx.session.exec(select(LeaseRow)).all()
        return len(leases) > len(engine.world.platforms) and all(lease.until > tx.now for lease in leases)


async def looks_at_the_end(engine: Engine, cycle_id: str) -> int:
    """Return how often the workflow has asked whether quarantine is over, once it has come to rest."""
    return running.steps_taken(await engine.quiet(cycle_id)).count("end_quarantine")


async def test_half_a_year_is_one_timer(engine: Engine) -> None:
    """180 days pass on one timer and the usual number of events, and not a day is missing between disconnect and release."""
    cycle_id = engine.enrol(fresh())
    await engine.until(cycle_id, State.QUARANTINED)
    await leap(engine, cycle_id, timedelta(days=90))
    assert (await engine.status(cycle_id)).state == State.QUARANTINED
    assert running.pending_timers(await engine.quiet(cycle_id)) == 1
    await leap_over_release(engine, cycle_id)
    assert await engine.ended(cycle_id) is State.RESELLABLE
    names = running.named(await engine.history(cycle_id))
    assert (names.count("TIMER_STARTED"), names.count("TIMER_FIRED")) == (1, 1)
    assert len([name for name in names if "TIME_SKIPPING" not in name and "OPTIONS_UPDATED" not in name]) <= 40
    row = engine.row(cycle_id)
    assert row.quarantine_ended_at is not None
    assert row.quarantine_ended_at - row.enrolled_at >= HALF_A_YEAR


async def test_a_database_clock_set_forward_moves_no_number(engine: Engine) -> None:
    """With the database a year ahead and told to look, the number stays until Temporal's clock has come there too, on one timer."""
    cycle_id = engine.enrol(fresh())
    release_at = (await engine.until(cycle_id, State.QUARANTINED)).release_at
    looks = await looks_at_the_end(engine, cycle_id)
    engine.world.clock.pass_by(timedelta(days=366))
    await engine.nudge(cycle_id)
    assert await looks_at_the_end(engine, cycle_id) > looks
    assert (await engine.status(cycle_id)).look_at == release_at
    assert engine.row(cycle_id).state == State.QUARANTINED
    assert engine.record_system().wiped == []
    assert running.pending_timers(await engine.quiet(cycle_id)) == 1
    await running.eventually(lambda: leases_hold(engine), lambda: "the leases to be renewed")
    await TimeSkipper(engine.client).fast_forward(engine.handle(cycle_id), HALF_A_YEAR + timedelta(hours=1))
    assert await engine.ended(cycle_id) is State.RESELLABLE


async def test_a_database_clock_that_is_behind_is_waited_for(engine: Engine) -> None:
    """With Temporal half a year ahead the number stays until the database's clock has come there too."""
    cycle_id = engine.enrol(fresh())
    release_at = (await engine.until(cycle_id, State.QUARANTINED)).release_at
    await engine.quiet(cycle_id)
    skipper = TimeSkipper(engine.client)
    await skipper.fast_forward(engine.handle(cycle_id), HALF_A_YEAR + timedelta(minutes=1))
    assert await skipper.get_current_time(engine.handle(cycle_id)) > release_at
    looks = await looks_at_the_end(engine, cycle_id)
    await engine.nudge(cycle_id)
    assert await looks_at_the_end(engine, cycle_id) > looks
    assert (await engine.status(cycle_id)).look_at == release_at
    assert engine.row(cycle_id).state == State.QUARANTINED
    assert engine.record_system().wiped == []
    engine.world.clock.pass_to(release_at)
    await running.eventually(lambda: leases_hold(engine), lambda: "the leases to be renewed")
    await engine.nudge(cycle_id)
    assert await engine.ended(cycle_id) is State.RESELLABLE


async def test_an_extension_moves_the_one_timer(engine: Engine) -> None:
    """Extended at day 100 by a month, the number is still quarantined after 180 days, on one timer, and released after the month."""
    cycle_id = engine.enrol(fresh())
    first = (await engine.until(cycle_id, State.QUARANTINED)).release_at
    await leap(engine, cycle_id, timedelta(days=100))
    engine.commands.extend(engine.staff.operator, cycle_id, first + timedelta(days=30), "ticket 8")
    assert running.pending_timers(await engine.quiet(cycle_id)) == 1
    await leap(engine, cycle_id, timedelta(days=90))
    assert (await engine.status(cycle_id)).look_at == first + timedelta(days=30)
    assert engine.row(cycle_id).state == State.QUARANTINED
    assert running.named(await engine.quiet(cycle_id)).count("TIMER_FIRED") == 0
    await leap_over_release(engine, cycle_id)
    assert await engine.ended(cycle_id) is State.RESELLABLE


async def test_a_hold_does_not_stop_the_clock(engine: Engine) -> None:
    """Held from day 20 to day 100, the number is released on the very day it would have been."""
    cycle_id = engine.enrol(fresh())
    first = (await engine.until(cycle_id, State.QUARANTINED)).release_at
    await leap(engine, cycle_id, timedelta(days=20))
    hold_id = engine.hold(cycle_id)
    assert running.pending_timers(await engine.quiet(cycle_id)) == 1
    await leap(engine, cycle_id, timedelta(days=80))
    engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "case 1 closed")
    assert running.pending_timers(await engine.quiet(cycle_id)) == 1
    await leap_over_release(engine, cycle_id)
    assert await engine.ended(cycle_id) is State.RESELLABLE
    ended_at = engine.row(cycle_id).quarantine_ended_at
    assert ended_at is not None
    assert first <= ended_at < first + timedelta(hours=1)


async def test_a_hold_over_the_release_keeps_the_door_shut(engine: Engine) -> None:
    """A hold open when the 180 days end keeps the number unwiped, on no timer at all, until it is lifted."""
    cycle_id = engine.enrol(fresh())
    await engine.until(cycle_id, State.QUARANTINED)
    hold_id = engine.hold(cycle_id)
    await engine.quiet(cycle_id)
    await leap_over_release(engine, cycle_id)
    assert running.pending_timers(await engine.quiet(cycle_id)) == 0
    assert (await engine.status(cycle_id)).held
    assert engine.record_system().wiped == []
    engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "case 1 closed")
    assert await engine.ended(cycle_id) is State.RESELLABLE
