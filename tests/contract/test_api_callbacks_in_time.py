"""Callbacks and clocks (reliability.md D4, D7, D8), and whatever else can come to a signed route (D6)."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from builders import World, advance, an_installation, enrolled, headers_of, references, state_of
from builders_cycles import events_of, owed_by, row_of
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_ports import signed_delivery

from fallow.api.app import create_app
from fallow.api.guard import Open
from fallow.api.routes import ROUTES
from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status
from fallow.domain.ports import SignedDelivery
from fallow.operations.stages import Stages
from fallow.platforms import signing

PLATFORM = "alpha-pay"
PATH = f"/v1/platforms/{PLATFORM}/answers"
SIGNED = [route.path for route in ROUTES if route.policy is Open.SIGNED]
#: What a message may be answered with, whatever it is (D6).
TAKEN_OR_REFUSED = {200, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429}


def waiting(folder: Path) -> tuple[World, str]:
    """Return an installation whose one number waits for every platform's callback."""
    world = an_installation(folder)
    for platform in world.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.TAGGING)
    return world, cycle_id


def send(app: FastAPI, headers: Mapping[str, str | bytes], body: bytes, path: str = PATH) -> httpx.Response:
    """Post one message."""

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.post(path, headers=dict(headers), content=body)  # type: ignore[arg-type]

    return asyncio.run(post())


def answer(world: World, cycle_id: str, outcome: str = "unbound", shift: float = 0.0) -> SignedDelivery:
    """Return the platform's answer, signed now by a clock that is ``shift`` seconds off."""
    said = {references(world, cycle_id)[PLATFORM]: outcome}
    return signed_delivery(world.keys[PLATFORM], said, world.clock.now() + timedelta(seconds=shift))


def signed_anew(world: World, delivery: SignedDelivery) -> dict[str, str]:
    """Return the headers of a repeat: id and body as before, the time of this attempt."""
    return signing.sign(world.keys[PLATFORM], delivery.delivery_id, world.clock.now(), delivery.body)


LATE = [timedelta(hours=1), timedelta(hours=25), timedelta(days=90)]


@pytest.mark.parametrize("late", LATE, ids=str)
def test_a_late_answer_counts_when_it_is_signed_anew(tmp_path: Path, late: timedelta) -> None:
    """An hour, a day and 90 days after the request the answer still counts; signed at the time of the request it is refused."""
    world, cycle_id = waiting(tmp_path)
    app, of_then = create_app(world.wired), answer(world, cycle_id)
    world.clock.pass_by(late)

    refused = send(app, headers_of(of_then), of_then.body)
    untouched = owed_by(world, cycle_id)[PLATFORM]
    taken = send(app, signed_anew(world, of_then), of_then.body)

    assert (refused.status_code, taken.status_code) == (401, 200)
    assert untouched.status is Status.OPEN
    assert owed_by(world, cycle_id)[PLATFORM].status is Status.DISCHARGED


@pytest.mark.parametrize(
    "late", [timedelta(0), timedelta(seconds=299), timedelta(seconds=301), timedelta(days=1), timedelta(days=90)], ids=str
)
def test_a_repeat_that_is_signed_anew_is_acknowledged_alike_at_any_time(tmp_path: Path, late: timedelta) -> None:
    """The same id and body get the same acknowledgement, byte for byte, and have no second effect."""
    world, cycle_id = waiting(tmp_path)
    app, delivery = create_app(world.wired), answer(world, cycle_id)
    first = send(app, headers_of(delivery), delivery.body)
    world.clock.pass_by(late)

    again = send(app, signed_anew(world, delivery), delivery.body)

    assert (again.status_code, again.content) == (200, first.content)
    moved = [event for event in events_of(world, cycle_id) if event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == PLATFORM]
    assert len(moved) == 1


@pytest.mark.parametrize(("shift", "status"), [(-301, 401), (-300, 200), (-299, 200), (299, 200), (300, 200), (301, 401)])
def test_a_platform_s_clock_may_be_five_minutes_off(tmp_path: Path, shift: float, status: int) -> None:
    """Either way; a second more is refused and changes nothing."""
    world, cycle_id = waiting(tmp_path)
    delivery = answer(world, cycle_id, shift=shift)

    assert send(create_app(world.wired), headers_of(delivery), delivery.body).status_code == status
    assert owed_by(world, cycle_id)[PLATFORM].status is (Status.DISCHARGED if status == 200 else Status.OPEN)


