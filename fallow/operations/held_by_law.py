"""What is kept by law, why and until when; and whose number it was on a day. No person's data is shown."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlmodel import col, select

from fallow.domain.errors import InputRefused, NotKnown
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.operations.status import LONGEST_PAGE
from fallow.store import cycles, retention
from fallow.store.engine import Tx
from fallow.store.keeping_tables import RetentionRow
from fallow.store.tables import CycleRow, SaleRow

_THERE, _HERE = "restricted there", "sealed here"


@dataclass(frozen=True)
class HeldBy:
    """Who held a number on a day, by cycle and never by name.

    Attributes:
        cycle_id: the cycle whose former holder it was; None where it was nobody, or somebody who is not stored.
        why: the same in a sentence.
        kept: what is kept of that cycle, as :func:`list_kept` says it.
    """

    cycle_id: str | None
    why: str
    kept: list[dict[str, Any]]


def list_kept(
    installation: Installation,
    person: Person,
    *,
    cycle_id: str | None = None,
    after: str | None = None,
    limit: int = LONGEST_PAGE,
) -> list[dict[str, Any]]:
    """Return what is kept, and what was until it was destroyed, by cycle.

    Args:
        installation: where.
        person: who asks.
        cycle_id: only of this cycle.
        after: the last cycle_id of the page before.
        limit: most cycles in a page, at most 500.

    Raises:
        PersonRefused, NotKnown: as they say.
    """
    person.demand(Action.READ)
    page = select(RetentionRow.cycle_id).distinct().order_by(RetentionRow.cycle_id).limit(max(1, min(limit, LONGEST_PAGE)))
    if after is not None:
        page = page.where(col(RetentionRow.cycle_id) > after)
    with installation.db.read() as tx:
        if cycle_id is not None:
            return _kept_of(tx, [cycles.get(tx, cycle_id).cycle_id])
        return _kept_of(tx, list(tx.session.exec(page)))


def who_held(installation: Installation, person: Person, number: E164, on: date) -> HeldBy:
    """Return whose number it was on a day, UTC: of the cycles' former holders, the first that left on that day or later.

    Raises:
        PersonRefused: as it says.
        NotKnown: the number was never enrolled here.
        InputRefused: the day is still to come.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        if on > tx.now.date():
            what = "The day is still to come."
            raise InputRefused(what, remedy="ask for today or an earlier day.")
        found = installation.vault.find(tx, number)
        if found is None:
            what = "The number was never enrolled here."
            raise NotKnown(what, remedy="check its digits; before its first cancellation here nothing is known of a number.")
        trips = tx.session.exec(select(CycleRow).where(CycleRow.number_id == found.number_id).order_by(col(CycleRow.cycle_no))).all()
        left = next((index for index, each in enumerate(trips) if each.disconnected_at.date() >= on), None)
        if left is None:
            return _after_the_last(tx, trips[-1], on)
        return _of_a_former(tx, trips[left], trips[left - 1] if left else None, on)


def _of_a_former(tx: Tx, cycle: CycleRow, before: CycleRow | None, on: date) -> HeldBy:
    left = f"left on {cycle.disconnected_at.date()}"
    kept = _kept_of(tx, [cycle.cycle_id])
    if before is None:
        why = f"The former holder of {cycle.cycle_id}, who {left}, unless somebody had it before them: when they began is not known here."
        return HeldBy(cycle.cycle_id, why, kept)
    began = _next_began(tx, before)
    if began is None:
        why = f"The former holder of {cycle.cycle_id}, who {left}, if they had it already: when they began is not known here."
        return HeldBy(cycle.cycle_id, why, kept)
    if on < began:
        return HeldBy(None, f"Nobody: the number was between {before.cycle_id}'s former holder and its next one, who began on {began}.", [])
    return HeldBy(cycle.cycle_id, f"The former holder of {cycle.cycle_id}, who had it from {began} and {left}.", kept)


def _after_the_last(tx: Tx, last: CycleRow, on: date) -> HeldBy:
    began = _next_began(tx, last)
    if began is not None and on >= began:
        return HeldBy(None, f"Who holds it since {began}, after {last.cycle_id}: the present holder is never stored here.", [])
    if last.state == State.WITHDRAWN or (last.state == State.RETURNED and on >= last.state_at.date()):
        return HeldBy(None, f"Not known: the number went out of these hands with {last.cycle_id}, which is {last.state}.", [])
    return HeldBy(
        None, f"Nobody: after {last.cycle_id}'s former holder left, nobody had it by that day; a next holder is never stored here.", []
    )


def _next_began(tx: Tx, cycle: CycleRow) -> date | None:
    """Return when the next holder after a cycle began, as far as it is known: its sale, or that its former holder took it back."""
    sale = tx.session.get(SaleRow, cycle.cycle_id)
    if sale is not None:
        return sale.sold_at.date()
    return cycle.state_at.date() if cycle.state == State.RECLAIMED else None


def _kept_of(tx: Tx, cycle_ids: list[str]) -> list[dict[str, Any]]:
    query = select(RetentionRow, CycleRow.held).join(CycleRow, col(CycleRow.cycle_id) == col(RetentionRow.cycle_id))
    query = query.where(col(RetentionRow.cycle_id).in_(cycle_ids))
    query = query.order_by(RetentionRow.cycle_id, RetentionRow.target_id, RetentionRow.collection, col(RetentionRow.kept_until))
    return [_shown(tx, row, held=held) for row, held in tx.session.exec(query)]


def _shown(tx: Tx, row: RetentionRow, *, held: bool) -> dict[str, Any]:
    kept = row.destroyed_at is None
    return {
        "cycle_id": row.cycle_id,
        "target_id": row.target_id,
        "collection": row.collection,
        "how": _HERE if row.how == retention.SEAL else _THERE,
        "basis": row.basis,
        "kept_until": row.kept_until.isoformat(),
        "rows": row.rows,
        "destroyed_at": None if row.destroyed_at is None else row.destroyed_at.isoformat(),
        "suspended": kept and held,
        "overdue": kept and not held and row.kept_until < tx.now.date(),
    }
