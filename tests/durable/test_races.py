"""Hold and reclaim against each stage, committed at the very moment in which the stage is at work."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
import running
from builders import number
from running import Engine, fresh
from stoppable import AT_ONCE, THREE_SECONDS, Door, a_world
from temporalio.client import Client

from fallow.domain.errors import CommandRefused
from fallow.domain.events import Event, Kind
from fallow.domain.fold import fold
from fallow.domain.lifecycle import State
from fallow.store import cycles

#: The stages that have an effect to be stopped in.
STAGES = [State.QUARANTINED, State.WIPING, State.UNBINDING, State.TAGGING]
#: What must never be written while a hold is open.
FORBIDDEN_WHILE_HELD = {Kind.STAGE_SETTLED, Kind.OBLIGATIONS_OPENED, Kind.NUMBER_RELEASED}


@pytest_asyncio.fixture(scope="module")
async def engine(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """An engine at work on a database of its own."""
    async with running.at_work(a_world(tmp_path_factory.mktemp("races")), client) as at_work:
        yield at_work


@dataclass(frozen=True)
class Stopped:
    """A number whose effect is done and not reported."""

    cycle_id: str
    door: Door


async def stopped_in(engine: Engine, state: State) -> Stopped:
    """Take a number to the effect of a stage and stop it there: at the line register, a record system, a platform, the register again."""
    index, door = fresh(), Door()
    before = Door()
    match state:
        case State.WIPING:
            engine.record_system("crm").doors[number(index)] = door
        case State.UNBINDING:
            engine.platform("gamma-bank").doors[number(index)] = door
        case State.TAGGING:
            engine.platform("gamma-bank").doors[number(index)] = before
        case _:
            before.open()
    cycle_id = engine.enrol(index, AT_ONCE)
    if state is State.TAGGING:
        await running.reached(before)
    if state in (State.QUARANTINED, State.TAGGING):
        engine.lines.doors[number(index)] = door
        before.open()
    await running.reached(door)
    return Stopped(cycle_id, door)


def events_of(engine: Engine, cycle_id: str) -> list[Event]:
    """Return a cycle's events."""
    with engine.world.installation.db.read() as tx:
        return cycles.events(tx, cycle_id)


def moved_while_held(engine: Engine, cycle_id: str) -> list[Kind]:
    """Return what was opened, settled or released while a hold was open."""
    events = events_of(engine, cycle_id)
    return [event.kind for no, event in enumerate(events[1:], 1) if event.kind in FORBIDDEN_WHILE_HELD and fold(events[:no])[0].held]


@pytest.mark.parametrize("state", STAGES)
async def test_a_hold_during_an_effect_stops_the_next_step(engine: Engine, state: State) -> None:
    """A hold committed while a stage's effect is in flight lets nothing be opened, settled or released until it is lifted."""
    stopped = await stopped_in(engine, state)
    hold_id = engine.hold(stopped.cycle_id)
    stopped.door.open()
    await engine.until(stopped.cycle_id, state, held=True)
    await engine.nudge(stopped.cycle_id)
    await engine.quiet(stopped.cycle_id)
    look = await engine.status(stopped.cycle_id)
    assert (look.state, look.held) == (state, True)
    engine.commands.lift(engine.staff.operator, stopped.cycle_id, hold_id, "case 1 closed")
    assert await engine.ended(stopped.cycle_id) is State.RESELLABLE
    assert moved_while_held(engine, stopped.cycle_id) == []


async def test_a_reclaim_while_the_register_is_asked_comes_in_time(engine: Engine) -> None:
    """Reclaimed while the line register is being asked before the wipe, the number is never wiped."""
    stopped = await stopped_in(engine, State.QUARANTINED)
    engine.by_two(stopped.cycle_id, "reclaim")
    stopped.door.open()
    assert await engine.ended(stopped.cycle_id) is State.RECLAIMED
    assert stopped.cycle_id not in engine.record_system().wiped


@pytest.mark.parametrize("state", STAGES[1:])
async def test_a_reclaim_during_an_effect_comes_too_late(engine: Engine, state: State) -> None:
    """Once wiping has begun a reclaim is refused, whatever is in flight, and the number goes on."""
    stopped = await stopped_in(engine, state)
    with pytest.raises(CommandRefused):
        engine.by_two(stopped.cycle_id, "reclaim")
    stopped.door.open()
    assert await engine.ended(stopped.cycle_id) is State.RESELLABLE


@pytest.mark.parametrize("state", STAGES)
async def test_a_retirement_during_an_effect_ends_the_number(engine: Engine, state: State) -> None:
    """A number retired while an effect is in flight stays retired when the effect reports."""
    stopped = await stopped_in(engine, state)
    engine.by_two(stopped.cycle_id, "retire")
    stopped.door.open()
    assert await engine.ended(stopped.cycle_id) is State.RETIRED
    await running.eventually(lambda: engine.row(stopped.cycle_id).wake_at is None, lambda: "the last wake to be taken back")
    assert engine.row(stopped.cycle_id).state == State.RETIRED


async def test_holds_and_reclaims_at_the_instant_of_release(engine: Engine) -> None:
    """Of numbers released at one instant, each is held, reclaimed or wiped: never reclaimed and wiped, never moved while held."""
    mine = engine.enrol_all(24, 5000, THREE_SECONDS)
    release_at = engine.row(mine[0]).release_at
    await running.eventually(lambda: engine.world.clock.now() > release_at, lambda: "the release instant")
    held, reclaimed, left = mine[::3], mine[1::3], mine[2::3]
    holds = asyncio.gather(*(asyncio.to_thread(engine.hold, cycle_id) for cycle_id in held))
    reclaims = asyncio.gather(*(asyncio.to_thread(_reclaim, engine, cycle_id) for cycle_id in reclaimed))
    placed, taken = await asyncio.gather(holds, reclaims)
    for cycle_id, hold_id in zip(held, placed, strict=True):
        engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "case 1 closed")
    for cycle_id, was_taken in zip(reclaimed, taken, strict=True):
        assert await engine.ended(cycle_id) is (State.RECLAIMED if was_taken else State.RESELLABLE)
        assert (cycle_id in engine.record_system().wiped) is not was_taken
    for cycle_id in [*held, *left]:
        assert await engine.ended(cycle_id) is State.RESELLABLE
    assert [moved for cycle_id in held for moved in moved_while_held(engine, cycle_id)] == []


def _reclaim(engine: Engine, cycle_id: str) -> bool:
    try:
        engine.by_two(cycle_id, "reclaim")
    except CommandRefused:
        return False
    return True
