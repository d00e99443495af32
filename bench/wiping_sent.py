"""The wiping part's third contender: senders over our own database, with claims, receipts, events and leases as in life.

Imports the composition root, the operations, the store and the world.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlmodel import func, select

from bench.wiping_runs import Lap, Memory
from bench.wiping_world import Copy, Void, World
from fallow.bootstrap import Wired, wire
from fallow.domain.cycle import ref
from fallow.domain.obligations import Category, Status, TargetKind
from fallow.domain.people import Person, Role
from fallow.domain.ports import WipeOrder
from fallow.operations.enrol import enrol_file
from fallow.operations.sending import Bell, Rounds, Tally, TargetSender
from fallow.operations.stages import Stages
from fallow.operations.wiping_rounds import WipingRounds
from fallow.platforms.signing import SigningKey
from fallow.settings import Settings
from fallow.store import keys, schema
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, ObligationRow

#: Our own database, of which each run gets a copy.
_OURS = "fallow"
#: Most numbers of a run.
_MOST = 1_000
#: Most seconds of a run.
_LONGEST = 300.0
#: As many threads as a worker has, and one for each target.
_THREADS = 16
_SCAN_EVERY = 0.5
_BENCH = Person("bench", Role.ADMINISTRATOR)
_HEADER = "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref"
_POLICY = """id = "bench"
version = 1

[[rule]]
quarantine = "1s"
observed = "0s"
demo = true
source = "benchmark; no rule of any country"
"""
_PLATFORM = """
[[platform]]
id = "{category}"
category = "{category}"
url = "https://{category}.example.com/unbind"
public_keys = ["{key}"]
contact = "nobody"
"""


def taken(world: World) -> Sequence[WipeOrder]:
    """Return the numbers the senders get: a bounded part, since each must first be enrolled and taken to WIPING."""
    return world.orders[:_MOST]


def prepare(world: World) -> None:
    """Make our own database in the world's server and take the senders' numbers to WIPING there, with their obligations open."""
    url = world.server.create_database(_OURS)
    keys.create(world.folder / "keys")
    (world.folder / "policy.toml").write_text(_POLICY)
    named = (Category.PAYMENT, Category.SOCIAL)
    (world.folder / "platforms.toml").write_text(
        "".join(_PLATFORM.format(category=each, key=SigningKey.generate().public.text) for each in named)
    )
    database = Database(url)
    schema.upgrade(database.engine)
    database.close()
    with _wired(world, url, world.afresh("enrolled")) as wired:
        report = enrol_file(wired.installation, _BENCH, _csv(taken(world)))
        if report.accepted != len(taken(world)):
            what = f"Of {report.rows} numbers {report.accepted} were enrolled; the first rejection: {report.rejections[:1]}."
            raise RuntimeError(what)
        _take_to_wiping(wired)


def sent(world: World, copy: Copy, label: str) -> Lap:
    """Let six senders wipe what is owed."""
    name = f"{_OURS}_{label}"
    world.copy_database(_OURS, name)
    with _wired(world, world.server.url_of(name), copy) as wired:
        for system in wired.installation.record_systems.values():
            system.check()
        lap = asyncio.run(_send(wired, len(taken(world))))
        _demand_discharged(wired)
    world.drop_database(name)
    return lap


@dataclass
class _Noted:
    """Rounds that note when they last did anything, and what this process held then."""

    rounds: Rounds
    target_id: str
    lanes: int
    memory: Memory
    ended: float = 0.0
    discharged: int = 0

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Do one round."""
        before = tally.discharged
        did = await self.rounds.round(holder, fence, tally)
        if tally.discharged > before:
            self.ended = time.perf_counter()
            self.discharged += tally.discharged - before
            self.memory.note(tally.discharged - before)
        return did


async def _send(wired: Wired, numbers: int) -> Lap:
    installation, memory = wired.installation, Memory()
    rounds = [WipingRounds(installation, system) for system in installation.record_systems.values()]
    noted = [_Noted(each, each.target_id, each.lanes, memory) for each in rounds]
    bell = Bell(installation.db, {system.system_id: system.after for system in installation.record_systems.values()})
    sender = TargetSender(installation.db, bell, noted, "bench")
    gives_up = time.monotonic() + _LONGEST

    def done() -> bool:
        return all(each.discharged >= numbers for each in noted) or time.monotonic() > gives_up

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + len(noted)))
    cpu, began = time.process_time(), time.perf_counter()
    scanning = asyncio.create_task(_scan(bell))
    await asyncio.gather(*(_turns(sender, each.target_id, done) for each in noted))
    scanning.cancel()
    return Lap(max(each.ended for each in noted) - began, time.process_time() - cpu, memory)


async def _turns(sender: TargetSender, target_id: str, done: Callable[[], bool]) -> None:
    """Take turn after turn, as a worker does: one that lost its lease is followed by the next."""
    while not done():
        over = await sender.turn(target_id, turn_for=_LONGEST, beat=lambda: None, stopping=done)
        if over.why == "lease-lost":
            print(f"senders: {target_id} lost its lease and takes another turn", flush=True)


async def _scan(bell: Bell) -> None:
    while True:
        await bell.scan()
        await asyncio.sleep(_SCAN_EVERY)


@contextmanager
def _wired(world: World, url: str, copy: Copy) -> Iterator[Wired]:
    settings = Settings(_env_prefix="NO_SUCH_PREFIX_", state=world.folder, database_url=SecretStr(url), records=copy.records)
    with wire(settings) as wired:
        yield wired
        asyncio.run(wired.transport.aclose())


def _csv(orders: Sequence[WipeOrder]) -> bytes:
    rest = "ordinary,1,,bench"
    places = "CN,china-mobile,china-mobile,mobile"
    lines = (f"{each.number.text},{places},{each.disconnected_at.isoformat()}" for each in orders)
    return "".join(f"{line}\n" for line in (_HEADER, *(f"{line},{rest}" for line in lines))).encode()


def _take_to_wiping(wired: Wired) -> None:
    stages = Stages(wired.installation)
    with wired.installation.db.read() as tx:
        cycle_ids = list(tx.session.exec(select(CycleRow.cycle_id)))
    steps: tuple[Callable[[str], object], ...] = (
        lambda cycle_id: stages.begin_quarantine(ref(cycle_id)),
        lambda cycle_id: stages.end_quarantine(ref(cycle_id), datetime.now(UTC)),
        lambda cycle_id: stages.clear(ref(cycle_id), TargetKind.RECORDS),
    )
    with ThreadPoolExecutor(4) as threads:
        for step in steps:
            list(threads.map(step, cycle_ids))


def _demand_discharged(wired: Wired) -> None:
    query = select(ObligationRow.status, func.count()).group_by(ObligationRow.status)
    with wired.installation.db.read() as tx:
        found = dict(tx.session.exec(query).all())
    if set(found) != {Status.DISCHARGED}:
        what = f"The senders did not discharge everything: {found}."
        raise Void(what)
