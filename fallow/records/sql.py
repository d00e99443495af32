"""A record system that is a SQL database, wiped set by set as the records map says. Imports the domain and SQLAlchemy.

Only the holder's rows up to the disconnect instant are touched: never rows where the number is the other party, never rows
of a newer holder.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Finding, Keeper, WipeOrder, WipeReceipt
from fallow.records.collection import Collection
from fallow.records.database import Database
from fallow.records.doubts import Doubt
from fallow.records.map_schema import SystemTable


class SqlRecordSystem:
    """The :class:`fallow.domain.ports.RecordSystem` of one ``[[system]]``.

    Attributes:
        system_id: id in the records map.
        collections: ids of its collections, in the order they are wiped.
    """

    def __init__(self, mapped: SystemTable, database: Database) -> None:
        """Take the map; the database is reflected at the first use."""
        self.system_id = mapped.id
        self.after = frozenset[str]()
        self.batch = 50
        self.collections = tuple(collection.id for collection in mapped.collection)
        self._mapped = mapped
        self._database = database
        self._reflected: tuple[Collection, ...] | None = None

    @property
    def meanings(self) -> dict[str, str]:
        """Collection id -> digest of what the map says of it: another table, column or strategy is another meaning."""
        return {collection.id: collection.meaning for collection in self._mapped.collection}

    def check(self) -> None:
        """Connect and compare the map with the tables, changing nothing.

        Raises:
            MapRefused: a mapped table or column is missing or of a type that can't be used, or an ``offset`` is.
            TargetUnavailable: the database can't be reached.
        """
        self._reflected = None
        self._database.guarded(self._tables)

    def doubts(self) -> list[Doubt]:
        """Look at a sample of each mapped number column, changing nothing, and say what speaks against the map.

        Raises:
            MapRefused: a mapped table or column is missing or of a type that can't be used, or an ``offset`` is.
            TargetUnavailable: the database can't be reached, or the look took longer than its timeout.
        """
        return self._database.guarded(self._doubts)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Clear the former holders' rows in one transaction, then read back on another connection, in order.

        A repeat after a crash finds nothing left to clear and gives a full receipt.

        Raises:
            TargetUnavailable: the database can't be reached, is locked or refuses the account; nothing is claimed then.
            WipeRefused: the database refuses the change of at least one of these orders; nothing is claimed then.
            MapRefused: a mapped table, column or ``offset`` is missing.
        """
        del keeper
        try:
            return self._database.guarded(lambda: self._wipe(orders), changing=True)
        except Exception:
            # The carrier may have changed its tables: look at them afresh next time.
            self._reflected = None
            raise

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Say what a wipe would find."""
        raise NotImplementedError

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Look again."""
        raise NotImplementedError

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Destroy what has expired."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        self._database.close()

    def _wipe(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        tables = self._tables()
        with self._database.writing() as connection:
            affected = [[table.clear(connection, order) for table in tables] for order in orders]
        with self._database.reading() as connection:
            return [
                WipeReceipt(order.cycle_id, self.system_id, _receipts(tables, changed, order, connection))
                for order, changed in zip(orders, affected, strict=True)
            ]

    def _doubts(self) -> list[Doubt]:
        tables = self._tables()
        with self._database.reading() as connection:
            return [doubt for table in tables for doubt in table.doubts(connection)]

    def _tables(self) -> tuple[Collection, ...]:
        if self._reflected is None:
            self._reflected = tuple(Collection(mapped, self._database) for mapped in self._mapped.collection)
        return self._reflected


def _receipts(
    tables: Sequence[Collection], affected: Sequence[int], order: WipeOrder, connection: Connection
) -> tuple[CollectionReceipt, ...]:
    return tuple(table.receipt(connection, order, changed) for table, changed in zip(tables, affected, strict=True))
