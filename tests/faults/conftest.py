"""Real processes to kill: a Temporal server for the session, and premises of its own for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import premises
import pytest
import pytest_asyncio
import running
from temporalio.client import Client

from fallow.local.temporal_server import RunningTemporal
from workers.connection import connect


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTemporal]:
    """A running Temporal server."""
    server = running.a_temporal(tmp_path_factory.mktemp("temporal"))
    yield server
    server.stop()


@pytest_asyncio.fixture
async def site(temporal: RunningTemporal, tmp_path: Path) -> AsyncIterator[premises.Premises]:
    """An installation without a worker yet."""
    async with premises.premises(tmp_path / f"p{abs(hash(tmp_path)):x}", temporal.address) as here:
        yield here


@pytest_asyncio.fixture(scope="session")
async def client(temporal: RunningTemporal, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of a prepared namespace, for engines in the test's own process."""
    return await connect(await running.a_namespace(temporal.address, tmp_path_factory.mktemp("state")))
