"""Rounds at a record system: claim, wipe in bounded batches, keep a receipt each."""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime

import structlog

from fallow.domain.attention import Reason
from fallow.domain.errors import FallowError, MapRefused, TargetUnavailable, WipeRefused
from fallow.domain.events import canonical
from fallow.domain.number import E164
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.domain.ports import CollectionReceipt, Keeper, RecordSystem, WipeOrder, WipeReceipt
from fallow.operations.expiry_rounds import ExpiryRounds
from fallow.operations.installation import Installation
from fallow.operations.receipts import demand_well_formed
from fallow.operations.sending import CLAIM_FOR, NUMBER_UNREADABLE, Tally, backoff
from fallow.store import cycles, evidence, holders, leases, obligations, retention, targets
from fallow.store.engine import Tx
from fallow.store.obligations import Due
from fallow.store.tables import CycleRow, EvidenceRow, ObligationRow

#: Receipts in one transaction.
_SETTLED_AT_ONCE = 50
#: Wiping rounds after which what has expired is looked for, even if there is more to wipe.
_EXPIRY_EVERY = 20
#: Bounds a busy loop, not a database: a system that wipes faster is not slowed down.
_BATCHES_A_SECOND = 100

_log = structlog.get_logger()


class WipingRounds:
    """Implements ``sending.Rounds`` for one record system."""

    lanes = 1

    def __init__(self, installation: Installation, system: RecordSystem, keeper: Keeper | None = None) -> None:
        """Wipe at ``system``; ``keeper`` takes the rows that are sealed."""
        self.target_id = system.system_id
        self.after = system.after
        self._installation = installation
        self._db = installation.db
        self._system = system
        self._keeper = keeper
        # A thread of its own: a record system that hangs must not use up the threads that the other senders share.
        self._thread = ThreadPoolExecutor(1, f"wipe-{system.system_id}")
        self._expiry = ExpiryRounds(installation, system, self._thread)
        self._rounds = 0

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Wipe one batch, or where nothing is to be wiped destroy what has expired; tell whether there was any.

        An idle lane looks once a minute, which is soon enough for what is due by the day: no bell rings for it.
        """
        self._rounds += 1
        if self._rounds % _EXPIRY_EVERY == 0:
            await self._expiry.round(holder, fence, tally)
        claimed, lost = await asyncio.to_thread(self._claim, holder, fence)
        if lost:
            await asyncio.to_thread(self._unreadable, holder, fence, lost)
            return True
        if not claimed:
            return await self._expiry.round(holder, fence, tally)
        orders, since = await asyncio.to_thread(self._still_wanted, holder, fence, claimed)
        if not orders:
            return True
        try:
            loop = asyncio.get_running_loop()
            given = await loop.run_in_executor(self._thread, self._system.wipe, [order for _, order in orders], self._keeper)
            cycle_ids = [due.cycle_id for due, _ in orders]
            receipts = demand_well_formed(self.target_id, self._system.collections, cycle_ids, given, since)
        except (TargetUnavailable, MapRefused) as unavailable:  # a map that does not fit is trouble of the target: mend it, it goes on
            tally.failed += len(orders)
            await asyncio.to_thread(self._failed, holder, fence, [due for due, _ in orders], unavailable)
            return True
        except WipeRefused as refused:
            tally.failed += len(orders)
            await asyncio.to_thread(self._refused, holder, fence, [due for due, _ in orders], refused)
            return True
        tally.discharged += await asyncio.to_thread(self._wiped, holder, fence, receipts)
        return True

    def _claim(self, holder: str, fence: int) -> tuple[list[tuple[Due, WipeOrder]], list[Due]]:
        """Return what is to be wiped; or else, alone, what can't be because the row of its number was altered."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            target = targets.lock(tx, self.target_id, TargetKind.RECORDS)
            most = targets.allowance(tx, target, float(self._system.batch * _BATCHES_A_SECOND), self._system.batch)
            if not most:
                return [], []
            due = obligations.claim(tx, self.target_id, TargetKind.RECORDS, most=most, for_=CLAIM_FOR, after=self.after)
            numbers = self._installation.vault.readable(tx, [each.number_id for each in due])
            lost = [each for each in due if each.number_id not in numbers]
            if lost:
                obligations.unclaim(tx, self.target_id, [each.cycle_id for each in due if each.number_id in numbers])
                return [], lost
            known = holders.known(tx, self._installation.wrapping, [each.cycle_id for each in due])
            return [(each, _order(each, numbers[each.number_id], known.get(each.cycle_id))) for each in due], []

    def _unreadable(self, holder: str, fence: int, lost: Sequence[Due]) -> None:
        """Give to a person whose number can't be read: nobody could say which rows are to go."""

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in lost])}
            owed = obligations.at_target(tx, self.target_id, rows)
            for cycle_id, each in owed.items():
                if each.status == Status.OPEN:
                    obligations.shift(tx, rows[cycle_id], each, Status.REFUSED, None, None, Reason.WIPE_REFUSED)
            obligations.note_attempts(tx, self.target_id, rows, NUMBER_UNREADABLE)

        self._db.once_more(write)
        _log.error("numbers can't be read", target_id=self.target_id, count=len(lost))

    def _still_wanted(self, holder: str, fence: int, claimed: list[tuple[Due, WipeOrder]]) -> tuple[list[tuple[Due, WipeOrder]], datetime]:
        """Look once more just before what can't be undone, and say when: this process may have been paused since it claimed."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            wanted = obligations.still_wanted(tx, [due.cycle_id for due, _ in claimed])
            obligations.unclaim(tx, self.target_id, [due.cycle_id for due, _ in claimed if due.cycle_id not in wanted])
            return [(due, order) for due, order in claimed if due.cycle_id in wanted], tx.now

    def _refused(self, holder: str, fence: int, due: Sequence[Due], error: WipeRefused) -> None:
        """Find the number whose rows the system will not let go by wiping each alone; that one goes to a person."""

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in due])}
            until = _again_at(tx, due)
            obligations.postpone(tx, self.target_id, until, failed=True, alone=True)
            obligations.note_attempts(tx, self.target_id, until, error.code)
            if len(due) == 1 and due[0].alone:
                owed = obligations.at_target(tx, self.target_id, until)[due[0].cycle_id]
                obligations.shift(tx, rows[owed.cycle_id], owed, Status.REFUSED, None, None, Reason.WIPE_REFUSED)

        self._db.once_more(write)

    def _wiped(self, holder: str, fence: int, receipts: Sequence[WipeReceipt]) -> int:
        """Keep the receipts, some at a time: the other systems' senders want the same cycles, and the lease must be renewed between."""
        slices = (receipts[first : first + _SETTLED_AT_ONCE] for first in range(0, len(receipts), _SETTLED_AT_ONCE))
        return sum(self._keep(holder, fence, each) for each in slices)

    def _keep(self, holder: str, fence: int, receipts: Sequence[WipeReceipt]) -> int:

        def write(tx: Tx) -> int:
            discharged = 0
            leases.demand(tx, self.target_id, holder, fence)
            rows = cycles.lock(tx, [receipt.cycle_id for receipt in receipts])
            by_id = {row.cycle_id: row for row in rows}
            all_owed = obligations.at_target(tx, self.target_id, by_id)
            fresh = [each for each in receipts if all_owed[each.cycle_id].status != Status.DISCHARGED]
            digests = _keep(tx, fresh)
            with tx.session.no_autoflush:  # written together at the end: a flush per receipt took half of the sender's time
                for receipt, digest in zip(fresh, digests, strict=True):
                    discharged += self._settle(tx, by_id[receipt.cycle_id], all_owed[receipt.cycle_id], receipt, digest)
            obligations.note_attempts(tx, self.target_id, by_id, "wiped")
            obligations.wake_completed(tx, rows)
            targets.succeeded(targets.lock(tx, self.target_id, TargetKind.RECORDS))
            return discharged

        return self._db.once_more(write)

    def _settle(self, tx: Tx, cycle: CycleRow, owed: ObligationRow, receipt: WipeReceipt, digest: str) -> bool:
        """Move the obligation of a receipt, kept under ``digest``; tell whether it is discharged."""
        for each in receipt.collections:
            retention.note_restricted(tx, cycle, self.target_id, each)
        raises, where = _fault(receipt)
        clean = raises is None
        status, outcome = (Status.DISCHARGED, Outcome.WIPED) if clean else (Status.REFUSED, None)
        obligations.shift(tx, cycle, owed, status, outcome, digest, raises, where)
        return clean

    def _failed(self, holder: str, fence: int, due: Sequence[Due], error: FallowError) -> None:

        def write(tx: Tx) -> None:
            leases.demand(tx, self.target_id, holder, fence)
            cycles.lock(tx, [each.cycle_id for each in due])
            until = _again_at(tx, due)
            obligations.postpone(tx, self.target_id, until, failed=True)
            obligations.note_attempts(tx, self.target_id, until, error.code)
            targets.failed(tx, targets.lock(tx, self.target_id, TargetKind.RECORDS), error.what, getattr(error, "retry_after", None))

        self._db.once_more(write)


