"""What the sweep mends: workflows ended from outside, and wakes that were lost."""

from datetime import timedelta
from pathlib import Path

import running
from builders import number
from running import Engine, fresh
from sqlmodel import update
from stoppable import LONG, a_world
from temporalio.client import Client

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem
from fallow.store.cycles import STALLED_FOR
from fallow.store.tables import CycleRow


async def replaced(engine: Engine, cycle_id: str) -> None:
    """Wait until the cycle has another workflow, and until that has looked."""
    await running.eventually(lambda: "WorkflowReplaced" in engine.kinds(cycle_id), lambda: f"{cycle_id} to get another workflow")
    await engine.quiet(cycle_id)


def silent(engine: Engine, index: int) -> None:
    """Make a platform keep silent about one number."""

    def says(item: UnbindItem) -> Outcome | None:
        return None if item.number == number(index) else Outcome.UNBOUND

    engine.platform().says = says


async def test_a_terminated_workflow_is_found_and_replaced(client: Client, tmp_path: Path) -> None:
    """Terminated in quarantine and while unbinding: the sweep starts another, says so in the ledger, and both go on where they were."""
    async with running.at_work(a_world(tmp_path), client) as engine:
        index = fresh()
        silent(engine, index)
        unbinding, quarantined = engine.enrol(index), engine.enrol(fresh(), LONG)
        await engine.until(unbinding, State.UNBINDING)
        row = await engine.until(quarantined, State.QUARANTINED)
        for cycle_id in (unbinding, quarantined):
            await engine.quiet(cycle_id)
            await engine.handle(cycle_id).terminate("by somebody from outside")
        for cycle_id in (unbinding, quarantined):
            await replaced(engine, cycle_id)
            assert engine.kinds(cycle_id).count("WorkflowReplaced") == 1
        assert (await engine.status(quarantined)).look_at == row.release_at
        assert running.pending_timers(await engine.history(quarantined)) == 1
        engine.answer(unbinding)
        assert await engine.ended(unbinding) is State.RESELLABLE
        engine.by_two(quarantined, "reclaim")
        assert await engine.ended(quarantined) is State.RECLAIMED


async def test_a_lost_wake_heals(client: Client, tmp_path: Path) -> None:
    """A stage with nothing left to do whose wake got lost goes on by itself."""
    world = a_world(tmp_path)
    async with running.at_work(world, client, started=False) as engine:
        index = fresh()
        silent(engine, index)
        async with running.one_worker(world, client):
            cycle_id = engine.enrol(index)
            await engine.until(cycle_id, State.UNBINDING)
            await running.eventually(lambda: engine.still_open(cycle_id) == {"alpha-pay"}, lambda: "the others to answer")
            await engine.quiet(cycle_id)
        engine.answer(cycle_id)
        with world.installation.db.begin() as tx:
            tx.session.exec(update(CycleRow).values(wake_at=None))
        world.clock.pass_by(STALLED_FOR + timedelta(seconds=1))
        async with running.one_worker(world, client):
            assert await engine.ended(cycle_id) is State.RESELLABLE
        assert "WorkflowReplaced" not in engine.kinds(cycle_id)
