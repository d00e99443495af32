"""The HTTP platform against a real socket: what it sends, what it takes for an answer, and what it refuses."""

import json
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from rude_server import Play, Server, response, says, serving, transport_to

from fallow.domain.errors import AnswerMalformed, RequestRejected, SignatureRefused, TargetUnavailable
from fallow.domain.number import E164
from fallow.domain.obligations import Category
from fallow.domain.ports import UnbindItem
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import PublicKey, SigningKey, receive, sign

NUMBER = "+447700900123"
REF = "ref_" + "a" * 26
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENGINE = SigningKey(bytes(range(32)))
PLATFORM = SigningKey(bytes(range(1, 33)))


class Wall:
    """A clock that shows the time."""

    def now(self) -> datetime:
        """Return this instant."""
        return datetime.now(UTC)


async def ask(play: Play, references: Sequence[str] = (REF,)) -> tuple[object, Server]:
    """Ask a platform that plays so; return its answer and the server."""
    async with serving(play) as server, transport_to() as transport:
        entry = PlatformEntry("larkchat", Category.SOCIAL, server.endpoint(), (PLATFORM.public,), 50, 20.0, 60.0, 3, 5.0, "x")
        items = [UnbindItem(reference, E164(NUMBER), NOW, reminder=False) for reference in references]
        return await HttpPlatform(entry, transport, ENGINE, Wall()).ask(items), server


def answered(outcome: str, reference: str = REF, key: SigningKey = PLATFORM, at: datetime | None = None) -> bytes:
    """Return a signed response."""
    body = json.dumps({"answers": [{"reference": reference, "outcome": outcome}]}).encode()
    headers = sign(key, "msg_abcdefghijklmnop", at or datetime.now(UTC), body)
    return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), body=body)


async def test_a_request_is_signed_by_the_engine_and_carries_the_number_in_its_body_only() -> None:
    """The platform can verify what it gets; no header and no path holds the number."""
    _, server = await ask(says(answered("unbound")))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    receive(headers, body, [PublicKey.from_text(ENGINE.public.text)], datetime.now(UTC))

    assert json.loads(body)["items"][0]["number"] == NUMBER
    assert b"447700900123" not in head


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
