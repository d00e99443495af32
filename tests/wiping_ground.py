"""Record wiping through real sender rounds at a carrier's real database, with faults at chosen moments."""

import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

import pytest
from builders import World, advance, an_installation, enrolled, number
from builders_cycles import assert_folds, engine, events_of, facts_of, owed_by
from carrier_database import MAP, TABLES, TYPES, Carrier
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status, TargetKind
from fallow.local import mariadb, postgres
from fallow.local.processes import ChildNotReady
from fallow.local.unprivileged import DirectoryUnreachable
from fallow.operations.sending import Tally
from fallow.operations.wiping_rounds import WipingRounds
from fallow.records.records_map import RecordsMap, load_records_map
from fallow.store import leases
from fallow.store.tables import EvidenceRow, TargetRow

#: Longer than any claim, and than a target that failed rests at first.
A_WHILE = timedelta(minutes=11)
CALLS_EACH = 3
_HOLDER = "test"
_COLLECTIONS = ("register", "calls", "contacts", "notes")
_SYSTEMS = {"crm": _COLLECTIONS, "billing": ("invoices",)}
_SOON = 40


class Running(Protocol):
    """What the servers of ``fallow.local`` have in common."""

    port: int

    def create_database(self, name: str) -> str:
        """Create a database, return its URL."""

    def kill(self) -> None:
        """End it by SIGKILL."""

    def stop(self) -> None:
        """End it."""


@dataclass
class Server:
    """A database server that may be killed and comes back on the same files and port.

    Attributes:
        kind: ``postgresql`` or ``mariadb``.
        start: starts it on a folder and a port.
        folder: its files.
        running: the present one.
    """

    kind: str
    start: Callable[[Path, int], Running]
    folder: Path
    running: Running
    _made: int = 0

    def new_database(self) -> str:
        """Create a database and return its URL."""
        self._made += 1
        return self.running.create_database(f"carrier_{self._made}")

    def go_down(self) -> None:
        """End it by SIGKILL: nothing is written out, no session hears of it. Safe to call again."""
        self.running.kill()

    def come_back(self) -> None:
        """Start again on the same files and port, recovering first."""
        for _ in range(_SOON):
            try:
                self.running = self.start(self.folder, self.running.port)
            except ChildNotReady:  # a session of the killed server is not gone yet
                continue
            return
        pytest.fail("the server does not come back")

    def cut_sessions(self, carrier: Carrier) -> None:
        """End every session but the one that does it, and roll back what they had begun."""
        with carrier.engine.connect() as connection:
            if self.kind == "postgresql":
                others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
                connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
                return
            listed = "SELECT id FROM information_schema.processlist WHERE user = 'fallow' AND id <> connection_id()"
            for session in connection.execute(text(listed)).scalars().all():
                connection.exec_driver_sql(f"KILL CONNECTION {session}")


@contextmanager
def a_server(kind: str) -> Iterator[Server]:
    """Run a server that may be killed; a visible skip where it is not installed, a failure under CI."""
    starts: dict[str, Callable[[Path, int], Running]] = {
        "postgresql": lambda folder, port: postgres.start(folder, port=port),  # without fsync a killed server loses commits
        "mariadb": lambda folder, port: mariadb.start(folder, port=port, fsync=False),
    }
    # Not below pytest's folder, which is closed to the user that a server must run as.
    with tempfile.TemporaryDirectory(prefix=f"fallow-{kind}-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            server = Server(kind, starts[kind], Path(folder), starts[kind](Path(folder), 0))
        except (postgres.PostgresNotInstalled, mariadb.MariadbNotInstalled, DirectoryUnreachable) as missing:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(missing))
        try:
            yield server
        finally:
            server.running.stop()


