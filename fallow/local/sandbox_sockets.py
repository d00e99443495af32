"""The sandbox's bad manners on a connection: a slow line, or hanging up before the answer. Plain sockets: no client does that."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import h11
import httpx

from fallow.domain.errors import TargetUnavailable
from fallow.platforms.endpoints import Endpoint, literal
from fallow.platforms.transport import LONGEST_REPLY, Reply, resolve_by_system

_SIP = 64
_BETWEEN_SIPS = 0.02
#: So little that what is not read yet soon stands at the sender's side.
_RECEIVE_BUFFER = 2048
_LOOK_EVERY = 0.25
_USUAL_LIMIT = 65536


@dataclass
class Pause:
    """A stop in the middle of a request.

    Attributes:
        reached: set when half of it is on its way.
        over: is waited for before the rest follows.
    """

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def wait_until_listening(endpoint: Endpoint, within: timedelta) -> None:
    """Wait until something listens at the endpoint; nothing is sent.

    Raises:
        TargetUnavailable: nothing did in time.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within.total_seconds()):
            while True:
                with contextlib.suppress(OSError):
                    async with _connected(endpoint):
                        return
                await asyncio.sleep(_LOOK_EVERY)
    what = f"Nothing listens at {endpoint.authority}."
    raise TargetUnavailable(what, remedy="start your service, or mend --url.")


async def post_and_hang_up(endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole request and end the connection as soon as an answer begins, without reading it.

    Raises:
        OSError: it could not be sent.
    """
    async with _connected(endpoint) as (reader, writer):
        writer.write(_request(h11.Connection(h11.CLIENT), endpoint, headers, body))
        await reader.read(1)


async def post_and_sip(endpoint: Endpoint, headers: Mapping[str, str], body: bytes, pause: Pause) -> Reply:
    """Send a request with a pause in it and read the answer a few bytes at a time.

    Raises:
        OSError: the connection broke.
        h11.RemoteProtocolError: what came is no HTTP, or ended too early.
    """
    connection, came, status = h11.Connection(h11.CLIENT), bytearray(), 0
    found: dict[str, str] = {}
    async with _connected(endpoint, _RECEIVE_BUFFER) as (reader, writer):
        raw = _request(connection, endpoint, headers, body)
        writer.write(raw[: len(raw) // 2])
        await writer.drain()
        pause.reached.set()
        await pause.over.wait()
        writer.write(raw[len(raw) // 2 :])
        while len(came) <= LONGEST_REPLY:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_SIP))
                await asyncio.sleep(_BETWEEN_SIPS)
            elif isinstance(event, h11.Response):
                status, found = event.status_code, {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                came += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
    return Reply(status, found, bytes(came))


def _request(connection: h11.Connection, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> bytes:
    everything = {"host": endpoint.authority, "content-length": str(len(body)), "user-agent": "fallow", **headers}
    head = h11.Request(method="POST", target=endpoint.path, headers=list(everything.items()))
    return b"".join(connection.send(each) or b"" for each in (head, h11.Data(data=body), h11.EndOfMessage()))


@contextlib.asynccontextmanager
async def _connected(endpoint: Endpoint, buffer: int = 0) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to an address that a request of the engine may go to; ``buffer``: bytes that the system may hold unread."""
    own = literal(endpoint.host)
    texts = await resolve_by_system(endpoint.host, endpoint.port) if own is None else [endpoint.host]
    allowed = [text for text in texts if (address := literal(text)) is not None and endpoint.allows(address)]
    if not allowed:
        what = f"The endpoint {endpoint.authority} resolves to an address that no request may go to."
        raise TargetUnavailable(what, remedy="give a public host, or --allow-loopback for one on this machine.")
    secure: ssl.SSLContext | None = httpx.create_ssl_context(trust_env=False) if endpoint.scheme == "https" else None
    name = endpoint.host if secure is not None else None
    raw = socket.socket(socket.AF_INET6 if ":" in allowed[0] else socket.AF_INET)
    raw.setblocking(False)
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    try:
        await asyncio.get_running_loop().sock_connect(raw, (allowed[0], endpoint.port))
        reader, writer = await asyncio.open_connection(sock=raw, ssl=secure, server_hostname=name, limit=buffer or _USUAL_LIMIT)
    except BaseException:
        raw.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
