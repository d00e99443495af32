"""Part ``isolation``: whether a platform that hangs for ever slows the others, on PostgreSQL.

How to run it
    ``make bench PART=isolation``, or ``python -m bench isolation --repeats 5`` for the five paired runs that the promise is about.
Measured
    ``isolation``: 95th percentile of the milliseconds from the instant an obligation becomes due to the note of its answer, over three
    platforms that answer at once. Forty numbers become due each second, each at four platforms; the fourth takes every connection
    and never answers. One process sends for all four, with the threads and connections of a worker.
Not measured
    Opening of the obligations, workflows, callbacks. Half a second of each figure is the due-scan, which goes twice a second.
Baseline
    ``all four answer``: the same, with the fourth platform answering as well. Each repeat runs both, one after the other.
Void
    Unless the three platforms settled everything, and the fourth nothing (or everything, for the baseline).
"""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import text

from bench import sending_world
from bench.asked import Asked
from bench.figures import Figure
from bench.sending_world import CATEGORIES, Void, World
from fallow.bootstrap import Wired
from fallow.local.processes import LOOPBACK
from fallow.operations.sending import Bell, TargetSender
from fallow.operations.unbinding_rounds import UnbindingRounds

_NUMBERS = 400
_A_SECOND = 40
_HANGS = str(CATEGORIES[-1])
#: Most seconds after the last number became due.
_PATIENCE = 30.0
_THREADS = 16
_SCAN_EVERY = 0.5
_STAGGER = """UPDATE obligations o SET due_at = clock_timestamp() + interval '1 second' * (1 + p.place / :rate)
    FROM (SELECT cycle_id, (row_number() OVER (ORDER BY cycle_id))::float8 AS place FROM cycles) p WHERE p.cycle_id = o.cycle_id"""
_REMEMBER = "CREATE TABLE due AS SELECT cycle_id, target_id, due_at FROM obligations"
_LATE = """SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY 1000 * extract(epoch FROM a.at - d.due_at))
    FROM attempts a JOIN due d USING (cycle_id, target_id) WHERE a.result = 'answered' AND a.target_id <> :hangs"""
_LEFT = "SELECT count(*) FROM obligations WHERE status = 'OPEN' AND target_id <> :hangs"
_SETTLED = "SELECT count(*) FROM obligations WHERE status = 'DISCHARGED' AND target_id = :hangs"


def measure(asked: Asked) -> list[Figure]:
    """Run pairs and return the row ``isolation``.

    Raises:
        sending_world.Void: a run did not do what it should.
        postgres.PostgresNotInstalled: see there.
    """
    print((__doc__ or "").strip())
    numbers = asked.count(usual=_NUMBERS)
    late: dict[bool, list[float]] = {True: [], False: []}
    with sending_world.running() as world:
        world.fill(numbers)
        _run(world, numbers, hanging=False, label="warming_up")  # whoever is first would pay for what is made once
        for repeat in range(asked.repeats):
            for hanging in (True, False) if repeat % 2 == 0 else (False, True):
                late[hanging].append(_run(world, numbers, hanging=hanging, label=f"run_{repeat}_{hanging}".lower()))
            print(
                f"pair {repeat}: {late[True][-1]:.0f} ms beside {late[False][-1]:.0f} ms; load average {os.getloadavg()[0]:.1f}", flush=True
            )
    return [Figure("isolation", "ms", late[True], "all four answer", late[False])]


def _run(world: World, numbers: int, *, hanging: bool, label: str) -> float:
    with world.copied(label) as url, _silence() as port:
        world.map_platforms(elsewhere={_HANGS: port} if hanging else None)
        with world.wired(url) as wired:
            _execute(wired, _STAGGER, rate=float(_A_SECOND))
            _execute(wired, _REMEMBER)
            asyncio.run(_send(wired, numbers / _A_SECOND))
            left, settled, late = _ask(wired, _LEFT), _ask(wired, _SETTLED), _ask(wired, _LATE)
    if left or settled != (0 if hanging else numbers):
        what = f"The three platforms left {left:.0f} open, and the fourth settled {settled:.0f} of {numbers}."
        raise Void(what)
    return late


@contextmanager
def _silence() -> Iterator[int]:
    """Listen and never answer: the system takes connections and what is sent over them, and nobody reads it."""
    with socket.create_server((LOOPBACK, 0), backlog=128) as listening:
        yield listening.getsockname()[1]


async def _send(wired: Wired, seconds: float) -> None:
    installation = wired.installation
    rounds = [UnbindingRounds(installation, platform_id) for platform_id in installation.platforms]
    bell = Bell(installation.db)
    sender = TargetSender(installation.db, bell, rounds, "bench")
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + len(rounds)))
    scanning, over, gives_up = asyncio.create_task(_scan(bell)), asyncio.Event(), time.monotonic() + seconds + _PATIENCE
    turns = [asyncio.create_task(_turns(sender, each.target_id, over)) for each in rounds]
    while not over.is_set():
        await asyncio.sleep(_SCAN_EVERY)
        if time.monotonic() > gives_up or not await asyncio.to_thread(_ask, wired, _LEFT):
            over.set()
    await asyncio.gather(*turns)
    scanning.cancel()
    await wired.transport.aclose()


async def _turns(sender: TargetSender, target_id: str, over: asyncio.Event) -> None:
    while not over.is_set():
        await sender.turn(target_id, turn_for=_PATIENCE, beat=lambda: None, stopping=over.is_set)


async def _scan(bell: Bell) -> None:
    while True:
        await bell.scan()
        await asyncio.sleep(_SCAN_EVERY)


def _execute(wired: Wired, statement: str, **values: object) -> None:
    with wired.installation.db.begin() as tx:
        tx.session.execute(text(statement), values)


def _ask(wired: Wired, query: str) -> float:
    with wired.installation.db.read() as tx:
        return float(tx.session.execute(text(query), {"hangs": _HANGS}).scalar_one() or 0)
