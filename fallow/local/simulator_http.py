"""A small HTTP/1.1 server that can also misbehave: withhold a response, notice that the client has gone, reset.

Frameworks hide the connection; a platform that drops it in the middle needs it. Imports h11 and the standard library.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import h11

_LONGEST_BODY = 4 * 1024 * 1024
_CHUNK = 65536


@dataclass
class Exchange:
    """One request, and the connection it came on.

    Attributes:
        method: GET or POST.
        path: the path, without a query.
        headers: names in lower case.
        body: the whole body.
        reader: the connection's incoming side.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    reader: asyncio.StreamReader

    async def gone(self) -> None:
        """Return when the client has closed the connection."""
        while await self.reader.read(_CHUNK):
            pass


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Dropped(Exception):
    """The connection is to be reset instead of answered."""


Answer = Callable[[Exchange], Awaitable[Response]]


def json_response(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a JSON body."""
    return Response(status, json.dumps(content).encode(), {"content-type": "application/json", **(headers or {})})


async def listen(port: int, answer: Answer, host: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    """Listen on a port (0: any free one) of this machine; return the server and its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            await _converse(reader, writer, answer)
        writer.close()

    server = await asyncio.start_server(connected, host, port)
    return server, server.sockets[0].getsockname()[1]


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    connection = h11.Connection(h11.SERVER)
    while (exchange := await _receive(connection, reader)) is not None:
        try:
            response = await answer(exchange)
        except Dropped:
            _reset(writer)
            return
        await _send(connection, writer, response)
        if connection.our_state is h11.MUST_CLOSE:
            return
        connection.start_next_cycle()


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Exchange | None:
    request, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _LONGEST_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in request.headers}
            path = request.target.decode().partition("?")[0]
            return Exchange(request.method.decode(), path, headers, bytes(body), reader)
        else:
            return None


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, response: Response) -> None:
    length = {} if response.status == 204 else {"content-length": str(len(response.body))}  # noqa: PLR2004 - No Content
    head = h11.Response(status_code=response.status, headers=list({**response.headers, **length}.items()))
    parts = (head, h11.Data(data=response.body), h11.EndOfMessage()) if response.body else (head, h11.EndOfMessage())
    for part in parts:
        writer.write(connection.send(part) or b"")
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Linger 0 turns the close into a reset, which is what a crashed peer looks like.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
