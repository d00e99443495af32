"""The worker's own loop destroys by schedule, also while Temporal is away."""

import asyncio

import pytest
import running
from builders import World, enrolled
from builders_retention import DAY, LAST_DAY, a_row, keeper, kept_of, sealed_of, to_day
from command_line import NOWHERE
from temporalio.client import Client

from workers import loops, registry
from workers.loops import Relay


async def test_the_loop_destroys_what_is_due(world: World) -> None:
    """A relay that has the lease does it by itself, whatever becomes of its other work."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])
    to_day(world, LAST_DAY + DAY)
    nowhere, stop = await Client.connect(NOWHERE, lazy=True), asyncio.Event()

    chores = registry.chores(world.installation, DAY)
    relay = asyncio.create_task(Relay(world.installation.db, nowhere, ["alpha-pay"], "a test", chores).run(stop))
    await running.eventually(lambda: sealed_of(world, cycle_id) == [], lambda: "the sealed row to be destroyed")
    stop.set()
    await relay

    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()


class Busy(Relay):
    """A relay that always has another page to tell."""

    pages = 0

    async def _relay(self) -> bool:
        """Count a page."""
        self.pages += 1
        return True


async def test_the_loop_sweeps_while_there_is_always_more_to_tell(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wakes of a million numbers take an hour, and no chore waits for their end."""
    monkeypatch.setattr(loops, "SWEEP_EVERY", 0.0)
    done, stop = list[int](), asyncio.Event()
    nowhere = await Client.connect(NOWHERE, lazy=True)

    async def chore() -> None:
        done.append(busy.pages)
        if len(done) == 2:
            stop.set()

    busy = Busy(world.installation.db, nowhere, [], "a test", [chore])
    async with asyncio.timeout(20):
        await busy.run(stop)

    assert done == [1, 2]
