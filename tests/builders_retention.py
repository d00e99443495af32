"""Builders for tests of what the law keeps: a record system in memory that seals and restricts, and backups of our database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from builders import World, _lease, _run
from builders_cycles import Staff, engine, facts_of
from memory_ports import MemoryRecords
from sqlmodel import SQLModel, col, select

from fallow.domain.errors import TargetUnavailable, WipeRefused
from fallow.domain.ports import CollectionReceipt, ExpiryOrder, Keeper, KeptRow, WipeOrder, WipeReceipt
from fallow.operations.retention import Retention
from fallow.operations.sending import Tally
from fallow.operations.wiping_rounds import WipingRounds
from fallow.store.engine import Database
from fallow.store.keeping_tables import RetentionKeyRow, RetentionRow, SealedRow

#: A Tuesday in the month of ``memory_ports.START``.
LAST_DAY = date(2026, 3, 31)
BASIS = "tax law, section 147"
PLANTED = "Erika Mustermann, Heidestrasse 17"
DAY = timedelta(days=1)


@dataclass
class KeepingRecords(MemoryRecords):
    """A record system in memory that keeps by law.

    Attributes:
        restricts: rows found kept by law, by collection.
        seals: contents that it hands to the keeper, by collection.
        kept_until: the expiry of both.
        breaks_after_keeping: whether it breaks down once, after the keeper has the rows and before it deletes them.
        left: rows left of an expiry, by cycle.
        refuses: cycles whose expiry it refuses.
        calls: sizes of the expiries it was asked for.
    """

    restricts: dict[str, int] = field(default_factory=dict)
    seals: dict[str, list[bytes]] = field(default_factory=dict)
    kept_until: date = LAST_DAY
    breaks_after_keeping: bool = False
    left: dict[str, int] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Hand over what is sealed, then carry out the orders."""
        self.check()
        for order in orders:
            rows = [a_row(order.cycle_id, each, content, self.kept_until) for each, found in self.seals.items() for content in found]
            if rows:
                assert keeper is not None
                keeper.keep(self.system_id, rows)
        if self.breaks_after_keeping:
            self.breaks_after_keeping = False
            what = f"The record system {self.system_id} broke down."
            raise TargetUnavailable(what, remedy="start it.")
        return super().wipe(orders, keeper)

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Destroy what has expired, unless it is told to keep or refuse it."""
        self.calls.append(len(orders))
        self.check()
        if any(order.cycle_id in self.refuses for order in orders):
            what = f"The record system {self.system_id} refuses a row."
            raise WipeRefused(what, remedy="see its trigger.")
        self.expired += orders
        return [self.left.get(order.cycle_id, 0) for order in orders]

    def _receipt(self, collection: str, affected: int) -> CollectionReceipt:
        receipt = super()._receipt(collection, affected)
        law = {"legal_basis": BASIS, "kept_until": self.kept_until.isoformat()}
        if collection in self.restricts:
            return replace(receipt, strategy="restrict", kept=self.restricts[collection], **law)
        return replace(receipt, strategy="seal", **law) if collection in self.seals else receipt


def keeping(world: World, system_id: str = "billing", **kept: Any) -> KeepingRecords:
    """Put a record system that keeps by law in the place of another one."""
    system = KeepingRecords(system_id, world.record_systems[system_id].collections, clock=world.clock, **kept)
    world.record_systems[system_id] = system
    return system


def a_row(cycle_id: str, collection: str = "invoices", content: bytes | None = None, kept_until: date = LAST_DAY) -> KeptRow:
    """Return a row that the law wants kept, with personal data in it."""
    return KeptRow(cycle_id, collection, BASIS, kept_until, json.dumps({"name": PLANTED}).encode() if content is None else content)


def keeper(world: World) -> Retention:
    """Return the keeper of a world."""
    return Retention(world.installation)


def a_round(world: World, system: KeepingRecords) -> bool:
    """Let the sender of a record system do one round; tell whether it had anything to do."""
    rounds, worked = WipingRounds(world.installation, system, keeper(world)), list[bool]()

    async def once() -> bool:
        worked.append(await rounds.round("test", fence, Tally()))
        return worked[0]

    fence = _lease(world, system.system_id)
    _run(once())
    return worked[0]


def to_day(world: World, day: date) -> None:
    """Move the clock to a day's first instant, UTC."""
    start = world.clock.now()
    world.clock.pass_to(start.replace(year=day.year, month=day.month, day=day.day, hour=0, minute=0, second=0, microsecond=0))


def kept_of(world: World, cycle_id: str) -> list[RetentionRow]:
    """Return what is registered as kept of a cycle."""
    with world.installation.db.read() as tx:
        query = select(RetentionRow).where(RetentionRow.cycle_id == cycle_id)
        return list(tx.session.exec(query.order_by(RetentionRow.collection, col(RetentionRow.kept_until))))


def sealed_of(world: World, cycle_id: str) -> list[SealedRow]:
    """Return a cycle's sealed rows."""
    with world.installation.db.read() as tx:
        return list(tx.session.exec(select(SealedRow).where(SealedRow.cycle_id == cycle_id).order_by(SealedRow.mark)))


def keys_of(world: World, cycle_id: str) -> list[RetentionKeyRow]:
    """Return a cycle's retention keys."""
    with world.installation.db.read() as tx:
        return list(tx.session.exec(select(RetentionKeyRow).where(RetentionKeyRow.cycle_id == cycle_id)))


def hold(world: World, people: Staff, cycle_id: str) -> None:
    """Place a hold."""
    engine(world).commands.hold(people.operator, cycle_id, "case 9")


def lift(world: World, people: Staff, cycle_id: str) -> None:
    """Lift the hold."""
    (hold_id,) = facts_of(world, cycle_id).holds
    engine(world).commands.lift(people.operator, cycle_id, hold_id, "case 9")


def backup(db: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, as a backup of the database holds them."""
    with db.read() as tx:
        connection = tx.session.connection()
        return {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()] for table in SQLModel.metadata.sorted_tables
        }


def restore(db: Database, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Put a backup in the place of what is there."""
    with db.begin() as tx:
        connection = tx.session.connection()
        for table in reversed(SQLModel.metadata.sorted_tables):
            connection.execute(table.delete())
        for table in SQLModel.metadata.sorted_tables:
            if rows[table.name]:
                connection.execute(table.insert(), rows[table.name])