@pytest.mark.parametrize("step", [timedelta(minutes=10), timedelta(minutes=-10)], ids=["ahead", "back"])
def test_our_own_clock_s_jump_refuses_and_releases_nothing(tmp_path: Path, step: timedelta) -> None:
    """Ten minutes off, we refuse honest platforms until we are right again; a number in quarantine stays there until its date (I4)."""
    world, cycle_id = waiting(tmp_path)
    (quarantined,) = enrolled(world, first=1)
    stages, app, delivery = Stages(world.installation), create_app(world.wired), answer(world, cycle_id)
    stages.begin_quarantine(ref(quarantined))
    release_at, right = row_of(world, quarantined).release_at, world.clock.now()
    world.clock.pass_by(release_at - timedelta(minutes=1) - right)
    delivery, right = answer(world, cycle_id), world.clock.now()
    world.clock.pass_by(step)

    refused = send(app, headers_of(delivery), delivery.body)
    stages.end_quarantine(ref(quarantined), right)
    stayed, kept = state_of(world, quarantined), row_of(world, quarantined).release_at
    world.clock.pass_by(-step)
    taken = send(app, headers_of(delivery), delivery.body)

    assert (refused.status_code, taken.status_code) == (401, 200)
    assert (stayed, kept) == (State.QUARANTINED, release_at)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, FastAPI, str, object]:
    """Return one installation for all that is thrown at it: none of it says anything final, so nothing may move."""
    world, cycle_id = waiting(tmp_path_factory.mktemp("fuzz"))
    return world, create_app(world.wired), cycle_id, _state(world, cycle_id)


def _state(world: World, cycle_id: str) -> object:
    return owed_by(world, cycle_id), len(events_of(world, cycle_id)), row_of(world, cycle_id).wake_at


_WORDS = st.sampled_from(
    ["answers", "reference", "outcome", "accepted", "pending", "type", "items", "number", "+33199000000", "", "REF", "\0", "\ud800"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [signing.ID_HEADER, signing.TIMESTAMP_HEADER, signing.SIGNATURE_HEADER, "content-type", "content-encoding", "authorization"]
)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
    lambda text: text.encode("latin-1").strip()
)


def _spliced(body: bytes, at: int, cut: int, put: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + put + body[at + cut :]


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(SIGNED),
    document=_JSON,
    at=st.integers(0, 400),
    cut=st.integers(0, 40),
    put=st.binary(max_size=12),
    whole=st.booleans(),
)
def test_no_body_breaks_the_door_although_it_is_well_signed(
    fuzzed: tuple[World, FastAPI, str, object], path: str, document: object, at: int, cut: int, put: bytes, whole: bool
) -> None:
    """Any JSON, and any mutation of a good body, signed by the platform itself: taken or refused, never a 5xx, and nothing moves."""
    world, app, cycle_id, before = fuzzed
    reference = references(world, cycle_id)[PLATFORM]
    body = (
        json.dumps(document).replace("REF", reference).encode()
        if whole
        else _spliced(answer(world, cycle_id, "accepted").body, at, cut, put)
    )
    headers = signing.sign(world.keys[PLATFORM], signing.new_delivery_id(), world.clock.now(), body)

    answered = send(app, headers, body, path.format(platform_id=PLATFORM))

    assert answered.status_code in TAKEN_OR_REFUSED
    assert _state(world, cycle_id) == before


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(SIGNED),
    changed=st.dictionaries(_NAMES, st.none() | _VALUES, min_size=1, max_size=4),
    body=st.none() | st.binary(max_size=40),
)
def test_no_headers_break_the_door(
    fuzzed: tuple[World, FastAPI, str, object], path: str, changed: dict[str, bytes | None], body: bytes | None
) -> None:
    """Headers that are missing, altered or beside the point: what is still well signed is taken, all else refused, never a 5xx."""
    world, app, cycle_id, before = fuzzed
    delivery = answer(world, cycle_id, "accepted")
    good = {name: value.encode() for name, value in headers_of(delivery).items()}
    headers = {name: value for name, value in {**good, **changed}.items() if value is not None}

    answered = send(app, headers, delivery.body if body is None else body, path.format(platform_id=PLATFORM))

    untouched = body is None and all(headers.get(name) == value for name, value in good.items())
    assert answered.status_code in (TAKEN_OR_REFUSED - {401} if untouched else TAKEN_OR_REFUSED - {200})
    assert _state(world, cycle_id) == before


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_signed_route_takes_posts_only(fuzzed: tuple[World, FastAPI, str, object], path: str, method: str) -> None:
    """Every other method is refused, whatever it carries."""
    world, app, cycle_id, before = fuzzed
    delivery = answer(world, cycle_id)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            return await client.request(method, path.format(platform_id=PLATFORM), headers=headers_of(delivery), content=delivery.body)

    assert asyncio.run(ask()).status_code == 405
    assert _state(world, cycle_id) == before


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize(
    "platform_id", ["x", "Alpha-Pay", "..", "%2e%2e", "alpha-pay%00", "a" * 42, "+33199000000", "alpha-pay ", "%F0%9F%92%A3"]
)
def test_a_path_that_names_no_platform_is_refused_without_a_word_of_it(
    fuzzed: tuple[World, FastAPI, str, object], path: str, platform_id: str
) -> None:
    """Ids of another form get a problem that repeats nothing of them."""
    world, app, cycle_id, _ = fuzzed
    delivery = answer(world, cycle_id)

    answered = send(app, headers_of(delivery), delivery.body, path.format(platform_id=platform_id))

    assert answered.status_code in {401, 404, 405, 422}
    assert b"33199000000" not in answered.content
    assert owed_by(world, cycle_id)[PLATFORM].status is Status.OPEN
