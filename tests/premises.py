"""An installation of real processes, for tests that kill and stop them: Temporal, workers, platforms, and records in a file.

The test itself enrols, orders and reads through the same code as the command line, in its own process.
"""

import contextlib
import json
import signal
import sqlite3
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import running
from builders import a_file, number
from sqlmodel import col, select
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from fallow.bootstrap import Wired, wire
from fallow.domain.cycle import CycleRef
from fallow.domain.lifecycle import State
from fallow.domain.people import Person, Role
from fallow.local import stack
from fallow.local.processes import Child
from fallow.operations import people
from fallow.operations.commands import Commands
from fallow.operations.enrol import enrol_file
from fallow.settings import Settings
from fallow.store import cycles, keys, obligations, schema
from fallow.store.engine import Database
from fallow.store.tables import AttemptRow, CycleRow, LeaseRow, ObligationRow
from workers import namespace
from workers.connection import connect

#: Numbers that the premises' line register and platforms know.
NUMBERS = 200
RECORDS, NETWORK, PAYMENT, SOCIAL = "main", "network", "pennywell-pay", "larkchat"
TARGETS = sorted((RECORDS, NETWORK, PAYMENT, SOCIAL))
#: A killed worker's turn is taken again after its heartbeat has run out (8 s) and its lease too; then everything else follows.
TAKEN_OVER_WITHIN = 60.0

_POLICY = """id = "faults"
version = 1
[[rule]]
quarantine = "1s"
observed = "1s"
demo = true
source = "a test"
"""
_RECORDS_MAP = """[line_register]
system = "network"
table = "lines"
number = { column = "msisdn", spelling = "e164" }
status = "status"
off = ["off"]
in_service = ["on"]
ported = ["ported"]

[[system]]
id = "main"
url = "sqlite:///records.db"
timeout = "20s"

[[system.collection]]
id = "bills"
table = "bills"
number = { column = "msisdn", spelling = "e164" }
until = "issued_at"
strategy = "delete"

[[system]]
id = "network"
url = "sqlite:///network.db"

[[system.collection]]
id = "calls"
table = "calls"
number = { column = "caller", spelling = "e164" }
until = "began_at"
strategy = "delete"
"""


@dataclass
class Premises:
    """Everything of one installation.

    Attributes:
        folder: its state folder.
        settings: what its processes are told.
        wired: the installation as the test uses it.
        client: Temporal.
        operator: who enrols.
        simulator: the platforms.
        workers: the workers started so far.
    """

    folder: Path
    settings: Settings
    wired: Wired
    client: Client
    operator: Person
    simulator: stack.Served
    workers: list[Child] = field(default_factory=list)

    def worker(self) -> Child:
        """Start a worker."""
        child = stack.worker(self.folder, f"worker-{len(self.workers)}")
        self.workers.append(child)
        return child

    def enrol(self, first: int, count: int = 1) -> list[str]:
        """Enrol numbers and return their cycle ids."""
        installation = self.wired.installation
        enrol_file(installation, self.operator, a_file(count, now=datetime.now(UTC), first=first))
        with installation.db.read() as tx:
            rows = [installation.vault.find(tx, number(index)) for index in range(first, first + count)]
        return [CycleRef(row.number_id, row.last_cycle_no).cycle_id for row in rows if row is not None]

    def row(self, cycle_id: str) -> CycleRow:
        """Return a cycle's row."""
        with self.wired.installation.db.read() as tx:
            return cycles.get(tx, cycle_id)

    def owed(self, cycle_id: str) -> dict[str, ObligationRow]:
        """Return a cycle's obligations by target."""
        with self.wired.installation.db.read() as tx:
            return {row.target_id: row for row in obligations.of_cycle(tx, cycle_id)}

    def attempts(self, cycle_id: str, target_id: str) -> list[str]:
        """Return the results of the attempts to wipe or to ask that were reported, in order; looks are none."""
        query = select(AttemptRow).where(AttemptRow.cycle_id == cycle_id, AttemptRow.target_id == target_id)
        with self.wired.installation.db.read() as tx:
            found = [row.result for row in tx.session.exec(query.order_by(col(AttemptRow.attempt_id)))]
        return [result for result in found if result != "looked"]

    def discharges(self, cycle_id: str) -> list[str]:
        """Return the targets whose obligations were discharged, sorted, repeats included."""
        with self.wired.installation.db.read() as tx:
            events = cycles.events(tx, cycle_id)
        return sorted(event.body["target_id"] for event in events if event.body.get("status") == "DISCHARGED")

    def kinds(self, cycle_id: str) -> list[str]:
        """Return the kinds of a cycle's events."""
        with self.wired.installation.db.read() as tx:
            return [str(event.kind) for event in cycles.events(tx, cycle_id)]

    def holder(self, name: str) -> str:
        """Return who holds a lease."""
        with self.wired.installation.db.read() as tx:
            row = tx.session.get(LeaseRow, name)
            return "" if row is None or row.until <= tx.now else row.holder

    async def resellable(self, *cycle_ids: str) -> None:
        """Wait until every cycle is RESELLABLE."""
        for cycle_id in cycle_ids:
            await running.eventually(
                lambda cycle_id=cycle_id: self.row(cycle_id).state == State.RESELLABLE,
                lambda cycle_id=cycle_id: f"{cycle_id} to be RESELLABLE; {self.row(cycle_id)!r}; {self.owed(cycle_id)!r}; {self.logs()}",
                TAKEN_OVER_WITHIN,
            )

    async def history(self, cycle_id: str) -> list[HistoryEvent]:
        """Wait until the cycle's workflow has closed and return its history."""
        handle = self.client.get_workflow_handle(f"recycling/{cycle_id}")
        await running.in_time(handle.result(), lambda: f"the workflow of {cycle_id} to close", TAKEN_OVER_WITHIN)
        return list((await handle.fetch_history()).events)

    def requests(self) -> list[dict[str, Any]]:
        """Return what the platforms were asked: a row per platform and reference."""
        found: list[dict[str, Any]] = self._control("/requests")
        return found

    def hold_responses(self) -> None:
        """Let the platforms apply what they are asked and withhold every response."""
        self._control("/hold-responses", {"after": 1, "seconds": 120})

    def release_responses(self) -> None:
        """Let the withheld responses go."""
        self._control("/release", {})

    def held_responses(self) -> int:
        """Return how many responses are withheld now, their effect applied."""
        return int(self._control("/state")["held"])

    def rows_left(self, index: int) -> int:
        """Return how many bills of a number are left in the records."""
        with closing(sqlite3.connect(self.folder / "records.db")) as db:
            return int(db.execute("SELECT count(*) FROM bills WHERE msisdn = ?", [number(index).text]).fetchone()[0])

    def logs(self) -> str:
        """Return the end of every worker's log."""
        return "\n".join(f"{child.log_path.name}:\n{child.last_log_lines()}" for child in self.workers)

    @contextlib.contextmanager
    def records_locked(self) -> Iterator[None]:
        """Keep everybody out of the records."""
        with locked(self.folder / "records.db", "EXCLUSIVE"):
            yield

    @contextlib.contextmanager
    def lines_locked(self) -> Iterator[None]:
        """Keep everybody out of the line register."""
        with locked(self.folder / "network.db", "EXCLUSIVE"):
            yield

    def hand_back(self, cycle_id: str) -> None:
        """Return a number to its range holder."""
        Commands(self.wired.installation).hand_back(self.operator, cycle_id, "case 1")

    def _control(self, path: str, order: dict[str, int] | None = None) -> Any:
        data = None if order is None else json.dumps(order).encode()
        request = urllib.request.Request(self.simulator.url + path, data)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - our own address
            return json.loads(reply.read())


