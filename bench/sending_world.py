"""The world of the sending parts: a PostgreSQL of one's own, numbers that wait for platforms, and one program that plays all of these.

The rows are written as the stages leave them when they have opened what is owed: state UNBINDING, one open obligation for each
number and platform. Each run gets a copy of them. Imports the local stack, the composition root and the store.
"""

import base64
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr
from sqlmodel import insert, update

from bench.world import module
from fallow.bootstrap import Wired, wire
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Category, Status, TargetKind
from fallow.local import postgres
from fallow.local.postgres import RunningPostgres
from fallow.local.processes import Child, start_child, wait_until_ready
from fallow.local.simulator_signing import public_half
from fallow.operations.frozen import freeze
from fallow.operations.sale import DEMO_FACT
from fallow.settings import Settings
from fallow.store import keys, schema
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, FactRow, NumberRow, ObligationRow
from fallow.store.vault import opaque

CATEGORIES = (Category.PAYMENT, Category.SOCIAL, Category.BANK, Category.SHOP)
BATCH = 500
#: The same durability for whoever works here, and no checkpoint or vacuum of chance in a run.
_OPTIONS = ("fsync=on", "synchronous_commit=on", "shared_buffers=256MB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off")
_TEMPLATE = "untouched"
_FIRST_NUMBER = 13_800_000_000
_LEFT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
_READY_WITHIN = timedelta(seconds=20)
_POLICY = """id = "bench"
version = 1

[[rule]]
quarantine = "1s"
observed = "0s"
demo = true
source = "benchmark; no rule of any country"
"""
_RECORDS = """[line_register]
system = "carrier"
table = "lines"
number = { column = "msisdn", spelling = "e164" }
status = "status"
off = ["off"]
in_service = ["on"]

[[system]]
id = "carrier"
url = "sqlite:///carrier.db"

[[system.collection]]
id = "bills"
table = "bills"
number = { column = "msisdn", spelling = "e164" }
until = "since"
strategy = "delete"
"""
_PLATFORM = """
[[platform]]
id = "{name}"
category = "{name}"
url = "http://127.0.0.1:{port}/{name}"
allow_loopback = true
public_keys = ["{key}"]
contact = "nobody"
rate_per_second = 10000
batch = {batch}
timeout = "{timeout}"
"""


class Void(RuntimeError):
    """A run did not do what it should: its figure means nothing."""


@dataclass(frozen=True)
class World:
    """The server, the platforms, and a folder.

    Attributes:
        server: the PostgreSQL server.
        folder: the state folder: keys, policy, maps.
        answering: the program that plays the platforms.
        secret_keys: what each signs with.
    """

    server: RunningPostgres
    folder: Path
    answering: Child
    secret_keys: Mapping[str, str]

    @property
    def port(self) -> int:
        """Where the platforms are asked."""
        return int(self.answering.log_path.read_text().split()[0])

    def map_platforms(self, *, elsewhere: Mapping[str, int] | None = None, timeout: str = "10s") -> None:
        """Write the platforms map; ``elsewhere``: those that are asked at another port."""
        ports = {**dict.fromkeys(self.secret_keys, self.port), **(elsewhere or {})}
        text = "".join(
            _PLATFORM.format(name=name, port=ports[name], key=public_half(secret), batch=BATCH, timeout=timeout)
            for name, secret in self.secret_keys.items()
        )
        (self.folder / "platforms.toml").write_text(text)

    def fill(self, numbers: int) -> None:
        """Make the database that every run gets a copy of: ``numbers`` numbers, each owed to every platform."""
        url = self.server.create_database(_TEMPLATE)
        database = Database(url)
        schema.upgrade(database.engine)
        database.close()
        with self.wired(url) as wired:
            _write(wired, numbers)
        self.administer(sql.SQL("CHECKPOINT"))

    @contextmanager
    def copied(self, name: str) -> Iterator[str]:
        """Copy that database; give its URL, and drop it at the end."""
        self.administer(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
        url = self.server.url_of(name)
        with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        yield url
        self.administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def wired(self, url: str) -> Iterator[Wired]:
        """Put an installation together on a database; whoever sends closes its transport in the same loop."""
        with wire(Settings(_env_prefix="NO_SUCH_PREFIX_", state=self.folder, database_url=SecretStr(url))) as wired:
            yield wired

    def administer(self, statement: sql.SQL | sql.Composed) -> None:
        """Do one statement outside any transaction."""
        with psycopg.connect(self.server.url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running() -> Iterator[World]:
    """Start server and platforms; end them and remove everything at the end."""
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as made:
        folder = Path(made)
        keys.create(folder / "keys")
        (folder / "policy.toml").write_text(_POLICY)
        (folder / "records.toml").write_text(_RECORDS)
        secret_keys = {str(each): "whsk_" + base64.b64encode(secrets.token_bytes(32)).decode() for each in CATEGORIES}
        (folder / "platform-keys.json").write_text(json.dumps(secret_keys))
        server = postgres.start(options=_OPTIONS)
        log = folder / "platforms.log"
        command = module("bench.answering_server", folder / "platform-keys.json")
        child = start_child("platforms", command, log_path=log, directory=Path(__file__).parents[1])
        try:
            wait_until_ready(child, lambda: log.read_text().endswith("\n"), _READY_WITHIN)
            world = World(server, folder, child, secret_keys)
            world.map_platforms()
            yield world
        finally:
            child.stop(timedelta(seconds=5))
            server.stop()


def _write(wired: Wired, count: int) -> None:
    installation = wired.installation
    with installation.db.begin() as tx:
        tx.session.add(FactRow(name=DEMO_FACT, value="yes"))  # its endpoints follow the platforms map, also once there are numbers
        policy = freeze(tx, installation.policy)
        numbers = [installation.vault.new_row(E164(f"+86{_FIRST_NUMBER + place}"), "CN") for place in range(count)]
        tx.session.execute(insert(NumberRow), [each.model_dump() for each in numbers])
        tx.session.execute(insert(CycleRow), [_cycle(each.number_id, policy, tx.now) for each in numbers])
        for state in (State.QUARANTINED, State.WIPING, State.UNBINDING):  # no other way is open: the database sees to that
            tx.session.execute(update(CycleRow).values(state=state))
        for name in installation.platforms:
            tx.session.execute(insert(ObligationRow), [_owed(each.number_id, name, tx.now) for each in numbers])


def _cycle(number_id: str, policy: str, now: datetime) -> dict[str, object]:
    row = CycleRow(
        cycle_id=f"{number_id}/1",
        number_id=number_id,
        cycle_no=1,
        state=State.ENROLLED,
        disconnected_at=_LEFT,
        enrolled_at=_LEFT,
        release_at=_LEFT,
        policy=policy,
        demo=True,
        handback=False,
        state_at=now,
        former_holders=1,
        explanation="benchmark",
        source_ref="bench",
        enrolled_by="bench",
        country="CN",
        number_class="mobile",
        carrier="bench",
        range_holder="bench",
        reason="ordinary",
    )
    return row.model_dump()


def _owed(number_id: str, platform_id: str, now: datetime) -> dict[str, object]:
    row = ObligationRow(
        cycle_id=f"{number_id}/1",
        target_id=platform_id,
        kind=TargetKind.PLATFORM,
        status=Status.OPEN,
        reference=opaque("ref_"),
        due_at=now,
    )
    return row.model_dump()
