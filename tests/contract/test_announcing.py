"""Resale is told to platforms that speak shared signals: durably, to those that were asked, and never in the way of a sale."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from adapter_ground import ME, Ground, answering, ground, url_of
from builders import a_person, number
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from event_tokens import claims, header, token
from rude_server import Server, response
from sqlmodel import select

from fallow.domain.collecting import Announcing
from fallow.domain.errors import TargetUnavailable
from fallow.domain.people import Role
from fallow.operations.announcing import announce
from fallow.operations.collecting import visited
from fallow.operations.platform_control import pause, resume
from fallow.operations.sale import sell, tag_for
from fallow.platforms.adapters.shared_signals import RECYCLED
from fallow.platforms.signing import PublicKey
from fallow.store.tables import OutboxRow
from workers import loops

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


def _table(server: Server) -> dict[str, Any]:
    public = PublicKey(KEY.public_key().public_bytes_raw()).text
    return {"id": ME, "adapter": "shared-signals", "url": url_of(server), "public_keys": [public]}


async def _sold(here: Ground, server: Server) -> None:
    """Let the platforms answer, and sell the number."""
    said = claims(here.reference, "binding-cleared", here.world.clock.now(), url_of(server))
    await here.call_back({}, token(KEY, said, header("EdDSA")).encode())
    assert await asyncio.to_thread(here.released)
    shop = a_person(here.world, Role.SHOP)
    tag = tag_for(here.world.installation, shop, number(0))
    sell(here.world.installation, shop, number(0), tag.digest, "form 1")


def _platform(here: Ground) -> Announcing:
    (platform,) = visited(here.world.installation)
    assert isinstance(platform, Announcing)
    return platform


def _events(server: Server) -> list[dict[str, Any]]:
    parts = [raw.partition(b"\r\n\r\n")[2].decode().split(".")[1] for raw in server.requests]
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts]


async def test_a_sale_is_told_once_to_whom_was_asked(tmp_path: Path) -> None:
    """After the sale the platform gets RISC's event about that number, once, and nothing before."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, _table(server)) as here:
        assert await announce(here.world.installation, _platform(here)) == 0
        await _sold(here, server)

        told = [await announce(here.world.installation, _platform(here)) for _ in range(2)]

        (event,) = _events(server)
        assert told == [1, 0]
        assert (list(event["events"]), event["sub_id"]["phone_number"]) == ([RECYCLED], number(0).text)


async def test_workers_that_visit_at_once_tell_a_sale_once(tmp_path: Path) -> None:
    """One of them tells, the others leave it to that one."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, _table(server)) as here:
        await _sold(here, server)

        told = await asyncio.gather(*(announce(here.world.installation, _platform(here)) for _ in range(4)))

        assert sorted(told) == [0, 0, 0, 1]
        assert len(_events(server)) == 1


async def test_what_could_not_be_told_is_told_later(tmp_path: Path) -> None:
    """A platform that is down hears of the sale once it is up: the sale itself did not wait."""
    replies = [response("503 Service Unavailable"), response("202 Accepted")]
    async with answering(lambda _, __: replies.pop(0)) as server, ground(tmp_path, _table(server)) as here:
        await _sold(here, server)
        with pytest.raises(TargetUnavailable):
            await announce(here.world.installation, _platform(here))

        assert await announce(here.world.installation, _platform(here)) == 1
        assert len(_events(server)) == 2


async def test_what_a_platform_rejects_is_not_repeated(tmp_path: Path) -> None:
    """One number that it rejects does not keep it from hearing of others."""
    raw = response("400 Bad Request", body=b'{"err":"invalid_request","description":"no"}')
    async with answering(lambda _, __: raw) as server, ground(tmp_path, _table(server)) as here:
        await _sold(here, server)

        told = [await announce(here.world.installation, _platform(here)) for _ in range(2)]

        assert (told, len(server.requests)) == ([1, 0], 1)


async def test_other_platforms_are_told_nothing(tmp_path: Path) -> None:
    """A sale owes nothing to platforms whose adapters have no such event, nor to one that can't be made any more."""
    async with ground(tmp_path) as here:
        assert await asyncio.to_thread(here.released)
        del here.world.platforms["gamma-bank"]
        shop = a_person(here.world, Role.SHOP)
        sell(here.world.installation, shop, number(0), tag_for(here.world.installation, shop, number(0)).digest, "form 1")

        with here.world.installation.db.read() as tx:
            kinds = list(tx.session.exec(select(OutboxRow.kind)))
        assert (kinds, visited(here.world.installation)) == (["NumberReleased"], [])


async def test_a_paused_platform_is_told_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    """What an operator paused is not visited; afterwards it is, and hears of the sale."""
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, _table(server)) as here:
        await _sold(here, server)
        operator = a_person(here.world, Role.OPERATOR)
        pause(here.world.installation, operator, ME)
        paused = visited(here.world.installation)
        resume(here.world.installation, operator, ME)

        assert paused == []
        assert await announce(here.world.installation, _platform(here)) == 1


async def test_a_worker_tells_by_itself(tmp_path: Path) -> None:
    """The loop of a worker brings the event without being told."""
    stop = asyncio.Event()
    async with answering(lambda _, __: response("202 Accepted")) as server, ground(tmp_path, _table(server)) as here:
        await _sold(here, server)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(loops.visit(here.world.installation, stop))
            await server.asked.wait()
            stop.set()

        assert list(_events(server)[0]["events"]) == [RECYCLED]
