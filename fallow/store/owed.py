"""Obligations as many answers at once see them: found by reference, moved together, written in one statement."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, bindparam, case, func, null, select, update

from fallow.domain.obligations import Outcome, Status
from fallow.store.engine import Tx
from fallow.store.given import bound, bound_list, dialect_of, given, listed
from fallow.store.standings import Standing, forget, lock, locking
from fallow.store.tables import ObligationRow

_obligations = ObligationRow.__table__  # type: ignore[attr-defined]
#: What is written of one that was moved.
_MOVED: dict[str, type] = {**dict.fromkeys(("reference", "status", "outcome", "evidence"), str), "asked": bool}


@dataclass(slots=True)
class Owed:
    """One obligation of a locked cycle.

    Attributes:
        cycle_id: whose.
        target_id: at which target.
        reference: under which it is answered.
        status: how far it is.
        still_open: how many obligations of its cycle are not discharged, itself included, as read.
        outcome: what settled it; only of one that was moved.
        evidence: digest of the message that did; only of one that was moved.
        asked: whether that message was the response to a request; only of one that was moved.
    """

    cycle_id: str
    target_id: str
    reference: str
    status: Status
    still_open: int
    outcome: Outcome | None = None
    evidence: str | None = None
    asked: bool = False


def lock_cycles(tx: Tx, references: Iterable[str], targets: Iterable[str]) -> dict[str, Standing]:
    """Lock the cycles whose obligations at ``targets`` have these references."""
    return lock(tx, _locking(dialect_of(tx)), _parameters(references, targets))


def find(tx: Tx, references: Iterable[str], targets: Iterable[str]) -> dict[str, Owed]:
    """Return the obligations at ``targets`` with these references; to be read once their cycles are locked."""
    rows = tx.session.connection().execute(_finding(dialect_of(tx)), _parameters(references, targets)).all()
    return {row[2]: Owed(row[0], row[1], row[2], Status(row[3]), row[4]) for row in rows}


def write(tx: Tx, moved: Collection[Owed]) -> None:
    """Write obligations that answers have moved; nothing is to be sent for any of them now."""
    if not moved:
        return
    rows = [{name: getattr(each, name) for name in _MOVED} for each in moved]
    tx.session.connection().execute(_writing(dialect_of(tx)), bound(tx, rows))
    forget(tx, ObligationRow, {each.cycle_id for each in moved})


def _parameters(references: Iterable[str], targets: Iterable[str]) -> dict[str, object]:
    return {**bound_list(references), "targets": sorted(targets)}


def _at(dialect: str, *columns: object) -> Select[Any]:
    # The targets are part of the look-up: another platform's reference is as unknown as an invented one.
    relation = listed(dialect, "reference")
    query = select(*columns).where(_obligations.c.reference.in_(select(relation.c.reference)))  # type: ignore[call-overload]
    return query.where(_obligations.c.target_id.in_(bindparam("targets", expanding=True)))  # type: ignore[no-any-return]


@cache
def _locking(dialect: str) -> Select[Any]:
    return locking(_at(dialect, _obligations.c.cycle_id))


@cache
def _finding(dialect: str) -> Select[Any]:
    others = _obligations.alias()
    left = select(func.count()).select_from(others).where(others.c.cycle_id == _obligations.c.cycle_id)
    still_open = left.where(others.c.status != Status.DISCHARGED).scalar_subquery()
    columns = _obligations.c
    return _at(dialect, columns.cycle_id, columns.target_id, columns.reference, columns.status, still_open)


@cache
def _writing(dialect: str) -> Update:
    relation = given(dialect, **_MOVED)
    columns = _obligations.c
    values: dict[str, ColumnElement[Any]] = {name: relation.c[name] for name in ("status", "outcome", "evidence")}
    values["asked"] = columns.asked + case((relation.c.asked, 1), else_=0)
    values["failures"] = case((relation.c.asked, 0), else_=columns.failures)
    statement = update(_obligations).where(columns.reference == relation.c.reference)
    # It was another word that had been confirmed.
    return statement.values(**values, claimed=False, due_at=null(), confirmed=null(), looked_at=null())
