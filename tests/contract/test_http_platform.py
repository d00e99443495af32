"""The HTTP platform against a real socket: what it sends, what it takes for an answer, and what it refuses."""

import base64
import contextlib
import json
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from rude_server import Play, Server, response, says, serving, transport_to

from fallow.domain.errors import AnswerMalformed, RequestRejected, SignatureRefused, TargetUnavailable
from fallow.domain.number import E164
from fallow.domain.obligations import Category
from fallow.domain.ports import UnbindItem
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import HmacKey, PublicKey, SigningKey, receive, sign

NUMBER = "+447700900123"
REF = "ref_" + "a" * 26
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENGINE = SigningKey(bytes(range(32)))
PLATFORM = SigningKey(bytes(range(1, 33)))
SECRET = "whsec_" + base64.b64encode(bytes(range(2, 34))).decode()


class Wall:
    """A clock that shows the time."""

    def now(self) -> datetime:
        """Return this instant."""
        return datetime.now(UTC)


@contextlib.asynccontextmanager
async def meeting(play: Play, **terms: Any) -> AsyncIterator[tuple[HttpPlatform, Server]]:
    """Meet a platform that plays so, registered on these terms."""
    async with serving(play) as server, transport_to() as transport:
        own = {"status_url": server.endpoint(), "public_keys": (PLATFORM.public,)} | terms
        pace = {"batch": 50, "rate_per_second": 20.0, "remind_after": 60.0, "reminders": 3, "timeout": 5.0, "contact": "x"}
        entry = PlatformEntry(platform_id="larkchat", category=Category.SOCIAL, endpoint=server.endpoint(), **pace, **own)
        yield HttpPlatform(entry, transport, ENGINE, Wall()), server


async def ask(play: Play, references: Sequence[str] = (REF,), **terms: Any) -> tuple[object, Server]:
    """Ask a platform that plays so; return its answer and the server."""
    async with meeting(play, **terms) as (platform, server):
        items = [UnbindItem(reference, E164(NUMBER), NOW, reminder=False) for reference in references]
        return await platform.ask(items), server


def signed_with_secret(body: bytes) -> bytes:
    """Return a response that is signed with the shared secret alone."""
    headers = sign(PLATFORM, "msg_abcdefghijklmnop", datetime.now(UTC), body, HmacKey.from_text(SECRET))
    headers["webhook-signature"] = headers["webhook-signature"].split(" ")[1]
    return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), body=body)


