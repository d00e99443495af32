"""Loops of a worker process: the due-scan for its own senders; and, in one process at a time under a lease, the relay and the sweep.

relay  tells workflows to look: it works from rows (``wake_at``), so a wake that got lost is told again.
visit  goes to platforms that do not call back, or want to know of sales.
sweep  wakes what could go on and did not, makes sure that every target has its dispatch workflow, finds recycling
       workflows that were terminated from outside, and does a bounded part of each chore.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client

from fallow.domain.collecting import Announcing, Collecting
from fallow.domain.lifecycle import State
from fallow.operations import announcing, collecting
from fallow.operations.installation import Installation
from fallow.operations.sending import Bell
from fallow.store import cycles, decommissioned, leases, missing
from fallow.store.engine import Database
from workers import telling

SCAN_EVERY = 0.5
RELAY_EVERY = 0.25
SWEEP_EVERY = 10.0
#: How often platforms are visited that do not call back or want to know of sales.
VISIT_EVERY = 20.0
PAGE = 200
#: How far back the sweep asks for workflows that closed other than by completing; visibility is eventually consistent.
CLOSED_WITHIN = timedelta(hours=1)
#: How soon a dispatch workflow that could not be started is tried again, and the start of a new target's.
_BEGIN_AGAIN_AFTER = 2.0
_LEASE = "~relay"
#: Well within the lease; renewing it at each tick would be four transactions a second for nothing.
_RENEW_EVERY = 2.0

_log = structlog.get_logger()


async def due_scan(bell: Bell, stop: asyncio.Event) -> None:
    """Ring for this process's senders until stopped."""
    await _every(SCAN_EVERY, bell.scan, stop)


async def begin_dispatch(client: Client, targets: Collection[str], stop: asyncio.Event) -> None:
    """Make sure that each target of this process has its dispatch workflow, until stopped: ``targets`` may grow.

    The sweep does so too, but only for the targets that the one process with the lease knows, and rarer.
    """
    begun = set[str]()

    async def begin() -> None:
        for target_id in [each for each in targets if each not in begun]:
            if stop.is_set():
                return
            await telling.ensure_dispatch(client, target_id)
            begun.add(target_id)

    await _every(_BEGIN_AGAIN_AFTER, begin, stop)


async def visit(installation: Installation, stop: asyncio.Event) -> None:
    """Fetch the answers of platforms that do not call back, and tell of sales, until stopped.

    Each platform has a task of its own, so that none waits for another. Every process visits: a second visit finds the same or nothing.
    """
    visits: dict[str, asyncio.Task[None]] = {}

    async def visit_all() -> None:
        for platform in await asyncio.to_thread(collecting.visited, installation):
            if platform.platform_id not in visits or visits[platform.platform_id].done():
                visits[platform.platform_id] = asyncio.create_task(_visit(installation, platform))

    await _every(VISIT_EVERY, visit_all, stop)
    for each in visits.values():
        each.cancel()  # what breaks off is fetched or told again
    await asyncio.gather(*visits.values(), return_exceptions=True)


async def _visit(installation: Installation, platform: Collecting | Announcing) -> None:
    async def collect() -> None:
        if isinstance(platform, Collecting):
            await collecting.collect(installation, platform)

    async def announce() -> None:
        if isinstance(platform, Announcing):
            await announcing.announce(installation, platform)

    await _try(collect)
    await _try(announce)


