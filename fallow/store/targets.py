"""A target as its sender sees it: rate bucket and circuit breaker, shared by all workers because they are rows."""

from datetime import timedelta

from sqlmodel import select

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


def allowance(tx: Tx, row: TargetRow, rate: float, most: int) -> int:
    """Return how many items may be sent now under ``rate`` per second, in bursts of at most ``most``; 0 while the breaker is open."""
    if row.closed_until is not None and row.closed_until > tx.now:
        return 0
    since = timedelta(seconds=1) if row.tokens_at is None else tx.now - row.tokens_at
    since = max(since, timedelta(0))  # a clock that was set back must not make the bucket negative
    row.tokens = min(float(max(most, 1)), max(0.0, row.tokens) + since.total_seconds() * rate)
    row.tokens_at = tx.now
    if row.failures >= OPENS_AFTER:
        return min(1, int(row.tokens))  # half-open: one probe, not a burst
    return min(most, int(row.tokens))


def succeeded(row: TargetRow) -> None:
    """Close the breaker."""
    row.failures, row.closed_until, row.trouble = 0, None, None


def failed(tx: Tx, row: TargetRow, trouble: str, retry_after: float | None) -> None:
    """Count a failure; from the third in a row on, or when the target asks for it, send nothing for a while."""
    row.failures += 1
    row.trouble, row.trouble_at = trouble, tx.now
    wait = timedelta(seconds=retry_after or 0)
    if row.failures >= OPENS_AFTER:
        wait = max(wait, min(FIRST_CLOSED_FOR * 2 ** min(row.failures - OPENS_AFTER, 12), LONGEST_CLOSED_FOR))
    row.closed_until = tx.now + wait
