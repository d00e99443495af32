"""Part ``callbacks``: platforms' signed answers per second taken by the API, each acknowledged once it is committed.

How to run it
    ``make bench PART=callbacks``; ``--numbers N`` for N single callbacks and 10 N answers in batches (4,000). PostgreSQL 15 or newer must
    be installed; a server of its own is started and removed.
Measured
    ``callbacks.single``: callbacks of one answer each over 64 connections; ``callbacks.batch``: answers per second, 1,000 to a body,
    over 4 connections. The API is its real process; every commit is on disk. Signatures are made beforehand.
    ``….p99``: milliseconds from when a callback was to be sent to its acknowledgement, sent at half the speed just measured.
Not measured
    What the workflows do once they are woken; any network: client, API and database share the machine.
Baseline
    ``empty handler``: the same requests to the same server with a handler that reads the body and answers. ``bare inserts``: the answers as
    rows of one table with one index, 1,000 to a statement and commit, on one connection.
Void
    Unless every reply was 200, every obligation answered is discharged, events are complete and finished cycles are awake.
"""

import os
import time

from bench import callbacks_world
from bench.asked import Asked
from bench.callbacks_world import Void, World
from bench.client import Caller, Lap
from bench.figures import Figure
from bench.usage import cpu_seconds, family_seconds

_USUAL = 4_000
#: Answers in a batch, and as many answers in batches for each single one.
_BATCH, _TIMES = 1_000, 10
_CONNECTIONS = {"single": 64, "batch": 4}
_BARE_TABLE = "CREATE TABLE bare (id bigserial PRIMARY KEY, reference text, outcome text)"
_BARE_INSERT = "INSERT INTO bare (reference, outcome) SELECT r, 'clear' FROM unnest(%s::text[]) r"


def measure(asked: Asked) -> list[Figure]:
    """Run both sides in turns and return the rows ``callbacks.single``, ``callbacks.batch`` and their p99.

    Raises:
        callbacks_world.Void: a run did not do what it should.
        postgres.PostgresNotInstalled: see there.
    """
    print((__doc__ or "").strip())
    numbers = asked.count(usual=_USUAL)
    with callbacks_world.running(asked.repeats * numbers * (_TIMES + 1) + 10 * _BATCH) as world:
        turns = _Turns(world, numbers)
        for _ in range(asked.repeats):
            turns.take()
    found = turns.found
    return [
        Figure("callbacks.single", "callbacks/s", found["single"], "empty handler", found["single bare"]),
        Figure("callbacks.batch", "answers/s", found["batch"], "bare inserts", found["inserts"]),
        Figure("callbacks.single.p99", "ms", found["single p99"], "empty handler", found["single bare p99"]),
        Figure("callbacks.batch.p99", "ms", found["batch p99"], "empty handler", found["batch bare p99"]),
    ]


class _Turns:
    """The runs of both sides, on references that nobody has answered yet."""

    def __init__(self, world: World, numbers: int) -> None:
        self.found: dict[str, list[float]] = {}
        self._world = world
        self._sizes = {"single": (numbers, 1), "batch": (max(2, numbers * _TIMES // _BATCH), min(_BATCH, numbers * _TIMES // 2))}
        with world.connect() as connection:
            connection.execute(_BARE_TABLE)

    def take(self) -> None:
        """Measure the ceilings, then the API, single and batch, at full speed and at half of it."""
        print(f"load average before: {os.getloadavg()[0]:.2f}", flush=True)
        for name in self._sizes:
            with callbacks_world.empty_handler(self._world) as port:
                self._measure(f"{name} bare", name, port)
            with callbacks_world.api(self._world) as (child, port):
                before = cpu_seconds(child.pid), family_seconds(self._world.server.child.pid)
                count = self._measure(name, name, port)
                used = cpu_seconds(child.pid) - before[0], family_seconds(self._world.server.child.pid) - before[1]
                print(f"{name}: CPU per answer: API {1e6 * used[0] / count:.0f} us, PostgreSQL {1e6 * used[1] / count:.0f} us", flush=True)
        self._inserts()

    def _measure(self, label: str, name: str, port: int) -> int:
        count, each = self._sizes[name]
        caller = Caller(port, _CONNECTIONS[name])
        lap = self._run(label, name, port, caller, count, None)
        speed = count * each / lap.seconds
        half = self._run(label, name, port, caller, max(2, count // 2), count / lap.seconds / 2)
        self.found.setdefault(label, []).append(speed)
        self.found.setdefault(f"{label} p99", []).append(half.percentile(99))
        at_full = f"at full speed p50 {lap.percentile(50):.1f} ms, p99 {lap.percentile(99):.1f} ms"
        at_half = f"at half p50 {half.percentile(50):.1f} ms, p99 {half.percentile(99):.1f} ms"
        print(f"{label}: {speed:.0f}/s; {at_full}; {at_half}; load average {os.getloadavg()[0]:.2f}", flush=True)
        return (count + max(2, count // 2)) * each

    def _run(self, label: str, name: str, port: int, caller: Caller, count: int, rate: float | None) -> Lap:
        each = self._sizes[name][1]
        bare = label.endswith("bare")
        taken = [("payment", [f"ref_{'a' * 26}"] * each)] * count if bare else self._world.take(count, each)
        lap = caller.all(self._world.signed(port, taken, "answers/batch" if name == "batch" else "answers"), rate)
        if lap.statuses != {200}:
            what = f"{label} was answered {sorted(lap.statuses)}."
            raise Void(what)
        if not bare:
            self._world.demand_applied(taken)
        return lap

    def _inserts(self) -> None:
        count, each = self._sizes["batch"]
        rows = [f"ref_{place:026}" for place in range(each)]
        with self._world.connect() as connection:
            began = time.perf_counter()
            for _ in range(count):
                connection.execute(_BARE_INSERT, [rows])
            speed = count * each / (time.perf_counter() - began)
            began = time.perf_counter()
            for _ in range(self._sizes["single"][0]):
                connection.execute(_BARE_INSERT, [rows[:1]])
            single = self._sizes["single"][0] / (time.perf_counter() - began)
        self.found.setdefault("inserts", []).append(speed)
        print(f"bare inserts: {speed:.0f} rows/s, 1,000 a commit; {single:.0f} rows/s, one a commit, one connection", flush=True)
