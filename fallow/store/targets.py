"""A target as its sender sees it: rate bucket and circuit breaker, shared by all workers because they are rows."""

from datetime import timedelta

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from fallow.domain.obligations import TargetKind
from fallow.store.engine import Tx
from fallow.store.tables import TargetRow

#: Failures in a row after which the breaker opens, and the longest it stays open.
OPENS_AFTER = 3
FIRST_CLOSED_FOR = timedelta(seconds=1)
LONGEST_CLOSED_FOR = timedelta(minutes=10)


def lock(tx: Tx, target_id: str, kind: TargetKind) -> TargetRow:
    """Return the target's row, locked, made at first sight."""
    row = tx.session.exec(select(TargetRow).where(TargetRow.target_id == target_id).with_for_update()).first()
    if row is None:
        row = TargetRow(target_id=target_id, kind=kind)
        tx.session.add(row)
        tx.session.flush()
    return row


def is_paused(target_id: str) -> ColumnElement[bool]:
    """Return the condition that an operator paused the target."""
    return select(TargetRow.target_id).where(TargetRow.target_id == target_id, col(TargetRow.paused_at).is_not(None)).exists()


def paused(tx: Tx) -> set[str]:
    """Return the targets that an operator paused."""
    return set(tx.session.exec(select(TargetRow.target_id).where(col(TargetRow.paused_at).is_not(None))))


def allowance(tx: Tx, row: TargetRow, rate: float, most: int, *, probing: bool = True) -> int:
    """Return how many items may be sent now under ``rate`` per second, in bursts of at most ``most``.

    What an operator set for the target takes the place of both, but never makes a batch larger than a record system takes.
    0 while the target is paused or its breaker open. A half-open breaker lets one item through, unless ``probing`` is False: for what has
    a breaker of its own and can't close this one.
    """
    if row.paused_at is not None or (row.closed_until is not None and row.closed_until > tx.now):
        return 0
    rate, most = _set_by_operator(row, rate, most)
    since = timedelta(seconds=1) if row.tokens_at is None else tx.now - row.tokens_at
    since = max(since, timedelta(0))  # a clock that was set back must not make the bucket negative
    row.tokens = min(float(max(most, 1)), max(0.0, row.tokens) + since.total_seconds() * rate)
    row.tokens_at = tx.now
    if probing and row.failures >= OPENS_AFTER:
        return min(1, int(row.tokens))  # half-open: one probe, not a burst
    return min(most, int(row.tokens))


def _set_by_operator(row: TargetRow, rate: float, most: int) -> tuple[float, int]:
    batch = most if row.batch is None else row.batch
    return rate if row.rate_per_second is None else row.rate_per_second, min(batch, most) if row.kind == TargetKind.RECORDS else batch


def lanes_set(tx: Tx, target_id: str) -> int | None:
    """Return how many lanes an operator set for the target; None where that is left to its registration."""
    return tx.session.exec(select(TargetRow.lanes).where(TargetRow.target_id == target_id)).first()


def succeeded(row: TargetRow) -> None:
    """Forget the failures, so that the breaker closes.

    A pause that runs is not cut short: the request that succeeded may have begun before the target asked to be left alone.
    """
    row.failures, row.trouble = 0, None


def failed(tx: Tx, row: TargetRow, trouble: str, retry_after: float | None) -> None:
    """Count a failure; from the third in a row on, or when the target asks for it, send nothing for a while."""
    row.failures += 1
    row.trouble, row.trouble_at = trouble, tx.now
    wait = timedelta(seconds=retry_after or 0)
    if row.failures >= OPENS_AFTER:
        wait = max(wait, min(FIRST_CLOSED_FOR * 2 ** min(row.failures - OPENS_AFTER, 12), LONGEST_CLOSED_FOR))
    until = tx.now + wait
    row.closed_until = until if row.closed_until is None else max(until, row.closed_until)
