"""The simulated platforms' callbacks: signed, repeated until the engine says 2xx, as a real platform does.

Imports httpx and the simulator's own modules.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping, Sequence

import httpx

from fallow.local.simulator_signing import answers_body, new_message_id, sign
from fallow.local.simulator_truth import Truth

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0
_AT_ONCE = 32


class Callbacks:
    """Sends answers to the engine's callback URL."""

    def __init__(self, url: str, keys: Mapping[str, str], truth: Truth) -> None:
        """Take the URL with ``{platform_id}`` in it, the platforms' keys, and where to note what happens."""
        self._url = url
        self._keys = keys
        self._truth = truth
        self._client = httpx.AsyncClient(trust_env=False, timeout=10, limits=httpx.Limits(max_connections=_AT_ONCE))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many callbacks are not finished."""
        return len(self._tasks)

    def soon(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something by itself; it is counted as waiting until it is over."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def call(self, platform: str, answers: Sequence[tuple[str, str]], after: float = 0.0, times: int = 1) -> None:
        """Send (reference, outcome) pairs as one message, until it is taken; further ``times`` are byte for byte the same."""
        await asyncio.sleep(after)
        body = answers_body(answers)
        message_id = new_message_id()
        headers = await self._until_taken(platform, message_id, body)
        self._truth.said(platform, dict(answers), "callback", message_id)
        for _ in range(times - 1):
            await self._send(platform, message_id, headers, body)

    async def aclose(self) -> None:
        """Drop what waits and close the connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RuntimeError):
            await self._client.aclose()

    async def _until_taken(self, platform: str, message_id: str, body: bytes) -> dict[str, str]:
        for attempt in itertools.count():
            # The id stays, the time is that of the attempt, so each attempt is signed anew (Standard Webhooks 1.0.0).
            headers = sign(self._keys[platform], message_id, body)
            if await self._send(platform, message_id, headers, body):
                return headers
            await asyncio.sleep(min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT))
        raise AssertionError

    async def _send(self, platform: str, message_id: str, headers: Mapping[str, str], body: bytes) -> bool:
        url = self._url.replace("{platform_id}", platform)
        try:
            reply = await self._client.post(url, content=body, headers={**headers, "content-type": "application/json"})
        except httpx.HTTPError as error:
            self._truth.note("callback-failed", platform, delivery=message_id, why=type(error).__name__)
            return False
        self._truth.note("called-back", platform, delivery=message_id, status=reply.status_code)
        return reply.is_success
