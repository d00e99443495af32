"""The world of the wiping part: a PostgreSQL of one's own with six record systems in six databases, whose tables each run gets afresh.

Each system has one table with an indexed number column. ``calls`` is the large one: 20 rows of each cancelled number and a hundred
of other people, in no order, so that one number's rows lie on as many pages. Two systems keep their rows, restricted.

Imports the local stack, the domain and psycopg.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from fallow.domain.number import E164
from fallow.domain.ports import WipeOrder
from fallow.local import postgres
from fallow.local.postgres import RunningPostgres

#: The same durability for whoever works here: every commit is on disk. No checkpoint and no vacuum of chance in a run.
_OPTIONS = ("fsync=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off")
BASIS = "kept by law, as benchmarks have it"
KEPT_FOR = timedelta(days=730)
RESTRICTED = "RESTRICTED"
_FIRST_CANCELLED, _FIRST_OTHER = 13_800_000_000, 13_900_000_000
_LEFT = datetime(2025, 6, 1, 9, 0, tzinfo=UTC)
#: Schema of the tables that are only copied from.
_PRISTINE = "pristine"
_A_YEAR = 365 * 86_400
_TABLE = """CREATE TABLE {} (id bigint NOT NULL, msisdn text NOT NULL, began_at timestamptz NOT NULL, note text,
    status text NOT NULL, basis text, kept_until date)"""
_LINES = "CREATE TABLE lines (msisdn text PRIMARY KEY, status text NOT NULL)"
#: The same rows on the same pages, and indexes as if built long ago. It need not wait: all is on disk after the checkpoint that follows.
_AFRESH = (
    "SET synchronous_commit = off",
    "DROP TABLE IF EXISTS {table}",
    "CREATE TABLE {table} (LIKE {pristine})",
    "INSERT INTO {table} SELECT * FROM {pristine} ORDER BY id",
    "ALTER TABLE {table} ADD PRIMARY KEY (id)",
    "CREATE INDEX ON {table} (msisdn)",
    "VACUUM ANALYZE {table}",
)
_IN_SCOPE = "EXISTS (SELECT FROM unnest(%s::text[], %s::timestamptz[]) AS o(n, u) WHERE o.n = t.msisdn AND t.began_at <= o.u)"
_ROWS = "SELECT status, count(*), sum(hashtextextended(t::text, 0))::text FROM {} t"
_MAP_HEAD = """[line_register]
system = "crm"
table = "lines"
number = { column = "msisdn", spelling = "e164" }
status = "status"
off = ["off"]
in_service = ["on"]
"""
_MAP_SYSTEM = """
[[system]]
id = "{system}"
url = "{url}"
timeout = "60s"

[[system.collection]]
id = "{table}"
table = "{table}"
number = {{ column = "msisdn", spelling = "e164" }}
until = "began_at"
strategy = "{strategy}"
"""
_MAP_RESTRICT = """
[system.collection.restrict]
set = {{ status = "{restricted}" }}
basis_column = "basis"
basis = "{basis}"
expiry_column = "kept_until"
keep_for = "{days}d"
"""

#: What is in a table: (status, rows, checksum in no order) for each status.
Contents = list[tuple[str, int, str]]


class Void(RuntimeError):
    """A run left other rows than it should: its speed means nothing."""


@dataclass(frozen=True)
class System:
    """A record system and its one table.

    Attributes:
        system_id: id in the map.
        table: the table, and its collection's id.
        each: rows of each cancelled number.
        others: rows of other people for each cancelled number.
        restricted: whether rows are kept, restricted, instead of deleted.
    """

    system_id: str
    table: str
    each: int = 3
    others: int = 9
    restricted: bool = False


SYSTEMS = (
    System("crm", "subscribers", restricted=True),
    System("billing", "invoices", restricted=True),
    System("network", "calls", each=20, others=100),
    System("messages", "texts"),
    System("marketing", "contacts"),
    System("care", "tickets"),
)


@dataclass(frozen=True)
class Copy:
    """All six tables as they were at first.

    Attributes:
        urls: SQLAlchemy URL of each system's database.
        records: the records map that leads to them.
    """

    urls: dict[str, str]
    records: Path

    def connect(self, system: System) -> psycopg.Connection:
        """Return a connection with the planner's settings that the engine's have: on small tables a script without is four times slower."""
        options = "-c timezone=UTC -c enable_seqscan=off -c jit=off"
        return psycopg.connect(self.urls[system.system_id].replace("+psycopg", "", 1), options=options)

    def contents(self) -> dict[str, Contents]:
        """Return what is in each system's table."""
        found = {}
        for system in SYSTEMS:
            with self.connect(system) as connection:
                query = sql.SQL(_ROWS + " GROUP BY status ORDER BY status").format(sql.Identifier(system.table))
                found[system.system_id] = connection.execute(query).fetchall()
        return found


