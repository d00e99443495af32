"""How much and how long: bounds on request bodies, the headers of every response, and a lid on what nobody expected.

No ASGI server bounds slow bodies by itself (measured: all kept one open for more than 40 s). Pure ASGI; imports starlette.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fallow.api.problems import Problem

_log = structlog.get_logger()


@dataclass(frozen=True)
class Bounds:
    """What a route takes.

    Attributes:
        most_bytes: longest body.
        within: seconds in which the whole body must have come.
    """

    most_bytes: int
    within: float


SMALL = Bounds(64 * 1024, 10.0)
#: Thousands of signed answers in one body.
BATCH = Bounds(4 * 1024 * 1024, 30.0)
#: A whole file over a slow line takes longer; whoever sends it was authenticated before its first byte was read.
UPLOAD = Bounds(64 * 1024 * 1024, 120.0)
#: Most bytes of batches that a process holds at once, from those that wait for their end to those that wait for the desk.
ROOM = 16 * BATCH.most_bytes


class Room:
    """What all bodies of a kind may take together: anybody may begin to send one, and only a whole one can be verified."""

    def __init__(self, most_bytes: int) -> None:
        """Set ``most_bytes`` aside."""
        self._left = most_bytes

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """Give what takes so many bytes more for a request (503 where there are none), and have them back when it is over."""
        mine = 0

        def take(octets: int) -> None:
            nonlocal mine
            if octets > self._left:
                raise HTTPException(503, headers={"retry-after": "2", "connection": "close"})
            self._left -= octets
            mine += octets

        try:
            yield take
        finally:
            self._left += mine


def bounded(scope: Scope, receive: Receive, bounds: Bounds, take: Callable[[int], None] = lambda _: None) -> Receive:
    """Return ``receive`` with a cap on bytes (413) and a deadline (408) for the body as a whole; ``take`` is told of what came."""
    declared = Headers(scope=scope).get("content-length", "0")
    arrived = 0
    deadline: float | None = None
    complete = False

    async def receive_within() -> Message:
        nonlocal arrived, deadline, complete
        if complete:
            return await receive()
        if not declared.isdecimal() or int(declared[:19]) > bounds.most_bytes:
            raise _too_long(bounds)
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + bounds.within
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, headers={"connection": "close"}) from None
        arrived += len(message.get("body", b""))
        if arrived > bounds.most_bytes:
            raise _too_long(bounds)
        take(len(message.get("body", b"")))
        complete = not message.get("more_body", False)
        return message

    return receive_within


class Lid:
    """Sets the headers that every response has, and answers an unexpected exception with a problem that shows nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it may reach the caller or, as text, the log
            _log.error("request failed unexpectedly", error=type(error).__name__, where=_where(error))
            if not started:
                await Problem.unexpected().response()(scope, receive, send_with_headers)


def _too_long(bounds: Bounds) -> HTTPException:
    return HTTPException(413, detail=str(bounds.most_bytes), headers={"connection": "close"})


def _where(error: BaseException) -> list[str]:
    """Return file and line of each frame: an exception's own text could hold what was sent."""
    places = []
    frame = error.__traceback__
    while frame is not None:
        places.append(f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}")
        frame = frame.tb_next
    return places[-8:]
