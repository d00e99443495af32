"""Rounds of expiry at a record system: rows that the law no longer wants kept there are destroyed, and looked for once more."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import Select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import FallowError, MapRefused, TargetUnavailable, WipeRefused
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import TargetKind
from fallow.domain.ports import ExpiryOrder, RecordSystem
from fallow.operations.installation import Installation
from fallow.operations.sending import CLAIM_FOR, Tally, whole_backoff
from fallow.store import cycles, leases, retention, targets
from fallow.store.engine import Tx
from fallow.store.keeping_tables import RetentionRow
from fallow.store.tables import CycleRow

#: Tries with rows left after which a person is asked; it is tried again all the same.
STUCK_AFTER = 5
_KEPT_STILL = 1


class ExpiryRounds:
    """Expiry at one record system, in the lane, the thread and under the lease of its wiping."""

    def __init__(self, installation: Installation, system: RecordSystem, thread: Executor) -> None:
        """Destroy at ``system``, on ``thread``."""
        self.target_id = system.system_id
        self._db = installation.db
        self._vault = installation.vault
        self._system = system
        self._thread = thread

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Destroy one batch of what is due; tell whether there was any.

        Raises:
            LeaseLost: another sender has taken over.
        """
        claimed = await asyncio.to_thread(self._claim, holder, fence)
        if not claimed:
            return False
        orders = await asyncio.to_thread(self._still_due, holder, fence, claimed)
        if not orders:
            return True
        try:
            left = await asyncio.get_running_loop().run_in_executor(self._thread, self._expire, orders)
        except (TargetUnavailable, MapRefused) as unavailable:
            tally.failed += len(orders)
            await asyncio.to_thread(self._failed, holder, fence, orders, unavailable)
            return True
        except WipeRefused:
            left = [_KEPT_STILL] * len(orders)
        await asyncio.to_thread(self._looked, holder, fence, list(zip(orders, left, strict=True)))
        return True

    def _claim(self, holder: str, fence: int) -> list[ExpiryOrder]:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            most = targets.allowance(
                tx, targets.lock(tx, self.target_id, TargetKind.RECORDS), float(self._system.batch), self._system.batch
            )
            rows = list(tx.session.exec(_due(tx, self.target_id).limit(most).with_for_update(of=RetentionRow, skip_locked=True)))
            # One that was refused goes alone: it must not keep the others.
            together = rows[:1] if rows and rows[0][0].tries else [each for each in rows if not each[0].tries]
            numbers = self._vault.reveal(tx, [number_id for _, number_id in together])
            for row, _ in together:
                row.due_at = tx.now + CLAIM_FOR
            return [ExpiryOrder(row.cycle_id, row.collection, numbers[number_id], row.kept_until, row.basis) for row, number_id in together]

    def _still_due(self, holder: str, fence: int, claimed: Sequence[ExpiryOrder]) -> list[ExpiryOrder]:
        """Look once more just before what can't be undone: a hold may have been placed since, on this cycle or on one beside it."""
        cycle_ids = {order.cycle_id for order in claimed}
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            rows = tx.session.exec(_expired(tx, self.target_id).where(col(RetentionRow.cycle_id).in_(cycle_ids)))
            wanted = {(row.cycle_id, row.collection, row.kept_until) for row, _ in rows}
        return [order for order in claimed if (order.cycle_id, order.collection, order.kept_until) in wanted]

    def _expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Return how many rows are left of each order. What the map no longer names can't be looked at, and counts as left."""
        known = [order for order in orders if order.collection in self._system.collections]
        left = dict(zip(known, self._system.expire(known), strict=True)) if known else {}
        return [left.get(order, _KEPT_STILL) for order in orders]

    def _looked(self, holder: str, fence: int, found: Sequence[tuple[ExpiryOrder, int]]) -> None:
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            rows = {row.cycle_id: row for row in cycles.lock(tx, [order.cycle_id for order, _ in found])}
            for order, left in found:
                kept = self._kept(tx, order)
                if kept is None:
                    continue
                if left:
                    self._left(tx, rows[order.cycle_id], kept)
                else:
                    retention.expired(tx, rows[order.cycle_id], kept)
                    self._calm(tx, rows[order.cycle_id])
            targets.succeeded(targets.lock(tx, self.target_id, TargetKind.RECORDS))

    def _left(self, tx: Tx, cycle: CycleRow, kept: RetentionRow) -> None:
        kept.due_at = tx.now + whole_backoff(kept.tries)  # what is left goes alone: nothing to spread
        kept.tries += 1
        if kept.tries >= STUCK_AFTER:
            cycles.raise_attention(tx, cycle, Attention(Reason.RETENTION_STUCK, self.target_id), why=[kept.collection])
            if State(cycle.state) in ACTIVE:
                cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists

    def _calm(self, tx: Tx, cycle: CycleRow) -> None:
        """Take the cycle off the ATTENTION queue once nothing of it is stuck here any more."""
        tx.session.flush()
        stuck = select(RetentionRow.collection).where(
            RetentionRow.cycle_id == cycle.cycle_id, RetentionRow.target_id == self.target_id, RetentionRow.tries >= STUCK_AFTER
        )
        if tx.session.exec(stuck.where(col(RetentionRow.destroyed_at).is_(None))).first() is None:
            cycles.clear_attention(tx, cycle, {Attention(Reason.RETENTION_STUCK, self.target_id)})

    def _failed(self, holder: str, fence: int, orders: Sequence[ExpiryOrder], error: FallowError) -> None:
        """Put off what could not even be tried: trouble of the system, not of the rows, so it is no try of theirs."""
        with self._db.begin() as tx:
            leases.demand(tx, self.target_id, holder, fence)
            cycles.lock(tx, [order.cycle_id for order in orders])
            target = targets.lock(tx, self.target_id, TargetKind.RECORDS)
            again_at = tx.now + whole_backoff(target.failures)
            for order in orders:
                kept = self._kept(tx, order)
                if kept is not None:
                    kept.due_at = again_at
            targets.failed(tx, target, error.what, getattr(error, "retry_after", None))

    def _kept(self, tx: Tx, order: ExpiryOrder) -> RetentionRow | None:
        key = (order.cycle_id, self.target_id, order.collection, order.kept_until)
        row = tx.session.get(RetentionRow, key, populate_existing=True)
        return None if row is None or row.destroyed_at is not None else row


