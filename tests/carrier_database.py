"""A carrier's database as its own programs see it, on any kind of database, and the map that leads the engine to it."""

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

# `{instant}` and `{naive}` become each database's own column types.
TABLES = """
CREATE TABLE subscribers (id INTEGER PRIMARY KEY, msisdn TEXT, name TEXT, activated_at {instant}, status TEXT,
    legal_basis TEXT, restricted_until TEXT);
CREATE TABLE calls (id INTEGER PRIMARY KEY, caller TEXT, callee TEXT, began_at {naive});
CREATE TABLE contacts (id INTEGER PRIMARY KEY, phone TEXT, country TEXT, added_on DATE);
CREATE TABLE notes (id INTEGER PRIMARY KEY, digits BIGINT, written_at TEXT);
CREATE TABLE lines (msisdn TEXT, status TEXT)
"""
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
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

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
