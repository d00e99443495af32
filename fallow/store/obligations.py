"""Rows of obligations: opened by a stage, claimed by their target's sender, moved by answers and receipts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Insert,
    Row,
    Text,
    bindparam,
    case,
    false,
    func,
    insert,
    literal,
    literal_column,
    or_,
    true,
    update,
)
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from fallow.domain.attention import Attention, Reason
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind
from fallow.store import cycles
from fallow.store.columns import Instant
from fallow.store.engine import Tx
from fallow.store.given import bound_list, dialect_of, listed
from fallow.store.sets import among
from fallow.store.tables import AttemptRow, CycleRow, ObligationRow
from fallow.store.targets import is_paused
from fallow.store.vault import opaque

_WORKING_STATES = {TargetKind.RECORDS: (State.WIPING,), TargetKind.PLATFORM: (State.UNBINDING, State.TAGGING, State.RESELLABLE)}

#: Never claimed before. A literal, so that the databases see that the partial index of new obligations serves.
_NEW: ColumnElement[bool] = col(ObligationRow.attempts) == literal_column("0")
#: Statements on whole sets leave rows that are loaded as they are: nobody reads those after them.
_UNSEEN = {"synchronize_session": False}


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
        deadline_at: by when an answer is wanted; None where none was set.
    """

    cycle_id: str
    number_id: str
    reference: str
    disconnected_at: datetime
    asked: int
    failures: int
    alone: bool
    deadline_at: datetime | None = None


def still_wanted(tx: Tx, cycle_ids: Iterable[str]) -> set[str]:
    """Return those of the claimed cycles that no hold has stopped since they were claimed: asked just before what can't be undone."""
    query = select(CycleRow.cycle_id).where(among(tx, CycleRow.cycle_id, cycle_ids), col(CycleRow.held).is_(False))
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


def claim(
    tx: Tx,
    target_id: str,
    kind: TargetKind,
    *,
    most: int,
    for_: timedelta,
    after: Collection[str] = (),
    new_first: bool = False,
    answer_within: timedelta | None = None,
) -> list[Due]:
    """Return due obligations of a target and put them out of sight for ``for_``; a lost sender's claims come back after it.

    Held cycles keep their obligations unsent: a hold preserves what is there. One that must go alone is returned alone. What is
    owed at one of the targets ``after`` goes first: until it is discharged there, the cycle is not claimed here.

    What failed is claimed only with what failed as often, and at most half as many for each failure: a batch that fails as a
    whole halves until it fits or until the one that spoils it is alone, and numbers that never failed go in full batches beside it.

    What has waited longest comes first, unless ``new_first``: then what was never claimed before, and what may go with it after
    that. A sender that alternates sends what is new within two requests, however much is due again, and the rest is never starved.

    ``answer_within`` sets the deadline, until a request has been taken: one that was never taken named none.
    """
    rows = _due(tx, target_id, kind, most, after, new=True) if new_first else []
    if rows and len(rows) < most:
        rows += [each for each in _due(tx, target_id, kind, most, after, new=False) if not each.alone and not each.failures]
    chosen = rows[:most] if rows else _together(_due(tx, target_id, kind, most, after), most)
    if not chosen:
        return []
    deadline_at = None if answer_within is None else tx.now + answer_within
    _put_out_of_sight(tx, target_id, [each.cycle_id for each in chosen], tx.now + for_, deadline_at)
    return [_as_due(each, deadline_at) for each in chosen]


def _as_due(row: Row[Any], deadline_at: datetime | None) -> Due:
    values: tuple[Any, ...] = tuple(row)
    cycle_id, number_id, reference, disconnected_at, asked, failures, alone, before = values
    wanted_by = before if asked or deadline_at is None else deadline_at
    return Due(cycle_id, number_id, reference, disconnected_at, asked, failures, alone, wanted_by)


