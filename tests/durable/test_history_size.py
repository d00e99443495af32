"""What a history costs, measured on real ones."""

from pathlib import Path

import running
from running import fresh
from stoppable import THREE_SECONDS, a_world
from temporalio.client import Client

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Category

#: The budget for a number that meets no obstacle.
HAPPY_PATH = 40


async def history_with(count: int, folder: Path, client: Client) -> list[str]:
    """Take a number to RESELLABLE with that many platforms, which answer one by one, and return its history's event types."""
    platforms = {f"platform-{no:02}": tuple(Category)[no % len(Category)] for no in range(count)}
    async with running.at_work(a_world(folder, platforms=platforms), client) as engine:
        for platform in engine.world.platforms.values():
            platform.says = lambda _: None
        await engine.until(engine.enrol(fresh()), State.UNBINDING)  # the worker is at work: the next one's quarantine is seen to begin
        cycle_id = engine.enrol(fresh(), THREE_SECONDS)
        await engine.until(cycle_id, State.UNBINDING)
        asked = engine.world.platforms.values()
        await running.eventually(lambda: all(len(each.asked) == 2 for each in asked), lambda: "everybody to be asked")
        for platform_id in platforms:
            await engine.quiet(cycle_id)
            engine.answer(cycle_id, platform_id)
        assert await engine.ended(cycle_id) is State.RESELLABLE
        return running.named(await engine.quiet(cycle_id))


async def test_the_history_does_not_grow_with_platforms(client: Client, tmp_path: Path) -> None:
    """The happy path has the same events with 3 and with 60 platforms, though each answers at a moment of its own."""
    few = await history_with(3, tmp_path / "few", client)
    many = await history_with(60, tmp_path / "many", client)
    assert many == few
    assert len(few) <= HAPPY_PATH
