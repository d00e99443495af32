"""What was ordered before any worker lived is seen by the first look."""

from pathlib import Path

import running
from running import fresh
from stoppable import AT_ONCE, a_world
from temporalio.client import Client

from fallow.domain.lifecycle import State


async def test_a_hold_before_the_workflow_exists(client: Client, tmp_path: Path) -> None:
    """A hold committed with no worker alive stops the number once one starts, and its lift lets it go."""
    world = a_world(tmp_path)
    async with running.at_work(world, client, started=False) as engine:
        cycle_id = engine.enrol(fresh(), AT_ONCE)
        hold_id = engine.hold(cycle_id)
        async with running.one_worker(world, client):
            await engine.until(cycle_id, State.QUARANTINED, held=True)
            await engine.quiet(cycle_id)
            engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "case 1 closed")
            assert await engine.ended(cycle_id) is State.RESELLABLE
        kinds = engine.kinds(cycle_id)
        assert kinds.index("HoldLifted") < kinds.index("StageSettled")


async def test_a_reclaim_before_the_workflow_exists(client: Client, tmp_path: Path) -> None:
    """A number reclaimed with no worker alive is closed by the first look and never wiped."""
    world = a_world(tmp_path)
    async with running.at_work(world, client, started=False) as engine:
        cycle_id = engine.enrol(fresh(), AT_ONCE)
        engine.by_two(cycle_id, "reclaim")
        async with running.one_worker(world, client):
            await running.eventually(lambda: engine.row(cycle_id).wake_at is None, lambda: "the wake to be taken back")
        assert engine.row(cycle_id).state == State.RECLAIMED
        assert engine.record_system().wiped == []