def _due(tx: Tx, target_id: str, kind: TargetKind, most: int, after: Collection[str], *, new: bool | None = None) -> list[Row[Any]]:
    """Return the columns of :class:`Due`, locked, of what has been due longest; only what is new, or only what is not, if so asked."""
    owed = ObligationRow
    query = select_columns(
        col(owed.cycle_id),
        col(CycleRow.number_id),
        col(owed.reference),
        col(CycleRow.disconnected_at),
        col(owed.asked),
        col(owed.failures),
        col(owed.alone),
        col(owed.deadline_at),
    ).join(CycleRow, col(CycleRow.cycle_id) == col(owed.cycle_id))
    query = query.where(
        col(owed.target_id) == target_id,
        col(owed.due_at) <= tx.now,
        col(owed.status) == Status.OPEN,
        col(CycleRow.state).in_(_WORKING_STATES[kind]),
        col(CycleRow.held).is_(False),
        true() if new is None else _NEW if new else ~_NEW,
        ~_owed_before(after),
    )
    locking = query.order_by(col(owed.due_at)).limit(most).with_for_update(of=owed, skip_locked=True)
    return list(tx.session.execute(locking))


def _together(rows: Sequence[Row[Any]], most: int) -> Sequence[Row[Any]]:
    """Return those of the due rows that may share a request with the first one."""
    if not rows or rows[0].alone:
        return rows[:1]
    failures = rows[0].failures
    alike = [each for each in rows if not each.alone and each.failures == failures]
    return alike[: max(1, most >> failures)]


def _put_out_of_sight(tx: Tx, target_id: str, cycle_ids: Sequence[str], until: datetime, deadline_at: datetime | None) -> None:
    values: dict[str, Any] = {"due_at": until, "attempts": ObligationRow.attempts + 1, "claimed": True}
    if deadline_at is not None:
        values["deadline_at"] = case((col(ObligationRow.asked) == 0, literal(deadline_at, Instant)), else_=col(ObligationRow.deadline_at))
    _change(tx, target_id, cycle_ids, values)


def _change(tx: Tx, target_id: str, cycle_ids: Iterable[str], values: Mapping[str, Any], *where: ColumnElement[bool]) -> int:
    """Write the same into the obligations of these cycles at one target, in one statement, and count them; loaded rows don't see it."""
    mine = col(ObligationRow.target_id) == target_id, among(tx, ObligationRow.cycle_id, cycle_ids), *where
    changed = tx.session.execute(update(ObligationRow).where(*mine).values(**values), execution_options=_UNSEEN)
    return cast("CursorResult[Any]", changed).rowcount


def give_back_claims(tx: Tx, target_id: str) -> None:
    """Make due at once what a sender that died had claimed; called by the next one as it takes the lease."""
    _unclaim(tx, target_id, _claimed(target_id))


def unclaim(tx: Tx, target_id: str, cycle_ids: Iterable[str]) -> None:
    """Give back what was claimed and is not wanted now: as soon as it is wanted again it is due, not only when the claim runs out."""
    unwanted = list(cycle_ids)
    if unwanted:
        _unclaim(tx, target_id, _claimed(target_id).where(among(tx, ObligationRow.cycle_id, unwanted)))


def _claimed(target_id: str) -> SelectOfScalar[str]:
    query = select(ObligationRow.cycle_id).where(ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN)
    return query.where(col(ObligationRow.claimed).is_(True))


def _unclaim(tx: Tx, target_id: str, claimed: SelectOfScalar[str]) -> None:
    # Rows of cycles that are not locked: to wait for one with others in hand would be a deadlock with whoever moves both. What is
    # left out is being answered, or comes back when its claim runs out.
    _change(tx, target_id, list(tx.session.exec(claimed.with_for_update(skip_locked=True))), {"claimed": False, "due_at": tx.now})


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
        .where(ObligationRow.status == Status.OPEN, working, col(CycleRow.held).is_(False), ~_owed_before(after), ~is_paused(target_id))
        .order_by(col(ObligationRow.due_at))  # by the index: with stale statistics PostgreSQL went through all obligations without it
        .limit(1)
    )


