"""A carrier's database for the contracts of record systems, on SQLite and on PostgreSQL."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from carrier_database import FORMER, MAP, OTHER, TABLES, Carrier
from record_server import EARLIER, Archive, Row, serving_records
from sqlalchemy import create_engine, make_url, text

from fallow.local import postgres
from fallow.records.records_map import RecordsMap, load_records_map


@pytest.fixture(scope="module")
def new_postgres_database() -> Iterator[Callable[[], str]]:
    """Start PostgreSQL once; give a way to make databases in it."""
    try:
        server = postgres.start(fsync=False)
    except (postgres.PostgresNotInstalled, postgres.PostgresDirectoryUnreachable) as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    made = iter(range(1_000))
    yield lambda: server.create_database(f"carrier_{next(made)}")
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    """Give an empty carrier on each kind of database."""
    if request.param == "sqlite":
        url, types = f"sqlite:///{tmp_path / 'carrier.db'}", {"instant": "TEXT", "naive": "DATETIME"}
    else:
        url = request.getfixturevalue("new_postgres_database")()
        types = {"instant": "TIMESTAMP WITH TIME ZONE", "naive": "TIMESTAMP"}
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in TABLES.format(**types).split(";"):
            connection.execute(text(statement))
    path = tmp_path / "records.toml"
    path.write_text(MAP.format(url=make_url(url).render_as_string(hide_password=False)))
    yield Carrier(engine, path)
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
def archive() -> Iterator[Archive]:
    """Serve an HTTP record system with rows of the former holder and of a stranger."""
    with serving_records() as server:
        server.rows += [Row("letters", FORMER.text, EARLIER), Row("contracts", FORMER.text, EARLIER), Row("letters", OTHER.text, EARLIER)]
        yield Archive(server)
