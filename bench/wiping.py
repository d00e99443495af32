"""Part ``wiping``: numbers per second wiped from six SQL systems on PostgreSQL, and how long a plan of one number takes.

How to run it
    ``make bench PART=wiping`` for a tenth (1,000 numbers, 120,000 rows in the largest table), ``make bench PART=wiping SCALE=full``
    for 10,000 numbers and 1,200,000 rows. PostgreSQL 15 or newer must be installed; a server of its own is started and removed.
Measured
    ``wiping.sql``: the record systems of a records map, ``wipe`` in their own batches, one thread a system as senders have, receipts
    included: per number 29 rows deleted, 6 kept restricted, all read back. Each run has the tables afresh; every
    commit is on disk (``fsync`` and ``synchronous_commit`` on).
    ``wiping.sent``: the same by senders with our own database on the same server: claims, receipts, events, leases; 1,000 numbers at most.
    ``wiping.plan``: milliseconds to find one number's rows in all six systems, one after the other, on untouched data.
Not measured
    Start-up: reflection of the tables, opening of connections, enrolment. Any network: server and engine share the machine.
Baseline
    ``hand-written script``: psycopg, one thread a system, the same batches and planner settings; one set-wise ``DELETE`` or ``UPDATE`` a
    batch and commit, then one grouped count on another connection. It looks for the one spelling it knows and keeps no receipt. For
    ``wiping.plan``: that count alone, for one number.
Void
    Unless engine, senders and script leave the same rows (count and checksum), and those are what the untouched data says they should be.
"""

import time
from contextlib import ExitStack, closing
from statistics import median

from bench import wiping_runs, wiping_sent, wiping_world
from bench.asked import Asked
from bench.figures import Figure
from bench.profiling import profiled
from bench.usage import family_seconds
from bench.wiping_runs import Lap
from bench.wiping_world import Contents, Copy, World
from fallow.records.records_map import load_records_map

_SCRIPT = "hand-written script"
_TENTH, _FULL = 1_000, 10_000
_PLANS = 30
#: A plan of one number takes at most this long at full scale: milliseconds.
_PLAN_WITHIN = 200


def measure(asked: Asked) -> list[Figure]:
    """Run the contenders in turns and return the rows ``wiping.sql``, ``wiping.sent`` and ``wiping.plan``.

    Raises:
        wiping_world.Void: a contender left other rows than it should.
        postgres.PostgresNotInstalled: see there.
    """
    print((__doc__ or "").strip())
    with wiping_world.running(asked.count(usual=_TENTH, full=_FULL)) as world:
        wiping_sent.prepare(world)
        turns = _Turns(world, asked)
        for repeat in range(asked.repeats):
            turns.take(repeat)
        plan = _plan(world)
    speeds = turns.speeds
    return [
        Figure("wiping.sql", "numbers/s", speeds["engine"], _SCRIPT, speeds["script"]),
        Figure("wiping.sent", "numbers/s", speeds["senders"], _SCRIPT, speeds["script"]),
        plan,
    ]


class _Turns:
    """The contenders' runs, each on tables made afresh."""

    def __init__(self, world: World, asked: Asked) -> None:
        self.speeds: dict[str, list[float]] = {"engine": [], "script": [], "senders": []}
        self._world = world
        self._profile = asked.profile
        self._left: dict[int, dict[str, Contents]] = {}

    def take(self, repeat: int) -> None:
        """Let each contender run once; the order turns with each repeat."""
        order = ["script", "engine", "senders"]
        for name in order if repeat % 2 == 0 else reversed(order):
            label = f"{name}_{repeat}"
            copy = self._world.afresh(label)
            before = family_seconds(self._world.server.child.pid)
            lap = self._run(name, copy, label)
            self._judge(name, lap, copy, family_seconds(self._world.server.child.pid) - before)

    def _run(self, name: str, copy: Copy, label: str) -> Lap:
        with ExitStack() as around:
            if self._profile is not None and name != "script":
                around.enter_context(profiled(self._profile / f"wiping-{label}.pstats"))
            if name == "script":
                return wiping_runs.script(copy, self._world.orders)
            if name == "engine":
                return wiping_runs.engine(copy, self._world.orders)
            return wiping_sent.sent(self._world, copy, label)

    def _judge(self, name: str, lap: Lap, copy: Copy, busy: float) -> None:
        orders, contents = wiping_sent.taken(self._world) if name == "senders" else self._world.orders, copy.contents()
        numbers = len(orders)
        # Two contenders that took the same numbers must leave the very same rows.
        self._world.demand_right(contents, orders, self._left.setdefault(numbers, contents))
        speed = numbers / lap.seconds
        self.speeds[name].append(speed)
        cpu = f"CPU per number: here {1000 * lap.cpu / numbers:.2f} ms, PostgreSQL {1000 * busy / numbers:.2f} ms"
        print(f"{name}: {speed:.1f} numbers/s in {lap.seconds:.2f} s; {cpu}; memory: {lap.memory}", flush=True)


def _plan(world: World) -> Figure:
    """Find single numbers, once the tables are known, and count their rows by hand beside it."""
    copy = world.afresh("plan")
    with closing(load_records_map(copy.records)) as records, wiping_runs.counting(copy) as count:
        systems, began = list(records.systems.values()), time.perf_counter()
        for system in systems:
            system.check()
        reflected = 1000 * (time.perf_counter() - began)
        orders = world.orders[:: max(1, len(world.orders) // _PLANS)][:_PLANS]
        engine, script = [], []
        for order in orders:
            began = time.perf_counter()
            for system in systems:
                system.find([order])
            engine.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            count(order)
            script.append(1000 * (time.perf_counter() - began))
    within = "within" if max(engine) <= _PLAN_WITHIN else "NOT within"
    longest = f"longest {max(engine):.1f} ms, {within} {_PLAN_WITHIN} ms"
    print(f"plan: median {median(engine):.1f} ms, {longest}; reflection of the tables before: {reflected:.0f} ms", flush=True)
    return Figure("wiping.plan", "ms", engine, f"{_SCRIPT}'s count", script)
