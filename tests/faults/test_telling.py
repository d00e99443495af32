"""How workflows are told to look when something went wrong: runs ended from outside, stale pages, failures, clocks that differ."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import running
from google.protobuf.duration_pb2 import Duration
from running import Engine, fresh
from stoppable import LONG, ONE_SECOND, RunningClock, a_world
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from fallow.domain.errors import SettingRefused
from fallow.domain.lifecycle import State
from fallow.domain.rules import Rule
from fallow.local.temporal_server import RunningTemporal
from fallow.operations.diagnosis import diagnose
from fallow.settings import Settings
from fallow.store import cycles, leases
from fallow.store.cycles import UNHEEDED_TRIES
from workers import namespace, telling
from workers.connection import connect
from workers.loops import Relay
from workflows.dispatch import workflow_id as dispatch_id


async def tell_due(engine: Engine) -> list[telling.Told]:
    """Tell what is due and note what came of it, as the relay does."""
    db = engine.world.installation.db

    def state_now(cycle_id: str) -> State:
        return State(engine.row(cycle_id).state)

    with db.read() as tx:
        due = [telling.Wake(*each) for each in cycles.due_wakes(tx, 100)]
    told = await telling.tell_all(engine.client, due, state_now)
    with db.begin() as tx:
        telling.note(tx, told)
    return told


async def in_quarantine(engine: Engine, count: int = 1) -> list[str]:
    """Enrol numbers with a long quarantine, let a worker begin it, and stop the worker."""
    cycle_ids = [engine.enrol(fresh(), LONG) for _ in range(count)]
    async with running.one_worker(engine.world, engine.client):
        for cycle_id in cycle_ids:
            await engine.until(cycle_id, State.QUARANTINED)
            await engine.quiet(cycle_id)
    return cycle_ids


def wake(engine: Engine, cycle_ids: Sequence[str]) -> None:
    """Wake cycles."""
    with engine.world.installation.db.begin() as tx:
        for row in cycles.lock(tx, cycle_ids):
            cycles.wake(tx, row)


async def status_of(client: Client, workflow_id: str, run_id: str | None = None) -> WorkflowExecutionStatus | None:
    """Return how a workflow stands; None where there is none."""
    try:
        return (await client.get_workflow_handle(workflow_id, run_id=run_id).describe()).status
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def test_a_wake_told_to_a_run_that_was_then_ended_is_told_to_another(client: Client, tmp_path: Path) -> None:
    """The server takes a repeated request id at a closed run for delivered; the repeat starts another run all the same."""
    world = a_world(tmp_path)
    async with running.at_work(world, client, started=False) as engine:
        (cycle_id,) = await in_quarantine(engine)
        engine.hold(cycle_id)
        assert [each.replaced for each in await tell_due(engine)] == [False]
        await engine.handle(cycle_id).terminate("by somebody from outside")
        world.clock.pass_by(timedelta(seconds=21))

        assert [each.replaced for each in await tell_due(engine)] == [True]
        assert engine.kinds(cycle_id).count("WorkflowReplaced") == 1
        async with running.one_worker(world, client):
            await engine.quiet(cycle_id)
            assert (await engine.status(cycle_id)).held


async def test_a_stale_page_begins_nothing_again(client: Client, tmp_path: Path) -> None:
    """A wake read before the cycle ended, told after it, starts no second run, whatever state it was read in."""
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        cycle_id = engine.enrol(fresh())
        async with running.one_worker(engine.world, client):
            assert await engine.ended(cycle_id) is State.RESELLABLE
        run_id = (await engine.handle(cycle_id).describe()).run_id
        later = engine.row(cycle_id).wake_no + 1

        wakes = [telling.Wake(cycle_id, later, State.TAGGING), telling.Wake(cycle_id, 1, State.ENROLLED)]
        told = await telling.tell_all(client, wakes, lambda cycle_id: State(engine.row(cycle_id).state))

        assert [each.closed for each in told] == [True, False]
        assert (await engine.handle(cycle_id).describe()).run_id == run_id


async def test_what_ended_meanwhile_was_not_replaced(client: Client, tmp_path: Path) -> None:
    """A cycle that ended between the start of another run and its note has no WorkflowReplaced after its end."""
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        (cycle_id,) = await in_quarantine(engine)
        engine.by_two(cycle_id, "reclaim")
        told = telling.Told(telling.Wake(cycle_id, engine.row(cycle_id).wake_no, State.QUARANTINED), replaced=True)

        with engine.world.installation.db.begin() as tx:
            telling.note(tx, [told])

        assert "WorkflowReplaced" not in engine.kinds(cycle_id)


async def test_the_sweep_wakes_for_a_closed_run_once(client: Client, tmp_path: Path) -> None:
    """A run that Temporal lists as terminated for an hour wakes its cycle at one sweep, not at each."""
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        (cycle_id,) = await in_quarantine(engine)
        await engine.handle(cycle_id).terminate("by somebody from outside")
        db = engine.world.installation.db
        relay = Relay(db, client, [], "a test")

        async def woken() -> bool:
            await relay.sweep()
            return engine.row(cycle_id).wake_at is not None

        await running.eventually(woken, lambda: "the terminated run to be found")
        with db.begin() as tx:
            cycles.awake(tx, cycles.lock_one(tx, cycle_id))
        assert not await woken()


async def test_wakes_that_fail_stand_in_no_others_way(client: Client, temporal: RunningTemporal, tmp_path: Path) -> None:
    """What can't be told is put off, and is delivered once it can be."""
    nowhere = await Client.connect(temporal.address, namespace="nobody-made-it")
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        cycle_ids = await in_quarantine(engine, 2)
        wake(engine, cycle_ids)
        stop = asyncio.Event()
        relay = asyncio.create_task(Relay(engine.world.installation.db, nowhere, [], "a test").run(stop))
        await running.eventually(lambda: all(engine.row(each).wake_tries for each in cycle_ids), lambda: "the failures to be written down")
        stop.set()
        await relay
        for cycle_id in cycle_ids:
            row = engine.row(cycle_id)
            assert row.wake_at is not None
            assert row.wake_at > engine.world.clock.now() - timedelta(seconds=1)
        async with running.one_worker(engine.world, client):
            for cycle_id in cycle_ids:
                await engine.quiet(cycle_id)
        assert "WorkflowReplaced" not in engine.kinds(cycle_ids[0])


