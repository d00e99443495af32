"""A worker's process: connect, work until told to stop, end in good order."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import LogForwardingConfig, LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError

from fallow.bootstrap import Wired, wire
from fallow.cli import logs
from fallow.domain.errors import SettingRefused
from fallow.settings import Settings, load
from workers.build import version
from workers.connection import connect
from workers.main import run, stop_on_signals
from workers.namespace import current
from workflows.options import ROOM_FOR_TARGETS

_THREADS = 16

_log = structlog.get_logger()


def work() -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: the installation can't be put together, or Temporal can't be reached.
    """
    settings = load()
    logs.configure(settings.log_level)
    with wire(settings) as wired:
        wired.warn_of_differences()
        asyncio.run(_work(settings, wired))


async def _work(settings: Settings, wired: Wired) -> None:
    # Every sender, the scans and the relay work in threads: with Python's few, one slow database would hold them all up.
    targets = len(wired.installation.record_systems) + len(wired.installation.platforms)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + targets + ROOM_FOR_TARGETS, "worker"))
    stop = asyncio.Event()
    stop_on_signals(stop)
    client = await connect(settings, runtime=_runtime(settings))
    await _demand_prepared(settings, client)
    epoch_for = timedelta(hours=settings.key_epoch_hours)
    await run(wired.installation, client, stop, turn_for=settings.turn_seconds, epoch_for=epoch_for)


async def _demand_prepared(settings: Settings, client: Client) -> None:
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        what = (
            f"The namespace {settings.temporal_namespace} of Temporal at {settings.temporal_address} can't be used ({error.status.name})."
        )
        raise SettingRefused(what, remedy="run `fallow setup`: it prepares the namespace.") from None
    if not await current(client):
        _log.warning(
            "this code is not the current version, so this worker gets no task until `fallow setup` was run", build=version().build_id
        )


def _runtime(settings: Settings) -> Runtime:
    # The SDK's core is not Python and would write to standard error past our gate.
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"), append_target_to_name=False)
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    address = f"127.0.0.1:{settings.metrics_port}"
    metrics = PrometheusConfig(bind_address=address, unit_suffix=True, durations_as_seconds=True) if settings.metrics_port else None
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=levels, forwarding=forwarding), metrics=metrics))
