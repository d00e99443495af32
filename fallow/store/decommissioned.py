"""What is owed to platforms that are asked no more: it waits for a person, and goes on by itself if the platform comes back."""

from collections.abc import Collection

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, ObligationRow


def note(tx: Tx, gone: Collection[str], most: int) -> None:
    """Put a page of what is owed to each of ``gone`` into the ATTENTION queue, due no more; take off what is owed to one that came back."""
    for target_id in sorted(gone):
        _raise(tx, target_id, most)
    waiting = select(CycleRow).where(col(CycleRow.attention).contains(str(Reason.PLATFORM_DECOMMISSIONED))).limit(most)
    here = {row.cycle_id: mine for row in tx.session.exec(waiting) if (mine := _noted(row) - set(gone))}
    for cycle in cycles.lock(tx, here):
        _come_back(tx, cycle, _noted(cycle) - set(gone))


def _raise(tx: Tx, target_id: str, most: int) -> None:
    attention = Attention(Reason.PLATFORM_DECOMMISSIONED, target_id)
    owed = (
        select(ObligationRow.cycle_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN)
        # Those that are noted are left out, so that each page is a new one.
        .where(col(CycleRow.state).in_((*ACTIVE, State.RESELLABLE)), ~col(CycleRow.attention).contains(f'"{attention}"'))
        .limit(most)
    )
    locked = cycles.lock(tx, tx.session.exec(owed).all())
    rows = obligations.at_target(tx, target_id, [cycle.cycle_id for cycle in locked])
    for cycle in locked:
        if rows[cycle.cycle_id].status == Status.OPEN and attention not in cycles.facts(cycle).attention:
            rows[cycle.cycle_id].due_at = None
            cycles.raise_attention(tx, cycle, attention)
            _wake(tx, cycle)


def _come_back(tx: Tx, cycle: CycleRow, back: Collection[str]) -> None:
    for target_id in sorted(back):
        for row in obligations.at_target(tx, target_id, [cycle.cycle_id]).values():
            if row.status == Status.OPEN:
                row.due_at = tx.now
    cycles.clear_attention(tx, cycle, {Attention(Reason.PLATFORM_DECOMMISSIONED, target_id) for target_id in back})
    _wake(tx, cycle)


def _wake(tx: Tx, cycle: CycleRow) -> None:
    if State(cycle.state) in ACTIVE:
        cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists


def _noted(cycle: CycleRow) -> set[str]:
    return {each.target_id for each in cycles.facts(cycle).attention if each.reason is Reason.PLATFORM_DECOMMISSIONED}
