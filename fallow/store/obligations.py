"""Rows of obligations: opened by a stage, claimed by their target's sender, moved by answers and receipts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, false, func, insert, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from fallow.domain.attention import Attention, Reason
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import AttemptRow, CycleRow, ObligationRow
from fallow.store.vault import opaque

_WORKING_STATES = {TargetKind.RECORDS: (State.WIPING,), TargetKind.PLATFORM: (State.UNBINDING, State.TAGGING, State.RESELLABLE)}


@dataclass(frozen=True)
class Due:
    """An obligation its sender must act on now.

    Attributes:
        cycle_id: whose.
        number_id: key to the vault.
        reference: idempotency key at the target.
        disconnected_at: rows and bindings up to this instant are the former holder's.
        asked: how often it was asked with success before (more than 0: a reminder).
        failures: transport failures in a row before this attempt.
        alone: must be sent in a request of its own.
    """

    cycle_id: str
    number_id: str
    reference: str
    disconnected_at: datetime
    asked: int
    failures: int
    alone: bool


def still_wanted(tx: Tx, cycle_ids: Iterable[str]) -> set[str]:
    """Return those of the claimed cycles that no hold has stopped since they were claimed: asked just before what can't be undone."""
    query = select(CycleRow.cycle_id).where(col(CycleRow.cycle_id).in_(list(cycle_ids)), col(CycleRow.held).is_(False))
    return set(tx.session.exec(query))


def facts(row: ObligationRow) -> Obligation:
    """Return the row as the domain sees it."""
    outcome = None if row.outcome is None else Outcome(row.outcome)
    return Obligation(row.target_id, TargetKind(row.kind), Status(row.status), outcome, row.evidence, row.confirmed)


def open_all(tx: Tx, cycle: CycleRow, kind: TargetKind, targets: Iterable[str]) -> None:
    """Open one obligation per target, due at once, with its own random reference."""
    wanted = sorted(targets)
    for target_id in wanted:
        row = ObligationRow(cycle_id=cycle.cycle_id, target_id=target_id, kind=kind, status=Status.OPEN, reference=opaque("ref_"))
        row.due_at = tx.now
        tx.session.add(row)
    cycles.record(tx, cycle, Kind.OBLIGATIONS_OPENED, target_kind=str(kind), targets=wanted)


def of_cycle(tx: Tx, cycle_id: str) -> list[ObligationRow]:
    """Return a cycle's obligations by target."""
    query = select(ObligationRow).where(ObligationRow.cycle_id == cycle_id).order_by(ObligationRow.target_id)
    return list(tx.session.exec(query))


def at_target(tx: Tx, target_id: str, cycle_ids: Iterable[str]) -> dict[str, ObligationRow]:
    """Return the obligations of these cycles at one target, by cycle: one statement for a whole batch."""
    query = select(ObligationRow).where(ObligationRow.target_id == target_id, col(ObligationRow.cycle_id).in_(list(cycle_ids)))
    return {row.cycle_id: row for row in tx.session.exec(query.order_by(ObligationRow.cycle_id))}


def claim(tx: Tx, target_id: str, kind: TargetKind, *, most: int, for_: timedelta, after: Collection[str] = ()) -> list[Due]:
    """Return due obligations of a target and put them out of sight for ``for_``; a lost sender's claims come back after it.

    Held cycles keep their obligations unsent: a hold preserves what is there. One that must go alone is returned alone. What is
    owed at one of the targets ``after`` goes first: until it is discharged there, the cycle is not claimed here.

    What failed is claimed only with what failed as often, and at most half as many for each failure: a batch that fails as a
    whole halves until it fits or until the one that spoils it is alone, and numbers that never failed go in full batches beside it.
    """
    query = (
        select(ObligationRow, CycleRow.number_id, CycleRow.disconnected_at)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(
            ObligationRow.target_id == target_id,
            col(ObligationRow.due_at) <= tx.now,
            ObligationRow.status == Status.OPEN,
            col(CycleRow.state).in_(_WORKING_STATES[kind]),
            col(CycleRow.held).is_(False),
            ~_owed_before(after),
        )
        .order_by(col(ObligationRow.due_at))
        .limit(most)
        .with_for_update(of=ObligationRow, skip_locked=True)
    )
    rows = list(tx.session.exec(query))
    due = []
    for row, number_id, disconnected_at in _together(rows, most):
        row.due_at = tx.now + for_
        row.attempts += 1
        row.claimed = True
        due.append(Due(row.cycle_id, number_id, row.reference, disconnected_at, row.asked, row.failures, row.alone))
    return due