class Relay:
    """Relay and sweep, in one process at a time."""

    def __init__(
        self, db: Database, client: Client, targets: Collection[str], holder: str, chores: Sequence[Callable[[], Awaitable[None]]] = ()
    ) -> None:
        """Serve ``targets``, which may change; ``holder`` names this process in the lease. Each of ``chores`` is done at every sweep."""
        self._db = db
        self._client = client
        self._targets = targets
        self._holder = holder
        self._chores = chores
        self._sweep_at = 0.0
        self._renew_at = 0.0
        self._stop = asyncio.Event()
        #: Runs that closed lately and were dealt with; it forgets what Temporal no longer lists, so it never grows for ever.
        self._dealt_with: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay and sweep until stopped, then give the lease back."""
        self._stop = stop
        await _every(RELAY_EVERY, self._once, stop)
        await _try(self._hand_over)  # in an outage of the database the lease runs out by itself; the end is orderly all the same

    async def _once(self) -> None:
        more = True
        while more:
            if self._stop.is_set() or not await asyncio.to_thread(self._leads):
                return
            more = await self._relay()
            if time.monotonic() >= self._sweep_at:  # between pages, too: a million wakes may take an hour
                await self.sweep()
                self._sweep_at = time.monotonic() + SWEEP_EVERY

    async def _relay(self) -> bool:
        """Tell one page; say whether there may be another worth telling now: after a failure there is not."""
        due = await asyncio.to_thread(self._due)
        if not due:
            return False
        told = await telling.tell_all(self._client, due, self._state_now)
        delivered = {each.wake for each in told}
        failed = [wake for wake in due if wake not in delivered]
        await asyncio.to_thread(self._note, told, failed)
        return len(due) == PAGE and not failed

    async def sweep(self) -> None:
        """Wake what is stalled, do the chores, keep dispatch alive, find what was terminated; each whatever becomes of the others."""
        for each in (self._wake_stalled_now, self._note_missing_now, *self._chores, self._keep_dispatch, self._replace_cut_off):
            if not self._stop.is_set():
                await _try(each)

    async def _wake_stalled_now(self) -> None:
        await asyncio.to_thread(self._wake_stalled)

    async def _note_missing_now(self) -> None:
        await asyncio.to_thread(self._note_missing)

    async def _keep_dispatch(self) -> None:
        for target_id in list(self._targets):
            await telling.ensure_dispatch(self._client, target_id)

    async def _replace_cut_off(self) -> None:
        closed = await telling.cut_off(self._client, CLOSED_WITHIN)
        self._dealt_with &= {run_id for _, run_id in closed}
        fresh = [(cycle_id, run_id) for cycle_id, run_id in closed if run_id not in self._dealt_with]
        for first in range(0, len(fresh), PAGE):
            page = fresh[first : first + PAGE]
            await asyncio.to_thread(self._wake_cut_off, [cycle_id for cycle_id, _ in page])
            self._dealt_with |= {run_id for _, run_id in page}

    def _leads(self) -> bool:
        if time.monotonic() < self._renew_at:
            return True
        with self._db.begin() as tx:
            leads = leases.take(tx, _LEASE, self._holder) is not None
        self._renew_at = time.monotonic() + _RENEW_EVERY if leads else 0.0
        return leads

    def _due(self) -> list[telling.Wake]:
        with self._db.read() as tx:
            return [telling.Wake(*due) for due in cycles.due_wakes(tx, PAGE)]

    def _state_now(self, cycle_id: str) -> State:
        with self._db.read() as tx:
            return State(cycles.get(tx, cycle_id).state)

    def _note(self, told: list[telling.Told], failed: list[telling.Wake]) -> None:
        with self._db.begin() as tx:
            telling.note(tx, told, failed)

    def _note_missing(self) -> None:
        gone = getattr(self._targets, "decommissioned", frozenset[str]())
        missing.note(self._db, {*self._targets, *gone}, PAGE)
        decommissioned.note(self._db, gone, PAGE)

    def _wake_stalled(self) -> None:
        with self._db.read() as tx:
            stalled = cycles.stalled(tx, PAGE)
        if not stalled:
            return
        with self._db.begin() as tx:
            woken = cycles.wake_stalled(tx, stalled)
        _log.info("stalled cycles woken", count=woken)

    def _wake_cut_off(self, cycle_ids: list[str]) -> None:
        with self._db.begin() as tx:
            for row in cycles.lock(tx, cycle_ids):
                if cycles.facts(row).active:
                    cycles.wake(tx, row)  # also one that is told already: told to the run that was ended, perhaps

    async def _hand_over(self) -> None:
        await asyncio.to_thread(self._give_back)

    def _give_back(self) -> None:
        with self._db.begin() as tx:
            leases.give_back(tx, _LEASE, self._holder)


async def _every(seconds: float, action: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Repeat ``action`` until stopped; what goes wrong is never the end of the loop."""
    while not stop.is_set():
        await _try(action)
        await _pause(seconds, stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    """Wait, but not beyond the end."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _try(action: Callable[[], Awaitable[None]]) -> None:
    """Do ``action``; an outage of the database or of Temporal is logged by class and left to the next time."""
    try:
        await action()
    except Exception as error:  # noqa: BLE001 - a loop that dies would lose every later wake in silence
        _log.warning("loop will try again", loop=action.__qualname__, reason=telling.reason(error))
