"""One mapped table: clears former holders' rows, looks again, and writes down what was found. Imports the domain and SQLAlchemy."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from sqlalchemy import Connection, Table
from sqlalchemy.sql.elements import ClauseElement

from fallow.domain.errors import MapRefused
from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Finding, Keeper, WipeOrder
from fallow.records.clearing import Clearing
from fallow.records.database import Database
from fallow.records.doubts import Doubt, spelling_doubts
from fallow.records.expiring import Expiring
from fallow.records.fitting import demand_fitting
from fallow.records.instant_column import InstantColumn
from fallow.records.looking import Looking, Seen
from fallow.records.map_columns import NumberColumn
from fallow.records.map_schema import CollectionTable
from fallow.records.scope import Ground, Path


class Collection:
    """The statements of one collection, built once from the reflected tables; only bound values differ.

    Attributes:
        mapped: what the map says.
        steady: whether clearing needs every statement of its transaction to see the same rows.
        most: how many orders fit into one statement; None: any number.
    """

    def __init__(self, mapped: CollectionTable, database: Database) -> None:
        """Reflect the tables and build the statements.

        Raises:
            MapRefused: table or column missing, a column whose type can't be used, or no ``offset`` for values without one.
        """
        self.mapped = mapped
        self._database = database
        self._table = database.table(mapped.table, mapped.schema_name, _columns(mapped))
        archive = _archive(mapped, database, self._table)
        until = None if mapped.until is None else InstantColumn(self._table.c[mapped.until], database.dialect, mapped.offset)
        if until is not None and mapped.offset is None:
            until.demand_offset(database, mapped.id)
        demand_fitting(mapped, self._table, archive, database)
        ground = Ground(mapped, self._table, archive, until, database.dialect, database.collation)
        paths = [Path(ground, number) for number in mapped.numbers]
        self._indexed = all(_is_indexed(self._table, number) for number in mapped.numbers)
        self.steady = archive is not None or mapped.seal is not None
        self.most = paths[0].clearing.most
        self._clearings = [(path, Clearing(ground, path)) for path in paths]
        self._lookings = [Looking(ground, path) for path in paths]
        self._expirings = [Expiring(ground, path) for path in paths] if mapped.restrict is not None else []

    def clear(self, connection: Connection, orders: Sequence[WipeOrder], keep: Keeper | None, system_id: str) -> Counter[int]:
        """Delete, restrict, seal or rewrite the former holders' rows; return how many changed, by the order's place.

        A repeat changes none. Sealed rows are with the keeper before they are deleted: a crash in between leaves both, never neither.

        Raises:
            MapRefused: rows are to be sealed and nobody keeps them.
        """
        changed, until = Counter[int](), self._kept_until(orders)
        self._database.prefer_index(connection, indexed=self._indexed)
        for path, clearing in self._clearings:
            bound = path.cleared_by(orders, until)
            if self.mapped.seal is not None:
                rows = clearing.rows(connection, orders, bound, until)
                if rows:
                    _demand(keep, self.mapped).keep(system_id, rows)
            changed += clearing.clear(connection, bound)
        return changed

    def look(self, connection: Connection, orders: Sequence[WipeOrder]) -> list[Seen]:
        """Return what is there of each order, on a connection that did not clear anything."""
        seen, until = [Seen() for _ in orders], self._kept_until(orders)
        self._database.prefer_index(connection, indexed=self._indexed)
        for looking in self._lookings:
            for total, found in zip(seen, looking.look(connection, orders, until), strict=True):
                total.add(found)
        return seen

    def findings(self, connection: Connection, orders: Sequence[WipeOrder]) -> list[Finding]:
        """Look, and say of each order what a wipe would find."""
        found = zip(self.look(connection, orders), self._kept_until(orders), strict=True)
        told = (self.mapped.id, str(self.mapped.strategy))
        return [
            Finding(*told, seen.in_scope, seen.undecided, seen.newer, self.mapped.basis, None if until is None else until.isoformat())
            for seen, until in found
        ]

    def receipts(
        self, connection: Connection, orders: Sequence[WipeOrder], affected: Counter[int], reach: "Reach"
    ) -> list[CollectionReceipt]:
        """Look again and write down what was found, one receipt an order."""
        seen, kept_until = self.look(connection, orders), self._kept_until(orders)
        at = datetime.now(UTC)
        backups_until = reach.backups_until(at)
        return [
            CollectionReceipt(
                collection=self.mapped.id,
                strategy=str(self.mapped.strategy),
                affected=affected[place],
                remaining=found.in_scope + found.undecided,
                newer=found.newer,
                kept=found.kept,
                statement=self._statement,
                query=self._query,
                meaning=self._meaning,
                read_back_at=at,
                legal_basis=self.mapped.basis,
                kept_until=None if until is None else until.isoformat(),
                backups_until=backups_until,
                not_reached=reach.not_reached,
            )
            for place, (found, until) in enumerate(zip(seen, kept_until, strict=True))
        ]

    def destroy(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> None:
        """Delete what has expired."""
        for expiring in self._expirings:
            expiring.destroy(connection, orders)

    def left(self, connection: Connection, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Return how much of what has expired is still there, of each order."""
        left = [expiring.left(connection, orders) for expiring in self._expirings]
        return [sum(each) for each in zip(*left, strict=True)] if left else [0 for _ in orders]

    def doubts(self, connection: Connection) -> list[Doubt]:
        """Compare a sample of the number columns with their mapped spellings."""
        return [
            doubt
            for each in self.mapped.numbers
            for doubt in spelling_doubts(connection, self._table, each, f"collection {self.mapped.id}")
        ]

    def _kept_until(self, orders: Iterable[WipeOrder]) -> list[date | None]:
        keep_for = self.mapped.keep_for
        return [None if keep_for is None else (order.disconnected_at.astimezone(UTC) + keep_for).date() for order in orders]

    @cached_property
    def _meaning(self) -> str:
        return self.mapped.meaning

    @cached_property
    def _statement(self) -> str:
        return self._digest(statement for _, clearing in self._clearings for statement in clearing.statements)

    @cached_property
    def _query(self) -> str:
        return self._digest(statement for looking in self._lookings for statement in looking.statements)

    def _digest(self, statements: Iterable[ClauseElement]) -> str:
        texts = "\n".join(str(statement.compile(dialect=self._database.language)) for statement in statements)
        return hashlib.sha256(texts.encode()).hexdigest()


