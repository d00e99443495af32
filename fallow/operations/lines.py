"""The line register's word on a cycle: recorded each time it is asked, ATTENTION unless the line is off."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fallow.domain.attention import Attention, Reason
from fallow.domain.events import Kind
from fallow.domain.gate import LineStatus
from fallow.operations.installation import Installation
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow

_REASONS = {
    LineStatus.IN_SERVICE: Reason.LINE_IN_SERVICE,
    LineStatus.PORTED: Reason.LINE_PORTED,
    LineStatus.UNKNOWN: Reason.LINE_UNKNOWN,
}


@dataclass(frozen=True)
class Asked:
    """What the register said, and when it was asked: by the time it is written down a paused process may be a day late."""

    status: LineStatus
    at: datetime


def ask_line(installation: Installation, cycle_id: str, wanted: Callable[[Tx, CycleRow], bool]) -> Asked | None:
    """Ask the register about a cycle's line, outside any transaction of ours; None where ``wanted`` says that it need not be asked.

    Raises:
        NotKnown: there is no such cycle.
        TargetUnavailable: the register can't be asked.
    """
    with installation.db.read() as tx:
        row, asked_at = cycles.get(tx, cycle_id), tx.now
        if not wanted(tx, row):
            return None
        number = installation.vault.reveal(tx, [row.number_id])[row.number_id]
    return Asked(installation.line_register.statuses([number])[0], asked_at)


def note_line(tx: Tx, row: CycleRow, asked: Asked, stage: str) -> None:
    """Record the register's answer on a locked cycle; ``stage`` is "enrolment", "retry", "wiping" or "gate"."""
    status = asked.status
    row.line_status, row.line_checked_at = status, asked.at
    cycles.record(tx, row, Kind.LINE_CHECKED, status=str(status), stage=stage, asked_at=asked.at.isoformat())
    wrong = _REASONS.get(status)
    cycles.clear_attention(tx, row, {Attention(reason) for reason in _REASONS.values() if reason is not wrong})
    if wrong is not None:
        cycles.raise_attention(tx, row, Attention(wrong))