@dataclass
class Wiping:
    """An installation with numbers in WIPING, whose system ``crm`` is a real database.

    Attributes:
        world: the installation.
        carrier: the database as the carrier's programs see it.
        records: its map, as loaded.
        ids: the cycles.
    """

    world: World
    carrier: Carrier
    records: RecordsMap
    ids: list[str]
    _rounds: dict[str, WipingRounds] = field(default_factory=dict)

    @property
    def writing(self) -> Engine:
        """The engine that the record system changes rows by."""
        return self.records.systems["crm"]._database._writing

    @property
    def reading(self) -> Engine:
        """The engine that it reads back by."""
        return self.records.systems["crm"]._database._reading

    def round(self, system_id: str = "crm") -> Tally:
        """Let a system's sender do one round."""
        here = self.world.installation
        rounds = self._rounds.setdefault(system_id, WipingRounds(here, here.record_systems[system_id]))
        tally = Tally()
        with here.db.begin() as tx:
            fence = leases.take(tx, system_id, _HOLDER)
        assert fence is not None
        asyncio.run(rounds.round(_HOLDER, fence, tally))
        return tally

    def round_or_outage(self) -> None:
        """Let the sender do a round that an error of our own database may end, as it would end its turn."""
        try:
            self.round()
        except DBAPIError:
            self.world.installation.db.engine.dispose()

    def go_on(self) -> None:
        """Let time pass and the sender work until nothing is open at ``crm``, with no help from a person."""
        for _ in range(_SOON):
            if all(owed_by(self.world, each)["crm"].status is not Status.OPEN for each in self.ids):
                return
            self.world.clock.pass_by(A_WHILE)
            self.round()
        pytest.fail(f"still open after {_SOON} rounds: {self.target().trouble}")

    def target(self, system_id: str = "crm") -> TargetRow:
        """Return a target's row: failures in a row, until when it rests, what its trouble is."""
        with self.world.installation.db.read() as tx:
            row = tx.session.get(TargetRow, system_id)
            assert row is not None
            tx.session.expunge(row)
            return row

    def assert_waiting(self) -> None:
        """Assert that no obligation at ``crm`` is settled and nobody was called for it."""
        assert {owed_by(self.world, each)["crm"].status for each in self.ids} == {Status.OPEN}
        self.assert_nobody_called()

    def assert_nobody_called(self) -> None:
        """Assert that no cycle waits for a person."""
        assert [facts_of(self.world, each).attention for each in self.ids] == [frozenset()] * len(self.ids)

    def assert_wiped(self) -> None:
        """Assert the right end: rows gone and nobody else's, one full receipt a number, one event each, all that was begun given back."""
        self.assert_only_others_left()
        for cycle_id in self.ids:
            owed = owed_by(self.world, cycle_id)["crm"]
            assert owed.status is Status.DISCHARGED
            assert owed.evidence is not None
            receipt = json.loads(self._evidence(owed.evidence).body)
            assert [(each["collection"], each["remaining"]) for each in receipt["collections"]] == [(each, 0) for each in _COLLECTIONS]
            moved = Counter(
                (each.body["target_id"], each.body["status"])
                for each in events_of(self.world, cycle_id)
                if each.kind is Kind.OBLIGATION_MOVED
            )
            assert moved["crm", "DISCHARGED"] == 1
            assert moved["crm", "REFUSED"] == 0
        self.assert_nobody_called()
        self.assert_nothing_checked_out()
        assert_folds(self.world.installation.db)

    def assert_only_others_left(self) -> None:
        """Assert that every row of the former holders is gone or restricted, and everybody else's is there."""
        count = len(self.ids)
        assert len(self.carrier.ids("calls")) == count
        assert self.carrier.ids("calls", "callee = '8613900000009'") == []
        assert (self.carrier.ids("contacts"), self.carrier.ids("notes")) == ([10_000], [10_000])
        restricted = "status = 'RESTRICTED' AND legal_basis = 'kept by law' AND restricted_until = '2028-02-29'"
        assert len(self.carrier.ids("subscribers", restricted)) == count
        assert self.carrier.ids("subscribers", "status = 'active' AND legal_basis IS NULL") == [10_000]

    def assert_nothing_checked_out(self) -> None:
        """Assert that every connection to the carrier was given back."""
        assert [each.pool.checkedout() for each in (self.writing, self.reading)] == [0, 0]  # type: ignore[attr-defined]

    def _evidence(self, digest: str) -> EvidenceRow:
        with self.world.installation.db.read() as tx:
            row = tx.session.get(EvidenceRow, digest)
            assert row is not None
            tx.session.expunge(row)
            return row

    def close(self) -> None:
        """Close every connection."""
        self.records.close()
        self.carrier.engine.dispose()
        self.world.installation.db.close()


