"""The contenders of the wiping part: the engine's record systems, and a script that somebody wrote by hand for these six tables.

Both have one thread a system, as senders do, take the same batches, commit each with the same durability, and read back on another
connection. Imports the record systems, psycopg and the world.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

import psycopg
from psycopg import sql

from bench.wiping_world import BASIS, KEPT_FOR, RESTRICTED, SYSTEMS, Copy, System, Void
from fallow.domain.ports import RecordSystem, WipeOrder, WipeReceipt
from fallow.records.records_map import load_records_map

_ORDERED = "unnest(%(n)s::text[], %(u)s::timestamptz[]{more}) AS o(n, u{name})"
_DELETE = f"DELETE FROM {{}} AS t USING {_ORDERED.format(more='', name='')} WHERE t.msisdn = o.n AND t.began_at <= o.u"
_RESTRICT = f"""UPDATE {{}} AS t SET status = %(status)s, basis = %(basis)s, kept_until = o.k
    FROM {_ORDERED.format(more=", %(k)s::date[]", name=", k")}
    WHERE t.msisdn = o.n AND t.began_at <= o.u AND t.status <> %(status)s"""
_LEFT = f"""SELECT o.n, count(t.msisdn) FILTER (WHERE t.began_at <= o.u AND t.status <> %(status)s),
        count(t.msisdn) FILTER (WHERE t.began_at > o.u)
    FROM {_ORDERED.format(more="", name="")} LEFT JOIN {{}} AS t ON t.msisdn = o.n GROUP BY o.n"""


@dataclass
class Memory:
    """What this process held in memory after each batch.

    Attributes:
        samples: (numbers done so far over all systems, bytes).
    """

    samples: list[tuple[int, int]] = field(default_factory=list)
    _one_by_one: threading.Lock = field(default_factory=threading.Lock)

    def note(self, numbers: int) -> None:
        """Look now, ``numbers`` further on."""
        with self._one_by_one:
            self.samples.append((self.samples[-1][0] + numbers if self.samples else numbers, resident()))

    def __str__(self) -> str:
        """Say first, last, most, and by how much it grew with each number once the first fifth was done."""
        settled = self.samples[len(self.samples) // 5 :]
        slope = linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 1 else 0.0
        first, last, most = self.samples[0][1], self.samples[-1][1], max(size for _, size in self.samples)
        return f"{first / 1e6:.1f} MB first, {last / 1e6:.1f} last, {most / 1e6:.1f} most; {slope:+.0f} bytes a number and system"


@dataclass(frozen=True)
class Lap:
    """One run.

    Attributes:
        seconds: from the first batch until the last system has done its last.
        cpu: CPU seconds of this process in that time.
        memory: what it held.
    """

    seconds: float
    cpu: float
    memory: Memory


def resident() -> int:
    """Return the bytes of memory this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def engine(copy: Copy, orders: Sequence[WipeOrder]) -> Lap:
    """Let the record systems of the copy's map wipe."""
    with closing(load_records_map(copy.records)) as records:
        for system in records.systems.values():
            system.check()  # as at the start of a worker, which then lives for days
        return in_threads([_wiping(system, orders) for system in records.systems.values()])


def script(copy: Copy, orders: Sequence[WipeOrder]) -> Lap:
    """Let the script do the same, in batches of the same size."""
    with closing(load_records_map(copy.records)) as records:
        sizes = {system_id: system.batch for system_id, system in records.systems.items()}
    with ExitStack() as connections:
        work = []
        for system in SYSTEMS:
            writing, reading = (connections.enter_context(copy.connect(system)) for _ in range(2))
            reading.autocommit = True
            work.append(_scripted(system, writing, reading, orders, sizes[system.system_id]))
        return in_threads(work)


def in_threads(work: Sequence[Iterator[int]]) -> Lap:
    """Do all of ``work`` at once, one thread each; each item it yields says how many numbers were done."""
    memory = Memory()

    def drain(items: Iterator[int]) -> None:
        for numbers in items:
            memory.note(numbers)

    cpu, began = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(drain, items) for items in work]:
            done.result()
    return Lap(time.perf_counter() - began, time.process_time() - cpu, memory)


def batches(orders: Sequence[WipeOrder], size: int) -> Iterator[Sequence[WipeOrder]]:
    """Yield the orders in batches of at most ``size``."""
    return (orders[first : first + size] for first in range(0, len(orders), size))


def _wiping(system: RecordSystem, orders: Sequence[WipeOrder]) -> Iterator[int]:
    for batch in batches(orders, system.batch):
        _demand_clean(system.wipe(batch), len(batch))
        yield len(batch)


def _demand_clean(receipts: Sequence[WipeReceipt], count: int) -> None:
    if len(receipts) != count or any(each.remaining or each.newer or not each.affected for one in receipts for each in one.collections):
        what = "A receipt is missing, or says that rows remain or none were there."
        raise Void(what)


def _scripted(
    system: System, writing: psycopg.Connection, reading: psycopg.Connection, orders: Sequence[WipeOrder], size: int
) -> Iterator[int]:
    table = sql.Identifier(system.table)
    clearing = sql.SQL(_RESTRICT if system.restricted else _DELETE).format(table)
    counting = sql.SQL(_LEFT).format(table)
    for batch in batches(orders, size):
        values = _values(batch)
        with writing.transaction():
            writing.execute(clearing, values)
        found = reading.execute(counting, values).fetchall()
        if len(found) != len(batch) or any(remaining or newer for _, remaining, newer in found):
            what = f"The script left rows in {system.system_id}."
            raise Void(what)
        yield len(batch)


def _values(batch: Sequence[WipeOrder]) -> dict[str, object]:
    return {
        "n": [order.number.text for order in batch],
        "u": [order.disconnected_at for order in batch],
        "k": [(order.disconnected_at + KEPT_FOR).date() for order in batch],
        "status": RESTRICTED,
        "basis": BASIS,
    }


@contextmanager
def counting(copy: Copy) -> Iterator[Callable[[WipeOrder], None]]:
    """Give a way to count one number's rows in all six systems by hand."""
    with ExitStack() as connections:
        opened = [(sql.SQL(_LEFT).format(sql.Identifier(each.table)), connections.enter_context(copy.connect(each))) for each in SYSTEMS]

        def count(order: WipeOrder) -> None:
            for query, connection in opened:
                connection.execute(query, _values([order])).fetchall()

        yield count
