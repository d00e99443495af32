"""Platforms' callbacks over HTTP: once is enough, twice is harmless, forged is nothing (reliability.md D1, D5, D6, D7)."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from builders import World, advance, an_installation, enrolled, headers_of, references
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_ports import SettableClock, signed_delivery
from sqlalchemy import text
from sqlmodel import func, select

from fallow.api.app import create_app
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.ports import SignedDelivery
from fallow.platforms import signing
from fallow.platforms.signing import SigningKey
from fallow.store import cycles, obligations
from fallow.store.tables import DeliveryRow

Sent = tuple[str, Mapping[str, str], bytes]
_SEEN_NOWHERE = f"ref_{'a' * 26}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an installation whose one number waits for every platform's callback."""
    made = an_installation(tmp_path)
    for platform in made.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(made)
    advance(made, cycle_id, State.TAGGING)
    return made


@pytest.fixture
def app(world: World) -> FastAPI:
    """Return the application over it."""
    return create_app(world.wired)


def _send(app: FastAPI, *sent: Sent, together: bool = False) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            calls = [
                client.post(f"/v1/platforms/{platform_id}/answers", headers=dict(headers), content=body)
                for platform_id, headers, body in sent
            ]
            return list(await asyncio.gather(*calls)) if together else [await call for call in calls]

    return asyncio.run(send())


def _as_sent(platform_id: str, delivery: SignedDelivery) -> Sent:
    return platform_id, headers_of(delivery), delivery.body


def _cycle_id(world: World) -> str:
    with world.installation.db.read() as tx:
        return next(iter(tx.session.exec(select(cycles.CycleRow.cycle_id))))


def _answer(world: World, outcome: str = "unbound", *, platform_id: str = "alpha-pay", delivery_id: str | None = None) -> SignedDelivery:
    reference = references(world, _cycle_id(world))[platform_id]
    return signed_delivery(world.keys[platform_id], {reference: outcome}, world.clock.now(), delivery_id=delivery_id)


def _state(world: World) -> tuple[list[tuple[str, str]], int, int]:
    """Return everything an answer could change: statuses, number of events, number of kept deliveries."""
    with world.installation.db.read() as tx:
        cycle_id = next(iter(tx.session.exec(select(cycles.CycleRow.cycle_id))))
        statuses = [(row.target_id, str(row.status)) for row in obligations.of_cycle(tx, cycle_id)]
        return statuses, len(cycles.events(tx, cycle_id)), tx.session.exec(select(func.count()).select_from(DeliveryRow)).one()


def _moves(world: World, target_id: str) -> int:
    with world.installation.db.read() as tx:
        events = cycles.events(tx, _cycle_id(world))
    return sum(event.kind is Kind.OBLIGATION_MOVED and event.body["target_id"] == target_id for event in events)


def test_an_answer_moves_its_obligation(world: World, app: FastAPI) -> None:
    """A signed answer discharges the obligation it names and is acknowledged."""
    delivery = _answer(world)

    (response,) = _send(app, _as_sent("alpha-pay", delivery))

    assert response.status_code == 200
    assert list(json.loads(response.content)["answers"].values()) == ["accepted"]
    assert ("alpha-pay", "DISCHARGED") in _state(world)[0]


def test_a_repeated_answer_is_acknowledged_byte_for_byte(world: World, app: FastAPI) -> None:
    """Ten deliveries of one answer change state once and get ten equal acknowledgements."""
    sent = _as_sent("alpha-pay", _answer(world))

    responses = _send(app, *[sent] * 10)

    assert {(response.status_code, response.content) for response in responses} == {(200, responses[0].content)}
    assert _moves(world, "alpha-pay") == 1


def test_sixty_four_at_once_change_state_once(world: World, app: FastAPI) -> None:
    """Simultaneous duplicates race for one effect: one event, one kept delivery, equal acknowledgements."""
    sent = _as_sent("alpha-pay", _answer(world))

    responses = _send(app, *[sent] * 64, together=True)

    assert {(response.status_code, response.content) for response in responses} == {(200, responses[0].content)}
    assert _moves(world, "alpha-pay") == 1
    assert _state(world)[2] == 1


