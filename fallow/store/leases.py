"""Leases on the database's clock: who may act under a name, with a fence that grows at each takeover."""

from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from fallow.domain.errors import LeaseLost
from fallow.store.engine import Tx
from fallow.store.tables import LeaseRow

LEASE_FOR = timedelta(seconds=8)
#: A transaction reads the clock before it waits for the row: as long as that wait (see ``engine``), a renewal may be younger than its now.
_WAITS_FOR = timedelta(seconds=30)


def take(tx: Tx, name: str, holder: str) -> int | None:
    """Take or renew the lease; return its fence, or None while somebody else holds it."""
    row = _lock(tx, name)
    if row is None:
        return _take_first(tx, name, holder)
    if row.holder != holder:
        # Further away than any lease lasts: the clock was set back, and nobody would get it for as long as that.
        if tx.now < row.until <= tx.now + LEASE_FOR + _WAITS_FOR:
            return None
        row.holder, row.fence = holder, row.fence + 1
    row.until = tx.now + LEASE_FOR
    return row.fence


def demand(tx: Tx, name: str, holder: str, fence: int) -> None:
    """Refuse a write by anybody but the present holder; a write under a lease is fenced by calling this in its transaction.

    Raises:
        LeaseLost: the lease ran out or went to another holder (a paused process woke up too late, say).
    """
    row = _lock(tx, name)
    if row is None or row.holder != holder or row.fence != fence or row.until <= tx.now:
        what = f"The lease on {name} is no longer ours."
        raise LeaseLost(what, remedy="none needed: the present holder goes on with the work.")


def give_back(tx: Tx, name: str, holder: str) -> None:
    """End the lease early, so that a successor need not wait for it to run out."""
    row = _lock(tx, name)
    if row is not None and row.holder == holder:
        row.until = tx.now


def _take_first(tx: Tx, name: str, holder: str) -> int | None:
    try:
        with tx.session.begin_nested():
            tx.session.add(LeaseRow(name=name, holder=holder, fence=1, until=tx.now + LEASE_FOR))
    except IntegrityError:
        return None  # somebody else saw that nobody had it, and was first
    return 1


def _lock(tx: Tx, name: str) -> LeaseRow | None:
    query = select(LeaseRow).where(col(LeaseRow.name) == name).with_for_update()
    return tx.session.exec(query.execution_options(populate_existing=True)).first()
