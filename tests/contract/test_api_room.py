"""What anybody can send without a key takes no more memory than a process sets aside for it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from builders import World, advance, an_installation, enrolled, headers_of, references
from fastapi import FastAPI
from memory_ports import signed_delivery

from fallow.api.app import create_app
from fallow.api.bounds import BATCH, ROOM
from fallow.domain.lifecycle import State

_SINGLE, _BATCH = "/v1/platforms/alpha-pay/answers", "/v1/platforms/alpha-pay/answers/batch"
Message = dict[str, Any]


def _waiting(folder: Path) -> tuple[World, FastAPI, str]:
    world = an_installation(folder)
    for platform in world.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.TAGGING)
    return world, create_app(world.wired), references(world, cycle_id)["alpha-pay"]


async def _post(app: FastAPI, path: str, receive: Callable[[], Awaitable[Message]], headers: dict[str, str] | None = None) -> Message:
    started: list[Message] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)

    sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": sent}
    await app({**scope, "root_path": "", "scheme": "http", "http_version": "1.1"}, receive, send)
    return started[0]


def _whole(body: bytes) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def test_unproved_batches_take_no_more_than_their_room(tmp_path: Path) -> None:
    """Whoever holds them back fills no memory and stops no single answer; once they are gone, batches are taken again."""
    world, app, reference = _waiting(tmp_path)
    single = signed_delivery(world.keys["alpha-pay"], {reference: "unbound"}, world.clock.now())
    chunk, arrived, over = bytes(BATCH.most_bytes), asyncio.Semaphore(0), asyncio.Event()

    def held_back() -> Callable[[], Awaitable[Message]]:
        came = False

        async def receive() -> Message:
            nonlocal came
            if not came:
                came = True
                return {"type": "http.request", "body": chunk, "more_body": True}
            arrived.release()
            await over.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        return receive

    async def play() -> tuple[Message, ...]:
        places = ROOM // BATCH.most_bytes
        holding = [asyncio.create_task(_post(app, _BATCH, held_back())) for _ in range(places)]
        for _ in range(places):
            await asyncio.wait_for(arrived.acquire(), 20)
        turned_away = await _post(app, _BATCH, _whole(b"x"))
        alone = await _post(app, _SINGLE, _whole(single.body), headers_of(single))
        over.set()
        refused = await asyncio.gather(*holding)
        return turned_away, alone, *refused, await _post(app, _BATCH, _whole(single.body), headers_of(single))

    turned_away, alone, *refused, again = asyncio.run(play())

    assert turned_away["status"] == 503
    assert (b"retry-after", b"2") in turned_away["headers"]
    assert {each["status"] for each in refused} == {401}
    assert (alone["status"], again["status"]) == (200, 200)
