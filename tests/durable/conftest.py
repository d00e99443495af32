"""One real Temporal server for the session, one namespace of its own, and engines at work in it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import running
from stoppable import a_world
from temporalio.client import Client

from fallow.local.temporal_server import RunningTemporal
from fallow.settings import Settings
from workers.connection import connect


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTemporal]:
    """A running Temporal server."""
    server = running.a_temporal(tmp_path_factory.mktemp("temporal"))
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="session")
async def temporal_settings(temporal: RunningTemporal, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that name a prepared namespace."""
    return await running.a_namespace(temporal.address, tmp_path_factory.mktemp("state"))


@pytest_asyncio.fixture(scope="session")
async def client(temporal_settings: Settings) -> Client:
    """A client of that namespace."""
    return await connect(temporal_settings)


@pytest_asyncio.fixture(scope="module", params=[1000, 0], ids=["cached", "uncached"])
async def engine(request: pytest.FixtureRequest, client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[running.Engine]:
    """An engine at work on a database of its own; with ``uncached`` every workflow task replays the whole history."""
    world = a_world(tmp_path_factory.mktemp("engine"))
    async with running.at_work(world, client, cached=request.param) as at_work:
        yield at_work
