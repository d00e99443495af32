"""Senders: one per target, not one retry loop per number.

A sender works in turns under a lease on the database's clock. A turn runs lanes; each lane claims due obligations, acts at the
target outside any transaction, and writes what came of it in one fenced transaction. At a takeover at most the requests in
flight are repeated, under the same reference.
"""

import asyncio
import math
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from fallow.domain.errors import LeaseLost, TargetUnavailable
from fallow.domain.ports import TurnOver
from fallow.store import leases, looks, obligations, targets
from fallow.store.engine import Database

_BEAT_EVERY = 1.0
#: An idle lane looks by itself this often, should the bell ever fail; it rings within half a second of what is due.
_IDLE_FOR = 60.0
_RENEW_EVERY = 3.0
#: A target rests this many times as long as its scan took: behind a system that comes before it, a scan goes through its whole backlog.
_RESTS = 20
#: But never longer than this, in seconds: a scan may have taken long only because the whole machine stood still.
_LONGEST_REST = 10.0
#: Longer than any attempt may take: claims of a sender that died come back after this.
CLAIM_FOR = timedelta(seconds=60)
#: What came of an attempt at a number whose row was altered.
NUMBER_UNREADABLE = "number-unreadable"
_FIRST_BACKOFF = timedelta(seconds=1)
_LONGEST_BACKOFF = timedelta(minutes=10)


