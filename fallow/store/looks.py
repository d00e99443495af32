"""Looks that are owed: one row for each obligation whose platform is to confirm, by a status query, that its clearance still stands.

An installation without such platforms has no rows here, and pays nothing for them but one read of an empty table at each due-scan.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, update
from sqlmodel import col, func, select

from fallow.domain.lifecycle import State
from fallow.store import obligations
from fallow.store.engine import Tx
from fallow.store.sets import among
from fallow.store.tables import CycleRow, LookRow, ObligationRow
from fallow.store.targets import is_paused

#: What the name of a status query has behind its platform's, among the targets: no id of a platform ends so.
QUERY = "~look"
#: States in which a look can still change something.
WORKING = (State.UNBINDING, State.TAGGING, State.RESELLABLE)
#: A look at what is asked about anew waits for the answer; this often it is seen whether that has come.
_AGAIN_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Due:
    """A look to be made now.

    Attributes:
        cycle_id: whose.
        reference: the obligation's name at the platform.
        evidence: digest of the answer that is to be confirmed.
        since: since when the look is owed.
        tries: how often it was tried before.
    """

    cycle_id: str
    reference: str
    evidence: str | None
    since: datetime
    tries: int


def want(tx: Tx, cycle_id: str, targets: Collection[str], due_at: datetime) -> None:
    """Let a locked cycle owe looks at ``targets`` from ``due_at`` on; those that it owes already stay as they are."""
    missing = sorted(set(targets) - set(of_cycle(tx, cycle_id))) if targets else []
    if missing:
        new = {"cycle_id": cycle_id, "due_at": due_at, "since": due_at, "tries": 0, "claimed": False}
        tx.session.exec(insert(LookRow), params=[{**new, "target_id": target_id} for target_id in missing])


def keep_only(tx: Tx, cycle_id: str, targets: Collection[str]) -> None:
    """Forget what a locked cycle owes anywhere else than at ``targets``: a platform whose status query is gone, say."""
    tx.session.exec(delete(LookRow).where(col(LookRow.cycle_id) == cycle_id, col(LookRow.target_id).not_in(sorted(targets))))


def hasten(tx: Tx, cycle_id: str) -> None:
    """Begin the looks of a locked cycle anew, at once."""
    anew = update(LookRow).where(col(LookRow.cycle_id) == cycle_id)
    tx.session.exec(anew.values(due_at=tx.now, since=tx.now, tries=0, claimed=False))


def of_cycle(tx: Tx, cycle_id: str) -> list[str]:
    """Return the targets at which a cycle owes a look."""
    return list(tx.session.exec(select(LookRow.target_id).where(LookRow.cycle_id == cycle_id).order_by(LookRow.target_id)))


def owed_by_cycle(tx: Tx, cycle_id: str) -> dict[str, LookRow]:
    """Return the looks that a cycle owes, by target."""
    return {row.target_id: row for row in tx.session.exec(select(LookRow).where(LookRow.cycle_id == cycle_id))}


def count_by_target(tx: Tx) -> dict[str, int]:
    """Return how many looks are owed at each target, due or not."""
    return dict(tx.session.exec(select(LookRow.target_id, func.count()).group_by(LookRow.target_id)).all())


def owed_at(targets: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a cycle of the query around it owes a look at one of ``targets``."""
    owed = select(LookRow.cycle_id).where(LookRow.cycle_id == CycleRow.cycle_id, col(LookRow.target_id).in_(sorted(targets)))
    return owed.exists()


def still_owing(tx: Tx, cycle_ids: Iterable[str]) -> set[str]:
    """Return those of the cycles that owe a look somewhere."""
    return set(tx.session.exec(select(LookRow.cycle_id).where(col(LookRow.cycle_id).in_(list(cycle_ids))).distinct()))


def due_targets(tx: Tx, targets: Iterable[str]) -> set[str]:
    """Return those of ``targets`` at which a look can be made now, none that is paused: one statement where none is owed anywhere."""
    if tx.session.exec(select(LookRow.target_id).limit(1)).first() is None:
        return set()
    return {target_id for target_id in targets if _first(tx, target_id) is not None}


