"""Temporal's own account: one workflow per cycle, closed with the cycle's end, its steps in the lifecycle's order.

Imports the Temporal client. Nothing is read that the server does not keep for anybody with a history viewer.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from .reading import instant
from .verdict import Verdict
from .world import Case

_KIND = "temporal"
_ACTIVE = {"ENROLLED", "QUARANTINED", "WIPING", "UNBINDING", "TAGGING"}
_STEPS = ("begin_quarantine", "end_quarantine", "wipe_records", "unbind_platforms", "tag_disclosure", "release_number")
_AT_ONCE = 8
_CLOSES_WITHIN_SECONDS = 20


@dataclass
class Told:
    """What one workflow's last run tells.

    Attributes:
        status: of the run.
        events: how many its history has.
        steps: activities in the order of their first mention, repeats left out.
        first_at: step -> when it is first mentioned, by the server's clock.
        result: the run's result.
    """

    status: WorkflowExecutionStatus | None
    events: int
    steps: list[str] = field(default_factory=list)
    first_at: dict[str, datetime] = field(default_factory=dict)
    result: dict[str, object] = field(default_factory=dict)


def check(cases: list[Case], address: str, namespace: str, verdict: Verdict) -> list[int]:
    """Compare every cycle with its workflow; return the lengths of the histories of RESELLABLE cycles."""
    return asyncio.run(_check(cases, address, namespace, verdict))


async def _check(cases: list[Case], address: str, namespace: str, verdict: Verdict) -> list[int]:
    client, gate = await Client.connect(address, namespace=namespace), asyncio.Semaphore(_AT_ONCE)

    async def one(case: Case) -> int | None:
        async with gate:
            try:
                told = await _told(client, case)
            except RPCError as error:
                # Ended by people before any worker ran: then nothing was left for a workflow to do.
                unneeded = error.status is RPCStatusCode.NOT_FOUND and _never_begun(case)
                verdict.demand(_KIND, unneeded, f"cycle {case.cycle_id}: no workflow can be read ({error.status.name})")
                return None
        with verdict.reading(_KIND, f"the history of cycle {case.cycle_id}"):
            _judge(case, told, verdict)
        return told.events if case.cycle["state"] == "RESELLABLE" else None

    lengths = await asyncio.gather(*map(one, cases))
    return [length for length in lengths if length is not None]


def _judge(case: Case, told: Told, verdict: Verdict) -> None:
    where, state = f"cycle {case.cycle_id}", case.cycle["state"]
    running = state in _ACTIVE
    wanted = WorkflowExecutionStatus.RUNNING if running else WorkflowExecutionStatus.COMPLETED
    status = told.status.name if told.status else "unknown"
    verdict.demand(_KIND, told.status is wanted, f"{where}: its workflow is {status}, not {wanted.name}")
    in_order = tuple(told.steps) == _STEPS[: len(told.steps)]
    verdict.demand(_KIND, in_order, f"{where}: its steps ran in another order: {', '.join(told.steps)}")
    if not running:
        # The workflow closes at RESELLABLE; what comes after is between people and the database, unless a worker died in between.
        ends = {"RESELLABLE", state} if case.past.released_at else {state}
        end = told.result.get("state")
        verdict.demand(_KIND, end in ends, f"{where}: its workflow ended {end}, not {' or '.join(sorted(ends))}")
    if case.past.released_at:
        verdict.demand(_KIND, len(told.steps) == len(_STEPS), f"{where}: released, and its workflow did not take every step")
    _quarantine(case, told, verdict)


def _quarantine(case: Case, told: Told, verdict: Verdict) -> None:
    wiping_at = told.first_at.get("wipe_records")
    if wiping_at is not None:
        over = wiping_at >= instant(case.cycle["release_at"])
        verdict.demand(_KIND, over, f"cycle {case.cycle_id}: wiping began before its release by Temporal's clock")


def _never_begun(case: Case) -> bool:
    return case.cycle["state"] not in _ACTIVE and all(event["kind"] != "QuarantineBegan" for event in case.events)


async def _told(client: Client, case: Case) -> Told:
    workflow_id = f"recycling/{case.cycle_id}"
    handle = client.get_workflow_handle(workflow_id)
    if case.cycle["state"] not in _ACTIVE:
        # The database ends a cycle; its workflow learns of it a moment later.
        with suppress(TimeoutError, WorkflowFailureError):
            await asyncio.wait_for(handle.result(), _CLOSES_WITHIN_SECONDS)
    described = await handle.describe()
    handle = client.get_workflow_handle(workflow_id, run_id=described.run_id)
    events = [event async for event in handle.fetch_history_events()]
    mentioned = [(step, event.event_time.ToDatetime()) for event in events if (step := _step(event))]
    told = Told(described.status, len(events), [step for step, _ in groupby(step for step, _ in mentioned)])
    for step, at in mentioned:
        told.first_at.setdefault(step, instant(at.isoformat()))
    last = events[-1]
    if last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        told.result = json.loads(last.workflow_execution_completed_event_attributes.result.payloads[0].data)
    return told


def _step(event: HistoryEvent) -> str | None:
    """Return the activity that an event mentions: scheduled, or done locally and marked."""
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        return event.activity_task_scheduled_event_attributes.activity_type.name
    marker = event.marker_recorded_event_attributes
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED and marker.marker_name == "core_local_activity":
        return str(json.loads(marker.details["data"].payloads[0].data)["activity_type"])
    return None
