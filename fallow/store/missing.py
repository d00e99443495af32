"""What is owed to targets that are in no map any more: it waits for a person, until the target is back."""

from collections.abc import Collection, Iterable, Iterator
from functools import partial

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status
from fallow.store import cycles, obligations
from fallow.store.engine import Database, Tx
from fallow.store.tables import CycleRow, ObligationRow


def note(db: Database, installed: Iterable[str], most: int) -> None:
    """Put a page of what is owed to each target that is in no map into the ATTENTION queue; take it off once the target is back.

    Found in a snapshot and looked at again under lock, a page in each transaction: cycles are locked in id order only within a page.
    """
    here = frozenset(installed)
    with db.read() as tx:
        missing = [target_id for target_id in _ever_owed(tx) if target_id not in here]
        owed = {target_id: _owed(tx, target_id, most) for target_id in missing}
        back = cycles.noted_elsewhere(tx, Reason.TARGET_MISSING, missing, most)
    for target_id in missing:
        if owed[target_id]:
            db.once_more(partial(_raise, target_id=target_id, cycle_ids=owed[target_id]))
    if back:
        db.once_more(partial(_come_back, cycle_ids=back, here=here))


def _ever_owed(tx: Tx) -> Iterator[str]:
    """Yield every target that anything was ever owed at: one step in the index for each, not a scan of all obligations."""
    query = select(ObligationRow.target_id).order_by(ObligationRow.target_id).limit(1)
    target_id = tx.session.exec(query).first()
    while target_id is not None:
        yield target_id
        target_id = tx.session.exec(query.where(col(ObligationRow.target_id) > target_id)).first()


def _owed(tx: Tx, target_id: str, most: int) -> list[str]:
    noted = col(CycleRow.attention).contains(f'"{Attention(Reason.TARGET_MISSING, target_id)}"', autoescape=True)
    owed = (
        select(ObligationRow.cycle_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN)
        .where(col(CycleRow.state).in_(ACTIVE), ~noted)
    )
    return list(tx.session.exec(owed.limit(most)))


def _raise(tx: Tx, target_id: str, cycle_ids: Collection[str]) -> None:
    attention = Attention(Reason.TARGET_MISSING, target_id)
    locked = cycles.lock(tx, cycle_ids)
    still_open = obligations.still_open(tx, target_id, cycle_ids)
    for cycle in locked:
        noted = attention in cycles.facts(cycle).attention
        if cycle.cycle_id in still_open and State(cycle.state) in ACTIVE and not noted:
            cycles.raise_attention(tx, cycle, attention)
            cycles.wake(tx, cycle)


def _come_back(tx: Tx, cycle_ids: Collection[str], here: Collection[str]) -> None:
    for cycle in cycles.lock(tx, cycle_ids):
        back = cycles.noted_at(cycle, Reason.TARGET_MISSING).intersection(here)
        cycles.clear_attention(tx, cycle, {Attention(Reason.TARGET_MISSING, target_id) for target_id in back})
        if back and State(cycle.state) in ACTIVE:
            cycles.wake(tx, cycle)
