"""Part ``sending``: obligations per second sent to four platforms and settled by their answers, on PostgreSQL.

How to run it
    ``make bench PART=sending`` for 4,000 numbers, 16,000 obligations; PostgreSQL 15 or newer must be installed, a server of its own
    is started and removed.
Measured
    ``sending.batch``: the senders of four platforms in one process, three lanes each, over one database: claims, numbers opened,
    requests of at most 500 signed and posted over HTTP on loopback, answers verified, kept and applied with their events, attempts
    and delivery log. The platforms are one program of their own on the same machine, which answers each request at once and in
    full. Every commit is on disk (``fsync`` and ``synchronous_commit`` on). The clock runs from the first claim to the last note.
Not measured
    Opening of the obligations, callbacks, reminders, failures; the workflows that are woken.
Baseline
    ``bare posts and inserts``: twelve threads that post the same number of items in the same batches to the same program, and for
    each batch write in one transaction the same rows with one statement a table: obligations and cycles updated, events, attempts
    and the delivery inserted. Nothing is claimed, signed, verified or read.
Void
    Unless every obligation is discharged, and each number asked for once at each platform.
"""

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from sqlmodel import func, select

from bench import sending_world
from bench.asked import Asked
from bench.figures import Figure
from bench.profiling import profiled
from bench.sending_world import BATCH, Void, World
from bench.usage import cpu_seconds, family_seconds
from fallow.bootstrap import Wired
from fallow.domain.obligations import Status
from fallow.local.processes import LOOPBACK
from fallow.operations.sending import Bell, Tally, TargetSender
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.store.tables import AttemptRow, ObligationRow

_NUMBERS = 4_000
_LANES = 3
#: Most seconds of a run.
_LONGEST = 120.0
#: As many threads as a worker has, and one for each target.
_THREADS = 16
_SCAN_EVERY = 0.5
#: How often it is looked whether all is settled; when it was is noted apart.
_LOOK_EVERY = 0.2
_SETTLED = """WITH settled AS (
    UPDATE obligations SET status = 'DISCHARGED', outcome = 'clear', evidence = 'bench', due_at = NULL, asked = 1, attempts = 1
    WHERE target_id = %(target)s AND cycle_id = ANY(%(ids)s) RETURNING cycle_id
), counted AS (
    UPDATE cycles SET events_no = events_no + 1 WHERE cycle_id IN (SELECT cycle_id FROM settled) RETURNING cycle_id, events_no
) INSERT INTO events (cycle_id, seq, kind, at, body) SELECT cycle_id, events_no, 'ObligationMoved', now(), %(event)s FROM counted"""
_TRIED = """INSERT INTO attempts (cycle_id, target_id, at, result)
    SELECT id, %(target)s, now(), 'answered' FROM unnest(%(ids)s::text[]) AS o(id)"""
_KEPT = """INSERT INTO deliveries (platform_id, delivery_id, digest, signed_at, signature, body, received_at, ack)
    VALUES (%(target)s, %(id)s, %(id)s, 0, '', %(body)s, now(), convert_from(%(body)s, 'UTF8'))"""
_EVENT = '{"evidence":"' + "e" * 64 + '","outcome":"clear","status":"DISCHARGED","target_id":"payment"}'


def measure(asked: Asked) -> list[Figure]:
    """Run both sides in turns and return the row ``sending.batch``.

    Raises:
        sending_world.Void: a run left something open.
        postgres.PostgresNotInstalled: see there.
    """
    print((__doc__ or "").strip())
    numbers = asked.count(usual=_NUMBERS)
    speeds: dict[str, list[float]] = {"engine": [], "bare": []}
    with sending_world.running() as world:
        world.fill(numbers)
        for repeat in range(asked.repeats):
            for side in ("bare", "engine") if repeat % 2 == 0 else ("engine", "bare"):
                speeds[side].append(_run(world, side, f"{side}_{repeat}", asked.profile))
    return [Figure("sending.batch", "obligations/s", speeds["engine"], "bare posts and inserts", speeds["bare"])]