class Bell:
    """Wakes idle lanes: one due-scan of the process rings for all its senders.

    A ring wakes one lane of a target. While more is due, the next scan wakes the next one: so a slow answer holds nothing up,
    and lanes do not all look for the same few obligations.
    """

    def __init__(
        self, db: Database, after: Mapping[str, Collection[str]] | None = None, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """Scan ``db``; ``after`` names the targets that come before a target, ``seconds`` a clock that never goes back."""
        self._db = db
        self._after = after or {}
        self._seconds = seconds
        self._rung: dict[str, asyncio.Event] = {}
        self._rests_until: dict[str, float] = {}

    async def scan(self) -> None:
        """Ring for every target that has something due; one whose last scan took long is left out for a while."""
        due = await asyncio.to_thread(self._due)
        for target_id in due:
            self.ring(target_id)

    def ring(self, target_id: str) -> None:
        """Wake one lane of ``target_id`` now."""
        if target_id in self._rung:
            self._rung[target_id].set()

    async def wait(self, target_id: str, seconds: float) -> None:
        """Return when ``target_id`` has something due, or after ``seconds`` at the latest."""
        rung = self._rung.setdefault(target_id, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                while not rung.is_set():
                    await rung.wait()
        except TimeoutError:
            return
        rung.clear()

    def _due(self) -> set[str]:
        due = set[str]()
        with self._db.read() as tx:
            for target_id in [each for each in list(self._rung) if self._rests_until.get(each, -math.inf) <= self._seconds()]:
                began = self._seconds()
                due |= obligations.due_targets(tx, {target_id: self._after.get(target_id, ())})
                due |= looks.due_targets(tx, [target_id])
                ended = self._seconds()
                self._rests_until[target_id] = ended + min(_RESTS * (ended - began), _LONGEST_REST)
        return due


@dataclass
class Tally:
    """What a turn has done so far."""

    discharged: int = 0
    failed: int = 0


class Rounds(Protocol):
    """What a lane does over and over at one target."""

    @property
    def target_id(self) -> str:
        """At which target."""
        ...

    @property
    def lanes(self) -> int:
        """How many lanes do so at once, unless an operator set another number; it may change while they run."""
        ...

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Claim, act, write; tell whether there was anything to do.

        Raises:
            LeaseLost: another sender has taken over.
        """
        ...


@dataclass
class _Turn:
    """One turn at one target, under a lease.

    Attributes:
        rounds: what its lanes do.
        holder: in whose name.
        fence: of the lease.
        lanes_set: how many lanes an operator set; None where that is left to the rounds.
        tally: what it has done so far.
        over: it is; lanes finish what they began.
        lanes: those that run, by their place.
    """

    rounds: Rounds
    holder: str
    fence: int
    lanes_set: int | None
    tally: Tally = field(default_factory=Tally)
    over: bool = False
    lanes: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def wanted(self) -> int:
        """How many lanes are to run."""
        return max(1, self.rounds.lanes if self.lanes_set is None else self.lanes_set)


class TargetSender:
    """Implements ``ports.Sender`` over the rounds of each target."""

    def __init__(self, db: Database, bell: Bell, rounds: Iterable[Rounds] | Mapping[str, Rounds], holder: str) -> None:
        """Send for the targets of ``rounds``, a mapping of which may change; ``holder`` names this process in leases."""
        self._db = db
        self._bell = bell
        self._rounds = rounds if isinstance(rounds, Mapping) else {each.target_id: each for each in rounds}
        self._holder = holder

    async def turn(self, target_id: str, *, turn_for: float, beat: Callable[[], None], stopping: Callable[[], bool]) -> TurnOver:
        """Work for at most ``turn_for`` seconds, or until stopped or the lease goes to another process."""
        if target_id not in self._rounds:
            what = f"No map of this worker names the target {target_id}."
            raise TargetUnavailable(
                what, remedy="give every worker the same maps; a removed target is needed as long as anything is owed to it."
            )
        # One name a turn, not a process: after a missed heartbeat the next turn may begin here while this one still runs.
        holder = f"{self._holder}/{secrets.token_hex(4)}"
        ends = time.monotonic() + turn_for
        turn = await self._begin(target_id, holder)
        while turn is None and time.monotonic() < ends and not stopping():
            beat()
            await asyncio.sleep(_BEAT_EVERY)
            turn = await self._begin(target_id, holder)
        if turn is None:
            return TurnOver(0, 0, "stopping" if stopping() else "lease-lost")
        why = ""
        try:
            why = await self._watch(turn, ends, beat, stopping)
        finally:
            turn.over = True
            self._bell.ring(target_id)
            try:
                if why != "lease-lost":
                    await self._outlast(turn, beat)
            finally:
                await asyncio.gather(*turn.lanes.values(), return_exceptions=True)
        # Also after a loss: a lane may have found the lease run out just before it was renewed, and a successor would wait for that.
        await asyncio.to_thread(self._give_back, target_id, holder)
        return TurnOver(turn.tally.discharged, turn.tally.failed, why)

    async def _watch(self, turn: _Turn, ends: float, beat: Callable[[], None], stopping: Callable[[], bool]) -> str:
        """Beat, renew the lease and keep as many lanes as are wanted until the turn is over; re-raise what a lane did not expect."""
        renewed = time.monotonic()
        while time.monotonic() < ends and not stopping():
            beat()
            for place in range(turn.wanted):
                if place not in turn.lanes:
                    turn.lanes[place] = asyncio.create_task(self._lane(turn, place))
            done, _ = await asyncio.wait(turn.lanes.values(), timeout=_BEAT_EVERY, return_when=asyncio.FIRST_COMPLETED)
            for lane in done:
                error = lane.exception()
                if isinstance(error, LeaseLost):
                    return "lease-lost"
                if error is not None:
                    raise error
            turn.lanes = {place: lane for place, lane in turn.lanes.items() if lane not in done}
            if time.monotonic() - renewed >= _RENEW_EVERY:
                if not await self._renew(turn):
                    return "lease-lost"
                renewed = time.monotonic()
        return "stopping" if stopping() else "time"

    async def _outlast(self, turn: _Turn, beat: Callable[[], None]) -> None:
        """Beat and renew the lease until the lanes have finished what they began: without it a successor would do it again."""
        renewed = -math.inf
        while turn.lanes and (await asyncio.wait(turn.lanes.values(), timeout=_BEAT_EVERY))[1]:
            beat()
            if time.monotonic() - renewed >= _RENEW_EVERY:
                if not await self._renew(turn):
                    return
                renewed = time.monotonic()

    async def _lane(self, turn: _Turn, place: int) -> None:
        target_id = turn.rounds.target_id
        while not turn.over and place < turn.wanted:
            if not await turn.rounds.round(turn.holder, turn.fence, turn.tally):
                await self._bell.wait(target_id, _IDLE_FOR)
        self._bell.ring(target_id)  # the next lane is to see that the turn is over, too

    async def _begin(self, target_id: str, holder: str) -> _Turn | None:
        return await asyncio.to_thread(self._begin_now, target_id, holder)

    def _begin_now(self, target_id: str, holder: str) -> _Turn | None:
        with self._db.begin() as tx:
            fence = leases.take(tx, target_id, holder)
            if fence is None:
                return None
            obligations.give_back_claims(tx, target_id)
            looks.give_back_claims(tx, target_id)
            return _Turn(self._rounds[target_id], holder, fence, targets.lanes_set(tx, target_id))

    async def _renew(self, turn: _Turn) -> bool:
        return await asyncio.to_thread(self._renew_now, turn)

    def _renew_now(self, turn: _Turn) -> bool:
        """Renew the lease, and see what an operator set meanwhile."""
        with self._db.begin() as tx:
            kept = leases.take(tx, turn.rounds.target_id, turn.holder) is not None
            turn.lanes_set = targets.lanes_set(tx, turn.rounds.target_id)
        return kept

    def _give_back(self, target_id: str, holder: str) -> None:
        with self._db.begin() as tx:
            leases.give_back(tx, target_id, holder)


def backoff(failures: int, chance: Callable[[], float] = random.random) -> timedelta:
    """Return how long an obligation rests after its ``failures + 1``-th failure in a row: at most as :func:`whole_backoff` says.

    Of that at least half: ``chance`` (from 0 to 1) says how much of the other half, so that what failed at one instant is not
    tried again at one instant.
    """
    return whole_backoff(failures) / 2 * (1 + chance())


def whole_backoff(failures: int) -> timedelta:
    """Return the rest without chance: 1 s, doubling, at most 10 min."""
    doublings: int = 2 ** min(failures, 12)
    return min(_FIRST_BACKOFF * doublings, _LONGEST_BACKOFF)