async def test_a_start_that_failed_is_a_first_start(client: Client, tmp_path: Path) -> None:
    """A workflow that never ran is started after a failure, and replaces nothing."""
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        cycle_id = engine.enrol(fresh(), LONG)
        with engine.world.installation.db.begin() as tx:
            cycles.not_told(tx, [(cycle_id, 1)])
        engine.world.clock.pass_by(timedelta(seconds=3))

        assert [each.replaced for each in await tell_due(engine)] == [False]
        assert await status_of(client, f"recycling/{cycle_id}") is WorkflowExecutionStatus.RUNNING


async def test_a_wake_nobody_heeds_shows(client: Client, tmp_path: Path) -> None:
    """A cycle that was told to look again and again is counted for the doctor; failures alone never put it off for long."""
    async with running.at_work(a_world(tmp_path), client, started=False) as engine:
        cycle_id, db = engine.enrol(fresh(), LONG), engine.world.installation.db
        assert diagnose(db).unheeded == 0
        for _ in range(20):
            with db.begin() as tx:
                cycles.not_told(tx, [(cycle_id, 1)])
        row = engine.row(cycle_id)
        assert row.wake_tries == UNHEEDED_TRIES
        assert row.wake_at is not None
        assert row.wake_at <= engine.world.clock.now() + timedelta(seconds=16)
        assert diagnose(db).unheeded == 1


