"""Builders for tests of the registry: tables, an installation that believes the registry, and an endpoint that answers pings."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from builders import PLATFORMS, World
from builders_cycles import Staff
from rude_server import Server, serving

from fallow.domain.people import Person
from fallow.domain.registration import FOUNDING
from fallow.operations.installation import Installation
from fallow.operations.registering import Registering
from fallow.operations.registry_founding import EVER
from fallow.operations.sale import DEMO_FACT
from fallow.platforms.adapters.catalogue import ADAPTERS, Adapter
from fallow.platforms.forms import WebhookForm
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.signing import SigningKey, new_delivery_id, sign
from fallow.store import registry
from fallow.store.platform_tables import RegistryEventRow
from fallow.store.registry import Registration
from fallow.store.tables import FactRow

Result = TypeVar("Result")
Echo = Callable[[dict[str, Any]], dict[str, Any]]


def a_table(platform_id: str, *keys: SigningKey, **changed: Any) -> dict[str, Any]:
    """Return a registration's table; ``changed`` overrides."""
    usual = {
        "id": platform_id,
        "category": str(PLATFORMS.get(platform_id, "shop")),
        "url": f"https://{platform_id}.example.com/unbind",
        "contact": "ops@example.com",
        "public_keys": [key.public.text for key in keys],
    }
    return {**usual, **changed}


def founded(world: World, *more: Mapping[str, Any]) -> Installation:
    """Register the world's platforms, and ``more``, as founding does, in a demo database; return the installation that believes it."""
    here = replace(world.installation, speakers=world.installation.registered)
    with here.db.begin() as tx:
        for table in (*(a_table(each, key) for each, key in world.keys.items()), *more):
            registration = Registration(dict(table))
            registry.append(tx, here.registered.bodies, registration, proposed_by=FOUNDING, approved_by=FOUNDING, since=EVER)
        tx.session.merge(FactRow(name=DEMO_FACT, value="yes"))  # tests' endpoints are on this machine
    here.registered.refresh()
    return here


def enter(here: Installation, table: Mapping[str, Any], *, decommissioned: bool = False) -> None:
    """Enter a revision as two people would, without their rules."""
    with here.db.begin() as tx:
        registration = Registration(dict(table), decommissioned)
        registry.append(tx, here.registered.bodies, registration, proposed_by="one", approved_by="another")
    here.registered.refresh()


def with_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an adapter for hubs, whatever else there is."""
    if "hub" not in ADAPTERS:
        hub = Adapter(lambda _, served_by, way: HttpPlatform(served_by, way.transport, way.signing_key, way.clock), WebhookForm())
        monkeypatch.setitem(ADAPTERS, "hub", hub)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run something asynchronous to its end."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def register(here: Installation, people: Staff, table: Mapping[str, Any], signer: SigningKey) -> None:
    """Propose, ping and approve ``table``, whose endpoint answers with ``signer``."""
    Registering(here).approve(people.approver, ping_with(here, people, table, signer))


def pong(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer a ping as a platform does."""
    return {"type": "fallow.pong.v1", "challenge": asked["challenge"]}


def ping_with(
    here: Installation, people: Staff, table: Mapping[str, Any], signer: SigningKey, echo: Echo = pong, by: Person | None = None
) -> str:
    """Propose ``table`` and ping it at an endpoint that answers with ``signer``; return the proposal's id, whatever came of it."""
    made = list[str]()

    async def pinged() -> None:
        async with answering(here, signer, echo) as server:
            url = f"http://127.0.0.1:{server.port}/unbind"
            made.append(Registering(here).propose(by or people.operator, {**table, "url": url, "allow_loopback": True}))
            try:
                await Registering(here).ping(people.operator, made[0])
            finally:
                await here.registered.way.transport.aclose()

    run(pinged())
    return made[0]


@contextlib.asynccontextmanager
async def answering(here: Installation, signer: SigningKey, echo: Echo = pong) -> AsyncIterator[Server]:
    """Serve an endpoint that answers each ping as a platform does; ``echo`` makes the answer of the question."""
    found = list[Server]()

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(found[0].requests[-1].partition(b"\r\n\r\n")[2])
        body = json.dumps(echo(asked)).encode()
        signed = sign(signer, new_delivery_id(), here.registered.way.clock.now(), body)
        head = "".join(f"{name}: {value}\r\n" for name, value in {**signed, "content-length": str(len(body))}.items())
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)

    async with serving(play) as server:
        found.append(server)
        yield server


def told(here: Installation, platform_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return a platform's events: kind and body."""
    with here.db.read() as tx:
        rows: list[RegistryEventRow] = registry.events(tx, platform_id)
    return [(row.kind, json.loads(row.body)) for row in rows]