class Reach:
    """How far a deletion in the live tables reaches, as the map says."""

    def __init__(self, backups_live_for: timedelta | None, not_reached: Iterable[str]) -> None:
        """Take what the map says of the system."""
        self._backups_live_for = backups_live_for
        self.not_reached = tuple(not_reached)

    def backups_until(self, at: datetime) -> str | None:
        """Return the ISO date until which a backup made before ``at`` may still hold what was deleted then."""
        return None if self._backups_live_for is None else (at + self._backups_live_for).date().isoformat()


def _is_indexed(table: Table, number: NumberColumn) -> bool:
    """Tell whether an index of the table begins with the number; a view has none that is known."""
    whole = [index for index in table.indexes if index.columns and index.dialect_kwargs.get("postgresql_where") is None]
    beginnings = [next(iter(index.columns)).name for index in whole]
    beginnings += [column.name for column in list(table.primary_key.columns)[:1]]
    return not {number.column, number.prefix_column}.isdisjoint(beginnings)


def _demand(keep: Keeper | None, mapped: CollectionTable) -> Keeper:
    if keep is None:
        what = f"The collection {mapped.id} is to be sealed, and nothing was given that keeps sealed rows."
        raise MapRefused(what, remedy="let a worker wipe it; elsewhere nothing is sealed.")
    return keep


def _columns(mapped: CollectionTable) -> list[str]:
    columns = [*filter(None, [mapped.until, mapped.subscription]), *(name for number in mapped.numbers for name in number.columns)]
    if mapped.restrict is not None and mapped.restrict.archive is None:
        columns += [*mapped.restrict.set, mapped.restrict.basis_column, mapped.restrict.expiry_column]
    if mapped.rewrite is not None:
        columns += mapped.rewrite.columns
    return columns


def _archive(mapped: CollectionTable, database: Database, table: Table) -> Table | None:
    restrict = mapped.restrict
    if restrict is None or restrict.archive is None:
        return None
    names = [*(column.name for column in table.columns), restrict.basis_column, restrict.expiry_column]
    return database.table(restrict.archive.table, restrict.archive.schema_name, names)