def _together(rows: Sequence[tuple[ObligationRow, str, datetime]], most: int) -> Sequence[tuple[ObligationRow, str, datetime]]:
    """Return those of the due rows that may share a request with the first one."""
    if not rows or rows[0][0].alone:
        return rows[:1]
    failures = rows[0][0].failures
    alike = [each for each in rows if not each[0].alone and each[0].failures == failures]
    return alike[: max(1, most >> failures)]


def give_back_claims(tx: Tx, target_id: str) -> None:
    """Make due at once what a sender that died had claimed; called by the next one as it takes the lease."""
    query = select(ObligationRow).where(
        ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN, col(ObligationRow.claimed).is_(True)
    )
    for row in tx.session.exec(query.with_for_update(skip_locked=True)):
        row.claimed, row.due_at = False, tx.now


def _owed_before(after: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that the cycle owes something at a target that comes before."""
    if not after:
        return false()
    before = aliased(ObligationRow)
    owed = select(before.cycle_id).where(before.cycle_id == ObligationRow.cycle_id, col(before.target_id).in_(sorted(after)))
    return owed.where(before.status != Status.DISCHARGED).exists()


def due_targets(tx: Tx, targets: Mapping[str, Collection[str]]) -> set[str]:
    """Return those of ``targets``, each with those that come before it, that have something due: one scan for all senders.

    What can't be claimed does not count: a held cycle would wake its senders for nothing, twice a second for as long as it is
    held. One row a target suffices, so that a target that is down with a hundred thousand due costs no more than an idle one.
    """
    return {target_id for target_id, after in targets.items() if tx.session.exec(_claimable(tx, target_id, after)).first() is not None}


def _claimable(tx: Tx, target_id: str, after: Collection[str]) -> SelectOfScalar[str]:
    working = or_(*((col(ObligationRow.kind) == kind) & col(CycleRow.state).in_(states) for kind, states in _WORKING_STATES.items()))
    return (
        select(ObligationRow.cycle_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
        .where(ObligationRow.target_id == target_id, col(ObligationRow.due_at) <= tx.now)
        .where(ObligationRow.status == Status.OPEN, working, col(CycleRow.held).is_(False), ~_owed_before(after))
        .order_by(col(ObligationRow.due_at))  # by the index: with stale statistics PostgreSQL went through all obligations without it
        .limit(1)
    )


def note_missing(tx: Tx, installed: Iterable[str], most: int) -> None:
    """Put what is owed to a target that is in no map into the ATTENTION queue, and take it off again once the target is back."""
    here = set(installed)
    query = select(ObligationRow.cycle_id, ObligationRow.target_id).where(
        ObligationRow.status == Status.OPEN, col(ObligationRow.target_id).not_in(here)
    )
    owed: dict[str, set[str]] = {}
    for cycle_id, target_id in tx.session.exec(query.limit(most)):
        owed.setdefault(cycle_id, set()).add(target_id)
    waiting = select(CycleRow.cycle_id).where(col(CycleRow.attention).contains(str(Reason.TARGET_MISSING))).limit(most)
    for cycle in cycles.lock(tx, {*owed, *tx.session.exec(waiting)}):
        missing = {Attention(Reason.TARGET_MISSING, target_id) for target_id in owed.get(cycle.cycle_id, ())}
        if not cycles.facts(cycle).active:
            missing = set()
        before = {each for each in cycles.facts(cycle).attention if each.reason is Reason.TARGET_MISSING}
        back = {each for each in before - missing if each.target_id in here}
        cycles.clear_attention(tx, cycle, back)
        for attention in sorted(missing - before):
            cycles.raise_attention(tx, cycle, attention)
        if back or missing - before:
            cycles.wake(tx, cycle)


def note_attempts(tx: Tx, target_id: str, cycle_ids: Iterable[str], result: str) -> None:
    """Write one attempt row each; ``result`` is a short code, never free text."""
    rows = [{"cycle_id": cycle_id, "target_id": target_id, "at": tx.now, "result": result} for cycle_id in cycle_ids]
    if rows:
        tx.session.exec(insert(AttemptRow), params=rows)


def postpone(tx: Tx, target_id: str, until: Mapping[str, datetime | None], *, failed: bool, alone: bool = False) -> None:
    """Set when each cycle's obligation at a target is due next, after a failure or after a successful request."""
    for row in at_target(tx, target_id, until).values():
        row.failures = row.failures + 1 if failed else 0
        row.asked += 0 if failed else 1
        row.alone = row.alone or alone
        row.claimed = False
        if row.status == Status.OPEN:
            row.due_at = until[row.cycle_id]


def shift(
    tx: Tx,
    cycle: CycleRow,
    row: ObligationRow,
    status: Status,
    outcome: Outcome | None,
    evidence: str | None,
    raises: Reason | None = None,
    where: Sequence[str] = (),
) -> None:
    """Move one obligation of a locked cycle, with its event and its place in the ATTENTION queue; ``where`` names the collections."""
    row.status, row.outcome, row.evidence = status, outcome, evidence
    row.confirmed = row.looked_at = None  # it was another word that was confirmed
    row.claimed = False
    row.due_at = tx.now if status is Status.OPEN else None
    cycles.record(
        tx, cycle, Kind.OBLIGATION_MOVED, target_id=row.target_id, status=str(status), outcome=outcome and str(outcome), evidence=evidence
    )
    if raises is not None:
        cycles.raise_attention(tx, cycle, Attention(raises, row.target_id), **({"why": list(where)} if where else {}))
        if State(cycle.state) in ACTIVE:
            cycles.wake(tx, cycle)  # its workflow shows it in Temporal's lists
    if status is Status.DISCHARGED:
        _clear(tx, cycle, row.target_id)


def raise_at_target(tx: Tx, cycle: CycleRow, row: ObligationRow, reason: Reason) -> None:
    """Put an obligation that stays as it is into the ATTENTION queue, and have the workflow show it."""
    cycles.raise_attention(tx, cycle, Attention(reason, row.target_id))
    if State(cycle.state) in ACTIVE:
        cycles.wake(tx, cycle)


def wake_completed(tx: Tx, rows: Sequence[CycleRow]) -> None:
    """Wake those of the locked cycles that have nothing open any more."""
    tx.session.flush()
    ids = [row.cycle_id for row in rows]
    query = select(ObligationRow.cycle_id, func.count()).where(
        col(ObligationRow.cycle_id).in_(ids), col(ObligationRow.status) != Status.DISCHARGED
    )
    still_open = {cycle_id for cycle_id, _ in tx.session.exec(query.group_by(ObligationRow.cycle_id))}
    for row in rows:
        if row.cycle_id not in still_open and State(row.state) in (State.WIPING, State.UNBINDING, State.TAGGING):
            cycles.wake(tx, row)


def _clear(tx: Tx, cycle: CycleRow, target_id: str) -> None:
    mine = {attention for attention in cycles.facts(cycle).attention if attention.target_id == target_id}
    cycles.clear_attention(tx, cycle, mine)