def _run(world: World, side: str, label: str, profile: Path | None) -> float:
    with world.copied(label) as url:
        before = family_seconds(world.server.child.pid), cpu_seconds(world.answering.pid), time.process_time()
        if side == "bare":
            count, seconds = _bare(world, url)
        elif profile is not None:
            with profiled(profile / f"sending-{label}.pstats"):
                count, seconds = _engine(world, url)
        else:
            count, seconds = _engine(world, url)
        after = family_seconds(world.server.child.pid), cpu_seconds(world.answering.pid), time.process_time()
    parts = zip(("PostgreSQL", "platforms", "here"), before, after, strict=True)
    cpu = ", ".join(f"{name} {1e6 * (ended - began) / count:.0f} µs" for name, began, ended in parts)
    print(
        f"{side}: {count / seconds:.0f} obligations/s in {seconds:.2f} s; CPU each: {cpu}; load average {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return count / seconds


class _Noted:
    """Rounds that note when they last did anything."""

    def __init__(self, rounds: UnbindingRounds, ended: list[float]) -> None:
        self.target_id, self.lanes = rounds.target_id, rounds.lanes
        self._rounds, self._ended = rounds, ended

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Do one round."""
        did = await self._rounds.round(holder, fence, tally)
        if did:
            self._ended[0] = time.perf_counter()
        return did


def _engine(world: World, url: str) -> tuple[int, float]:
    with world.wired(url) as wired:
        seconds = asyncio.run(_send(wired))
        return _demand_settled(wired), seconds


async def _send(wired: Wired) -> float:
    installation = wired.installation
    ended = [0.0]
    rounds = [_Noted(UnbindingRounds(installation, platform_id), ended) for platform_id in installation.platforms]
    bell = Bell(installation.db)
    sender = TargetSender(installation.db, bell, rounds, "bench")
    gives_up = time.monotonic() + _LONGEST
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + len(rounds)))
    scanning = asyncio.create_task(_scan(bell))
    began, over = time.perf_counter(), asyncio.Event()

    def done() -> bool:
        return over.is_set() or time.monotonic() > gives_up

    turns = [asyncio.create_task(_turns(sender, each.target_id, done)) for each in rounds]
    while not done():
        await asyncio.sleep(_LOOK_EVERY)
        if not await asyncio.to_thread(_left, wired):
            over.set()
    await asyncio.gather(*turns)
    scanning.cancel()
    await wired.transport.aclose()
    return ended[0] - began


async def _turns(sender: TargetSender, target_id: str, done: Callable[[], bool]) -> None:
    """Take turn after turn, as a worker does: one that lost its lease is followed by the next."""
    while not done():
        over = await sender.turn(target_id, turn_for=_LONGEST, beat=lambda: None, stopping=done)
        if over.why == "lease-lost":
            print(f"engine: {target_id} lost its lease and takes another turn", flush=True)


async def _scan(bell: Bell) -> None:
    while True:
        await bell.scan()
        await asyncio.sleep(_SCAN_EVERY)


def _left(wired: Wired) -> bool:
    with wired.installation.db.read() as tx:
        query = select(ObligationRow.cycle_id).where(ObligationRow.status == Status.OPEN).limit(1)
        return tx.session.exec(query).first() is not None


def _demand_settled(wired: Wired) -> int:
    with wired.installation.db.read() as tx:
        found = dict(tx.session.exec(select(ObligationRow.status, func.count()).group_by(ObligationRow.status)).all())
        tries = tx.session.exec(select(func.count()).select_from(AttemptRow)).one()
    count = sum(found.values())
    if set(found) != {Status.DISCHARGED} or tries != count:
        what = f"The senders did not settle everything, each with one request: {found}, {tries} attempts."
        raise Void(what)
    return count


def _bare(world: World, url: str) -> tuple[int, float]:
    conninfo = url.replace("+psycopg", "", 1)
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT target_id, cycle_id, reference FROM obligations ORDER BY target_id, cycle_id").fetchall()
    work: dict[int, list[tuple[str, Sequence[tuple[str, str]]]]] = {}
    for at, target in enumerate(sorted({row[0] for row in rows})):
        mine = [(cycle_id, reference) for target_id, cycle_id, reference in rows if target_id == target]
        for place, first in enumerate(range(0, len(mine), BATCH)):
            work.setdefault(_LANES * at + place % _LANES, []).append((target, mine[first : first + BATCH]))
    began = time.perf_counter()
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(_post, world.port, conninfo, batches) for batches in work.values()]:
            done.result()
    return len(rows), time.perf_counter() - began


def _post(port: int, conninfo: str, batches: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    platform = http.client.HTTPConnection(LOOPBACK, port, timeout=_LONGEST)
    with psycopg.connect(conninfo) as connection:
        for target, batch in batches:
            item = {"number": "+8613800000000", "disconnected_at": "2026-03-01T09:00:00Z", "reminder": False}
            body = json.dumps({"type": "fallow.unbind.v1", "items": [{"reference": reference, **item} for _, reference in batch]})
            platform.request("POST", f"/{target}", body.encode())
            response = platform.getresponse()
            answer = response.read()
            values = {"target": target, "ids": [cycle_id for cycle_id, _ in batch], "event": _EVENT}
            with connection.transaction():
                # Whoever changes cycles locks them in the order of their ids; four platforms share each number.
                connection.execute("SELECT 1 FROM cycles WHERE cycle_id = ANY(%s) ORDER BY cycle_id FOR UPDATE", [values["ids"]])
                connection.execute(_SETTLED, values)
                connection.execute(_TRIED, values)
                connection.execute(_KEPT, {"target": target, "id": response.headers["webhook-id"], "body": answer})
    platform.close()
