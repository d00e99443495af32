"""Ground for tests of adapters: an installation in which one platform is reached as its registration says, over real sockets and files."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from builders import World, advance, an_installation, enrolled, references
from rude_server import Server, serving, transport_to

from fallow.api.app import create_app
from fallow.domain.cycle import ref
from fallow.domain.gate import Proof
from fallow.domain.lifecycle import State
from fallow.domain.obligations import TargetKind
from fallow.operations.proofs import proofs
from fallow.operations.sending import Tally
from fallow.operations.stages import Stages
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.platforms.adapters.catalogue import Way, make_platform
from fallow.platforms.platform_map import PlatformEntry, read_registration
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport
from fallow.store import leases, obligations
from fallow.store.tables import ObligationRow

#: Who is reached by the adapter under test.
ME = "alpha-pay"
ENGINE = SigningKey(bytes(range(32)))
_USUAL: Mapping[str, Any] = {"category": "payment", "contact": "ops@example.com", "allow_loopback": True, "batch": 20, "timeout": "5s"}


@dataclass
class Ground:
    """One number that waits for its platforms.

    Attributes:
        world: the installation.
        cycle_id: the number's cycle.
        asked: how often the adapter was asked.
    """

    world: World
    cycle_id: str
    transport: Transport
    asked: int = field(default=0)

    @property
    def reference(self) -> str:
        """The reference of what the platform under test owes."""
        return references(self.world, self.cycle_id)[ME]

    def owed(self, target_id: str = ME) -> ObligationRow:
        """Return what a platform owes, as it stands."""
        with self.world.installation.db.read() as tx:
            return {row.target_id: row for row in obligations.of_cycle(tx, self.cycle_id)}[target_id]

    def proof(self, target_id: str = ME) -> Proof | None:
        """Return what the gate makes of the evidence."""
        with self.world.installation.db.read() as tx:
            found = proofs(tx, self.world.installation, obligations.of_cycle(tx, self.cycle_id))
        return {each.target_id: each for each in found}.get(target_id)

    async def ask(self, target_id: str = ME) -> Tally:
        """Let the platform's sender do one round, on this loop."""
        rounds, tally = UnbindingRounds(self.world.installation, target_id), Tally()
        with self.world.installation.db.begin() as tx:
            fence = leases.take(tx, target_id, "test")
        assert fence is not None
        await rounds.round("test", fence, tally)
        with self.world.installation.db.begin() as tx:
            leases.give_back(tx, target_id, "test")
        return tally

    async def call_back(self, headers: Mapping[str, str], body: bytes, *, speaker: str = ME) -> httpx.Response:
        """Send a callback to the real API."""
        app = create_app(self.world.wired)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.post(f"/v1/platforms/{speaker}/answers", headers=dict(headers), content=body)

    def released(self) -> bool:
        """Let the number go on and tell whether it passed the gate."""
        advance(self.world, self.cycle_id, State.RESELLABLE)
        with self.world.installation.db.read() as tx:
            return tx.session.get_one(obligations.CycleRow, self.cycle_id).state == State.RESELLABLE


def registered(world: World, transport: Transport, *tables: Mapping[str, Any]) -> None:
    """Register platforms in ``world`` from tables as `platforms.toml` has them."""
    entries: dict[str, PlatformEntry] = {str(each["id"]): read_registration("test", {**_USUAL, **each}) for each in tables}
    world.wired.entries.update(entries)
    way = Way(transport, ENGINE, world.clock)
    for platform_id, entry in entries.items():
        if entry.adapter != "hub":
            world.platforms[platform_id] = make_platform(entry, world.wired.entries, way)  # type: ignore[assignment]


@contextlib.asynccontextmanager
async def ground(folder: Path, *tables: Mapping[str, Any]) -> AsyncIterator[Ground]:
    """Make an installation with these registrations and one number, whose platforms are about to be asked."""
    async with transport_to() as transport:
        world = await asyncio.to_thread(_waiting, folder)
        registered(world, transport, *tables)
        cycle_id = (await asyncio.to_thread(enrolled, world))[0]
        await asyncio.to_thread(advance, world, cycle_id, State.UNBINDING)
        await asyncio.to_thread(Stages(world.installation).clear, ref(cycle_id), TargetKind.PLATFORM)
        yield Ground(world, cycle_id, transport)
        world.installation.db.close()


def _waiting(folder: Path) -> World:
    return an_installation(folder)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[bytes, bytes], bytes]) -> AsyncIterator[Server]:
    """Serve on a real socket; ``answer`` makes the whole response from a request's head and body."""
    made: list[Server] = []

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = made[0].requests[-1].partition(b"\r\n\r\n")
        writer.write(answer(head, body))

    async with serving(play) as server:
        made.append(server)
        yield server


def url_of(server: Server) -> str:
    """Return the URL of a server."""
    return server.endpoint().url
