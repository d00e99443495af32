"""A worker process: two task queues, the loops, and an orderly end."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.worker import Worker, WorkerDeploymentConfig

from fallow.operations.installation import Installation
from fallow.operations.sending import Bell
from workers import loops, registry
from workers.build import version
from workers.targets import Targets
from workflows import options
from workflows.dispatch import DispatchWorkflow
from workflows.recycling import NumberRecyclingWorkflow

_SHUTDOWN_WITHIN = timedelta(seconds=20)

_log = structlog.get_logger()


async def run(
    installation: Installation,
    client: Client,
    stop: asyncio.Event,
    *,
    turn_for: float,
    epoch_for: timedelta = timedelta(days=1),
    cached_workflows: int = 1000,
) -> None:
    """Work until ``stop`` is set, then finish what is in flight.

    Args:
        installation: the database and the world around it.
        client: connected to the installation's namespace.
        stop: set to end.
        turn_for: seconds of a sender's turn.
        epoch_for: age at which the wrapping key of holder keys is replaced.
        cached_workflows: 0 forces a full replay for each workflow task (tests).
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    bell = Bell(installation.db, {system.system_id: system.after for system in installation.record_systems.values()})
    targets = Targets(installation)
    async with AsyncExitStack() as stack:
        stack.enter_context(installation.registered.following())
        threads = stack.enter_context(ThreadPoolExecutor(options.STEP_SLOTS, "step"))
        recycling = Worker(
            client,
            task_queue=options.RECYCLING_QUEUE,
            workflows=[NumberRecyclingWorkflow],
            activities=registry.steps(installation),
            activity_executor=threads,
            max_cached_workflows=cached_workflows,
            max_concurrent_workflow_tasks=options.WORKFLOW_SLOTS,
            max_concurrent_local_activities=options.STEP_SLOTS,
            max_concurrent_activities=options.STEP_SLOTS,
            graceful_shutdown_timeout=_SHUTDOWN_WITHIN,
            deployment_config=_deployment(),
        )
        dispatch = _dispatching(client, registry.turns(registry.sender(installation, bell, holder), turn_for), targets)
        await stack.enter_async_context(recycling)
        await stack.enter_async_context(dispatch)
        stack.push_async_callback(_shut_down, recycling, dispatch)
        _log.info("worker started", targets=len(targets), build=version().build_id)
        await asyncio.gather(
            loops.due_scan(bell, stop),
            loops.visit(installation, stop),
            loops.begin_dispatch(client, targets, stop),
            loops.Relay(installation.db, client, targets, holder, registry.chores(installation, epoch_for)).run(stop),
            _shut_down_at(stop, recycling, dispatch),
        )
    _log.info("worker stopped")


def _dispatching(client: Client, turns: Sequence[Callable[..., Any]], targets: Targets) -> Worker:
    return Worker(
        client,
        task_queue=options.DISPATCH_QUEUE,
        workflows=[DispatchWorkflow],
        activities=turns,
        max_concurrent_activities=len(targets) + len(targets.decommissioned) + options.ROOM_FOR_TARGETS,
        # One: a process that is frozen swallows no more turns than it has polls out, and each of them costs a heartbeat's timeout.
        max_concurrent_activity_task_polls=1,
        max_heartbeat_throttle_interval=options.TURN_BEAT_EVERY,
        graceful_shutdown_timeout=_SHUTDOWN_WITHIN,
        deployment_config=_deployment(),
    )


def _deployment() -> WorkerDeploymentConfig:
    upgrades = VersioningBehavior.AUTO_UPGRADE
    return WorkerDeploymentConfig(version=version(), use_worker_versioning=True, default_versioning_behavior=upgrades)


async def _shut_down_at(stop: asyncio.Event, *workers: Worker) -> None:
    # With the loops, not after them: a page that Temporal is slow to take must not cost the turns their time to end.
    await stop.wait()
    await _shut_down(*workers)


async def _shut_down(*workers: Worker) -> None:
    # Together: one after the other, each with its own time to end, they would need twice as long as whoever stops us waits.
    await asyncio.gather(*(each.shutdown() for each in workers))


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
