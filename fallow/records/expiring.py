"""Destroying what the law no longer wants kept at a record system. Imports the domain and SQLAlchemy."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select

from fallow.domain.ports import ExpiryOrder, WipeOrder
from fallow.records.clearing import JOINING
from fallow.records.scope import Ground, Path


class Expiring:
    """Destroys by one number column of a collection that is restricted."""

    def __init__(self, ground: Ground, path: Path) -> None:
        """Build the statements."""
        self._path, kept_in = path, ground.kept_in
        o = path.clearing.relation
        carried = and_(path.is_holders_in(kept_in), *_marks(ground), ground.expiry_column == o.c.e)
        self._counting = select(o.c.k, func.count()).select_from(kept_in).join(o, carried).group_by(o.c.k)
        if ground.dialect in JOINING:
            self._destroying = delete(kept_in).where(carried)
        else:
            numbers = kept_in.c[path.number.column].in_(select(o.c.n))
            self._destroying = delete(kept_in).where(numbers, exists(select(1).select_from(o).where(carried)))

    def destroy(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> None:
        """Delete the rows whose expiry is the orders'."""
        connection.execute(self._destroying, self._bound(orders))

    def left(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Return how many such rows there are of each order."""
        found: dict[int, int] = dict(connection.execute(self._counting, self._bound(orders)).all())
        return [found.get(place, 0) for place in range(len(orders))]

    def _bound(self, orders: Sequence[ExpiryOrder]) -> dict[str, object]:
        now = datetime.now(UTC)  # not looked at: what expires is found by number, basis and expiry
        return self._path.cleared_by([WipeOrder(each.cycle_id, each.number, now) for each in orders], [each.kept_until for each in orders])


def _marks(ground: Ground) -> list[ColumnElement[bool]]:
    """Return the conditions that a row was restricted on this basis, whatever its expiry."""
    restrict = ground.mapped.restrict
    if restrict is None:
        what = "only what is restricted expires at the system"
        raise ValueError(what)
    return [ground.settled()] if ground.archive is None else [ground.kept_in.c[restrict.basis_column] == restrict.basis]
