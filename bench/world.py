"""The world of a pipeline run on disk: a state folder, platforms and a record system, and files of numbers.

Imports the local stack, the settings and the store.
"""

import base64
import json
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fallow.domain.obligations import Category
from fallow.local import stack
from fallow.local.processes import Child, start_child, wait_until_ready
from fallow.local.simulator_signing import public_half
from fallow.store import keys, schema
from fallow.store.engine import Database

PLATFORMS = 20
#: Tables of the one record system; the first keeps its rows, restricted, as identity records must be kept.
COLLECTIONS = ("register", "bills", "calls", "messages", "voicemail", "marketing")
_READY_WITHIN = timedelta(seconds=20)
_HEADER = "number,country,carrier,range_holder,class,disconnected_at,reason,prior_holders,hold_reference,source_ref"
_FIRST_NUMBER = 13_800_010_000
_POLICY = """id = "bench"
version = 1

[[rule]]
quarantine = "{seconds}s"
observed = "{seconds}s"
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
"""
_COLLECTION = """
[[system.collection]]
id = "{name}"
table = "{name}"
number = {{ column = "msisdn", spelling = "e164" }}
until = "since"
strategy = "{strategy}"
"""
_RESTRICT = """
[system.collection.restrict]
set = { status = "RESTRICTED" }
basis_column = "basis"
basis = "benchmark"
expiry_column = "kept_until"
keep_for = "730d"
"""
# The rate bucket is opened wide: a platform's own limit must not be what is measured.
_PLATFORM = """
[[platform]]
id = "{name}"
category = "{category}"
url = "http://127.0.0.1:{port}/{name}"
allow_loopback = true
public_keys = ["{key}"]
contact = "nobody"
rate_per_second = 10000
"""


@dataclass(frozen=True)
class World:
    """A state folder that is ready for a worker, and the program that plays the platforms."""

    folder: Path
    answering: Child

    def csv_of(self, run_no: int, count: int) -> bytes:
        """Return a file of ``count`` numbers that no other run has, whose former holders left one row in each collection."""
        numbers = [f"+86{_FIRST_NUMBER + run_no * 10_000 + place}" for place in range(count)]
        with closing(sqlite3.connect(self.folder / "carrier.db")) as carrier, carrier:
            carrier.executemany("INSERT INTO lines VALUES (?, 'off')", [(number,) for number in numbers])
            for name in COLLECTIONS:
                carrier.executemany(f"INSERT INTO {name} (msisdn, since) VALUES (?, '2020-01-01T00:00:00Z')", [(n,) for n in numbers])
        rest = "CN,china-mobile,china-mobile,mobile,2026-04-01T09:00:00+08:00,ordinary,1,,bench"
        return "".join(f"{line}\n" for line in (_HEADER, *(f"{number},{rest}" for number in numbers))).encode()


def build(folder: Path, temporal_address: str, quarantine_seconds: int) -> World:
    """Write the maps, make keys and databases, and start the platforms."""
    policy, records, platforms = (folder / f"{name}.toml" for name in ("policy", "records", "platforms"))
    stack.lay_out(folder, policy=policy, records=records, platforms=platforms, temporal_address=temporal_address, api_port=0)
    settings = stack.settings_of(folder)
    keys.create(settings.file("keys"))
    database = Database(settings.url())
    schema.upgrade(database.engine)
    database.close()
    policy.write_text(_POLICY.format(seconds=quarantine_seconds))
    records.write_text(_RECORDS + "".join(map(_collection, COLLECTIONS)))
    _make_carrier(folder / "carrier.db")
    return World(folder, _start_platforms(folder, platforms))


def _collection(name: str) -> str:
    restricted = name == COLLECTIONS[0]
    return _COLLECTION.format(name=name, strategy="restrict" if restricted else "delete") + (_RESTRICT if restricted else "")


def _make_carrier(path: Path) -> None:
    with closing(sqlite3.connect(path)) as carrier, carrier:
        carrier.execute("PRAGMA journal_mode = WAL")
        carrier.execute("CREATE TABLE lines (msisdn TEXT PRIMARY KEY, status TEXT)")
        for name in COLLECTIONS:
            carrier.execute(f"CREATE TABLE {name} (msisdn TEXT, since TEXT, status TEXT, basis TEXT, kept_until DATE)")
            carrier.execute(f"CREATE INDEX {name}_msisdn ON {name} (msisdn)")


def _start_platforms(folder: Path, platforms: Path) -> Child:
    names = [f"platform-{place:02d}" for place in range(PLATFORMS)]
    secret_keys = {name: "whsk_" + base64.b64encode(secrets.token_bytes(32)).decode() for name in names}
    path = folder / "platform-keys.json"
    path.write_text(json.dumps(secret_keys))
    log = folder / "logs" / "platforms.log"
    child = start_child("platforms", module("bench.answering_server", path), log_path=log, directory=Path(__file__).parents[1])
    wait_until_ready(child, lambda: log.read_text().endswith("\n"), _READY_WITHIN)
    port, categories = log.read_text().split()[0], list(Category)
    platforms.write_text(
        "".join(
            _PLATFORM.format(name=name, category=categories[place % len(categories)], port=port, key=public_half(secret_keys[name]))
            for place, name in enumerate(names)
        )
    )
    return child


def module(name: str, *arguments: object) -> Sequence[str]:
    """Return the command that runs a module of ours in a child."""
    return [sys.executable, "-m", name, *map(str, arguments)]
