"""The sample carrier: a database of its own that lives and misbehaves while the engine works on it.

``python -m fallow.local.sample_carrier --database FILE --numbers CSV --scenario CSV --port 0 --planted FILE``

It writes new rows, locks everything for moments, and puts a line back in service. A small HTTP server on 127.0.0.1 tells how
far the wiping is and can freeze the database at a chosen moment:

=====================================================  ==============================================================
``GET /state``                                         ``{"wiped", "planted", "frozen", "passing", "locks"}``
``POST /freeze-after`` ``{"wiped": n, "seconds": 8}``  lock everything as soon as n former holders have lost a collection
``POST /thaw``                                         let go at once
=====================================================  ==============================================================

The database keeps its rollback journal (no WAL), so that an exclusive lock keeps readers out too. Start it with
:func:`fallow.local.processes.start_child`, which ends it together with its parent. Imports its neighbours only.
"""

import argparse
import json
import signal
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fallow.local.carrier_rows import (
    INDEXED,
    REFERS,
    REWRITTEN,
    TABLES,
    Fate,
    Latest,
    Planted,
    digest,
    passing_call,
    rows_of_holder,
    subscribers,
)
from fallow.local.crowd import plays_of, rows_of
from fallow.local.processes import LOOPBACK

_PASSING_EVERY_SECONDS = 0.7
_LOCK_EVERY_SECONDS = 3.1
_LOCK_SECONDS = 0.2
_LOOK_EVERY_SECONDS = 0.1
_ARMED_LOOK_EVERY_SECONDS = 0.0005
_CATCH_SECONDS = 0.2
_LONGEST_FREEZE_SECONDS = 60.0
#: What a former holder loses.
_LOST = frozenset({Fate.GONE, Fate.ARCHIVED, Fate.SEALED, Fate.REWRITTEN})


@dataclass(frozen=True)
class Former:
    """The former holder's rows of one line: table -> primary keys."""

    number: str
    reactivates: bool
    keys: Mapping[str, frozenset[int]]


def create_database(path: Path, rows: Iterable[Planted]) -> tuple[dict[str, Any], dict[int, Former]]:
    """Make the carrier's database.

    Returns:
        What was planted, for the checker, and the former holders whose rows must go, by line.

    Raises:
        sqlite3.OperationalError: the file exists already or can't be written.
    """
    planted: dict[str, Any] = {"tables": {table: list(columns) for table, columns in TABLES.items()}}
    planted |= {str(fate): [] for fate in Fate if fate is not Fate.OPEN}
    former: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    numbers, latest = dict[int, str](), dict[str, int]()
    with closing(sqlite3.connect(path)) as connection, connection:
        _create_tables(connection)
        for row in rows:
            values = tuple(latest[value.table] if isinstance(value, Latest) else value for value in row.values)
            key = latest[row.table] = _insert(connection, row.table, values)
            if row.fate is Fate.OPEN:
                numbers[row.line] = str(row.values[0])
                continue
            planted[str(row.fate)].append(_entry(row, (key, *values)))
            if row.fate in _LOST:
                former[row.line][row.table].add(key)
    held = {table: {key: frozenset(keys) for key, keys in tables.items()} for table, tables in former.items()}
    return planted, {line: Former(numbers[line], reactivates=False, keys=keys) for line, keys in held.items()}


def _entry(row: Planted, cells: tuple[object, ...]) -> dict[str, Any]:
    """Return what the checker is told of a row: a digest of all its cells, and of those that a rewriting leaves as they are."""
    entry = {"line": row.line, "table": row.table, "key": cells[0], "digest": digest(cells), "why": row.why}
    rewritten = REWRITTEN.get(row.table)
    if rewritten is None:
        return entry
    left = [cell for column, cell in zip(TABLES[row.table], cells, strict=True) if column not in rewritten]
    return entry | {"left": digest(left)}


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = DELETE")
    for table, (key, *columns) in TABLES.items():
        listed = ", ".join(f"{column} {_kind(table, column)}" for column in columns)
        connection.execute(f"CREATE TABLE {table} ({key} INTEGER PRIMARY KEY, {listed})")
        for column in INDEXED[table]:
            connection.execute(f"CREATE INDEX {table}_by_{column} ON {table} ({column})")