def test_last_answers_of_all_platforms_at_once_wake_the_number(world: World, app: FastAPI) -> None:
    """When every platform answers in the same moment, somebody notices that nothing is open any more."""
    sent = [_as_sent(platform_id, _answer(world, platform_id=platform_id)) for platform_id in world.platforms]

    responses = _send(app, *sent, together=True)

    assert [response.status_code for response in responses] == [200] * len(sent)
    with world.installation.db.read() as tx:
        assert cycles.get(tx, _cycle_id(world)).wake_at is not None


_OTHER = SigningKey.generate()


def _changed(change: Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]) -> Callable[[World], Sent]:
    def make(world: World) -> Sent:
        delivery = _answer(world)
        headers, body = change(headers_of(delivery), delivery.body)
        return "alpha-pay", headers, body

    return make


def _signature(headers: Mapping[str, str], change: Callable[[str], str]) -> dict[str, str]:
    return {**headers, signing.SIGNATURE_HEADER: change(headers[signing.SIGNATURE_HEADER])}


def _signed_by(key: SigningKey, world: World, shift: timedelta = timedelta(0)) -> Sent:
    reference = references(world, _cycle_id(world))["alpha-pay"]
    return _as_sent("alpha-pay", signed_delivery(key, {reference: "unbound"}, world.clock.now() + shift))


FORGED: dict[str, Callable[[World], Sent]] = {
    "a key nobody registered": lambda world: _signed_by(_OTHER, world),
    "another platform's key": lambda world: _signed_by(world.keys["beta-chat"], world),
    "301 s old": lambda world: _signed_by(world.keys["alpha-pay"], world, timedelta(seconds=-301)),
    "301 s ahead": lambda world: _signed_by(world.keys["alpha-pay"], world, timedelta(seconds=301)),
    "a platform nobody knows": lambda world: ("no-such-platform", *_as_sent("", _answer(world))[1:]),
    "sent as another platform": lambda world: ("beta-chat", *_as_sent("", _answer(world))[1:]),
    "no headers": _changed(lambda _, body: ({}, body)),
    "no signature": _changed(lambda headers, body: (_signature(headers, lambda _: ""), body)),
    "garbage": _changed(lambda headers, body: (_signature(headers, lambda _: "v1a,!!!! v1a v1a, ,,,"), body)),
    "truncated": _changed(lambda headers, body: (_signature(headers, lambda text: text[:-4]), body)),
    "extended": _changed(lambda headers, body: (_signature(headers, lambda text: text + "AAAA"), body)),
    "a symmetric scheme's tag": _changed(lambda headers, body: (_signature(headers, lambda text: text.replace("v1a,", "v1,")), body)),
    "a hundred signatures": _changed(lambda headers, body: (_signature(headers, lambda text: " ".join([text] * 100)), body)),
    "another body": _changed(lambda headers, body: (headers, body.replace(b"unbound", b"clear"))),
    "an empty body": _changed(lambda headers, _: (headers, b"")),
    "another id": _changed(lambda headers, body: ({**headers, signing.ID_HEADER: signing.new_delivery_id()}, body)),
    "a timestamp with a fraction": _changed(
        lambda headers, body: ({**headers, signing.TIMESTAMP_HEADER: headers[signing.TIMESTAMP_HEADER] + ".7"}, body)
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=list(FORGED))
def test_a_forged_answer_is_nothing(world: World, app: FastAPI, forge: Callable[[World], Sent]) -> None:
    """What its platform did not sign is refused like an unknown platform's message, byte for byte, and changes nothing."""
    before = _state(world)
    sent = forge(world)

    refused, unknown = _send(app, sent, ("nobody-at-all", {}, b""))

    assert refused.status_code == 401
    assert refused.content == unknown.content
    assert _state(world) == before


def test_garbage_beside_a_good_signature_does_no_harm(world: World, app: FastAPI) -> None:
    """A token of another scheme before the good one does not spoil the message."""
    delivery = _answer(world)
    headers = _signature(headers_of(delivery), lambda text: f"v1,xyz v1a,@@ {text}")

    (response,) = _send(app, ("alpha-pay", headers, delivery.body))

    assert response.status_code == 200


def test_a_reference_nobody_gave_out_is_unknown(world: World, app: FastAPI) -> None:
    """An invented reference is acknowledged as unknown and changes nothing but the inbox."""
    statuses, events, _ = _state(world)
    delivery = signed_delivery(world.keys["alpha-pay"], {_SEEN_NOWHERE: "unbound"}, world.clock.now())

    (response,) = _send(app, _as_sent("alpha-pay", delivery))

    assert (response.status_code, response.json()) == (200, {"answers": {_SEEN_NOWHERE: "unknown"}})
    assert _state(world) == (statuses, events, 1)


@pytest.mark.parametrize(
    ("speaker", "owner"),
    [(a, b) for a in ("alpha-pay", "beta-chat", "gamma-bank") for b in ("alpha-pay", "beta-chat", "gamma-bank") if a != b],
)
def test_another_platform_s_reference_is_as_unknown_as_an_invented_one(world: World, app: FastAPI, speaker: str, owner: str) -> None:
    """No platform can speak for another, nor learn which references exist."""
    statuses, events, _ = _state(world)
    theirs = references(world, _cycle_id(world))[owner]

    (response,) = _send(app, _as_sent(speaker, signed_delivery(world.keys[speaker], {theirs: "unbound"}, world.clock.now())))

    assert (response.status_code, response.json()) == (200, {"answers": {theirs: "unknown"}})
    assert _state(world)[:2] == (statuses, events)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"answers":[]}',
        b'{"answers":NaN}',
        b"\xff\xfe",
        b"[" * 20000,
        b'{"answers":[{"reference":"+33199000000","outcome":"clear"}]}',
    ],
)
def test_a_signed_message_outside_the_protocol_is_not_kept(world: World, app: FastAPI, body: bytes) -> None:
    """Malformed answers are refused with a problem that repeats nothing of them."""
    before = _state(world)
    headers = signing.sign(world.keys["alpha-pay"], signing.new_delivery_id(), world.clock.now(), body)

    (response,) = _send(app, ("alpha-pay", headers, body))

    assert response.status_code == 400
    assert response.json()["type"] == "urn:fallow:error:answer-malformed"
    assert b"33199" not in response.content
    assert _state(world) == before


