"""Fixtures shared by all tests: one PostgreSQL server a session, a fresh database a test, and worlds upon them."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from builders import World, an_installation
from builders_cycles import assert_folds
from hypothesis import HealthCheck, settings

from fallow.local import postgres
from fallow.local.postgres import PostgresNotInstalled, RunningPostgres

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("here", deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("ci", deadline=None, suppress_health_check=_SLOW_IS_FINE, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[RunningPostgres]:
    """A PostgreSQL server on a free port; a visible skip where none is installed, a failure under CI."""
    try:
        server = postgres.start(fsync=False, options=["max_connections=300", "autovacuum=off", "checkpoint_timeout=1h"])
    except PostgresNotInstalled as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    yield server
    server.kill()  # nothing is kept, so there is nothing to write out
    server.stop()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: RunningPostgres) -> str:
    """The one database of the session: a hundred of them would be 30,000 files to make and remove."""
    return postgres_server.create_database("tests")


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The PostgreSQL database, emptied of whatever the test before left, its connections included."""
    with psycopg.connect(postgres_database.replace("+psycopg", "", 1), autocommit=True) as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fallow.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def damaged(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world on each database whose rows a test may damage."""
    world = an_installation(tmp_path, url=database_url)
    yield world
    world.installation.db.close()


@pytest.fixture
def world(damaged: World) -> Iterator[World]:
    """A world on each database; after the test, the events of every cycle must fold into its rows."""
    yield damaged
    assert_folds(damaged.installation.db)


@pytest.fixture
def postgres_world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """A world on PostgreSQL alone, checked like ``world``."""
    world = an_installation(tmp_path, url=postgres_url)
    yield world
    assert_folds(world.installation.db)
    world.installation.db.close()


@pytest.fixture
def sqlite_world(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite alone, checked like ``world``."""
    world = an_installation(tmp_path)
    yield world
    assert_folds(world.installation.db)
    world.installation.db.close()