def _kind(table: str, column: str) -> str:
    parent = REFERS.get((table, column))
    if parent is not None:
        return f"INTEGER REFERENCES {parent} (id)"
    return "INTEGER" if column == "seconds" else "TEXT"


def _insert(connection: sqlite3.Connection, table: str, values: tuple[object, ...]) -> int:
    marks = ", ".join("?" * len(values))
    columns = ", ".join(TABLES[table][1:])
    cursor = connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
    return int(cursor.lastrowid or 0)


class Carrier:
    """The running carrier: its life, its locks and what it tells of itself."""

    def __init__(self, path: Path, former: Mapping[int, Former]) -> None:
        """Take the database; nothing moves before :meth:`live`."""
        self._path = path
        self._former = former
        self._stopping = threading.Event()
        self._thawed = threading.Event()
        self._freeze_after: tuple[int, float] | None = None
        self._back_in_service = set[int]()
        self._told: dict[str, Any] = {"wiped": 0, "planted": len(former), "frozen": False, "passing": 0, "locks": 0}

    def state(self) -> dict[str, Any]:
        """Return what ``GET /state`` tells."""
        return dict(self._told)

    def freeze_after(self, wiped: int, seconds: float) -> None:
        """Arm the freeze: lock everything once so many former holders have lost a collection, for at most so long."""
        self._thawed.clear()
        self._freeze_after = (wiped, min(seconds, _LONGEST_FREEZE_SECONDS))

    def thaw(self) -> None:
        """Let the database go, and disarm."""
        self._freeze_after = None
        self._thawed.set()

    def stop(self) -> None:
        """End :meth:`live`."""
        self._stopping.set()
        self.thaw()

    def live(self) -> None:
        """Write, lock, look and freeze until stopped."""
        with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as connection:
            passing_at = lock_at = look_at = time.monotonic()
            version = 0
            while not self._stopping.wait(_ARMED_LOOK_EVERY_SECONDS if self._freeze_after else _LOOK_EVERY_SECONDS / 2):
                now = time.monotonic()
                with suppress(sqlite3.OperationalError):
                    if self._freeze_after is not None:
                        version = self._watch(connection, version)
                        continue
                    if now >= look_at:
                        look_at = now + _LOOK_EVERY_SECONDS
                        self._look(connection)
                    if now >= passing_at:
                        passing_at = now + _PASSING_EVERY_SECONDS
                        _insert(connection, "call_records", passing_call(self._told["passing"], datetime.now(UTC)))
                        self._told["passing"] += 1
                    if now >= lock_at:
                        lock_at = now + _LOCK_EVERY_SECONDS
                        self._lock(connection, _LOCK_SECONDS)
                        self._told["locks"] += 1

    def _look(self, connection: sqlite3.Connection) -> None:
        """Count the wiped; put the lines back in service that this sample wants back."""
        cleared = self._cleared(connection)
        self._told["wiped"] = len(cleared)
        self._reactivate(connection, cleared)

    def _reactivate(self, connection: sqlite3.Connection, cleared: Mapping[int, Sequence[str]]) -> None:
        for line, former in self._former.items():
            everything = len(cleared.get(line, ())) == len(former.keys)
            if former.reactivates and everything and line not in self._back_in_service:
                connection.execute("UPDATE lines SET status = 'active' WHERE msisdn = ?", (former.number,))
                self._back_in_service.add(line)

    def _cleared(self, connection: sqlite3.Connection) -> dict[int, list[str]]:
        """Return, by line, the tables in which nothing of the former holder is left in use."""
        left = {table: {key for (key,) in connection.execute(_IN_USE[table])} for table in TABLES}
        found = {
            line: [table for table, keys in former.keys.items() if keys.isdisjoint(left[table])] for line, former in self._former.items()
        }
        return {line: tables for line, tables in found.items() if tables}

    def _watch(self, connection: sqlite3.Connection, version: int) -> int:
        """Freeze right after the commit that wipes enough, before the reader behind it comes to look."""
        if self._freeze_after is None:
            return version
        enough, seconds = self._freeze_after
        try:
            (now_version,) = connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            now_version = version + 1
        if now_version != version and self._seize(connection):
            cleared = self._cleared(connection)
            self._told["wiped"] = len(cleared)
            self._reactivate(connection, cleared)  # here too: a quick engine would be through the gate before the freeze is over
            if len(cleared) >= enough:
                self._freeze(seconds)
            connection.execute("COMMIT")
            (now_version,) = connection.execute("PRAGMA data_version").fetchone()
        return int(now_version)

    def _seize(self, connection: sqlite3.Connection) -> bool:
        connection.execute("PRAGMA busy_timeout = 0")
        deadline = time.monotonic() + _CATCH_SECONDS
        try:
            while time.monotonic() < deadline:
                with suppress(sqlite3.OperationalError):
                    connection.execute("BEGIN EXCLUSIVE")
                    return True
        finally:
            connection.execute("PRAGMA busy_timeout = 5000")
        return False

    def _freeze(self, seconds: float) -> None:
        self._told["frozen"] = True
        self._thawed.wait(seconds)
        self._freeze_after = None
        self._told["frozen"] = False

    def _lock(self, connection: sqlite3.Connection, seconds: float) -> None:
        connection.execute("BEGIN EXCLUSIVE")
        self._stopping.wait(seconds)
        connection.execute("ROLLBACK")


