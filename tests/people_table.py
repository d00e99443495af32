"""A carrier's table of people and what a test asks of it: a map's entry, a wipe's one receipt, the rows that are left."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from carrier_database import Carrier, order

from fallow.domain.errors import TargetUnavailable
from fallow.domain.ports import CollectionReceipt, KeptRow, WipeOrder
from fallow.records.records_map import RecordsMap

SUBSCRIBED = replace(order(), subscription="S-1", pseudonym="abcdefghijklmnopqrstuvwxyz")
BEFORE, AFTER = "2026-01-01 00:00:00", "2026-05-02 00:00:00"


@dataclass
class Shelf:
    """A keeper in memory.

    Attributes:
        kept: every row it was given, with the system's id.
        breaks: whether it fails instead.
    """

    kept: list[tuple[str, KeptRow]] = field(default_factory=list)
    breaks: bool = False

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Keep them."""
        if self.breaks:
            what = "The shelf is broken."
            raise TargetUnavailable(what, remedy="mend it.")
        self.kept += [(system_id, row) for row in rows]


def collection(strategy: str, **changes: str) -> str:
    """Return a map's entry for the people."""
    lines = {
        "id": '"people"',
        "table": '"people"',
        "number": '{ column = "msisdn", spelling = "e164" }',
        "until": '"since"',
        "offset": '"+00:00"',
        "strategy": f'"{strategy}"',
    } | changes
    return "[[system.collection]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)


def only(records: RecordsMap, *orders: WipeOrder, shelf: Shelf | None = None) -> CollectionReceipt:
    """Wipe and return the one receipt of the one collection."""
    ((receipt,),) = ([*each.collections] for each in records.systems["crm"].wipe(orders or [order()], shelf))
    return receipt


def rows(carrier: Carrier, table: str, columns: str) -> list[tuple[object, ...]]:
    """Return some columns of a table's rows in the order of their keys."""
    with carrier.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY id")]
