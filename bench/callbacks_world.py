"""The world of the callbacks part: a PostgreSQL of one's own with thousands of cycles that wait for two platforms, and the real API.

One cycle is made by the store as its stages would leave it; the others are copies of its rows under other ids, made by the database.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from pydantic import SecretStr
from sqlmodel import select

from bench.client import Caller
from bench.world import module
from fallow.bootstrap import wire
from fallow.domain.events import Kind
from fallow.domain.obligations import TargetKind
from fallow.domain.people import Person, Role
from fallow.local import postgres
from fallow.local.postgres import RunningPostgres
from fallow.local.processes import LOOPBACK, Child, free_ports, start_child, wait_until_ready
from fallow.operations.enrol import enrol_file
from fallow.platforms import signing
from fallow.platforms.signing import SigningKey
from fallow.settings import Settings
from fallow.store import cycles, keys, obligations, schema
from fallow.store.engine import Database
from fallow.store.tables import CycleRow

PLATFORMS = ("payment", "social")
_OPTIONS = ("fsync=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off")
_BENCH = Person("bench", Role.ADMINISTRATOR)
_READY_WITHIN = timedelta(seconds=30)
_ROOT = Path(__file__).parents[1]
_CSV = (
    "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref\n"
    "+8613800000000,CN,china-mobile,china-mobile,mobile,2025-06-01T09:00:00Z,ordinary,1,,bench\n"
)
_POLICY = """id = "bench"
version = 1

[[rule]]
quarantine = "1s"
observed = "0s"
demo = true
source = "benchmark; no rule of any country"
"""
_RECORDS = """[line_register]
system = "crm"
table = "lines"
number = {{ column = "msisdn", spelling = "e164" }}
status = "status"
off = ["off"]
in_service = ["on"]

[[system]]
id = "crm"
url = "sqlite:///{carrier}"

