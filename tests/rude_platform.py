"""A platform on a real socket that misbehaves as it is told, one request at a time, and what a test counts at it.

Used by the tests of the 37 behaviours. Everything of ours is real: the adapter, the transport, the sender's rounds, the database.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import httpx
from behaviours import Asked, Fault, Way
from builders import World, an_entry, headers_of
from certificates import HOST, Authority
from fastapi import FastAPI
from memory_ports import signed_delivery
from rude_server import Server, serving

from fallow.api.app import create_app
from fallow.domain.obligations import Category
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport

PLATFORM = "alpha-pay"
#: The whole deadline of a request in seconds: where only it ends a request, and where it must not be what ends one.
SHORT, LONG = 0.4, 20.0
#: How far behind its deadline a request may end on a busy machine, and what it may need of memory.
_SLACK, _MOST_BYTES = 10.0, 2 * 1024 * 1024
_HERE, _CLOSED, _FULL = ("127.0.0.1",), ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"), ("127.0.0.5",)


@dataclass
class RudePlatform:
    """The platform ``alpha-pay`` of a world, behind a real socket.

    Attributes:
        world: whose platform it is.
        server: what counts connections and requests.
        authority: who vouches for it; None for plain HTTP.
        fault: what happens to the next request; None: it answers as it should.
        strangers: references that no request asks.
        calls_back: outcomes of a callback that is sent before the response, by reference; empty: none.
        looked_up: the names that were looked up.
        heaviest: the most bytes that one request needed.
    """

    world: World
    server: Server
    authority: Authority | None
    fault: Fault | None = None
    strangers: tuple[str, ...] = ()
    calls_back: dict[str, str] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    heaviest: int = 0

    @property
    def asked(self) -> list[tuple[str, ...]]:
        """The references of each request, in order."""
        bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.server.requests]
        return [tuple(item["reference"] for item in body["items"]) for body in bodies]

    def times(self, reference: str) -> int:
        """Return how often a reference was asked."""
        return sum(reference in each for each in self.asked)

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        """Resolve its name as the fault wants it."""
        self.looked_up.append(host)
        way = Way.THROUGH if self.fault is None else self.fault.way
        if way is Way.NO_NAME:
            raise socket.gaierror
        return {Way.THROUGH: _HERE, Way.CLOSED: _CLOSED, Way.FULL: _FULL}[way]

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the fault to the request that has just been read."""
        asked = Asked(self.asked[-1], self.strangers, self.world.keys[PLATFORM], self.world.clock)
        if self.calls_back:
            assert (await self.call_back(self.calls_back)).status_code == 200
        await ((self.fault or Fault()).plays(asked))(reader, writer)

    async def call_back(self, outcomes: dict[str, str]) -> httpx.Response:
        """Send signed answers to the callback URL."""
        return await call_back(self.app, signed_delivery(self.world.keys[PLATFORM], outcomes, self.world.clock.now()))

    @cached_property
    def app(self) -> FastAPI:
        """The application that takes callbacks."""
        return create_app(self.world.wired)

    def certificate(self) -> ssl.SSLContext:
        """Return the certificate that the fault wants shown."""
        assert self.authority is not None
        flawed = self.fault.certificate if self.fault else ""
        shown: ssl.SSLContext = getattr(self.authority, flawed or "good")
        return shown


async def call_back(app: FastAPI, delivery: SignedDelivery, platform_id: str = PLATFORM) -> httpx.Response:
    """Send a signed message to a platform's callback URL."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
        return await client.post(f"/v1/platforms/{platform_id}/answers", headers=headers_of(delivery), content=delivery.body)


@dataclass
class Watched:
    """An adapter whose every request is bounded in time and measured in memory."""

    platform: RudePlatform
    adapter: HttpPlatform
    seconds: float
    platform_id: str = PLATFORM
    looks: bool = False

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Ask; a request that outlives its deadline by far ends as the TimeoutError it would otherwise hide."""
        tracemalloc.start()
        try:
            async with asyncio.timeout(self.seconds + _SLACK):
                return await self.adapter.ask(items)
        finally:
            self.platform.heaviest = max(self.platform.heaviest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Offer nothing."""
        return await self.adapter.look(references)


@contextlib.asynccontextmanager
async def rude_platform(world: World, authority: Authority | None = None) -> AsyncIterator[tuple[RudePlatform, Transport]]:
    """Serve until the end of the block; by TLS where an authority vouches for it."""
    platform = RudePlatform(world, Server(), authority)
    context = None
    if authority is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # Chosen at each handshake, by what is wrong just then.
        context.sni_callback = lambda connection, _name, _context: setattr(connection, "context", platform.certificate())
    async with serving(platform.play, context) as server:
        platform.server = server
        trust = None if authority is None else authority.trusts
        transport = Transport(resolve=platform.resolve, trust=trust, quick_waits=False)
        try:
            with _nobody_accepts(server.port):
                yield platform, transport
        finally:
            await transport.aclose()


def use(platform: RudePlatform, transport: Transport, engine_key: SigningKey) -> None:
    """Put the adapter into the installation, with the deadline that suits the fault."""
    seconds = SHORT if platform.fault is not None and platform.fault.slow else LONG
    scheme = "http" if platform.authority is None else "https"
    entry = replace(
        an_entry(PLATFORM, Category.PAYMENT, platform.world.keys[PLATFORM]),
        endpoint=Endpoint(scheme, HOST, platform.server.port, "/unbind", allow_loopback=True),
        timeout=seconds,
    )
    adapter = HttpPlatform(entry, transport, engine_key, platform.world.clock)
    if platform.calls_back:
        platform.app  # noqa: B018 - made now, because what the platform sends is not what a request of ours needs
    platform.world.platforms[PLATFORM] = Watched(platform, adapter, seconds)  # type: ignore[assignment]


@contextlib.contextmanager
def _nobody_accepts(port: int) -> Iterator[None]:
    """Listen at another address of this machine with a full queue: the kernel drops whoever else wants to connect."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((_FULL[0], port))
        listener.listen(0)
        for _ in range(3):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((_FULL[0], port))
        yield


def demand_little(platform: RudePlatform) -> None:
    """Fail where a request needed more than 2 MB."""
    assert platform.heaviest <= _MOST_BYTES, platform.heaviest
