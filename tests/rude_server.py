"""A server on a real socket that behaves as badly as a test asks, and a transport that finds it. Used by contract tests."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fallow.platforms.endpoints import Endpoint
from fallow.platforms.transport import Transport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server on a free port of this machine that plays one behaviour to every request.

    Attributes:
        port: where it listens.
        connections: connections accepted.
        requests: the raw requests read.
        asked: set when the first has been read.
    """

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def endpoint(self, host: str = "127.0.0.1", scheme: str = "http") -> Endpoint:
        """Return the URL of this server."""
        return Endpoint(scheme, host, self.port, "/unbind", allow_loopback=True)


@contextlib.asynccontextmanager
async def serving(play: Play, trust: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve until the end of the block; what still plays then is cancelled."""
    server, playing = Server(), set[asyncio.Task[None] | None]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        playing.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if trust is not None:
                await writer.start_tls(trust)  # only now, so that a connection whose handshake fails is counted too
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                server.requests.append(head + await reader.readexactly(length))
                server.asked.set()
                await play(reader, writer)
                await writer.drain()
        writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in filter(None, playing):
            task.cancel()
        await asyncio.gather(*filter(None, playing), return_exceptions=True)


@contextlib.asynccontextmanager
async def transport_to(addresses: Sequence[str] = ("127.0.0.1",), trust: ssl.SSLContext | None = None) -> AsyncIterator[Transport]:
    """Make a transport whose resolver knows one answer, without waits, and close it."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    transport = Transport(resolve=resolve, trust=trust, quick_waits=False)
    try:
        yield transport
    finally:
        await transport.aclose()


def says(raw: bytes) -> Play:
    """Play: these bytes."""

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return play


def says_and_ends(raw: bytes, *, by_reset: bool = False) -> Play:
    """Play: these bytes, then the connection ends."""

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if by_reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        raise ConnectionError

    return play


def drips(head: bytes, drop: bytes, every: float) -> Play:
    """Play: a head, then a drop again and again without end."""

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every)

    return play


def response(status: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a whole response."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