@dataclass(frozen=True)
class World:
    """The server, and what is to be wiped.

    Attributes:
        server: the PostgreSQL server.
        folder: for maps and state.
        orders: one for each cancelled number.
    """

    server: RunningPostgres
    folder: Path
    orders: Sequence[WipeOrder]

    def make(self) -> None:
        """Make the six databases, and in each the table that every run gets a copy of."""
        for system in SYSTEMS:
            url = self.server.create_database(system.system_id)
            with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
                self._fill(connection, system)

    def afresh(self, label: str) -> Copy:
        """Make every table what it was at first, with all that was written so far on disk; what an earlier run left is gone."""
        copy = Copy({each.system_id: self.server.url_of(each.system_id) for each in SYSTEMS}, self.folder / f"records-{label}.toml")
        copy.records.write_text(_MAP_HEAD + "".join(_mapped(each, copy.urls[each.system_id]) for each in SYSTEMS))
        for system in SYSTEMS:
            names = {"table": sql.Identifier(system.table), "pristine": sql.Identifier(_PRISTINE, system.table)}
            with copy.connect(system) as connection:
                connection.autocommit = True
                for statement in _AFRESH:
                    connection.execute(sql.SQL(statement).format(**names))
        self.administer(sql.SQL("CHECKPOINT"))
        return copy

    def copy_database(self, template: str, name: str) -> None:
        """Copy a database that nobody is connected to."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.administer(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is still connected to it."""
        self.administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def administer(self, statement: sql.SQL | sql.Composed) -> None:
        """Do one statement outside any transaction."""
        with psycopg.connect(self.server.url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(statement)

    def demand_right(self, contents: dict[str, Contents], orders: Sequence[WipeOrder], wanted: dict[str, Contents]) -> None:
        """Refuse a run of ``orders`` that left other rows than ``wanted``, or in which what is in scope is not gone or restricted.

        Raises:
            Void: naming the system.
        """
        for system in SYSTEMS:
            found, (untouched, in_scope) = contents[system.system_id], self._expected(system, orders)
            kept = [(status, rows) for status, rows, _ in found if status == RESTRICTED]
            right = [row for row in found if row[0] != RESTRICTED] == untouched and kept == ([(RESTRICTED, in_scope)] * system.restricted)
            if not right or found != wanted[system.system_id]:
                what = f"A run left other rows in {system.system_id} than it should: {found}, wanted {wanted[system.system_id]}."
                raise Void(what)

    def _expected(self, system: System, orders: Sequence[WipeOrder]) -> tuple[Contents, int]:
        """Ask the untouched database what must be left, and how many rows are in scope."""
        columns = [order.number.text for order in orders], [order.disconnected_at for order in orders]
        url = self.server.url_of(system.system_id).replace("+psycopg", "", 1)
        table = sql.Identifier(_PRISTINE, system.table)
        with psycopg.connect(url, options="-c timezone=UTC") as connection:
            left = sql.SQL(f"{_ROWS} WHERE NOT {_IN_SCOPE} GROUP BY status ORDER BY status").format(table)
            scope = sql.SQL(f"SELECT count(*) FROM {{}} t WHERE {_IN_SCOPE}").format(table)
            (in_scope,) = connection.execute(scope, columns).fetchone() or (0,)
            return connection.execute(left, columns).fetchall(), in_scope

    def _fill(self, connection: psycopg.Connection, system: System) -> None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(_PRISTINE)))
        table = sql.Identifier(_PRISTINE, system.table)
        connection.execute(sql.SQL(_TABLE).format(table))
        copy = sql.SQL("COPY {} (id, msisdn, began_at, note, status) FROM STDIN").format(table)
        with connection.cursor() as cursor, cursor.copy(copy) as into:
            for line in self._lines(system):
                into.write(line)
        if system is SYSTEMS[0]:
            connection.execute(_LINES)
            with connection.cursor() as cursor, cursor.copy("COPY lines FROM STDIN") as into:
                for order in self.orders:
                    into.write_row((order.number.text, "off"))
        connection.execute("VACUUM ANALYZE")

    def _lines(self, system: System) -> Iterator[str]:
        """Yield every row once, in an order in which no number's rows are neighbours: by a stride that has no divisor in common."""
        mine, count = len(self.orders) * system.each, len(self.orders) * (system.each + system.others)
        stride = _coprime(count)
        for key in range(count):
            place = key * stride % count
            if place < mine:
                order = self.orders[place // system.each]
                text, until = order.number.text, order.disconnected_at
            else:
                text, until = f"+86{_FIRST_OTHER + place // system.each}", _LEFT
            began = until - timedelta(seconds=key * 7_919 % _A_YEAR)
            yield f"{key}\t{text}\t{began.isoformat()}\tto +86{_FIRST_OTHER + key % 99_991}, of no matter\tACTIVE\n"


@contextmanager
def running(numbers: int) -> Iterator[World]:
    """Start a server and fill it for ``numbers`` cancelled numbers; stop it and remove everything at the end."""
    orders = [_order(place) for place in range(numbers)]
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as folder:
        server = postgres.start(options=_OPTIONS)
        try:
            world = World(server, Path(folder), orders)
            world.make()
            yield world
        finally:
            server.stop()


def _order(place: int) -> WipeOrder:
    return WipeOrder(f"n_{place}/1", E164(f"+86{_FIRST_CANCELLED + place}"), _LEFT + timedelta(hours=place % 720), pseudonym=f"{place:026}")


def _mapped(system: System, url: str) -> str:
    strategy = "restrict" if system.restricted else "delete"
    text = _MAP_SYSTEM.format(system=system.system_id, url=url, table=system.table, strategy=strategy)
    restrict = _MAP_RESTRICT.format(restricted=RESTRICTED, basis=BASIS, days=KEPT_FOR.days)
    return text + restrict if system.restricted else text


def _coprime(count: int) -> int:
    """Return a stride through ``count`` places that meets each once and neighbours never: a prime that does not divide it."""
    return next(prime for prime in (7_368_787, 15_485_863, 32_452_843) if count % prime)
