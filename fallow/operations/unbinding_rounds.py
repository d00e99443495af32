"""Rounds at a platform: claim, ask in batches, keep the signed answer, remind, and at last ask a person."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import AnswerMalformed, FallowError, RequestRejected
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.operations.answers import apply_delivery
from fallow.operations.installation import Installation
from fallow.operations.sending import CLAIM_FOR, Tally, backoff
from fallow.platforms.protocol import parse_answers
from fallow.store import cycles, leases, obligations, targets
from fallow.store.engine import Tx
from fallow.store.obligations import Due
from fallow.store.tables import CycleRow

Said = Sequence[tuple[str, Outcome]]


class UnbindingRounds:
    """Implements ``sending.Rounds`` for one platform."""

    #: Requests in flight at once: one slow answer must not stop the platform's other numbers.
    lanes = 3

    def __init__(self, installation: Installation, platform_id: str) -> None:
        """Ask the platform of that id at its own pace."""
        self.target_id = platform_id
        self._installation = installation
        self._db = installation.db
        self._vault = installation.vault
        self._platform = installation.platforms[platform_id]
        self._pace = installation.paces[platform_id]

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Send one request; tell whether there was anything to ask."""
        asked = await asyncio.to_thread(self._claim, holder, fence)
        if not asked:
            return False
        spent = [each for each, _ in asked if each.asked > self._pace.reminders]
        if spent:
            await asyncio.to_thread(self._give_up, holder, fence, spent)
        wanted = await asyncio.to_thread(self._still_wanted, holder, fence, [each for each, _ in asked if each not in spent])
        asked = [(each, item) for each, item in asked if each in wanted]
        due = [each for each, _ in asked]
        if not due:
            return True
        try:
            delivery = await self._platform.ask([item for _, item in asked])
            said = [] if delivery is None else [(answer.reference, answer.outcome) for answer in parse_answers(delivery.body)]
        except RequestRejected as rejected:
            tally.failed += len(due)
            await asyncio.to_thread(self._rejected, holder, fence, due, rejected)
            return True
        except FallowError as failed:
            tally.failed += len(due)
            await asyncio.to_thread(self._failed, holder, fence, due, failed)
            return True
        try:
            tally.discharged += await asyncio.to_thread(self._answered, holder, fence, due, delivery, said)
        except AnswerMalformed as malformed:  # the platform used a delivery id twice
            tally.failed += len(due)
            await asyncio.to_thread(self._failed, holder, fence, due, malformed)
        return True

    def _claim(self, holder: str, fence: int) -> list[tuple[Due, UnbindItem]]:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            target = targets.lock(tx, self.target_id, TargetKind.PLATFORM)
            most = targets.allowance(tx, target, self._pace.rate_per_second, self._pace.batch)
            due = obligations.claim(tx, self.target_id, TargetKind.PLATFORM, most=most, for_=CLAIM_FOR) if most else []
            if not due:
                return []
            target.tokens -= len(due)
            numbers = self._vault.reveal(tx, [each.number_id for each in due])
            return [
                (each, UnbindItem(each.reference, numbers[each.number_id], each.disconnected_at, reminder=each.asked > 0)) for each in due
            ]

    def _still_wanted(self, holder: str, fence: int, due: Sequence[Due]) -> list[Due]:
        """Look once more just before asking: this process may have been paused since it claimed, and a hold placed."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            wanted = obligations.still_wanted(tx, [each.cycle_id for each in due])
        return [each for each in due if each.cycle_id in wanted]

    def _answered(self, holder: str, fence: int, due: Sequence[Due], delivery: SignedDelivery | None, said: Said) -> int:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            cycles.lock(tx, [each.cycle_id for each in due])
            if delivery is not None:
                apply_delivery(tx, self._installation, self.target_id, delivery, said)
            again_at = tx.now + timedelta(seconds=self._pace.remind_after)
            until: dict[str, datetime | None] = {each.cycle_id: again_at for each in due}
            obligations.postpone(tx, self.target_id, until, failed=False)
            obligations.note_attempts(tx, self.target_id, until, "asked" if delivery is None else "answered")
            targets.succeeded(targets.lock(tx, self.target_id, TargetKind.PLATFORM))
            return len(due) - len(self._open_still(tx, due))

    def _give_up(self, holder: str, fence: int, spent: Sequence[Due]) -> None:
        """Every reminder went by without an answer: ask a person instead of the platform."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in spent])}
            never: dict[str, datetime | None] = {each.cycle_id: None for each in spent}
            obligations.postpone(tx, self.target_id, never, failed=False)
            for cycle_id in self._open_still(tx, spent):
                cycles.raise_attention(tx, rows[cycle_id], Attention(Reason.PLATFORM_SILENT, self.target_id))
                cycles.wake(tx, rows[cycle_id])

    def _open_still(self, tx: Tx, due: Sequence[Due]) -> set[str]:
        return obligations.still_open(tx, self.target_id, [each.cycle_id for each in due])

    def _rejected(self, holder: str, fence: int, due: Sequence[Due], error: RequestRejected) -> None:
        """Find the item that spoils its batch by sending each alone; a single one that is rejected goes to a person."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in due])}
            if len(due) > 1:
                at_once: dict[str, datetime | None] = {each.cycle_id: tx.now for each in due}
                obligations.postpone(tx, self.target_id, at_once, failed=True, alone=True)
            else:
                self._refuse(tx, rows, due[0])
            obligations.note_attempts(tx, self.target_id, rows, error.code)
            targets.failed(tx, targets.lock(tx, self.target_id, TargetKind.PLATFORM), error.what, None)

    def _refuse(self, tx: Tx, rows: dict[str, CycleRow], each: Due) -> None:
        owed = obligations.at_target(tx, self.target_id, [each.cycle_id])[each.cycle_id]
        if owed.status == Status.OPEN:
            obligations.shift(tx, rows[each.cycle_id], owed, Status.REFUSED, None, None, Reason.PLATFORM_REJECTED)

    def _failed(self, holder: str, fence: int, due: Sequence[Due], error: FallowError) -> None:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            cycles.lock(tx, [each.cycle_id for each in due])
            until: dict[str, datetime | None] = {each.cycle_id: tx.now + backoff(each.failures) for each in due}
            obligations.postpone(tx, self.target_id, until, failed=True)
            obligations.note_attempts(tx, self.target_id, until, error.code)
            retry_after = getattr(error, "retry_after", None)
            targets.failed(tx, targets.lock(tx, self.target_id, TargetKind.PLATFORM), error.what, retry_after)