def _due(tx: Tx, target_id: str) -> Select[RetentionRow, str]:
    """Return the query of what is to be tried now, what was never refused first."""
    return (
        _expired(tx, target_id)
        .where(or_(col(RetentionRow.due_at).is_(None), col(RetentionRow.due_at) <= tx.now))
        .order_by(col(RetentionRow.tries), col(RetentionRow.kept_until), RetentionRow.cycle_id)
    )


def _expired(tx: Tx, target_id: str) -> Select[RetentionRow, str]:
    """Return the query of what is past its last day at a system; a hold suspends it."""
    return (
        select(RetentionRow, CycleRow.number_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(RetentionRow.cycle_id))
        .where(RetentionRow.target_id == target_id, RetentionRow.how == retention.RESTRICT)
        .where(col(RetentionRow.destroyed_at).is_(None), col(RetentionRow.kept_until) < tx.now.date())
        .where(col(CycleRow.held).is_(False), ~_held_beside())
    )


def _held_beside() -> ColumnElement[bool]:
    """Return the condition that a held cycle of the same number keeps rows in the same collection until that day or one before.

    The system destroys what has this number and an expiry that has come: destroying for the one would destroy for the other.
    """
    kept, cycle = aliased(RetentionRow), aliased(CycleRow)
    beside = select(kept.cycle_id).join(cycle, col(cycle.cycle_id) == col(kept.cycle_id))
    beside = beside.where(cycle.number_id == CycleRow.number_id, col(cycle.held).is_(True), col(kept.destroyed_at).is_(None))
    same = (kept.target_id == RetentionRow.target_id, kept.collection == RetentionRow.collection)
    return beside.where(*same, kept.kept_until <= RetentionRow.kept_until).exists()