@dataclass(frozen=True)
class Backlog:
    """What is owed at one target.

    Attributes:
        target_id: at which.
        kind: record system or platform.
        open: obligations that wait for it.
        refused: those that it refused.
        due_now: open ones whose sender would act at once.
        reminded: open ones that were asked more than once.
        past_deadline: open ones whose deadline has passed.
        oldest_open_at: since when the cycle that has waited longest is in its state.
    """

    target_id: str
    kind: str
    open: int
    refused: int
    due_now: int
    reminded: int
    past_deadline: int
    oldest_open_at: datetime | None


def owed_by_target(tx: Tx) -> dict[str, Backlog]:
    """Return what is owed at each target that anything was ever owed at; goes through all obligations."""
    row, is_open = ObligationRow, col(ObligationRow.status) == Status.OPEN
    counts = (
        is_open,
        col(row.status) == Status.REFUSED,
        is_open & (col(row.due_at) <= tx.now),
        is_open & (col(row.asked) > 1),
        is_open & (col(row.deadline_at) <= tx.now),
    )
    columns = [func.count().filter(condition) for condition in counts]
    oldest = func.min(case((is_open, col(CycleRow.state_at)), else_=None), type_=Instant())
    query = select_columns(col(row.target_id), func.min(col(row.kind)), *columns, oldest)
    query = query.join(CycleRow, col(CycleRow.cycle_id) == col(row.cycle_id)).group_by(col(row.target_id))
    return {each[0]: Backlog(*tuple[Any, ...](each)) for each in tx.session.execute(query)}


def note_attempts(tx: Tx, target_id: str, cycle_ids: Iterable[str], result: str) -> None:
    """Write one attempt row each, in one statement; ``result`` is a short code, never free text."""
    same = {"target_id": target_id, "at": tx.now, "result": result}
    tx.session.connection().execute(_attempting(dialect_of(tx)), {**bound_list(cycle_ids), **same})


@cache
def _attempting(dialect: str) -> Insert:
    same = bindparam("target_id", type_=Text()), bindparam("at", type_=Instant()), bindparam("result", type_=Text())
    rows = select_columns(listed(dialect, "cycle_id").c.cycle_id, *same)
    return insert(AttemptRow).from_select(["cycle_id", "target_id", "at", "result"], rows)


def postpone(tx: Tx, target_id: str, until: Mapping[str, datetime | None], *, failed: bool, alone: bool = False) -> int:
    """Set when what is still open at a target is due next, after a failure or a request that was taken; return how many that are.

    One statement for each instant; what came of the same request has the same one.
    """
    counts: dict[str, Any] = {"failures": 0, "asked": ObligationRow.asked + 1}
    if failed:
        counts = {"failures": ObligationRow.failures + 1}
    if alone:
        counts["alone"] = True
    still_open, postponed = col(ObligationRow.status) == Status.OPEN, 0
    for instant in set(until.values()):
        mine = [cycle_id for cycle_id, each in until.items() if each == instant]
        postponed += _change(tx, target_id, mine, {**counts, "claimed": False, "due_at": instant}, still_open)
    return postponed


def rest(tx: Tx, target_id: str, cycle_ids: Iterable[str]) -> None:
    """Have nothing more sent of what was claimed, until somebody makes it due again."""
    _change(tx, target_id, cycle_ids, {"claimed": False, "due_at": None})


def lock_cycles_of(tx: Tx, cycle_ids: Iterable[str]) -> None:
    """Lock the cycles whose obligations are about to change, in id order as everybody does, without reading them."""
    locked = select(CycleRow.cycle_id).where(among(tx, CycleRow.cycle_id, cycle_ids)).order_by(CycleRow.cycle_id).with_for_update()
    tx.session.exec(select(func.count()).select_from(locked.subquery())).one()


def still_open(tx: Tx, target_id: str, cycle_ids: Iterable[str]) -> set[str]:
    """Return those of the cycles whose obligation at a target is open."""
    query = select(ObligationRow.cycle_id).where(ObligationRow.target_id == target_id, ObligationRow.status == Status.OPEN)
    return set(tx.session.exec(query.where(among(tx, ObligationRow.cycle_id, cycle_ids))))


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
    """Move one obligation of a locked cycle, with its event and its place in the ATTENTION queue; ``where`` names collections, or why."""
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