# A rewritten row stays; it is the former holder's as long as its number is one.
_IN_USE = {table: f"SELECT id FROM {table}" + (" WHERE caller NOT GLOB '*[^0-9]*'" if table in REWRITTEN else "") for table in TABLES}


def _answers(carrier: Carrier) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        """The control channel."""

        def do_GET(self) -> None:
            self._answer(200, carrier.state()) if self.path == "/state" else self._answer(404, {})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if self.path == "/freeze-after":
                carrier.freeze_after(int(asked["wiped"]), float(asked.get("seconds", 8)))
            elif self.path == "/thaw":
                carrier.thaw()
            else:
                return self._answer(404, {})
            return self._answer(200, carrier.state())

        def log_message(self, *_: object) -> None:
            """Stay silent: a log of a carrier is full of numbers."""

        def _answer(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Answers


def plant(database: Path, numbers: Path, scenario: Path, planted: Path) -> Carrier:
    """Make the database and the list for the checker; return the carrier, not yet living."""
    plays = plays_of(scenario.read_text("utf-8"))
    known = subscribers(rows_of(numbers.read_text("utf-8")), plays)
    listed, former = create_database(database, (row for who in known for row in rows_of_holder(who)))
    planted.write_text(json.dumps(listed), encoding="utf-8")
    return Carrier(database, {line: _told_to_reactivate(each, plays.get(line, "")) for line, each in former.items()})


def _told_to_reactivate(former: Former, plays: str) -> Former:
    return Former(former.number, plays == "reactivated", former.keys)


def main() -> int:
    """Run until SIGTERM."""
    asked = _arguments()
    carrier = plant(asked.database, asked.numbers, asked.scenario, asked.planted)
    server = ThreadingHTTPServer((LOOPBACK, asked.port), _answers(carrier))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: carrier.stop())
    signal.signal(signal.SIGINT, lambda *_: carrier.stop())
    sys.stdout.write(json.dumps({"port": server.server_address[1]}) + "\n")
    sys.stdout.flush()
    carrier.live()
    server.shutdown()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A carrier's database that lives while it is being wiped.")
    for name in ("database", "numbers", "scenario", "planted"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="port of the control channel on 127.0.0.1; 0 takes a free one")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
