"""A worker at work learns of platforms that come and go, without a restart."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import running
from builders import number
from builders_registry import a_table, enter
from running import fresh
from stoppable import World, a_world
from temporalio.client import Client

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.operations.installation import Pace
from fallow.operations.registered import Live
from fallow.platforms.platform_map import PlatformEntry

LATE = "gamma-bank"


async def test_a_worker_follows_the_registry(client: Client, tmp_path: Path) -> None:
    """What is owed to a missing platform goes on by itself once it is registered; decommissioned, it is owed to a person."""
    world = _registered(a_world(tmp_path))
    late = world.platforms[LATE]
    index = fresh()
    late.says = lambda item: None if item.number == number(index) else Outcome.CLEAR
    async with running.at_work(world, client) as engine:
        first, second = engine.enrol(fresh()), engine.enrol(index)
        await engine.until(first, State.UNBINDING, attention=f"target-missing:{LATE}")

        enter(world.installation, a_table(LATE, late.key))
        await engine.until(first, State.RESELLABLE)
        await engine.until(second, State.UNBINDING)

        enter(world.installation, a_table(LATE, late.key), decommissioned=True)
        row = await engine.until(second, State.UNBINDING, attention=f"platform-decommissioned:{LATE}")
        assert "target-missing" not in row.attention


def _registered(world: World) -> World:
    """Have the world's platforms come from the registry, in which one is still missing."""
    here = world.installation
    for platform_id in world.platforms.keys() - {LATE}:
        enter(here, a_table(platform_id, world.platforms[platform_id].key))

    def reach(entry: PlatformEntry, _entries: Mapping[str, PlatformEntry]) -> object:
        return world.platforms[entry.platform_id]

    paces = Live(here.registered, lambda entry, _: Pace(entry.batch, 10_000.0, 3600.0, 2))
    platforms = Live(here.registered, reach)
    world.installation = replace(here, platforms=platforms, paces=paces, speakers=here.registered)
    return world
