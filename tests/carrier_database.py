"""A carrier's database as its own programs see it, on any kind of database, and the map that leads the engine to it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from fallow.domain.number import E164
from fallow.domain.ports import CollectionReceipt, WipeOrder

LEFT_AT = datetime(2026, 4, 30, 18, 0, tzinfo=UTC)
FORMER = E164("+8613800000001")
OTHER = E164("+8613800000002")
BRITISH = E164("+442079460001")
JERSEY = E164("+447797712345")

# The placeholders become each database's own column types (TYPES).
TABLES = """
CREATE TABLE subscribers (id INTEGER PRIMARY KEY, msisdn {number}, name TEXT, activated_at {instant}, status {word},
    legal_basis TEXT, restricted_until {word});
CREATE TABLE calls (id INTEGER PRIMARY KEY, caller {number}, callee {number}, began_at {naive});
CREATE TABLE contacts (id INTEGER PRIMARY KEY, phone {number}, country TEXT, added_on DATE);
CREATE TABLE notes (id INTEGER PRIMARY KEY, digits BIGINT, written_at TEXT);
CREATE TABLE lines (msisdn {number}, status {word})
"""
_TEXT = {"number": "TEXT", "word": "TEXT"}
# MariaDB's TIMESTAMP takes no offset in a literal; its own test plants it (test_records_mariadb.py).
TYPES = {
    "sqlite": _TEXT | {"instant": "TEXT", "naive": "DATETIME"},
    "postgresql": _TEXT | {"instant": "TIMESTAMP WITH TIME ZONE", "naive": "TIMESTAMP"},
    "mariadb": {"number": "VARCHAR(32)", "word": "VARCHAR(64)", "instant": "VARCHAR(40)", "naive": "DATETIME(6)"},
}
MAP = """
[line_register]
system = "crm"
table = "lines"
number = {{ column = "msisdn", spelling = "e164" }}
status = "status"
off = ["disconnected"]
in_service = ["active", "suspended"]
ported = ["ported_out"]

[[system]]
id = "crm"
url = "{url}"
timeout = "1s"

[[system.collection]]
id = "register"
table = "subscribers"
number = {{ column = "msisdn", spelling = "e164" }}
until = "activated_at"
strategy = "restrict"

[system.collection.restrict]
set = {{ status = "RESTRICTED" }}
basis_column = "legal_basis"
basis = "kept by law"
expiry_column = "restricted_until"
keep_for = "730d"

[[system.collection]]
id = "calls"
table = "calls"
number = {{ column = "caller", spelling = "digits" }}
until = "began_at"
offset = "+00:00"
strategy = "delete"

[[system.collection]]
id = "contacts"
table = "contacts"
number = {{ column = "phone", spelling = "national", trunk_prefix = "0", country_column = "country" }}
until = "added_on"
offset = "+00:00"
strategy = "delete"

[[system.collection]]
id = "notes"
table = "notes"
number = {{ column = "digits", spelling = "digits" }}
until = "written_at"
offset = "+00:00"
strategy = "delete"
"""


@dataclass
class Carrier:
    """A carrier's database, the way its own programs see it, and the map that leads the engine to it."""

    engine: Engine
    map_path: Path

    def run(self, statement: str, **values: object) -> None:
        """Do one statement as the carrier."""
        quoted = self.engine.dialect.identifier_preparer.quote("lines")  # a reserved word on MariaDB
        with self.engine.begin() as connection:
            connection.execute(text(re.sub(r"\blines\b", quoted, statement)), values)

    @property
    def kind(self) -> str:
        """``sqlite``, ``postgresql`` or ``mariadb``."""
        return self.engine.dialect.name

    def raise_on_delete(self, table: str, row: str) -> None:
        """Add a trigger that refuses to delete a table's rows for which something holds of ``old``, and says a number."""
        if self.kind == "sqlite":
            body = f"WHEN ({row}) BEGIN SELECT RAISE(ABORT, 'audit lock 8613800000001'); END"
        elif self.kind == "mariadb":
            body = f"IF {row} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'audit lock 8613800000001'; END IF"
        else:
            raising = "BEGIN RAISE EXCEPTION 'audit lock 8613800000001'; END"
            self.run(f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ {raising} $$")
            body = f"WHEN ({row}) EXECUTE FUNCTION keep()"
        self.run(f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW {body}")

    @contextmanager
    def locking(self, table: str) -> Iterator[None]:
        """Keep everybody else out of a table (SQLite: out of the database)."""
        lock, unlock = {
            "sqlite": ("BEGIN EXCLUSIVE", "ROLLBACK"),
            "postgresql": (f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
            "mariadb": (f"LOCK TABLES {table} WRITE", "UNLOCK TABLES"),
        }[self.kind]
        with self.engine.connect() as connection:
            connection.exec_driver_sql(lock)
            yield
            connection.exec_driver_sql(unlock)

    def ids(self, table: str, where: str = "1 = 1") -> list[int]:
        """Return the primary keys of a table's rows, sorted."""
        with self.engine.connect() as connection:
            return sorted(connection.execute(text(f"SELECT id FROM {table} WHERE {where}")).scalars())


def order(number: E164 = FORMER, at: datetime = LEFT_AT) -> WipeOrder:
    """Return an order for one former holder."""
    return WipeOrder("number-1/1", number, at)


def by_collection(receipts: tuple[CollectionReceipt, ...]) -> dict[str, tuple[int, int]]:
    """Return affected and remaining per collection."""
    return {receipt.collection: (receipt.affected, receipt.remaining) for receipt in receipts}


def add_calls(carrier: Carrier) -> None:
    """Plant calls: two of the former holder, one at the last instant, one after it, one to the number, one of another."""
    rows = [
        (1, "8613800000001", "8613900000009", "2026-01-01 08:00:00"),
        (2, "8613800000001", "8613900000009", "2026-04-30 18:00:00"),
        (3, "8613800000001", "8613900000009", "2026-04-30 18:00:01"),
        (4, "8613900000009", "8613800000001", "2026-01-01 08:00:00"),
        (5, "8613800000002", "8613900000009", "2026-01-01 08:00:00"),
    ]
    for key, caller, callee, began_at in rows:
        carrier.run("INSERT INTO calls VALUES (:i, :a, :b, :t)", i=key, a=caller, b=callee, t=began_at)