def test_a_delivery_id_can_t_be_used_for_two_messages(world: World, app: FastAPI) -> None:
    """The second message under an id is refused, whatever it says."""
    delivery_id = signing.new_delivery_id()
    first, second = _answer(world, "unbound", delivery_id=delivery_id), _answer(world, "refused", delivery_id=delivery_id)

    accepted, refused = _send(app, _as_sent("alpha-pay", first), _as_sent("alpha-pay", second))

    assert (accepted.status_code, refused.status_code) == (200, 400)
    assert ("alpha-pay", "DISCHARGED") in _state(world)[0]


@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (299, 200), (300, 200), (301, 401), (86_400, 401)])
def test_a_replay_has_no_second_effect(world: World, app: FastAPI, seconds: int, status: int) -> None:
    """The same bytes again: acknowledged alike inside the window, refused outside, never applied twice."""
    sent = _as_sent("alpha-pay", _answer(world))
    (first,) = _send(app, sent)
    world.clock.pass_by(timedelta(seconds=seconds))

    (again,) = _send(app, sent)

    assert (first.status_code, again.status_code) == (200, status)
    assert _moves(world, "alpha-pay") == 1


def _documented() -> set[str]:
    """Return the first words of the table of our replies in docs/platforms.md."""
    table = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text().split("| our reply to a callback | do |")[1].split("\n\n")[0]
    return set(re.findall(r"\b(?:[1-4][0-9]{2}|5xx)\b", " ".join(line.split("|")[1] for line in table.splitlines()[2:])))


