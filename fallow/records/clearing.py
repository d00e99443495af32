"""What a strategy does to the former holders' rows: one statement for a whole set of orders, in one transaction.

Imports the domain and SQLAlchemy.
"""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Select,
    String,
    Update,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.sql.elements import ClauseElement

from fallow.domain.events import canonical
from fallow.domain.ports import KeptRow, WipeOrder
from fallow.records.scope import Ground, Path

#: Kinds of database whose DELETE and UPDATE may join another relation.
JOINING = {"postgresql", "mysql", "mariadb"}
#: What ``mask`` writes.
MASK = "***"


class Clearing:
    """Clears by one number column of a collection."""

    def __init__(self, ground: Ground, path: Path) -> None:
        """Build the statements."""
        self._ground, self._path = ground, path
        self._o = path.clearing.relation
        self._scope = and_(path.is_holders(), ground.in_scope(self._o), ~ground.is_marked())
        self._joins = ground.dialect in JOINING
        self._returns = ground.dialect == "postgresql"
        self._statement = self._change()
        self._copying = self._archiving()
        self._counting = select(self._o.c.k, func.count()).select_from(ground.table).join(self._o, self._scope).group_by(self._o.c.k)

    def clear(self, connection: Connection, bound: Mapping[str, object]) -> Counter[int]:
        """Change the rows of the bound orders; return how many, by the order's place. A repeat changes none."""
        if self._copying is not None:
            connection.execute(self._copying, bound)
        if self._returns:
            return Counter(dict(connection.execute(self._statement, bound).all()))
        found: Counter[int] = Counter(dict(connection.execute(self._counting, bound).all()))
        if found:
            connection.execute(self._statement, bound)
        return found

    @property
    def statements(self) -> list[ClauseElement]:
        """Every statement that changes something."""
        return [self._statement] if self._copying is None else [self._copying, self._statement]

    def rows(
        self, connection: Connection, orders: Sequence[WipeOrder], bound: Mapping[str, object], until: Sequence[date | None]
    ) -> list[KeptRow]:
        """Return the rows that a clearing would delete, locked until the transaction ends, as they are to be sealed."""
        mapped, table = self._ground.mapped, self._ground.table
        wanted = select(self._o.c.k.label("fallow_k"), table).select_from(table).join(self._o, self._scope).with_for_update(of=table)
        found = connection.execute(wanted, bound).mappings()
        rows = [(row["fallow_k"], {name: _plain(row[table.c[name]]) for name in table.c.keys()}) for row in found]  # noqa: SIM118 - not a mapping
        return [
            KeptRow(orders[place].cycle_id, mapped.id, mapped.basis or "", day, canonical(content).encode())
            for place, content in rows
            if (day := until[place]) is not None
        ]

    def _change(self) -> Delete | Update | Select[int, int]:
        values = self._values()
        change: Delete | Update = delete(self._ground.table) if values is None else update(self._ground.table).values(values)
        if not self._joins:
            # The first condition lets an index find the rows; the second tells whose they are.
            numbers = self._path.column.in_(select(self._o.c.n))
            return change.where(numbers, exists(select(1).select_from(self._o).where(self._scope)))
        change = change.where(self._scope)
        if not self._returns:
            return change
        changed = change.returning(self._o.c.k).cte("changed")  # counted there: a row in, a row out would cost more than the deletion
        return select(changed.c.k, func.count()).group_by(changed.c.k)

    def _values(self) -> dict[str, Any] | None:
        """Return what a row becomes; None where it goes."""
        restrict, rewrite = self._ground.mapped.restrict, self._ground.mapped.rewrite
        if restrict is not None and restrict.archive is None:
            expiry = self._of_order("e")
            return {**restrict.set, restrict.basis_column: restrict.basis, restrict.expiry_column: expiry}
        if rewrite is None:
            return None
        becomes = {"null": null(), "mask": literal(MASK), "pseudonymise": self._of_order("p")}
        return {name: becomes[how] for name, how in rewrite.columns.items()}

    def _of_order(self, field: str) -> ColumnElement[Any]:
        if self._joins:
            return self._o.c[field]
        return select(self._o.c[field]).where(self._scope).limit(1).scalar_subquery()

    def _archiving(self) -> Insert | None:
        """Return the statement that copies the rows into the archive, in the transaction that then deletes them."""
        restrict, archive, table = self._ground.mapped.restrict, self._ground.archive, self._ground.table
        if restrict is None or archive is None:
            return None
        names = [name for name in table.c.keys() if name not in (restrict.basis_column, restrict.expiry_column)]  # noqa: SIM118
        values = [*(table.c[name] for name in names), literal(restrict.basis, String()), self._o.c.e]
        copied = select(*values).select_from(table).join(self._o, self._scope)
        return insert(archive).from_select([*names, restrict.basis_column, restrict.expiry_column], copied)


def _plain(value: object) -> object:
    """Return a value as JSON keeps it; what JSON has no form for as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, dict)):
        return json.loads(json.dumps(value, default=str))
    if isinstance(value, (bytes, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
