"""A carrier's database for the contracts of record systems, on SQLite, PostgreSQL and MariaDB."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from carrier_database import FORMER, MAP, OTHER, TABLES, TYPES, Carrier
from people_table import AFTER, BEFORE
from record_server import EARLIER, Archive, Row, serving_records
from sqlalchemy import create_engine, make_url

from fallow.local import mariadb, postgres
from fallow.local.unprivileged import DirectoryUnreachable
from fallow.records.records_map import RecordsMap, load_records_map

_SERVERS = {"postgresql": "new_postgres_database", "mariadb": "new_mariadb_database"}


@pytest.fixture(scope="module")
def new_postgres_database() -> Iterator[Callable[[], str]]:
    """Start PostgreSQL once; give a way to make databases in it."""
    try:
        server = postgres.start(fsync=False)
    except (postgres.PostgresNotInstalled, DirectoryUnreachable) as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    made = iter(range(1_000))
    yield lambda: server.create_database(f"carrier_{next(made)}")
    server.stop()


@pytest.fixture(scope="module")
def new_mariadb_database() -> Iterator[Callable[[], str]]:
    """Start MariaDB once; give a way to make databases in it."""
    try:
        server = mariadb.start(fsync=False)
    except (mariadb.MariadbNotInstalled, DirectoryUnreachable) as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    made = iter(range(1_000))
    yield lambda: server.create_database(f"carrier_{next(made)}")
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    """Give an empty carrier on each kind of database."""
    kind = request.param
    url = f"sqlite:///{tmp_path / 'carrier.db'}" if kind == "sqlite" else request.getfixturevalue(_SERVERS[kind])()
    engine = create_engine(url)
    path = tmp_path / "records.toml"
    path.write_text(MAP.format(url=make_url(url).render_as_string(hide_password=False)))
    made = Carrier(engine, path)
    for statement in TABLES.format(**TYPES[kind]).split(";"):
        made.run(statement)
    yield made
    engine.dispose()


@pytest.fixture
def records(carrier: Carrier) -> Iterator[RecordsMap]:
    """Load the carrier's map."""
    loaded = load_records_map(carrier.map_path)
    yield loaded
    loaded.close()


@pytest.fixture
def load(carrier: Carrier) -> Iterator[Callable[[str, str], RecordsMap]]:
    """Give a way to load the carrier's map with one thing in it changed."""
    loaded = list[RecordsMap]()

    def change(old: str, new: str) -> RecordsMap:
        written = carrier.map_path.read_text()
        assert old in written
        carrier.map_path.write_text(written.replace(old, new))
        loaded.append(load_records_map(carrier.map_path))
        return loaded[-1]

    yield change
    for each in loaded:
        each.close()


@pytest.fixture
def mapped(carrier: Carrier) -> Iterator[Callable[[str], RecordsMap]]:
    """Give a way to load the carrier's map with one system of the given collections instead of its own."""
    loaded = list[RecordsMap]()

    def load(collections: str) -> RecordsMap:
        head = carrier.map_path.read_text().partition("[[system.collection]]")[0]
        carrier.map_path.write_text(head + collections)
        loaded.append(load_records_map(carrier.map_path))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


@pytest.fixture
def people(carrier: Carrier) -> Carrier:
    """Give a table of people with one row of the former holder, one of a newer one, one of somebody else; and an archive."""
    texts = {"msisdn": 32, "prefix": 8, "rest": 32, "sub": 32, "name": 40, "since": 40}
    columns = ", ".join(["id INTEGER PRIMARY KEY", *(f"{name} VARCHAR({length})" for name, length in texts.items())])
    carrier.run(f"CREATE TABLE people ({columns})")
    carrier.run(f"CREATE TABLE people_archive ({columns}, basis VARCHAR(80), kept_until DATE)")
    for key, number, sub, since in ((1, FORMER, "S-1", BEFORE), (2, FORMER, "S-2", AFTER), (3, OTHER, "S-3", BEFORE)):
        digits = number.text.removeprefix("+")
        values = {"i": key, "n": number.text, "p": digits[:2], "r": digits[2:], "s": sub, "t": since}
        carrier.run("INSERT INTO people VALUES (:i, :n, :p, :r, :s, 'Li Lei', :t)", **values)
    return carrier


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Serve an HTTP record system with rows of the former holder and of a stranger."""
    with serving_records() as server:
        server.rows += [Row("letters", FORMER.text, EARLIER), Row("contracts", FORMER.text, EARLIER), Row("letters", OTHER.text, EARLIER)]
        yield Archive(server)
