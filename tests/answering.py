"""Callbacks as platforms send them, for tests: signed, over HTTP to the application, one after the other or at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from builders import World, headers_of, references
from fastapi import FastAPI
from memory_ports import signed_delivery
from sqlmodel import select

from fallow.domain.events import Kind
from fallow.domain.obligations import Outcome
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import Heard
from fallow.platforms.protocol import parse_answers
from fallow.store import cycles, obligations
from fallow.store.platform_tables import ExchangeRow
from fallow.store.tables import CycleRow

Sent = tuple[str, SignedDelivery]


def send(app: FastAPI, *sent: Sent, together: bool = False, last: str = "answers") -> list[httpx.Response]:
    """Post callbacks to one application."""
    return send_each([(app, each) for each in sent], together=together, last=last)


def send_each(sent: Sequence[tuple[FastAPI, Sent]], *, together: bool = False, last: str = "answers") -> list[httpx.Response]:
    """Post callbacks, each to the application beside it."""

    async def post(app: FastAPI, platform_id: str, delivery: SignedDelivery) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            path = f"/v1/platforms/{platform_id}/{last}"
            return await client.post(path, headers=headers_of(delivery), content=delivery.body)

    async def post_all() -> list[httpx.Response]:
        calls = [post(app, *each) for app, each in sent]
        return list(await asyncio.gather(*calls)) if together else [await call for call in calls]

    return asyncio.run(post_all())


def saying(world: World, platform_id: str, said: Mapping[str, Outcome], *, delivery_id: str | None = None) -> Sent:
    """Return a callback that says ``said``, outcome by reference."""
    return platform_id, signed_delivery(world.keys[platform_id], said, world.clock.now(), delivery_id=delivery_id)


def about(world: World, platform_id: str, cycle_id: str, outcome: Outcome) -> Sent:
    """Return a callback about one cycle."""
    return saying(world, platform_id, {references(world, cycle_id)[platform_id]: outcome})


def heard(sent: Sent) -> Heard:
    """Return a callback as the desk takes it, its signature yet to be verified."""
    platform_id, delivery = sent
    return Heard(platform_id, delivery, [(answer.reference, answer.outcome) for answer in parse_answers(delivery.body)])


def standing(world: World, *cycle_ids: str) -> list[tuple[Any, ...]]:
    """Return of each cycle what answers can change, order of events and instants left out."""
    found = []
    with world.installation.db.read() as tx:
        for cycle_id in cycle_ids:
            row = cycles.get(tx, cycle_id)
            owed = [(each.target_id, each.status, each.outcome) for each in obligations.of_cycle(tx, cycle_id)]
            found.append((row.state, row.attention, row.held, row.wake_no, owed))
    return found


def moves(world: World, cycle_id: str, target_id: str) -> int:
    """Return how often an obligation was moved."""
    with world.installation.db.read() as tx:
        events = cycles.events(tx, cycle_id)
    return sum(event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == target_id for event in events)


def logged(world: World) -> list[tuple[str, str, int, int | None, str]]:
    """Return the delivery log: platform, delivery, answers, status, result."""
    with world.installation.db.read() as tx:
        rows = tx.session.exec(select(ExchangeRow).where(ExchangeRow.direction == "in").order_by(ExchangeRow.exchange_id))  # type: ignore[arg-type]
        return [(row.platform_id, row.delivery_id, row.items, row.status, row.result) for row in rows]


def all_cycles(world: World) -> list[str]:
    """Return every cycle's id."""
    with world.installation.db.read() as tx:
        return sorted(tx.session.exec(select(CycleRow.cycle_id)))
