"""What inventory learns: numbers it may offer, and numbers to take back. The only place that lets numbers out in the clear.

The outbox holds what inventory has been told, by cycle: the gate writes NumberReleased, told once ``exported_at`` is set;
NumberWithheld and NumberReleasedAgain are written when they are told. Whether a number is for sale is never kept, but judged
from the cycle as it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, not_, true
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Status
from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.operations.looking import looking_now
from fallow.operations.sale import is_demo
from fallow.store import looks
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, ObligationRow, OutboxRow

#: Rows of one page, so that a large export holds neither memory nor the database for long.
PAGE = 500


class Told(StrEnum):
    """Kinds of the outbox."""

    RELEASED = "NumberReleased"
    WITHHELD = "NumberWithheld"
    RELEASED_AGAIN = "NumberReleasedAgain"


@dataclass(frozen=True)
class Released:
    """One number for inventory.

    Attributes:
        outbox_id: its row in the outbox; grows with each release.
        number: which number.
        cycle_id: its cycle.
        tag: digest of the disclosure tag that goes with it.
        released_at: when it became RESELLABLE.
    """

    outbox_id: int
    number: E164
    cycle_id: str
    tag: str
    released_at: datetime


def released(installation: Installation, person: Person, *, again: bool = False, after: int = 0) -> list[Released]:
    """Return a page of what is for sale: RESELLABLE, not held, nothing in doubt, and no demo cycle outside a demo database.

    One that waits stays in the outbox and comes with a later export, once it is clear; so does one that was told as withheld.

    Args:
        installation: where.
        person: who asks.
        again: also what was exported before.
        after: the last ``outbox_id`` of the page before.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.EXPORT)
    untold = col(OutboxRow.exported_at).is_(None) | _taken_back()
    with installation.db.read() as tx:
        return _page(tx, installation, after, _for_sale(tx, installation), true() if again else untold)


def withheld(installation: Installation, person: Person, *, again: bool = False, after: int = 0) -> list[Released]:
    """Return a page of what inventory was given and must not offer any more: held, in doubt, retired, returned.

    A sold number is none of them: it left inventory by its sale.

    Args:
        installation: where.
        person: who asks.
        again: also what was told as withheld before, and still is.
        after: the last ``outbox_id`` of the page before.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.EXPORT)
    given = col(OutboxRow.exported_at).is_not(None)
    with installation.db.read() as tx:
        gone = and_(not_(_for_sale(tx, installation)), col(CycleRow.state) != State.REASSIGNED)
        return _page(tx, installation, after, given, gone, true() if again else not_(_taken_back()))


def mark_exported(installation: Installation, person: Person, outbox_ids: Sequence[int]) -> None:
    """Note that inventory has these. Called after they were written: an export that broke off is repeated, never lost.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.EXPORT)
    with installation.db.begin() as tx:
        for row, taken_back in _told(tx, outbox_ids):
            row.exported_at = row.exported_at or tx.now
            if taken_back:
                _tell(tx, row.cycle_id, Told.RELEASED_AGAIN)


def mark_withheld(installation: Installation, person: Person, outbox_ids: Sequence[int]) -> None:
    """Note that inventory was told to take these back. Called after they were written, like :func:`mark_exported`.

    Args:
        installation: where.
        person: who told it.
        outbox_ids: of :func:`withheld`'s rows.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.EXPORT)
    with installation.db.begin() as tx:
        for row, taken_back in _told(tx, outbox_ids):
            if not taken_back:
                _tell(tx, row.cycle_id, Told.WITHHELD)


def _page(tx: Tx, installation: Installation, after: int, *conditions: ColumnElement[bool]) -> list[Released]:
    query = (
        select(OutboxRow, CycleRow)
        .join(CycleRow, col(CycleRow.cycle_id) == col(OutboxRow.cycle_id))
        .where(OutboxRow.kind == Told.RELEASED, col(OutboxRow.outbox_id) > after, *conditions)
        .order_by(col(OutboxRow.outbox_id))
        .limit(PAGE)
    )
    rows = list(tx.session.exec(query))
    numbers = installation.vault.reveal(tx, [cycle.number_id for _, cycle in rows])
    return [
        Released(outbox.outbox_id or 0, numbers[cycle.number_id], cycle.cycle_id, str(cycle.tag), cycle.released_at or outbox.at)
        for outbox, cycle in rows
    ]


def _for_sale(tx: Tx, installation: Installation) -> ColumnElement[bool]:
    """Judge as ``sale.sell`` does."""
    in_doubt = select(ObligationRow.cycle_id).where(ObligationRow.cycle_id == CycleRow.cycle_id, ObligationRow.status != Status.DISCHARGED)
    unseen = looks.owed_at(looking_now(installation))
    clear = and_(col(CycleRow.held).is_(False), col(CycleRow.attention) == "[]", not_(in_doubt.exists()), not_(unseen))
    real = true() if is_demo(tx) else col(CycleRow.demo).is_(False)
    return and_(col(CycleRow.state) == State.RESELLABLE, clear, real)


def _taken_back() -> ColumnElement[bool]:
    """Tell whether the last that inventory was told of a row's cycle, after its release, is that it is withheld."""
    later, last = aliased(OutboxRow), aliased(OutboxRow)
    newest = select(func.max(later.outbox_id)).where(col(later.kind).in_([Told.WITHHELD, Told.RELEASED_AGAIN])).group_by(later.cycle_id)
    told = select(last.cycle_id).where(col(last.outbox_id).in_(newest), last.kind == Told.WITHHELD)
    return col(OutboxRow.cycle_id).in_(told)


def _told(tx: Tx, outbox_ids: Sequence[int]) -> list[tuple[OutboxRow, bool]]:
    query = select(OutboxRow, _taken_back().label("taken_back")).where(col(OutboxRow.outbox_id).in_(outbox_ids))
    return [(row, bool(taken_back)) for row, taken_back in tx.session.exec(query)]


def _tell(tx: Tx, cycle_id: str, kind: Told) -> None:
    tx.session.add(OutboxRow(kind=kind, cycle_id=cycle_id, at=tx.now, exported_at=tx.now))
