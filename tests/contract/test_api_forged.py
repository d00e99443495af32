"""On every route that a signature opens: forgeries are refused alike, and every platform's key fits its own path only (D5, S2)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx
import pytest
from builders import World, advance, an_installation, enrolled, headers_of, references
from fastapi import FastAPI
from forgeries import FORGERIES, Forge, Good
from memory_ports import signed_delivery
from sqlmodel import func, select

from fallow.api.app import create_app
from fallow.api.guard import Open
from fallow.api.routes import ROUTES
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Category
from fallow.platforms.signing import SIGNATURE_HEADER, SigningKey
from fallow.store.tables import CycleRow, DeliveryRow, EventRow, ObligationRow

EIGHT: Mapping[str, Category] = {
    "alpha-pay": Category.PAYMENT,
    "beta-chat": Category.SOCIAL,
    "gamma-bank": Category.BANK,
    "delta-shop": Category.SHOP,
    "epsilon-game": Category.GAME,
    "zeta-office": Category.GOVERNMENT,
    "eta-label": Category.CALL_LABEL,
    "theta-pay": Category.PAYMENT,
}
SIGNED = [route.path for route in ROUTES if route.policy is Open.SIGNED]


@dataclass(frozen=True)
class Door:
    """An installation whose one number waits for eight platforms, and the way to its API.

    Attributes:
        world: the installation.
        app: its API.
        retired: the key that ``alpha-pay`` had before.
        owed: each platform's reference.
    """

    world: World
    app: FastAPI
    retired: SigningKey
    owed: dict[str, str]

    def send(self, path: str, platform_id: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        """Post to a platform's path."""

        async def post() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://fallow.test") as client:
                return await client.post(path.format(platform_id=platform_id), headers=dict(headers), content=body)

        return asyncio.run(post())

    def state(self) -> object:
        """Return everything that a message could change."""
        with self.world.installation.db.read() as tx:
            owed = tx.session.exec(select(ObligationRow.target_id, ObligationRow.status, ObligationRow.due_at, ObligationRow.evidence))
            counts = [tx.session.exec(select(func.count()).select_from(table)).one() for table in (EventRow, DeliveryRow)]
            woken = tx.session.exec(select(CycleRow.state, CycleRow.wake_at, CycleRow.attention)).all()
            return sorted(owed, key=str), counts, woken


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """Return one installation for all: nothing that is refused may change it."""
    world = an_installation(tmp_path_factory.mktemp("forged"), platforms=EIGHT)
    for platform in world.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.TAGGING)
    retired, world.keys["alpha-pay"] = world.keys["alpha-pay"], SigningKey.generate()
    entries = world.wired.entries
    entries["alpha-pay"] = replace(entries["alpha-pay"], public_keys=(SigningKey.generate().public, world.keys["alpha-pay"].public))
    return Door(world, create_app(world.wired), retired, references(world, cycle_id))


def good(door: Door) -> Good:
    """Return a message that would be taken, and what a forger may hold."""
    delivery = signed_delivery(door.world.keys["alpha-pay"], {door.owed["alpha-pay"]: "unbound"}, door.world.clock.now())
    return Good(door.world.keys["alpha-pay"], door.retired, door.world.keys["beta-chat"], delivery.body, door.world.clock.now())


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
def test_what_a_platform_did_not_sign_just_so_is_nothing(door: Door, path: str, forge: Forge) -> None:
    """A forged message is refused like an unknown platform's, byte for byte, and changes nothing."""
    before = door.state()
    headers, body = forge(good(door))

    refused, unknown = door.send(path, "alpha-pay", headers, body), door.send(path, "nobody-at-all", headers, body)

    assert refused.status_code == 401
    assert (unknown.status_code, unknown.content) == (401, refused.content)
    assert {name for name in refused.headers if name != "content-length"} == {name for name in unknown.headers if name != "content-length"}
    assert door.state() == before


def test_there_are_forty_forgeries_and_more() -> None:
    """As many as reliability.md D5 asks for."""
    assert len(FORGERIES) >= 40


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize("speaker", EIGHT)
@pytest.mark.parametrize("owner", EIGHT)
def test_a_platform_s_key_fits_no_other_platform_s_path(door: Door, path: str, speaker: str, owner: str) -> None:
    """Platform A's good signature about B's own reference, on B's path: refused like an unknown platform's, for all pairs."""
    before = door.state()
    delivery = signed_delivery(door.world.keys[speaker], {door.owed[owner]: "accepted"}, door.world.clock.now())

    answered = door.send(path, owner, headers_of(delivery), delivery.body)

    if speaker == owner:
        assert answered.status_code == 200
        return
    unknown = door.send(path, "nobody-at-all", headers_of(delivery), delivery.body)
    assert (answered.status_code, unknown.status_code) == (401, 401)
    assert answered.content == unknown.content
    assert door.state() == before


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize(
    "garbage", ["garbage ", "v1a, ", "v1a,%%% ", "v1,AAAA ", "v1a,é ", ",,, ", "v1a,AAAA " * 7, "v1," + "A" * 43 + "= ", "  "]
)
def test_garbage_before_a_good_signature_hides_nothing(door: Door, path: str, garbage: str) -> None:
    """One good signature among eight tokens suffices, wherever it stands."""
    delivery = signed_delivery(door.world.keys["alpha-pay"], {door.owed["alpha-pay"]: "accepted"}, door.world.clock.now())
    headers = {name: value.encode() for name, value in headers_of(delivery).items()}
    headers[SIGNATURE_HEADER] = garbage.encode() + headers[SIGNATURE_HEADER]

    assert door.send(path, "alpha-pay", headers, delivery.body).status_code == 200  # type: ignore[arg-type]
