"""What is owed to platforms that are asked no more: it waits for a person, and goes on by itself if the platform comes back."""

from collections.abc import Collection
from functools import partial

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status
from fallow.store import cycles, obligations
from fallow.store.engine import Database, Tx
from fallow.store.tables import CycleRow, ObligationRow


def note(db: Database, gone: Collection[str], most: int) -> None:
    """Put a page of what is owed to each of ``gone`` into the ATTENTION queue, due no more; take off what is owed to one that came back.

    Found in a snapshot and looked at again under lock, a page in each transaction: cycles are locked in id order only within a page.
    """
    for target_id in sorted(gone):
        with db.read() as tx:
            owed = _owed(tx, target_id, most)
        if owed:
            db.once_more(partial(_raise, target_id=target_id, cycle_ids=owed))
    with db.read() as tx:
        here = cycles.noted_elsewhere(tx, Reason.PLATFORM_DECOMMISSIONED, gone, most)
    if here:
        db.once_more(partial(_come_back, cycle_ids=here, gone=gone))


def _owed(tx: Tx, target_id: str, most: int) -> list[str]:
    """Return a page of cycles that are to be noted. Those that are noted are left out, so that each page is a new one."""
    noted = col(CycleRow.attention).contains(f'"{Attention(Reason.PLATFORM_DECOMMISSIONED, target_id)}"', autoescape=True)
    owed = (
        select(ObligationRow.cycle_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN)
        .where(col(CycleRow.state).in_((*ACTIVE, State.RESELLABLE)), ~noted)
    )
    return list(tx.session.exec(owed.limit(most)))


def _raise(tx: Tx, target_id: str, cycle_ids: Collection[str]) -> None:
    attention = Attention(Reason.PLATFORM_DECOMMISSIONED, target_id)
    locked = cycles.lock(tx, cycle_ids)
    rows = obligations.at_target(tx, target_id, cycle_ids)
    for cycle in locked:
        if rows[cycle.cycle_id].status == Status.OPEN and attention not in cycles.facts(cycle).attention:
            rows[cycle.cycle_id].due_at = None
            cycles.raise_attention(tx, cycle, attention)
            _wake(tx, cycle)


def _come_back(tx: Tx, cycle_ids: Collection[str], gone: Collection[str]) -> None:
    for cycle in cycles.lock(tx, cycle_ids):
        back = sorted(cycles.noted_at(cycle, Reason.PLATFORM_DECOMMISSIONED) - set(gone))
        for target_id in back:
            for row in obligations.at_target(tx, target_id, [cycle.cycle_id]).values():
                if row.status == Status.OPEN:
                    row.due_at = tx.now
        cycles.clear_attention(tx, cycle, {Attention(Reason.PLATFORM_DECOMMISSIONED, target_id) for target_id in back})
        if back:
            _wake(tx, cycle)


def _wake(tx: Tx, cycle: CycleRow) -> None:
    if State(cycle.state) in ACTIVE:
        cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists
