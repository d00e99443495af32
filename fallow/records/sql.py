"""A record system that is a SQL database, wiped set by set as the records map says. Imports the domain and SQLAlchemy.

Only the former holders' rows are touched: never rows where the number is the other party, never rows of a newer holder.
"""

import base64
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Finding, Keeper, WipeOrder, WipeReceipt
from fallow.records.collection import Collection, Reach
from fallow.records.database import Database
from fallow.records.doubts import Doubt
from fallow.records.fitting import PSEUDONYM
from fallow.records.map_schema import SystemTable

Result = TypeVar("Result")
Order = TypeVar("Order")
#: Most numbers in one batch where rows are sealed: each row costs about 0.2 ms, so a thousand rows a number are four seconds.
_SEALED = 20


class SqlRecordSystem:
    """The :class:`fallow.domain.ports.RecordSystem` of one ``[[system]]``.

    Attributes:
        system_id: id in the records map.
        collections: ids of the holder's collections, in the order in which they are cleared.
        after: ids of the systems that must be cleared before it.
        batch: most orders in one set of statements.
        mapped: what the map says.
    """

    def __init__(self, mapped: SystemTable, database: Database) -> None:
        """Take the map; the database is reflected at the first use."""
        self.system_id = mapped.id
        self.collections = tuple(collection.id for collection in mapped.holders)
        self.after = mapped.after
        # Sealed rows go through this process while the carrier's transaction is open; fewer numbers keep that short.
        self.batch = min(mapped.batch, _SEALED) if any(collection.seal is not None for collection in mapped.holders) else mapped.batch
        self.mapped = mapped
        self.database = database
        self._reach = Reach(mapped.backups_live_for, mapped.not_reached)
        self._rewrites = any(collection.rewrite is not None for collection in mapped.holders)
        self._reflected: tuple[Collection, ...] | None = None

    @property
    def meanings(self) -> dict[str, str]:
        """Collection id -> digest of what the map says of it: another table, column or strategy is another meaning."""
        return {collection.id: collection.meaning for collection in self.mapped.holders}

    def check(self) -> None:
        """Connect and compare the map with the tables, changing nothing.

        Raises:
            MapRefused: a mapped table or column is missing or of a type that can't be used, or an ``offset`` is.
            TargetUnavailable: the database can't be reached.
        """
        self._reflected = None
        self.database.demand_file()
        self.database.guarded(self._tables)

    def doubts(self) -> list[Doubt]:
        """Look at a sample of each mapped number column, changing nothing, and say what speaks against the map.

        Raises:
            MapRefused: a mapped table or column is missing or of a type that can't be used, or an ``offset`` is.
            TargetUnavailable: the database can't be reached, or the look took longer than its timeout.
        """
        return self.database.guarded(self._doubts)

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Say what a wipe would find, collection by collection; changes nothing.

        Raises:
            TargetUnavailable, MapRefused: as :meth:`wipe`.
        """
        self.database.demand_file()
        return self._guarded(lambda: self._batches(orders, self._find))

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Look again, on a connection that changes nothing.

        Raises:
            TargetUnavailable, MapRefused: as :meth:`wipe`.
        """
        return self._guarded(lambda: self._batches(orders, lambda batch: self._read_back(batch, [Counter() for _ in self._tables()])))

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Clear the former holders' rows, a transaction per collection, then read back on another connection, in order.

        A repeat after a crash goes on where it ended, and gives a full receipt.

        Raises:
            TargetUnavailable: the database can't be reached, is locked or refuses the account; nothing is claimed then.
            WipeRefused: the database refuses the change of at least one of these orders; nothing is claimed then.
            MapRefused: a mapped table, column or ``offset`` is missing, or nothing keeps what is to be sealed.
        """
        named = [order if order.pseudonym or not self._rewrites else replace(order, pseudonym=_nobody()) for order in orders]
        return self._guarded(lambda: self._batches(named, lambda batch: self._wipe(batch, keeper)), changing=True)

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Destroy restricted rows that carry these expiries; return how many are left of each order.

        Raises:
            TargetUnavailable, WipeRefused, MapRefused: as :meth:`wipe`.
        """
        return self._guarded(lambda: self._batches(orders, self._expire), changing=True)

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        self.database.close()

    def _guarded(self, work: Callable[[], Result], *, changing: bool = False) -> Result:
        try:
            return self.database.guarded(work, changing=changing)
        except Exception:
            # The carrier may have changed its tables: look at them afresh next time.
            self._reflected = None
            raise

    def _batches(self, orders: Sequence[Order], work: Callable[[Sequence[Order]], list[Result]]) -> list[Result]:
        """Do the work in batches that fit into one statement each."""
        size = min([self.batch, *(table.most for table in self._tables() if table.most is not None)])
        return [each for first in range(0, len(orders), size) for each in work(orders[first : first + size])]

    def _find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        tables = self._tables()
        with self.database.reading() as connection:
            seen = [table.findings(connection, orders) for table in tables]
        return list(zip(*seen, strict=True))

    def _wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None) -> list[WipeReceipt]:
        affected = []
        for table in self._tables():
            with self.database.writing(steady=table.steady) as connection:
                affected.append(table.clear(connection, orders, keeper, self.system_id))
        return self._read_back(orders, affected)

    def _read_back(self, orders: Sequence[WipeOrder], affected: Sequence[Counter[int]]) -> list[WipeReceipt]:
        with self.database.reading() as connection:
            found = [
                table.receipts(connection, orders, changed, self._reach) for table, changed in zip(self._tables(), affected, strict=True)
            ]
        told = zip(orders, _transposed(found), strict=True)
        return [WipeReceipt(order.cycle_id, self.system_id, receipts, place=self.database.place_digest) for order, receipts in told]

    def _expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        # What the map no longer restricts can't be looked at, and is not called destroyed.
        restricted = {table.mapped.id for table in self._tables() if table.mapped.restrict is not None}
        left = [int(order.collection not in restricted) for order in orders]
        for table in self._tables():
            mine = [place for place, order in enumerate(orders) if order.collection == table.mapped.id and not left[place]]
            if mine:
                chosen = [orders[place] for place in mine]
                with self.database.writing() as connection:
                    table.destroy(connection, chosen)
                with self.database.reading() as connection:
                    for place, count in zip(mine, table.left(connection, chosen), strict=True):
                        left[place] = count
        return left

    def _doubts(self) -> list[Doubt]:
        tables = self._tables()
        with self.database.reading() as connection:
            return [doubt for table in tables for doubt in table.doubts(connection)]

    def _tables(self) -> tuple[Collection, ...]:
        if self._reflected is None:
            self._reflected = tuple(Collection(mapped, self.database) for mapped in self.mapped.holders)
        return self._reflected


def _transposed(found: Sequence[list[CollectionReceipt]]) -> Iterator[tuple[CollectionReceipt, ...]]:
    return zip(*found, strict=True)


def _nobody() -> str:
    """Return a pseudonym that stands for nobody: for a cycle that was enrolled before there were holder keys."""
    return base64.b32encode(secrets.token_bytes(20)).decode().lower()[:PSEUDONYM]