def request_of(server: Server) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the first request that came in."""
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


def answered(outcome: str, reference: str = REF, key: SigningKey = PLATFORM, at: datetime | None = None) -> bytes:
    """Return a signed response."""
    body = json.dumps({"answers": [{"reference": reference, "outcome": outcome}]}).encode()
    headers = sign(key, "msg_abcdefghijklmnop", at or datetime.now(UTC), body)
    return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), body=body)


async def test_a_request_is_signed_by_the_engine_and_carries_the_number_in_its_body_only() -> None:
    """The platform can verify what it gets; no header and no path holds the number."""
    _, server = await ask(says(answered("unbound")))
    headers, body = request_of(server)

    receive(headers, body, [PublicKey.from_text(ENGINE.public.text)], datetime.now(UTC))

    assert json.loads(body)["items"][0]["number"] == NUMBER
    assert "447700900123" not in str(headers)
    assert b"447700900123" not in server.requests[0].partition(b"\r\n")[0]


async def test_a_signed_answer_comes_back_verbatim() -> None:
    """What is kept as evidence is what was sent."""
    delivery, _ = await ask(says(answered("unbound")))

    assert getattr(delivery, "delivery_id", None) == "msg_abcdefghijklmnop"
    assert getattr(delivery, "body", b"") == answered("unbound").partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "raw", [response("202 Accepted"), response("202 Accepted", body=b"x"), b"HTTP/1.1 204 No Content\r\n\r\n", response("200 OK")]
)
async def test_an_empty_answer_means_later(raw: bytes) -> None:
    """202, 204 or an empty 200: the answer will come by callback."""
    delivery, _ = await ask(says(raw))

    assert delivery is None


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: response("200 OK", body=b'{"answers":[]}'), SignatureRefused),
        (lambda: answered("unbound", key=ENGINE), SignatureRefused),
        (lambda: answered("unbound", at=NOW), SignatureRefused),
        (lambda: answered("unbound").replace(b"unbound", b"refused"), SignatureRefused),
        (lambda: answered("done"), AnswerMalformed),
        (lambda: answered(NUMBER), AnswerMalformed),
        (lambda: answered("unbound", reference="ref_" + "b" * 26), AnswerMalformed),
        (lambda: response("201 Created"), TargetUnavailable),
        (lambda: response("422 Unprocessable Content"), RequestRejected),
    ],
    ids=["unsigned", "our own key", "old", "altered", "unknown word", "a number", "not asked", "201", "422"],
)
async def test_a_bad_answer_is_told_apart(made: Callable[[], bytes], error: type[Exception]) -> None:
    """Each kind of bad answer has its own error, and none shows the number."""
    raw = made()  # signed now: signed when the tests were collected, it could be too old by the time this one runs
    with pytest.raises(error) as caught:
        await ask(says(raw))

    assert "447700900123" not in "".join(traceback.format_exception(caught.value, chain=True))


async def test_where_a_secret_is_shared_requests_are_signed_with_both() -> None:
    """A platform that knows HMAC only can verify them, and so can one that knows Ed25519."""
    _, server = await ask(says(response("202 Accepted")), shared_secret=SECRET)
    headers, body = request_of(server)

    for key in (ENGINE.public, HmacKey.from_text(SECRET)):
        receive(headers, body, [key], datetime.now(UTC))
    assert [token.split(",")[0] for token in headers["webhook-signature"].split(" ")] == ["v1a", "v1"]


async def test_where_no_secret_is_shared_requests_are_signed_with_one() -> None:
    """Ed25519 alone: what nobody but the engine could have sent."""
    _, server = await ask(says(response("202 Accepted")))

    assert request_of(server)[0]["webhook-signature"].startswith("v1a,")
    assert " " not in request_of(server)[0]["webhook-signature"]


async def test_an_answer_under_the_shared_secret_counts_where_one_is_shared() -> None:
    """And nowhere else."""
    raw = signed_with_secret(json.dumps({"answers": [{"reference": REF, "outcome": "clear"}]}).encode())
    delivery, _ = await ask(says(raw), shared_secret=SECRET, public_keys=())

    assert getattr(delivery, "signature", "").startswith("v1,")
    with pytest.raises(SignatureRefused):
        await ask(says(raw))


async def test_a_status_query_is_signed_and_names_references_only() -> None:
    """What comes back is a signed answer, verbatim; the number is nowhere in what was sent."""
    async with meeting(says(answered("clear"))) as (platform, server):
        delivery = await platform.look([REF])
    headers, body = request_of(server)

    receive(headers, body, [ENGINE.public], datetime.now(UTC))
    assert (platform.looks, json.loads(body)["type"], json.loads(body)["references"]) == (True, "fallow.status.v1", [REF])
    assert delivery is not None
    assert delivery.body == answered("clear").partition(b"\r\n\r\n")[2]
    assert b"447700900123" not in server.requests[0]


@pytest.mark.parametrize("raw", [response("202 Accepted"), b"HTTP/1.1 204 No Content\r\n\r\n", response("200 OK")])
async def test_a_status_query_may_find_nothing(raw: bytes) -> None:
    """Nothing is known yet: no answer, and no trouble."""
    async with meeting(says(raw)) as (platform, _):
        assert await platform.look([REF]) is None


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: answered("clear", key=ENGINE), SignatureRefused),
        (lambda: answered("clear", reference="ref_" + "b" * 26), AnswerMalformed),
        (lambda: answered(NUMBER), AnswerMalformed),
        (lambda: response("201 Created"), TargetUnavailable),
    ],
    ids=["our own key", "not asked", "a number", "201"],
)
async def test_a_bad_answer_to_a_status_query_is_told_apart(made: Callable[[], bytes], error: type[Exception]) -> None:
    """It is judged as every answer is."""
    async with meeting(says(made())) as (platform, _):
        with pytest.raises(error):
            await platform.look([REF])


async def test_a_platform_without_a_status_url_is_not_asked() -> None:
    """It offers no status query, and says so."""
    async with meeting(says(answered("clear")), status_url=None) as (platform, server):
        found = await platform.look([REF])

    assert (found, platform.looks, server.requests) == (None, False, [])