def test_every_documented_reply_is_the_reply(world: World, app: FastAPI) -> None:
    """Each row of the page's table, asked for; 408 has a test of its own, and 429 is never ours."""
    body = b'{"answers":[]}'
    sent: dict[str, list[Sent]] = {
        "200": [_as_sent("alpha-pay", _answer(world))],
        "400": [
            ("alpha-pay", signing.sign(world.keys["alpha-pay"], signing.new_delivery_id(), world.clock.now(), body), body),
            _as_sent("alpha-pay", _answer(world, delivery_id="msg_x33199000000aaaaaaa")),
        ],
        "401": [FORGED["a key nobody registered"](world), FORGED["301 s old"](world), FORGED["a platform nobody knows"](world)],
        "413": [("alpha-pay", {}, b"x" * 65_537)],
    }

    replies = {status: {response.status_code for response in _send(app, *cases)} for status, cases in sent.items()}
    with world.installation.db.begin() as tx:
        tx.session.exec(text("ALTER TABLE deliveries RENAME TO away"))  # type: ignore[call-overload]
    (unavailable,) = _send(app, _as_sent("alpha-pay", _answer(world)))

    assert replies == {status: {int(status)} for status in sent}
    assert (unavailable.status_code, "retry-after" in unavailable.headers) == (503, True)
    assert _documented() == {*sent, "408", "429", "5xx"}


def test_a_long_body_is_refused(world: World, app: FastAPI) -> None:
    """More than 64 KiB is not read to its end, declared or not."""

    async def chunks() -> object:
        for _ in range(5):
            yield b"x" * 16_384

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            path = "/v1/platforms/alpha-pay/answers"
            return [await client.post(path, content=b"x" * 65_537), await client.post(path, content=chunks())]  # type: ignore[arg-type]

    for response in asyncio.run(send()):
        assert response.status_code == 413
        assert response.json()["type"] == "urn:fallow:error:body-too-long"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, FastAPI]:
    """Return one installation for all mutations: none of them may change it."""
    made = an_installation(tmp_path_factory.mktemp("fuzz"), clock=SettableClock())
    for platform in made.platforms.values():
        platform.says = lambda _: None
    (cycle_id,) = enrolled(made)
    advance(made, cycle_id, State.TAGGING)
    return made, create_app(made.wired)


def _spliced(whole: bytes, place: int, cut: int, put: bytes) -> bytes:
    start = place % (len(whole) + 1)
    return whole[:start] + put + whole[start + cut :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=st.sampled_from([signing.ID_HEADER, signing.TIMESTAMP_HEADER, signing.SIGNATURE_HEADER, "body"]),
    place=st.integers(0, 400),
    cut=st.integers(0, 8),
    put=st.binary(max_size=12),
)
def test_no_mutation_of_a_signed_answer_breaks_the_door(fuzzed: tuple[World, FastAPI], part: str, place: int, cut: int, put: bytes) -> None:
    """However a signed answer is garbled on its way, the response is a refusal or the honest acknowledgement, never a 5xx."""
    world, app = fuzzed
    before = _state(world)
    delivery = _answer(world, "accepted")
    headers, body = {name: text.encode() for name, text in headers_of(delivery).items()}, delivery.body
    if part == "body":
        body = _spliced(body, place, cut, put)
    else:
        headers[part] = _spliced(headers[part], place, cut, put).replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")

    (response,) = _send_raw(app, headers, body)

    assert response.status_code in (200, 401)
    assert (response.status_code == 200) == (body == delivery.body and _means_the_same(headers, delivery))
    assert _state(world)[:2] == before[:2]


def _means_the_same(headers: Mapping[str, bytes], delivery: SignedDelivery) -> bool:
    # Another token beside the signature is allowed; the id and the timestamp must be what was signed.
    mine = headers_of(delivery)
    tokens: Sequence[bytes] = headers[signing.SIGNATURE_HEADER].split(b" ")
    same = all(headers[name] == mine[name].encode() for name in (signing.ID_HEADER, signing.TIMESTAMP_HEADER))
    return same and mine[signing.SIGNATURE_HEADER].encode() in tokens and len(tokens) <= 8


def _send_raw(app: FastAPI, headers: Mapping[str, bytes], body: bytes) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fallow.test") as client:
            raw = [(name.encode(), text) for name, text in headers.items()]
            return [await client.post("/v1/platforms/alpha-pay/answers", headers=raw, content=body)]

    return asyncio.run(send())
