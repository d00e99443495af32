"""How a workflow is told to look: a signal whose request id makes telling twice one event; a start where none runs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, State
from fallow.store import cycles
from fallow.store.engine import Tx
from workflows import options
from workflows.dispatch import DispatchWorkflow
from workflows.dispatch import workflow_id as dispatch_id
from workflows.recycling import NumberRecyclingWorkflow

_log = structlog.get_logger()


@dataclass(frozen=True)
class Wake:
    """A cycle whose workflow must look.

    Attributes:
        cycle_id: which.
        wake_no: makes repeats of the same wake one signal.
        state: the cycle's when the wake was read; it may be out of date.
        tries: how often it was told or tried to be told before.
    """

    cycle_id: str
    wake_no: int
    state: State
    tries: int = 0


@dataclass(frozen=True)
class Told:
    """What came of a wake: ``replaced``: no workflow ran, another was started; ``closed``: none runs and none is needed."""

    wake: Wake
    replaced: bool = False
    closed: bool = False


async def tell_all(client: Client, wakes: Sequence[Wake], state_now: Callable[[str], State]) -> list[Told]:
    """Tell each workflow, a bounded number at a time; those that could not be told are logged by class and left out.

    Args:
        client: Temporal.
        wakes: what to tell.
        state_now: reads a cycle's state from the database; called in a thread.
    """
    slots = asyncio.Semaphore(options.STARTS_IN_FLIGHT)

    async def tell_one(wake: Wake) -> Told:
        async with slots:
            return await _tell(client, wake, state_now)

    results = await asyncio.gather(*(tell_one(wake) for wake in wakes), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        _log.warning("wakes not told, to be tried again", count=len(failures), reason=reason(failures[0]))
    return [result for result in results if isinstance(result, Told)]


def reason(error: BaseException) -> str:
    """Return what may be logged of an error: its status or class, never its message."""
    return error.status.name if isinstance(error, RPCError) else type(error).__name__


def note(tx: Tx, told: Sequence[Told], failed: Sequence[Wake] = ()) -> None:
    """Write down what came of the wakes."""
    cycles.lock(tx, [wake.cycle_id for wake in (*(each.wake for each in told), *failed)])  # all at once: in id order
    cycles.told(tx, [(each.wake.cycle_id, each.wake.wake_no) for each in told])
    cycles.not_told(tx, [(wake.cycle_id, wake.wake_no) for wake in failed])
    for row in cycles.lock(tx, [each.wake.cycle_id for each in told if each.replaced]):
        if cycles.facts(row).active:
            cycles.record(tx, row, Kind.WORKFLOW_REPLACED, why="no workflow was running")
    for row in cycles.lock(tx, [each.wake.cycle_id for each in told if each.closed]):
        cycles.awake(tx, row)


async def ensure_dispatch(client: Client, target_id: str) -> None:
    """Start the target's dispatch workflow unless it runs."""
    await client.start_workflow(
        DispatchWorkflow.run,
        target_id,
        id=dispatch_id(target_id),
        task_queue=options.DISPATCH_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def cut_off(client: Client, within: timedelta) -> list[tuple[str, str]]:
    """Return (cycle_id, run_id) of workflows that closed lately other than by completing."""
    since = (datetime.now(UTC) - within).strftime("%Y-%m-%dT%H:%M:%SZ")
    query = (
        "WorkflowType = 'NumberRecyclingWorkflow' AND ExecutionStatus IN ('Terminated', 'Failed', 'Canceled', 'TimedOut')"
        f" AND CloseTime > '{since}'"
    )
    return [(found.id.removeprefix("recycling/"), found.run_id) async for found in client.list_workflows(query)]


async def _tell(client: Client, wake: Wake, state_now: Callable[[str], State]) -> Told:
    if wake.state is State.ENROLLED and not wake.tries:
        # Read a while ago, it may have been through everything since: what has completed is not begun again.
        await _start(client, wake, WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
        return Told(wake)
    ended = False
    try:
        # A repeat at a closed run is answered like one at an open run: the server knows the request id before it looks further.
        ended = wake.tries > 0 and not await _running(client, wake)
        if not ended and wake.state is not State.ENROLLED:  # that one has its first look before it
            await _signal(client, wake)
        if not ended:
            return Told(wake)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    state = await asyncio.to_thread(state_now, wake.cycle_id)
    if state not in ACTIVE:
        return Told(wake, closed=True)
    await _start(client, wake, WorkflowIDReusePolicy.ALLOW_DUPLICATE)
    return Told(wake, replaced=ended or state is not State.ENROLLED)


async def _running(client: Client, wake: Wake) -> bool:
    described = await client.get_workflow_handle(ref(wake.cycle_id).workflow_id).describe()
    return described.close_time is None  # rather than by status: one that is paused is not closed


async def _signal(client: Client, wake: Wake) -> None:
    # The client's own signal() makes a fresh request id each call; ours makes the server drop repeats of the same wake.
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=ref(wake.cycle_id).workflow_id),
        signal_name="nudge",
        identity=client.identity,
        request_id=f"{wake.cycle_id}#{wake.wake_no}",
    )
    await client.workflow_service.signal_workflow_execution(request)


async def _start(client: Client, wake: Wake, again: WorkflowIDReusePolicy) -> None:
    cycle = ref(wake.cycle_id)
    try:
        await client.start_workflow(
            NumberRecyclingWorkflow.run,
            cycle,
            id=cycle.workflow_id,
            task_queue=options.RECYCLING_QUEUE,
            id_reuse_policy=again,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
    except WorkflowAlreadyStartedError:
        return
