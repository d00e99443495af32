"""Read models that look ahead and behind: when quarantines end, which numbers have lain too long, which holds want a review.

Like ``fallow.operations.status``, each is one read-only transaction and none holds a phone number.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, case, or_
from sqlmodel import col, func, select

from fallow.domain.errors import InputRefused, NotKnown
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status
from fallow.domain.people import Action, Person
from fallow.domain.rules import ONE_DAY
from fallow.operations.installation import Installation
from fallow.operations.status import LONGEST_PAGE, hold, iso, line
from fallow.operations.waiting import Around, why_it_waits
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, EventRow, HoldRow, ObligationRow

FORECAST_DAYS, LONGEST_FORECAST = 90, 366
_DUE_ALREADY, _LATER = "due", "later"
_Keyed = TypeVar("_Keyed", HoldRow, ObligationRow)
_Count: TypeAlias = dict[str, int]


@dataclass(frozen=True, slots=True)
class Cursors:
    """Where the pages before ended; None: at the beginning.

    Attributes:
        after: the last cycle_id of the page of overdue cycles.
        reviews_after: the last hold_id of the page of holds.
    """

    after: str | None = None
    reviews_after: str | None = None


def forecast(installation: Installation, person: Person, days: int = FORECAST_DAYS) -> dict[str, Any]:
    """Count the ends of quarantine by UTC day, today first, from what is enrolled or quarantined now.

    Of those ``expected`` on a day, the ``stopped`` ones are held or wait for a person: they will not go on by themselves. A date is
    the earliest: a number that is still called goes on later, and one enrolled tomorrow is in no forecast of today.

    Args:
        installation: where.
        person: who asks.
        days: how many days, 1 to 366.

    Returns:
        ``days``, each of them; ``due_already``, whose date has passed and who still wait; ``later``; and the ``total`` of all three.

    Raises:
        PersonRefused: as it says.
        InputRefused: more or fewer days.
    """
    person.demand(Action.READ)
    if not 1 <= days <= LONGEST_FORECAST:
        what = f"A forecast speaks of 1 to {LONGEST_FORECAST} days."
        raise InputRefused(what, remedy="ask for fewer days; the rest is counted as later.")
    with installation.db.read() as tx:
        today = tx.now.date()
        found = _ends_by_day(tx, today + days * ONE_DAY)
    dates = [(today + ahead * ONE_DAY).isoformat() for ahead in range(days)]
    return {
        "days": [{"on": on, **_counted(found.get(on))} for on in dates],
        "due_already": _counted(found.get(_DUE_ALREADY)),
        "later": _counted(found.get(_LATER)),
        "total": _counted((sum(each[0] for each in found.values()), sum(each[1] for each in found.values()))),
    }


def overdue(
    installation: Installation, person: Person, cursors: Cursors | None = None, *, limit: int = LONGEST_PAGE
) -> dict[str, list[dict[str, Any]]]:
    """Return a page of active cycles past their rule's maximum, longest first, and a page of holds whose review day has come.

    Args:
        installation: where.
        person: who asks.
        cursors: where the pages before ended.
        limit: most rows in each list, at most 500.

    Returns:
        ``overdue``: each cycle with ``days_over`` and, in words, ``why`` it still waits. ``reviews_due``: open holds of any cycle that a
        hold still stops, overdue or not, the earliest review first.

    Raises:
        PersonRefused: as it says.
        NotKnown: a cursor names nothing that was ever in its list.
    """
    person.demand(Action.READ)
    at, most = cursors or Cursors(), max(1, min(limit, LONGEST_PAGE))
    with installation.db.read() as tx:
        rows = _overdue(tx, at.after, most)
        around = _around(tx, rows)
        return {
            "overdue": [_late(row, around[row.cycle_id], tx.now) for row in rows],
            "reviews_due": _reviews_due(tx, at.reviews_after, most),
        }


def _ends_by_day(tx: Tx, end: date) -> dict[str, tuple[int, int]]:
    """Return (expected, stopped) by UTC day, with two keys for what is before and after the days: one pass over the rows."""
    release_at = col(CycleRow.release_at)
    bucket: ColumnElement[str] = case(
        (release_at <= tx.now, _DUE_ALREADY),
        (release_at >= datetime.combine(end, time(), UTC), _LATER),
        else_=_day_of(tx, release_at),
    )
    stopped = func.sum(case((or_(col(CycleRow.held).is_(True), col(CycleRow.attention) != "[]"), 1), else_=0))
    waiting = col(CycleRow.state).in_([State.ENROLLED, State.QUARANTINED])
    rows = tx.session.exec(select(bucket.label("bucket"), func.count(), stopped).where(waiting).group_by("bucket"))
    return {key: (expected, held_up) for key, expected, held_up in rows}


def _day_of(tx: Tx, instant: Any) -> ColumnElement[str]:
    """Return the UTC day of a column of instants as ``2026-04-30``, whatever time zone the session has."""
    if tx.session.get_bind().dialect.name == "sqlite":
        return func.substr(instant, 1, 10)  # stored as text, in UTC
    return func.to_char(func.timezone("UTC", instant), "YYYY-MM-DD")


def _counted(found: tuple[int, int] | None) -> _Count:
    expected, stopped = found or (0, 0)
    return {"expected": expected, "stopped": stopped}


def _overdue(tx: Tx, after: str | None, most: int) -> list[CycleRow]:
    overdue_at, cycle_id = col(CycleRow.overdue_at), col(CycleRow.cycle_id)
    query = select(CycleRow).where(col(CycleRow.state).in_(ACTIVE), overdue_at < tx.now)
    if after is not None:
        last = cycles.get(tx, after)
        if last.overdue_at is None:
            what = f"The cycle {after} has no maximum, so no page of overdue ones ended with it."
            raise NotKnown(what, remedy="pass the last cycle of the page before, or none for the first page.")
        query = query.where(or_(overdue_at > last.overdue_at, (overdue_at == last.overdue_at) & (cycle_id > after)))
    return list(tx.session.exec(query.order_by(overdue_at, cycle_id).limit(most)))


def _around(tx: Tx, rows: Sequence[CycleRow]) -> dict[str, Around]:
    """Return what lies around each of a page of cycles, in three queries for all of them."""
    ids = [row.cycle_id for row in rows]
    holds = select(HoldRow).where(col(HoldRow.cycle_id).in_(ids), col(HoldRow.lifted_at).is_(None)).order_by(col(HoldRow.placed_at))
    owed = select(ObligationRow).where(col(ObligationRow.cycle_id).in_(ids), ObligationRow.status == Status.OPEN)
    extended = select(EventRow.cycle_id).where(col(EventRow.cycle_id).in_(ids), EventRow.kind == Kind.QUARANTINE_EXTENDED)
    by_cycle = _grouped(tx.session.exec(holds).all())
    owed_by = _grouped(tx.session.exec(owed.order_by(ObligationRow.target_id)).all())
    moved = set(tx.session.exec(extended))
    return {each: Around(by_cycle[each], owed_by[each], extended=each in moved) for each in ids}


def _grouped(rows: Sequence[_Keyed]) -> defaultdict[str, list[_Keyed]]:
    by_cycle = defaultdict[str, list[_Keyed]](list)
    for row in rows:
        by_cycle[row.cycle_id].append(row)
    return by_cycle


def _late(row: CycleRow, around: Around, now: datetime) -> dict[str, Any]:
    over: timedelta = now - (row.overdue_at or now)
    return {**line(row), "overdue_at": iso(row.overdue_at), "days_over": over.days, "why": why_it_waits(row, around, now)}


def _reviews_due(tx: Tx, after: str | None, most: int) -> list[dict[str, Any]]:
    review_on, hold_id = col(HoldRow.review_on), col(HoldRow.hold_id)
    query = (
        select(HoldRow, CycleRow.state)
        .join(CycleRow, col(CycleRow.cycle_id) == col(HoldRow.cycle_id))
        .where(col(HoldRow.lifted_at).is_(None), review_on <= tx.now.date(), col(CycleRow.state).in_([*ACTIVE, State.RESELLABLE]))
    )
    if after is not None:
        last = tx.session.get(HoldRow, after)
        if last is None or last.review_on is None:
            what = "No page of reviews ended with that hold."
            raise NotKnown(what, remedy="pass the last hold of the page before, or none for the first page.")
        query = query.where(or_(review_on > last.review_on, (review_on == last.review_on) & (hold_id > after)))
    found = tx.session.exec(query.order_by(review_on, hold_id).limit(most))
    return [{"cycle_id": row.cycle_id, "state": str(state), **hold(row)} for row, state in found]