@contextmanager
def wiping(
    folder: Path, carrier_url: str, *, through_port: int | None = None, count: int = 3, url: str | None = None, timeout: str = "1s"
) -> Iterator[Wiping]:
    """Give ``count`` numbers in WIPING at a carrier's empty database.

    Args:
        folder: for the map and our own database.
        carrier_url: the carrier's.
        through_port: port by which the engine reaches it, if not its own.
        count: how many numbers.
        url: our own database; None: SQLite.
        timeout: the map's limit of connections, locks and statements.
    """
    address = make_url(carrier_url)
    path = folder / "records.toml"
    mapped = address if through_port is None else address.set(port=through_port)
    path.write_text(MAP.format(url=mapped.render_as_string(hide_password=False)).replace('timeout = "1s"', f'timeout = "{timeout}"'))
    carrier = Carrier(create_engine(address, pool_pre_ping=True), path)
    for statement in TABLES.format(**TYPES[address.get_backend_name()]).split(";"):
        carrier.run(statement)
    _plant(carrier, range(count))
    world = an_installation(folder, record_systems=_SYSTEMS, url=url)
    records = load_records_map(path)
    world.installation.record_systems["crm"] = records.systems["crm"]  # type: ignore[index]
    ids = enrolled(world, count)
    for cycle_id in ids:
        advance(world, cycle_id, State.QUARANTINED)
    world.clock.pass_by(timedelta(days=10))
    for cycle_id in ids:
        engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())
        engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)
    here = Wiping(world, carrier, records, ids)
    try:
        yield here
    finally:
        here.close()


def _plant(carrier: Carrier, indices: Sequence[int]) -> None:
    keys = iter(range(1, 10_000))
    for index in indices:
        whole = number(index).text
        digits, national = whole[1:], f"0{whole[3:]}"
        insert = "INSERT INTO subscribers (id, msisdn, name, activated_at, status) VALUES (:i, :n, 'X', '2020-01-01T00:00:00Z', 'ended')"
        carrier.run(insert, i=index, n=whole)
        for _ in range(CALLS_EACH):
            _call(carrier, next(keys), digits, "8613900000009")
        _call(carrier, next(keys), "8613900000009", digits)
        carrier.run("INSERT INTO contacts VALUES (:i, :n, 'FR', '2025-01-01')", i=index, n=national)
        carrier.run("INSERT INTO notes VALUES (:i, :n, '2025-01-01T00:00:00Z')", i=index, n=int(digits))
    carrier.run("INSERT INTO contacts VALUES (10000, '0612345678', 'FR', '2025-01-01')")
    carrier.run("INSERT INTO notes VALUES (10000, 33612345678, '2025-01-01T00:00:00Z')")
    columns = "id, msisdn, name, activated_at, status"
    carrier.run(f"INSERT INTO subscribers ({columns}) VALUES (10000, '+33612345678', 'Y', '2020-01-01T00:00:00Z', 'active')")


def _call(carrier: Carrier, key: int, caller: str, callee: str) -> None:
    carrier.run("INSERT INTO calls VALUES (:i, :a, :b, '2026-01-01 08:00:00')", i=key, a=caller, b=callee)


@dataclass
class Armed:
    """A fault that happens once.

    Attributes:
        fired: whether it has.
    """

    fired: bool = False


@contextmanager
def failing_commit(target: Engine, when: Literal["before", "after"], nth: int = 1) -> Iterator[Armed]:
    """Let the ``nth`` commit on an engine fail once, before or after the database did it; assert at the end that it failed."""
    armed, commit, seen = Armed(), target.dialect.do_commit, iter(range(1, 1_000_000))

    def fail_once(connection: object) -> None:
        hit = next(seen) == nth
        if not hit or when == "after":
            commit(connection)  # type: ignore[arg-type]
        if hit:
            armed.fired = True
            raise target.dialect.loaded_dbapi.OperationalError("the connection was lost")

    target.dialect.do_commit = fail_once  # type: ignore[method-assign, assignment]
    try:
        yield armed
    finally:
        target.dialect.do_commit = commit  # type: ignore[method-assign]
    assert armed.fired


@contextmanager
def at_statement(target: Engine, nth: int, act: Callable[[], None], *, after: bool = False) -> Iterator[Armed]:
    """Do something once, right before (or after) the ``nth`` statement on an engine; assert at the end that it was done."""
    armed, seen = Armed(), iter(range(1, 1_000_000))

    def look(*_: object) -> None:
        if next(seen) == nth:
            armed.fired = True
            act()

    name = "after_cursor_execute" if after else "before_cursor_execute"
    event.listen(target, name, look)
    try:
        yield armed
    finally:
        event.remove(target, name, look)
    assert armed.fired
