"""Part ``pipeline``: numbers per second through all stages, ENROLLED to RESELLABLE, on the embedded default.

Measured
    The engine as it runs embedded: SQLite file (``synchronous=FULL``), ``workers.main.run`` in a process of its own, a real
    Temporal server on a SQLite file. 20 platforms, asked over real HTTP on loopback through the engine's transport, answered
    at once and signed by one trivial server; one SQLite record system with 6 collections (5 deleted, 1 restricted, all read
    back) that is also the line register asked at the gate.
Not measured
    Reading the file and enrolling it; the quarantine itself; what platforms and carriers take in the world: reminders,
    callbacks, failures; the API; several workers; PostgreSQL. The platforms' rate limits are opened wide.
The clock
    All numbers of a batch become ripe at one instant, late enough for each to have reached its timer (the worst case for the
    stages after it). It runs from letting the worker go until the last number is QUARANTINED, and again from that instant
    until the last is RESELLABLE. The wait in between, in which there is nothing to do, is left out: on both sides.
Baseline
    ``bare workflow`` (:mod:`bench.bare`): one timer, nine local activities that do nothing, two signals by the relay's code;
    as many of them, on the same server in the same run, in a worker process with the same options.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from temporalio.api.enums.v1 import EventType

from bench import runs, world
from bench.asked import Asked
from bench.figures import Figure
from fallow import settings
from fallow.local import stack
from fallow.local.processes import in_own_loop
from workers import namespace
from workers.connection import connect

NAME = f"pipeline.{world.PLATFORMS}"
#: How many numbers a run takes through where nothing else was asked for.
_NUMBERS = 200
#: The whole part ends within this, measured or not.
_WITHIN = 120.0
#: Quarantine in seconds: long enough for a worker that starts this many numbers a second, and to get going.
_STARTS_PER_SECOND = 20
_GETS_GOING = 3


def measure(asked: Asked) -> list[Figure]:
    """Run both sides in turns and return row ``pipeline.20``.

    Raises:
        runs.RunOverdue: it took longer than two minutes.
    """
    ends = time.monotonic() + _WITHIN
    print((__doc__ or "").strip())
    with ExitStack() as cleaning:
        batch = _prepare(cleaning, asked, ends)
        engine: list[float] = []
        bare: list[float] = []
        longest = 0.0
        for repeat in range(asked.repeats):
            if batch.left.total_seconds() < 1.1 * longest:
                print(f"stopped after {repeat} of {asked.repeats} repeats: {_WITHIN:.0f} s would not do for another", flush=True)
                break
            began = time.monotonic()
            # The order turns with each repeat, so that neither side always meets the fuller databases.
            sides = [("engine", runs.engine, engine), ("bare workflow", runs.bare, bare)]
            for side, run, into in sides if repeat % 2 == 0 else reversed(sides):
                into.append(_lap(batch, side, run, repeat))
            longest = max(longest, time.monotonic() - began)
    return [Figure(NAME, "numbers/s", engine, "bare workflow", bare)]


def _prepare(cleaning: ExitStack, asked: Asked, ends: float) -> runs.Batch:
    folder = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="fallow-bench-")))
    mine = settings.load()
    temporal = stack.temporal(folder, print, given=mine.temporal_cli, cache=mine.cache / "temporal")
    cleaning.callback(temporal.stop)
    numbers = asked.count(usual=_NUMBERS)
    ripe_after = _GETS_GOING + numbers // _STARTS_PER_SECOND
    made = world.build(folder, temporal.address, ripe_after)
    cleaning.callback(made.answering.stop)
    in_own_loop(lambda: namespace.prepare(stack.settings_of(folder)))
    return runs.Batch(made, temporal, numbers, ripe_after, ends, asked.profile)


def _lap(batch: runs.Batch, side: str, run: Callable[[runs.Batch, int], runs.Lap], run_no: int) -> float:
    lap = run(batch, run_no)
    speed = batch.numbers / lap.seconds
    timers = "" if lap.idle else "; the machine was too busy for every number to reach its timer"
    events = in_own_loop(lambda: _history(batch, lap.workflow_id))
    cpu = lap.usage.per_number(batch.numbers)
    print(f"{side}: {speed:.2f} numbers/s; CPU per number: {cpu}; one history: {events}{timers}", flush=True)
    return speed


async def _history(batch: runs.Batch, workflow_id: str) -> str:
    """Count the events of one workflow, so that it can be seen that both sides have the same shape."""
    client = await connect(stack.settings_of(batch.world.folder))
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    kinds = [event.event_type for event in history.events]
    shape = {
        "steps": EventType.EVENT_TYPE_MARKER_RECORDED,
        "timers": EventType.EVENT_TYPE_TIMER_STARTED,
        "signals": EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    }
    return ", ".join([f"{len(kinds)} events", *(f"{kinds.count(kind)} {name}" for name, kind in shape.items())])