def _first(tx: Tx, target_id: str) -> str | None:
    query = select(LookRow.cycle_id).join(CycleRow, col(CycleRow.cycle_id) == col(LookRow.cycle_id))
    due = query.where(LookRow.target_id == target_id, col(LookRow.due_at) <= tx.now, col(CycleRow.held).is_(False), ~is_paused(target_id))
    return tx.session.exec(due.order_by(col(LookRow.due_at)).limit(1)).first()


def claim(tx: Tx, target_id: str, most: int, for_: timedelta) -> list[Due]:
    """Return looks to be made at a target and put them out of sight for ``for_``; a lost sender's come back after it.

    A held cycle is left alone. What a cycle that has ended owed is forgotten; what is asked about anew is looked at after its answer.
    """
    query = (
        select(LookRow, CycleRow.state, ObligationRow)
        .join(CycleRow, col(CycleRow.cycle_id) == col(LookRow.cycle_id))
        .join(ObligationRow, (col(ObligationRow.cycle_id) == col(LookRow.cycle_id)) & (col(ObligationRow.target_id) == target_id))
        .where(LookRow.target_id == target_id, col(LookRow.due_at) <= tx.now, col(CycleRow.held).is_(False))
        .order_by(col(LookRow.due_at))
        .limit(most)
        .with_for_update(of=LookRow, skip_locked=True)
    )
    due = []
    for row, state, owed in tx.session.exec(query):
        if state not in WORKING:
            tx.session.delete(row)
        elif not obligations.facts(owed).by_own_word:
            row.due_at = tx.now + _AGAIN_AFTER
        else:
            row.due_at, row.claimed = tx.now + for_, True
            due.append(Due(row.cycle_id, owed.reference, owed.evidence, row.since, row.tries))
    return due


def give_back_claims(tx: Tx, target_id: str) -> None:
    """Make due at once what a sender that died had claimed; called by the next one as it takes the lease."""
    claimed = select(LookRow.cycle_id).where(LookRow.target_id == target_id, col(LookRow.claimed).is_(True))
    lost = list(tx.session.exec(claimed.with_for_update(skip_locked=True)))  # waits for nobody: its cycles are not locked
    given_back = update(LookRow).where(col(LookRow.target_id) == target_id, among(tx, LookRow.cycle_id, lost))
    tx.session.exec(given_back.values(claimed=False, due_at=tx.now).execution_options(synchronize_session=False))


def late(tx: Tx, target_id: str, since: datetime, most: int) -> list[Due]:
    """Return a page of looks at a target that are due and have been owed since before ``since``."""
    query = (
        select(LookRow, ObligationRow.reference, ObligationRow.evidence)
        .join(CycleRow, col(CycleRow.cycle_id) == col(LookRow.cycle_id))
        .join(ObligationRow, (col(ObligationRow.cycle_id) == col(LookRow.cycle_id)) & (col(ObligationRow.target_id) == target_id))
        .where(LookRow.target_id == target_id, col(LookRow.due_at) <= tx.now, col(LookRow.since) <= since)
        .where(col(CycleRow.held).is_(False))
        .order_by(col(LookRow.due_at))
        .limit(most)
    )
    return [Due(row.cycle_id, reference, evidence, row.since, row.tries) for row, reference, evidence in tx.session.exec(query)]


def done(tx: Tx, target_id: str, cycle_ids: Collection[str]) -> None:
    """Note that nothing is owed any more at a target."""
    if cycle_ids:
        gone = delete(LookRow).where(col(LookRow.target_id) == target_id, col(LookRow.cycle_id).in_(sorted(cycle_ids)))
        tx.session.exec(gone.execution_options(synchronize_session=False))


def postpone(tx: Tx, target_id: str, until: Mapping[str, datetime]) -> None:
    """Count a try and set when each look is due again."""
    query = select(LookRow).where(LookRow.target_id == target_id, col(LookRow.cycle_id).in_(sorted(until)))
    for row in tx.session.exec(query.order_by(LookRow.cycle_id)):
        row.tries += 1
        row.claimed = False
        row.due_at = until[row.cycle_id]


def strayed(tx: Tx, looking: Iterable[str], most: int) -> Sequence[tuple[str, str]]:
    """Return a page of (cycle_id, target_id) of looks owed where nobody can be looked at any more: at none of ``looking``."""
    query = select(LookRow.cycle_id, LookRow.target_id).where(col(LookRow.target_id).not_in(sorted(looking)))
    return list(tx.session.exec(query.limit(most)))
