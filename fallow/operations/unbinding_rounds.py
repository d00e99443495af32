"""Rounds at a platform: claim, ask in batches, keep the signed answer, remind, and at last ask a person."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import FallowError, LeaseLost, RequestRejected
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.operations.answers import apply_delivery
from fallow.operations.installation import Installation, Pace
from fallow.operations.outgoing import Outgoing
from fallow.operations.reaching import Reached, reach
from fallow.operations.sending import CLAIM_FOR, Tally, backoff
from fallow.platforms.forms import FORMS
from fallow.store import cycles, exchanges, leases, obligations, targets
from fallow.store.engine import Tx
from fallow.store.obligations import Due
from fallow.store.tables import CycleRow

#: Failures of one number in a row after which it may be the number, not an hour of the platform: its rests have grown to the longest.
FAILS_FOR_LONG = 10
#: What came of an attempt at a number whose row was altered.
NUMBER_UNREADABLE = "number-unreadable"

_log = structlog.get_logger()

Said = Sequence[tuple[str, Outcome]]


@dataclass(frozen=True)
class _Lease:
    """Under what a round acts."""

    holder: str
    fence: int
    reached: Reached

    @property
    def pace(self) -> Pace:
        """How the platform wants to be asked, as it was when the round began."""
        return self.reached.pace

    @property
    def silent_for(self) -> timedelta:
        """How long a platform that takes every request may leave it unanswered before a person is asked."""
        return timedelta(seconds=self.pace.remind_after * (self.pace.reminders + 1))


class UnbindingRounds:
    """Implements ``sending.Rounds`` for one platform."""

    def __init__(self, installation: Installation, platform_id: str, chance: Callable[[], float] = random.random) -> None:
        """Ask the platform of that id at its own pace; ``chance`` gives 0 to 1 and spreads what is tried again."""
        self.target_id = platform_id
        self._installation = installation
        self._db = installation.db
        self._vault = installation.vault
        self._chance = chance
        self._new_first = False

    @property
    def lanes(self) -> int:
        """Requests in flight at once: one slow answer must not stop the platform's other numbers. Of one that is no more, one rests."""
        reached = reach(self._installation, self.target_id)
        return 1 if reached is None else reached.pace.lanes

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Send one request; tell whether there was anything to ask. What it began it ends by the registration of its beginning."""
        reached = reach(self._installation, self.target_id)
        if reached is None:
            return False
        lease = _Lease(holder, fence, reached)
        asked, lost = await asyncio.to_thread(self._claim, lease)
        if lost:
            await asyncio.to_thread(self._set_aside, lease, lost)
        if not asked:
            return bool(lost)
        spent = [each for each, _ in asked if each.asked > lease.pace.reminders]
        if getattr(reached.platform, "by_hand", False):
            await asyncio.to_thread(self._give_up, lease, [each for each, _ in asked], Reason.PLATFORM_BY_HAND)
            return True
        if spent:
            await asyncio.to_thread(self._give_up, lease, spent, Reason.PLATFORM_SILENT)
        wanted = await asyncio.to_thread(self._still_wanted, lease, [each for each, _ in asked if each not in spent])
        if wanted and reach(self._installation, self.target_id) is not None:
            items = {each.reference: item for each, item in asked}
            await self._ask(lease, tally, wanted, [items[each.reference] for each in wanted])
        return True

    async def _ask(self, lease: _Lease, tally: Tally, due: list[Due], items: Sequence[UnbindItem]) -> None:
        request = Outgoing(due)
        try:
            try:
                delivery = await lease.reached.platform.ask(items)
            finally:
                request.over()
            said = [] if delivery is None else [(answer.reference, answer.outcome) for answer in FORMS[delivery.scheme].read(delivery.body)]
            discharged = await asyncio.to_thread(self._answered, lease, request, delivery, said)
            tally.discharged += discharged  # read only now: the other lanes count, too
        except RequestRejected as rejected:
            tally.failed += len(due)
            await asyncio.to_thread(self._rejected, lease, request, rejected)
        except LeaseLost:
            raise
        except FallowError as failed:  # also a platform that used a delivery id twice
            tally.failed += len(due)
            await asyncio.to_thread(self._failed, lease, request, failed)

    def _claim(self, lease: _Lease) -> tuple[list[tuple[Due, UnbindItem]], list[Due]]:
        """Return what is to be asked, and what can't be because the row of its number was altered."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            target = targets.lock(tx, self.target_id, TargetKind.PLATFORM)
            most = targets.allowance(tx, target, lease.pace.rate_per_second, lease.pace.batch)
            if not most:
                return [], []
            self._new_first = not self._new_first
            due = obligations.claim(
                tx,
                self.target_id,
                TargetKind.PLATFORM,
                most=most,
                for_=CLAIM_FOR,
                new_first=self._new_first,
                answer_within=timedelta(seconds=lease.pace.answer_within),
            )
            target.tokens -= len(due)
            numbers = self._vault.readable(tx, [each.number_id for each in due])
        found = [(each, numbers[each.number_id]) for each in due if each.number_id in numbers]
        items = [
            (each, UnbindItem(each.reference, number, each.disconnected_at, reminder=each.asked > 0, deadline=each.deadline_at))
            for each, number in found
        ]
        return items, [each for each in due if each.number_id not in numbers]

    def _set_aside(self, lease: _Lease, lost: Sequence[Due]) -> None:
        """Try again later what can't be asked, and call a person for it at last; the platform has no part in it."""
        cycle_ids = [each.cycle_id for each in lost]

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            obligations.lock_cycles_of(tx, cycle_ids)
            again = {each.cycle_id: tx.now + backoff(each.failures, self._chance) for each in lost}
            obligations.postpone(tx, self.target_id, again, failed=True, alone=True)
            obligations.note_attempts(tx, self.target_id, cycle_ids, NUMBER_UNREADABLE)
            self._call_a_person(tx, lease, [each.cycle_id for each in lost if each.failures + 1 >= FAILS_FOR_LONG])

        self._db.once_more(write)
        _log.error("numbers can't be read", platform_id=self.target_id, count=len(lost))

    def _still_wanted(self, lease: _Lease, due: Sequence[Due]) -> list[Due]:
        """Look once more just before asking: this process may have been paused since it claimed, and a hold placed."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            wanted = obligations.still_wanted(tx, [each.cycle_id for each in due])
            obligations.unclaim(tx, self.target_id, [each.cycle_id for each in due if each.cycle_id not in wanted])
        return [each for each in due if each.cycle_id in wanted]

    def _answered(self, lease: _Lease, request: Outgoing[Due], delivery: SignedDelivery | None, said: Said) -> int:
        cycle_ids, result = [each.cycle_id for each in request.due], "asked" if delivery is None else "answered"

        def write(tx: Tx) -> int:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            if len({reference for reference, _ in said}) < len(cycle_ids):  # else all are locked as they are answered
                obligations.lock_cycles_of(tx, cycle_ids)
            if delivery is not None:
                apply_delivery(tx, self._installation, delivery.speaker_id or self.target_id, delivery, said, asked=True)
            again_at = tx.now + timedelta(seconds=lease.pace.remind_after)
            unanswered = obligations.postpone(tx, self.target_id, dict.fromkeys(cycle_ids, again_at), failed=False)
            obligations.note_attempts(tx, self.target_id, cycle_ids, result)
            targets.succeeded(targets.lock(tx, self.target_id, TargetKind.PLATFORM))
            exchanges.note(tx, [request.exchange(self.target_id, result)])
            return len(cycle_ids) - unanswered

        return self._db.once_more(write)

    def _give_up(self, lease: _Lease, due: Sequence[Due], reason: Reason) -> None:
        """Ask a person instead of the platform: every reminder went by without an answer, or nobody but a person can ask."""

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in due])}
            obligations.rest(tx, self.target_id, rows)
            for cycle_id in sorted(obligations.still_open(tx, self.target_id, rows)):
                cycles.raise_attention(tx, rows[cycle_id], Attention(reason, self.target_id))
                cycles.wake(tx, rows[cycle_id])

        self._db.once_more(write)

    def _rejected(self, lease: _Lease, request: Outgoing[Due], error: RequestRejected) -> None:
        """Find the item that spoils its batch by sending each alone; a single one that is rejected goes to a person."""
        due = request.due

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in due])}
            if len(due) > 1:
                at_once: dict[str, datetime | None] = {each.cycle_id: tx.now for each in due}
                obligations.postpone(tx, self.target_id, at_once, failed=True, alone=True)
            else:
                self._refuse(tx, rows, due[0])
            self._note_failure(tx, request, error)

        self._db.once_more(write)

    def _refuse(self, tx: Tx, rows: dict[str, CycleRow], each: Due) -> None:
        owed = obligations.at_target(tx, self.target_id, [each.cycle_id])[each.cycle_id]
        if owed.status == Status.OPEN:
            obligations.shift(tx, rows[each.cycle_id], owed, Status.REFUSED, None, None, Reason.PLATFORM_REJECTED)

    def _failed(self, lease: _Lease, request: Outgoing[Due], error: FallowError) -> None:
        due = request.due

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, lease.holder, lease.fence)
            obligations.lock_cycles_of(tx, [each.cycle_id for each in due])
            # One instant for all: what failed together halves together, and does not come back one by one.
            again_at = tx.now + backoff(max(each.failures for each in due), self._chance)
            obligations.postpone(tx, self.target_id, {each.cycle_id: again_at for each in due}, failed=True)
            self._call_a_person(tx, lease, [each.cycle_id for each in due if each.failures + 1 >= FAILS_FOR_LONG])
            self._note_failure(tx, request, error)

        self._db.once_more(write)

    def _call_a_person(self, tx: Tx, lease: _Lease, cycle_ids: Sequence[str]) -> None:
        """Have somebody look at a number that no request comes through with, while others' may; it is asked about all the same."""
        silent, still = Attention(Reason.PLATFORM_SILENT, self.target_id), obligations.still_open(tx, self.target_id, cycle_ids)
        for cycle in cycles.lock(tx, still):
            if tx.now - cycle.state_at >= lease.silent_for and silent not in cycles.facts(cycle).attention:
                cycles.raise_attention(tx, cycle, silent)
                if cycles.facts(cycle).active:
                    cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists

    def _note_failure(self, tx: Tx, request: Outgoing[Due], error: FallowError) -> None:
        obligations.note_attempts(tx, self.target_id, [each.cycle_id for each in request.due], error.code)
        retry_after = getattr(error, "retry_after", None)
        targets.failed(tx, targets.lock(tx, self.target_id, TargetKind.PLATFORM), error.what, retry_after)
        exchanges.note(tx, [request.exchange(self.target_id, error.code)])