def _again_at(tx: Tx, due: Sequence[Due]) -> dict[str, datetime | None]:
    """Return one instant for all: what failed together halves together, and does not come back one by one."""
    return dict.fromkeys((each.cycle_id for each in due), tx.now + backoff(max(each.failures for each in due)))


def _order(due: Due, number: E164, holder: holders.Holder | None) -> WipeOrder:
    subscription, pseudonym = (None, "") if holder is None else (holder.subscription, holder.pseudonym)
    return WipeOrder(due.cycle_id, number, due.disconnected_at, subscription, pseudonym)


def _fault(receipt: WipeReceipt) -> tuple[Reason | None, list[str]]:
    """Return why a person must act, and in which collections; a newer holder's rows first, since nothing may go on beside them.

    Rows that were restricted and are not found kept afterwards are as much a fault as rows that were not cleared.
    """
    newer = [each.collection for each in receipt.collections if each.newer]
    remaining = [each.collection for each in receipt.collections if each.remaining or _vanished(each)]
    if newer:
        return Reason.NEWER_HOLDER, newer
    return (Reason.WIPE_INCOMPLETE, remaining) if remaining else (None, [])


def _vanished(receipt: CollectionReceipt) -> bool:
    return receipt.strategy == retention.RESTRICT and receipt.kept < receipt.affected


def _keep(tx: Tx, receipts: Sequence[WipeReceipt]) -> list[str]:
    """Keep receipts, also ones that are to the byte as they were before a retry; return the digest of each."""
    rows = [_evidence(each) for each in receipts]
    evidence.keep(tx, rows)
    return [row.digest for row in rows]


def _evidence(receipt: WipeReceipt) -> EvidenceRow:
    collections = [{**asdict(each), "read_back_at": each.read_back_at.isoformat()} for each in receipt.collections]
    body = canonical({"cycle_id": receipt.cycle_id, "target_id": receipt.system_id, "place": receipt.place, "collections": collections})
    digest = hashlib.sha256(body.encode()).hexdigest()
    return EvidenceRow(digest=digest, cycle_id=receipt.cycle_id, target_id=receipt.system_id, kind="receipt", body=body)
