"""One run of either side of the pipeline: start its worker, let it go, wait for the last number, stop it.

Imports the local stack, the operations and the store.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import col, func, select

from bench.usage import Usage, cpu_seconds
from bench.world import World, module
from fallow.bootstrap import wire
from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.people import Person, Role
from fallow.local import stack
from fallow.local.processes import Child, start_child, wait_until, wait_until_ready
from fallow.local.temporal_server import RunningTemporal
from fallow.operations.enrol import enrol_file
from fallow.operations.installation import Installation
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, EventRow

_ROOT = Path(__file__).parents[1]
_READY_WITHIN = timedelta(seconds=20)
_BENCH = Person("bench", Role.ADMINISTRATOR)


class RunOverdue(RuntimeError):
    """A run did not finish in the time that was left; the message says where its numbers stand."""


@dataclass(frozen=True)
class Batch:
    """What every run of an invocation has in common.

    Attributes:
        world: the state folder and the platforms.
        temporal: the server.
        numbers: how many a run takes through.
        ripe_after: seconds of quarantine.
        ends: the monotonic instant at which the invocation's time is over.
        profile: folder for the workers' profiles, or None.
    """

    world: World
    temporal: RunningTemporal
    numbers: int
    ripe_after: int
    ends: float
    profile: Path | None

    @property
    def left(self) -> timedelta:
        """How much time is left."""
        return timedelta(seconds=max(0.0, self.ends - time.monotonic()))


@dataclass(frozen=True)
class Lap:
    """One run's outcome.

    Attributes:
        seconds: what the clock of :mod:`bench.pipeline` shows.
        idle: whether every number waited for its timer, so that there was a pause to leave out.
        usage: CPU seconds.
        workflow_id: one of its workflows.
    """

    seconds: float
    idle: bool
    usage: Usage
    workflow_id: str


def engine(batch: Batch, run_no: int) -> Lap:
    """Take a batch of numbers through the engine."""
    content = batch.world.csv_of(run_no, batch.numbers)
    with _worker(batch, "engine", run_no, []) as child, wire(stack.settings_of(batch.world.folder)) as wired:
        batch_id = _enrol(wired.installation, content, batch.numbers)
        before, let_go = _usage(batch, child), _let_go(child)
        database = wired.installation.db
        if not wait_until(lambda: _released(database, batch_id) == batch.numbers, batch.left):
            what = f"{_where(database, batch_id)} The end of their worker's log:\n{child.last_log_lines()}"
            raise RunOverdue(what)
        began, ripe, ended, cycle_id = _instants(database, batch_id)
        return _lap((let_go, began, ripe, ended), before, _usage(batch, child), ref(cycle_id).workflow_id)


def bare(batch: Batch, run_no: int) -> Lap:
    """Take as many bare workflows through the same server."""
    options = ["--numbers", batch.numbers, "--ripe-after", batch.ripe_after, "--run-no", run_no]
    with _worker(batch, "bare", run_no, options) as child:
        before, let_go = _usage(batch, child), _let_go(child)
        wait_until(lambda: child.last_log_lines(1).startswith("{") or child.exit_code is not None, batch.left)
        if not child.last_log_lines(1).startswith("{"):
            what = f"The bare workflows did not end in time; the end of their worker's log:\n{child.last_log_lines()}"
            raise RunOverdue(what)
        found = json.loads(child.last_log_lines(1))
        return _lap((let_go, found["began"], found["ripe"], found["ended"]), before, _usage(batch, child), found["workflow_id"])


@contextmanager
def _worker(batch: Batch, side: str, run_no: int, options: list[object]) -> Iterator[Child]:
    """Start a worker that waits to be let go; at the end it stops in good order, so that it leaves no lease behind."""
    profiling = [] if batch.profile is None else ["--profile", (batch.profile / f"{side}-{run_no}.pstats").absolute()]
    command = module("bench.worker", side, batch.world.folder, *options, *profiling)
    child = start_child(f"{side} worker", command, log_path=batch.world.folder / "logs" / f"{side}-{run_no}.log", directory=_ROOT)
    try:
        wait_until_ready(child, lambda: "ready" in child.log_path.read_text(), _READY_WITHIN)
        yield child
    finally:
        child.stop(timedelta(seconds=30))


def _let_go(child: Child) -> float:
    child.send(signal.SIGUSR1)
    return time.time()


def _usage(batch: Batch, child: Child) -> Usage:
    return Usage(*(cpu_seconds(pid) for pid in (child.pid, batch.temporal.pid, batch.world.answering.pid)))


def _lap(instants: tuple[float, float, float, float], before: Usage, after: Usage, workflow_id: str) -> Lap:
    let_go, began, ripe, ended = instants
    usage = Usage(after.worker - before.worker, after.temporal - before.temporal, after.platforms - before.platforms)
    return Lap(ended - let_go - max(0.0, ripe - began), ripe > began, usage, workflow_id)


def _enrol(installation: Installation, content: bytes, count: int) -> str:
    report = enrol_file(installation, _BENCH, content)
    if report.accepted != count:
        what = f"Of {count} numbers {report.accepted} were enrolled; the first rejection: {report.rejections[:1]}."
        raise RuntimeError(what)
    return report.batch_id


def _released(database: Database, batch_id: str) -> int:
    with database.read() as tx:
        query = select(func.count()).select_from(CycleRow).where(CycleRow.batch_id == batch_id, CycleRow.state == State.RESELLABLE)
        return tx.session.exec(query).one()


def _instants(database: Database, batch_id: str) -> tuple[float, float, float, str]:
    """Return when the last quarantine began, the first could end, the last number was released; and one cycle."""
    with database.read() as tx:
        rows = tx.session.exec(select(CycleRow).where(CycleRow.batch_id == batch_id)).all()
        mine = col(EventRow.cycle_id).in_([row.cycle_id for row in rows])
        began = tx.session.exec(select(EventRow.at).where(EventRow.kind == Kind.QUARANTINE_BEGAN, mine)).all()
        ended = [row.released_at for row in rows if row.released_at is not None]
        ripe = min(row.release_at for row in rows)
        return max(began).timestamp(), ripe.timestamp(), max(ended).timestamp(), rows[0].cycle_id


def _where(database: Database, batch_id: str) -> str:
    with database.read() as tx:
        query = select(CycleRow.state, CycleRow.attention, func.count()).where(CycleRow.batch_id == batch_id)
        found = tx.session.exec(query.group_by(CycleRow.state, CycleRow.attention)).all()
    standing = ", ".join(f"{count} {state} {attention}" for state, attention, count in found)
    now = datetime.now(UTC).strftime("%H:%M:%S")
    return f"The numbers did not become RESELLABLE in time; at {now} UTC: {standing}. Give fewer with --numbers."