[[system.collection]]
id = "contacts"
table = "contacts"
number = {{ column = "msisdn", spelling = "e164" }}
until = "made_at"
strategy = "delete"
"""
_PLATFORM = """[[platform]]
id = "{platform_id}"
category = "{platform_id}"
url = "https://{platform_id}.example.com/unbind"
public_keys = ["{key}"]
contact = "nobody"
"""
#: Every row of the one cycle again, under the id and the references of each copy.
_COPIES = (
    "SET session_replication_role = replica",  # a copy is born in the middle of its cycle, which the gate forbids
    "CREATE TEMP TABLE copies AS SELECT 'n_copy' || g AS number_id, 'n_copy' || g || '/1' AS cycle_id FROM generate_series(1, %(count)s) g",
    """INSERT INTO numbers SELECT r.* FROM copies c, numbers n,
        LATERAL jsonb_populate_record(n, jsonb_build_object('number_id', c.number_id, 'lookup', c.number_id)) r""",
    """INSERT INTO cycles SELECT r.* FROM copies c, cycles y,
        LATERAL jsonb_populate_record(y, jsonb_build_object('number_id', c.number_id, 'cycle_id', c.cycle_id)) r""",
    """INSERT INTO events (cycle_id, seq, kind, at, body) SELECT c.cycle_id, e.seq, e.kind, e.at, e.body
        FROM copies c, events e WHERE e.cycle_id = %(cycle_id)s""",
    """INSERT INTO obligations SELECT r.* FROM copies c, obligations o,
        LATERAL jsonb_populate_record(o, jsonb_build_object('cycle_id', c.cycle_id, 'reference',
            'ref_' || left(translate(md5(c.cycle_id || o.target_id), '0189', 'ghij'), 26))) r
        WHERE o.cycle_id = %(cycle_id)s""",
)
_REFERENCES = "SELECT reference FROM obligations WHERE target_id = %s AND cycle_id LIKE 'n_copy%%' ORDER BY md5(reference)"
_LEFT_OPEN = "SELECT count(*) FROM obligations WHERE status <> 'DISCHARGED' AND reference = ANY(%s)"
_UNEVEN = """SELECT count(*) FROM cycles c WHERE c.cycle_id LIKE 'n_copy%%' AND (
    c.events_no <> (SELECT count(*) FROM events e WHERE e.cycle_id = c.cycle_id)
    OR (c.wake_no > %s) <> NOT EXISTS (SELECT FROM obligations o WHERE o.cycle_id = c.cycle_id AND o.status <> 'DISCHARGED'))"""


class Void(RuntimeError):
    """A run left other rows than it should: its speed means nothing."""


@dataclass
class World:
    """The servers, and the references that nobody has answered yet, by platform.

    Attributes:
        server: PostgreSQL.
        folder: state of the installation.
        url: SQLAlchemy URL of our database.
        keys: the platforms' secret keys.
        unanswered: references left.
        wakes: number of wakes of the cycle that all others are copies of.
    """

    server: RunningPostgres
    folder: Path
    url: str
    keys: dict[str, SigningKey]
    unanswered: dict[str, list[str]]
    wakes: int

    def connect(self) -> psycopg.Connection:
        """Return a connection to our database that commits by itself."""
        return psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True)

    def take(self, count: int, each: int) -> list[tuple[str, list[str]]]:
        """Return ``count`` sets of ``each`` references with the platform that is to answer them, the platforms in turns."""
        taken = []
        for place in range(count):
            platform_id = PLATFORMS[place % len(PLATFORMS)]
            mine = self.unanswered[platform_id]
            taken.append((platform_id, mine[-each:]))
            del mine[-each:]
        return taken

    def signed(self, port: int, taken: list[tuple[str, list[str]]], last: str = "answers") -> list[bytes]:
        """Return the requests that answer what was taken, signed now: they are good for five minutes."""
        now, requests = datetime.now(UTC), []
        for platform_id, references in taken:
            said = ",".join(f'{{"reference":"{reference}","outcome":"clear"}}' for reference in references)
            body = f'{{"answers":[{said}]}}'.encode()
            headers = signing.sign(self.keys[platform_id], signing.new_delivery_id(), now, body)
            requests.append(Caller.request(port, f"/v1/platforms/{platform_id}/{last}", headers, body))
        return requests

    def demand_applied(self, taken: list[tuple[str, list[str]]]) -> None:
        """Refuse a run that left something of what it answered open, an event uncounted, or a finished cycle asleep.

        Raises:
            Void: saying which.
        """
        answered = [reference for _, references in taken for reference in references]
        with self.connect() as connection:
            (left,) = connection.execute(_LEFT_OPEN, [answered]).fetchone() or (0,)
            (uneven,) = connection.execute(_UNEVEN, [self.wakes]).fetchone() or (0,)
        if left or uneven:
            what = f"Of {len(answered)} answered obligations {left} are open; of {uneven} cycles events or wakes are not as they should be."
            raise Void(what)


@contextmanager
def running(answers: int) -> Iterator[World]:
    """Start PostgreSQL and make cycles enough for so many answers of each platform; remove everything at the end."""
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as folder:
        server = postgres.start(options=_OPTIONS)
        try:
            yield _made(server, Path(folder), answers)
        finally:
            server.stop()


@contextmanager
def api(world: World) -> Iterator[tuple[Child, int]]:
    """Run the API as the command people use; give it and its port."""
    (port,) = free_ports(1)
    variables = {"FALLOW_STATE": str(world.folder), "FALLOW_DATABASE_URL": world.url, "FALLOW_API_PORT": str(port)}
    with _child("api", module("fallow.cli", "api"), world, port, variables) as child:
        yield child, port


@contextmanager
def empty_handler(world: World) -> Iterator[int]:
    """Run the same server with a handler that reads the body and answers; give its port."""
    (port,) = free_ports(1)
    with _child("bare server", module("bench.bare_server", port), world, port, {}):
        yield port


@contextmanager
def _child(name: str, command: Sequence[str], world: World, port: int, variables: dict[str, str]) -> Iterator[Child]:
    child = start_child(name, command, log_path=world.folder / "logs" / f"{name}.log", directory=_ROOT, variables=variables)
    try:
        wait_until_ready(child, lambda: Caller.answers(LOOPBACK, port), _READY_WITHIN)
        yield child
    finally:
        child.stop()


def _made(server: RunningPostgres, folder: Path, answers: int) -> World:
    url = server.create_database("fallow")
    secrets = {platform_id: SigningKey.generate() for platform_id in PLATFORMS}
    keys.create(folder / "keys")
    (folder / "policy.toml").write_text(_POLICY)
    (folder / "records.toml").write_text(_RECORDS.format(carrier=folder / "carrier.db"))
    _make_lines(folder / "carrier.db")
    tables = (_PLATFORM.format(platform_id=platform_id, key=key.public.text) for platform_id, key in secrets.items())
    (folder / "platforms.toml").write_text("\n".join(tables))
    database = Database(url)
    schema.upgrade(database.engine)
    database.close()
    cycle_id, wakes = _first_cycle(folder, url)
    world = World(server, folder, url, secrets, {}, wakes)
    with world.connect() as connection:
        for statement in _COPIES:
            connection.execute(statement, {"count": answers, "cycle_id": cycle_id})
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        for platform_id in PLATFORMS:
            world.unanswered[platform_id] = [reference for (reference,) in connection.execute(_REFERENCES, [platform_id])]
    return world


def _make_lines(path: Path) -> None:
    with closing(sqlite3.connect(path)) as lines:
        lines.execute("CREATE TABLE lines (msisdn TEXT PRIMARY KEY, status TEXT)")
        lines.execute("INSERT INTO lines VALUES ('+8613800000000', 'off')")
        lines.commit()


def _first_cycle(folder: Path, url: str) -> tuple[str, int]:
    """Enrol a number and record what its stages would have, up to the open obligations of UNBINDING."""
    settings = Settings(_env_prefix="NO_SUCH_PREFIX_", state=folder, database_url=SecretStr(url))
    with wire(settings) as wired:
        enrol_file(wired.installation, _BENCH, _CSV.encode())
        with wired.installation.db.begin() as tx:
            row = tx.session.exec(select(CycleRow)).one()
            cycles.record(tx, row, Kind.QUARANTINE_BEGAN, release_at=row.release_at.isoformat())
            for stage in ("QUARANTINE", "WIPING"):
                cycles.record(tx, row, Kind.STAGE_SETTLED, stage=stage, targets=[], attempts=0, digest="")
            obligations.open_all(tx, row, TargetKind.PLATFORM, PLATFORMS)
            cycles.awake(tx, row)
            return row.cycle_id, row.wake_no
