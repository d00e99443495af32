"""The worker process of one run: say "ready", wait for SIGUSR1, work until SIGTERM.

``python -m bench.worker engine|bare FOLDER [--numbers N --ripe-after S --run-no R] [--profile FILE]``. The engine's side is
``workers.main.run`` with the folder's own settings; the bare side drives :mod:`bench.bare` with the same worker options.
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.worker import Worker, WorkerDeploymentConfig

from bench.bare import QUEUE, BareSteps, BareWorkflow, Lap
from bench.profiling import profiled
from fallow.bootstrap import wire
from fallow.domain.cycle import CycleRef
from fallow.domain.lifecycle import State
from fallow.local import stack
from fallow.settings import Settings
from workers import telling
from workers.build import version
from workers.connection import connect
from workers.loops import PAGE, RELAY_EVERY
from workers.main import run, stop_on_signals
from workflows import options


def bare_cycle(run_no: int, place: int) -> CycleRef:
    """Return the identifier of a bare workflow; it has the form of a cycle's, so that the same code can signal it."""
    return CycleRef(f"bare_{run_no}_{place}", 1)


async def work(asked: argparse.Namespace) -> None:
    """Run one side."""
    settings, go, stop = stack.settings_of(asked.folder), asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go.set)
    stop_on_signals(stop)
    client = await connect(settings)
    if asked.side == "engine":
        await _engine(settings, client, go, stop)
    else:
        cycles = [bare_cycle(asked.run_no, place) for place in range(asked.numbers)]
        await _bare(client, cycles, asked.ripe_after, go, stop)


async def _engine(settings: Settings, client: Client, go: asyncio.Event, stop: asyncio.Event) -> None:
    with wire(settings) as wired:
        await _let_go(go)
        await run(wired.installation, client, stop, turn_for=settings.turn_seconds)
        await wired.transport.aclose()


async def _bare(client: Client, cycles: Sequence[CycleRef], ripe_after: float, go: asyncio.Event, stop: asyncio.Event) -> None:
    await _let_go(go)
    ripe_at = time.time() + ripe_after
    steps = BareSteps()
    with ThreadPoolExecutor(options.STEP_SLOTS, "step") as threads:
        worker = Worker(
            client,
            task_queue=QUEUE,
            workflows=[BareWorkflow],
            activities=[steps.bare_begin, steps.bare_step, steps.bare_open, steps.bare_release],
            activity_executor=threads,
            max_concurrent_workflow_tasks=options.WORKFLOW_SLOTS,
            max_concurrent_local_activities=options.STEP_SLOTS,
            max_concurrent_activities=options.STEP_SLOTS,
            deployment_config=WorkerDeploymentConfig(
                version=version(), use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
            ),
        )
        async with worker:
            await _start_all(client, [Lap(cycle, ripe_at) for cycle in cycles])
            await _tell_until(len(cycles), client, steps, stop)
            found = {"began": max(steps.began), "ripe": ripe_at, "ended": max(steps.ended)}
            print(json.dumps({**found, "workflow_id": cycles[0].workflow_id}), flush=True)
            await stop.wait()


async def _let_go(go: asyncio.Event) -> None:
    print("ready", flush=True)
    await go.wait()


async def _start_all(client: Client, laps: Sequence[Lap]) -> None:
    slots = asyncio.Semaphore(options.STARTS_IN_FLIGHT)

    async def start(lap: Lap) -> None:
        async with slots:
            await client.start_workflow(BareWorkflow.run, lap, id=lap.cycle.workflow_id, task_queue=QUEUE)

    await asyncio.gather(*map(start, laps))


async def _tell_until(count: int, client: Client, steps: BareSteps, stop: asyncio.Event) -> None:
    """Signal as the relay does: its pace, its pages, its code; only the list is in memory instead of in rows."""
    told = 0
    while len(steps.ended) < count and not stop.is_set():
        page = steps.to_tell[told : told + PAGE]
        # The number of the wake makes the request id; a workflow is told twice.
        wakes = [telling.Wake(cycle.cycle_id, told + place, State.WIPING) for place, cycle in enumerate(page)]
        told += len(await telling.tell_all(client, wakes, lambda _: State.WIPING))
        if len(page) < PAGE:
            await asyncio.sleep(RELAY_EVERY)


def main() -> int:
    """Work, profiled where that was asked for."""
    parser = argparse.ArgumentParser(description="the worker process of a pipeline run")
    parser.add_argument("side", choices=["engine", "bare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--numbers", type=int, default=0)
    parser.add_argument("--ripe-after", type=float, default=0)
    parser.add_argument("--run-no", type=int, default=0)
    parser.add_argument("--profile", type=Path)
    asked = parser.parse_args()
    with profiled(asked.profile) if asked.profile else nullcontext():
        asyncio.run(work(asked))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
