"""The worker's own loop destroys by schedule, also while Temporal is away."""

import asyncio

import running
from builders import World, enrolled
from builders_retention import DAY, LAST_DAY, a_row, keeper, kept_of, sealed_of, to_day
from command_line import NOWHERE
from temporalio.client import Client

from workers import registry
from workers.loops import Relay


async def test_the_loop_destroys_what_is_due(world: World) -> None:
    """A relay that has the lease does it by itself, whatever becomes of its other work."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])
    to_day(world, LAST_DAY + DAY)
    nowhere, stop = await Client.connect(NOWHERE, lazy=True), asyncio.Event()

    relay = asyncio.create_task(Relay(world.installation.db, nowhere, [], "a test", registry.chores(world.installation, DAY)).run(stop))
    await running.eventually(lambda: sealed_of(world, cycle_id) == [], lambda: "the sealed row to be destroyed")
    stop.set()
    await relay

    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()
