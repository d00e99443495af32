"""Destroying what the law no longer wants kept at a record system. Imports the domain and SQLAlchemy."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Column, Connection, and_, bindparam, delete, exists, func, select

from fallow.domain.ports import ExpiryOrder, WipeOrder
from fallow.records.clearing import JOINING
from fallow.records.scope import Ground, Path


class Expiring:
    """Destroys by one number column of a collection that is restricted."""

    def __init__(self, ground: Ground, path: Path) -> None:
        """Build the statements."""
        self._path, kept_in = path, ground.kept_in
        o, searched = path.clearing.relation, path.searching.relation
        # By the basis that was written beside the rows then, which the map may word otherwise by now; and whatever their flag says:
        # a row that came back into use is not kept any longer for it.
        on_basis = _basis_column(ground) == bindparam("basis")
        carried = and_(path.is_holders_in(kept_in), on_basis, ground.expires_in_time(o))
        if ground.dialect in JOINING:
            self._destroying = delete(kept_in).where(carried)
        else:
            numbers = kept_in.c[path.number.column].in_(select(o.c.n))
            self._destroying = delete(kept_in).where(numbers, exists(select(1).select_from(o).where(carried)))
        left = and_(path.may_be_holders_in(kept_in), on_basis, ground.expires_in_time(searched))
        self._counting = select(searched.c.k, func.count()).select_from(kept_in).join(searched, left).group_by(searched.c.k)

    def destroy(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> None:
        """Delete the rows on the orders' basis whose expiry is not after theirs."""
        for basis, places in _by_basis(orders).items():
            wanted = _wanted([orders[place] for place in places])
            connection.execute(self._destroying, {"basis": basis, **self._path.cleared_by(*wanted)})

    def left(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Return how many such rows there are of each order, however their number is spelt."""
        left = [0 for _ in orders]
        for basis, places in _by_basis(orders).items():
            wanted = _wanted([orders[place] for place in places])
            for place, count in connection.execute(self._counting, {"basis": basis, **self._path.searched_by(*wanted)}):
                left[places[place]] = count
        return left


def _by_basis(orders: Sequence[ExpiryOrder]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, order in enumerate(orders):
        places.setdefault(order.basis, []).append(place)
    return places


def _wanted(orders: Sequence[ExpiryOrder]) -> tuple[list[WipeOrder], list[date | None]]:
    now = datetime.now(UTC)  # not looked at: what expires is found by number, basis and expiry
    return [WipeOrder(each.cycle_id, each.number, now) for each in orders], [each.kept_until for each in orders]


def _basis_column(ground: Ground) -> Column[Any]:
    if ground.mapped.restrict is None:
        what = "only what is restricted expires at the system"
        raise ValueError(what)
    return ground.kept_in.c[ground.mapped.restrict.basis_column]