async def test_every_worker_begins_its_own_dispatch(client: Client, tmp_path: Path) -> None:
    """A target that only this worker knows is served although another process holds the relay's lease."""
    world = a_world(tmp_path)
    db = world.installation.db
    async with running.at_work(world, client, started=False):
        with db.begin() as tx:
            leases.take(tx, "~relay", "another process")

        async def served() -> bool:
            with db.begin() as tx:
                assert leases.take(tx, "~relay", "another process") is not None
            return await status_of(client, dispatch_id("billing")) is WorkflowExecutionStatus.RUNNING

        async with running.one_worker(world, client):
            await running.eventually(served, lambda: "the dispatch workflow", 6.0)


async def test_a_cancelled_dispatch_ends(client: Client, tmp_path: Path) -> None:
    """A cancelled sender's workflow ends as cancelled; it does not take the cancellation for a turn that failed."""
    async with running.at_work(a_world(tmp_path), client):
        workflow_id = dispatch_id("billing")

        async def turning() -> str:
            if await status_of(client, workflow_id) is not WorkflowExecutionStatus.RUNNING:
                return ""
            described = await client.get_workflow_handle(workflow_id).describe()
            return described.run_id if described.raw_description.pending_activities else ""

        run_id = await running.eventually(turning, lambda: "a turn")
        await client.get_workflow_handle(workflow_id, run_id=run_id).cancel()

        async def cancelled() -> bool:
            return await status_of(client, workflow_id, run_id) is WorkflowExecutionStatus.CANCELED

        await running.eventually(cancelled, lambda: "the cancelled run to end")


async def test_a_workflow_cancelled_in_a_regular_step_ends(client: Client, tmp_path: Path) -> None:
    """A cancellation during the second, regular try of a step is none of the step's failures."""
    async with running.at_work(a_world(tmp_path), client) as engine:
        cycle_id = engine.enrol(fresh(), ONE_SECOND)
        await engine.until(cycle_id, State.QUARANTINED)
        engine.lines.down = True

        async def regular() -> str:
            described = await engine.handle(cycle_id).describe()
            return described.run_id if described.raw_description.pending_activities else ""

        run_id = await running.eventually(regular, lambda: "the regular activity")
        await engine.handle(cycle_id).cancel()

        async def cancelled() -> bool:
            return await status_of(client, f"recycling/{cycle_id}", run_id) is WorkflowExecutionStatus.CANCELED

        await running.eventually(cancelled, lambda: "the cancelled run to end")
        engine.lines.down = False
        assert await engine.ended(cycle_id) is State.RESELLABLE


async def test_a_database_clock_behind_costs_few_looks(client: Client, tmp_path: Path) -> None:
    """While the database's clock is behind Temporal's, the looks come ever more rarely, not every second."""
    clock, span = RunningClock(), timedelta(seconds=7)
    clock.pass_by(timedelta(seconds=-20))
    rules = (Rule("*", "*", "*", "*", span, span, demo=True),)
    async with running.at_work(a_world(tmp_path, clock=clock, rules=rules), client) as engine:
        cycle_id = engine.enrol(fresh())
        assert await engine.ended(cycle_id) is State.RESELLABLE
        # After 1, 2 and 4 seconds, and once more where the last of them came a moment too soon; a second each would be seven.
        assert running.named(await engine.history(cycle_id)).count("TIMER_STARTED") in (3, 4)


async def test_a_namespace_that_forgets_too_soon_is_refused(client: Client, temporal: RunningTemporal, tmp_path: Path) -> None:
    """A namespace that somebody else made, and that keeps histories for a day only, is refused with the remedy."""
    request = RegisterNamespaceRequest(namespace="one-day", workflow_execution_retention_period=Duration(seconds=86_400))
    await client.workflow_service.register_namespace(request)
    settings = Settings(state=tmp_path, temporal_address=temporal.address, temporal_namespace="one-day")
    with pytest.raises(SettingRefused, match="less than 30 days"):
        await namespace.prepare(settings)
    assert (await connect(settings)).namespace == "one-day"