@contextlib.contextmanager
def locked(path: Path, mode: str) -> Iterator[None]:
    """Hold a SQLite file's lock."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
        db.execute(f"BEGIN {mode}")
        yield
        db.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def premises(folder: Path, temporal_address: str) -> AsyncIterator[Premises]:
    """Lay out, set up and start everything but the workers; end it all."""
    _write_files(folder)
    more = {"FALLOW_TEMPORAL_NAMESPACE": f"faults-{folder.name}"}
    files = {name: folder / f"{name}.toml" for name in ("policy", "records", "platforms")}
    stack.lay_out(folder, **files, temporal_address=temporal_address, api_port=1, more=more)
    settings = stack.settings_of(folder)
    await namespace.prepare(settings)
    keys.create(settings.file("keys"))
    db = Database(settings.url())
    schema.upgrade(db.engine)
    ring = keys.Keys(settings.file("keys"))
    with db.begin() as tx:
        api_key = people.admit(tx, ring, "an operator", Role.OPERATOR)
    with db.read() as tx:
        operator = people.authenticate(tx, ring, api_key)
    db.close()
    simulator = stack.simulator(
        folder,
        platforms=2,
        numbers=folder / "numbers.csv",
        scenario=folder / "scenario.csv",
        callback_url="http://127.0.0.1:1/{platform_id}",
        engine_key=stack.engine_key(folder),
        options=("--behaviours", "at-once", "--timeout", "60"),
    )
    with wire(settings) as wired:
        here = Premises(folder, settings, wired, await connect(settings), operator, simulator)
        try:
            yield here
        finally:
            for child in here.workers:
                child.send(signal.SIGCONT)
                child.kill()
            simulator.child.stop()


def _write_files(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(_POLICY)
    (folder / "records.toml").write_text(_RECORDS_MAP)
    (folder / "numbers.csv").write_bytes(a_file(NUMBERS, now=datetime.now(UTC)))
    (folder / "scenario.csv").write_text("line,plays\n")
    every = [number(index).text for index in range(NUMBERS)]
    # Files of their own: a test that shuts the records leaves the line register open.
    with closing(sqlite3.connect(folder / "network.db")) as db, db:
        db.execute("CREATE TABLE lines (msisdn TEXT PRIMARY KEY, status TEXT NOT NULL)")
        db.execute("CREATE TABLE calls (call_id INTEGER PRIMARY KEY, caller TEXT NOT NULL, began_at TEXT NOT NULL)")
        db.execute("CREATE INDEX calls_by_caller ON calls (caller)")
        db.executemany("INSERT INTO lines VALUES (?, 'off')", [[each] for each in every])
    with closing(sqlite3.connect(folder / "records.db")) as db, db:
        db.execute("CREATE TABLE bills (bill_id INTEGER PRIMARY KEY, msisdn TEXT NOT NULL, issued_at TEXT NOT NULL)")
        db.execute("CREATE INDEX bills_by_number ON bills (msisdn)")
        db.executemany("INSERT INTO bills (msisdn, issued_at) VALUES (?, '2020-01-01T00:00:00Z')", [[each] for each in every * 3])
