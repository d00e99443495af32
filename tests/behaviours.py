"""The 37 ways in which a platform can behave (reliability.md 2.3 C), each in words, as the server plays it and as the policy reads it.

Used by ``faults/test_platform_behaviours.py``. A 4xx of the URL or the keys blames the target, not the number: docs/platforms.md and
decision 0009; so a 404 does not mean "not bound" here.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum, StrEnum, auto

from rude_server import Play, drips, response, says, says_and_ends

from fallow.domain.attention import Reason
from fallow.domain.ports import Clock
from fallow.platforms.signing import SigningKey, new_delivery_id, sign


class Reading(Enum):
    """How the engine has to read a behaviour.

    Attributes:
        ANSWER: an answer, however it comes.
        LATER: nothing yet: reminders, and at last a person.
        TROUBLE: trouble of the target: tried again by itself, nothing believed.
        PERSON: an answer or a rejection that only a person can take further.
    """

    ANSWER = auto()
    LATER = auto()
    TROUBLE = auto()
    PERSON = auto()


class Way(StrEnum):
    """How far a request gets."""

    THROUGH = "through"
    NO_NAME = "the name is not known"
    CLOSED = "nobody listens"
    FULL = "nobody accepts"


@dataclass(frozen=True)
class Asked:
    """One request as the platform has read it.

    Attributes:
        references: what it asks.
        strangers: references of the same installation that it does not ask: another number's, and another platform's.
        key: the platform's.
        clock: what time it is.
    """

    references: tuple[str, ...]
    strangers: tuple[str, ...]
    key: SigningKey
    clock: Clock

    def answer(self, outcomes: Mapping[str, str]) -> bytes:
        """Return a signed response that says ``outcomes``."""
        said = [{"reference": reference, "outcome": outcome} for reference, outcome in outcomes.items()]
        return self.signed(json.dumps({"answers": said}).encode())

    def signed(self, body: bytes, *more: str) -> bytes:
        """Return a signed response of any body."""
        headers = sign(self.key, new_delivery_id(), self.clock.now(), body)
        return response("200 OK", *(f"{name}: {value}" for name, value in headers.items()), *more, body=body)


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        plays: what the platform says to it.
        way: how far it gets.
        certificate: which certificate is shown, an attribute of ``certificates.Authority``; "" for plain HTTP.
        slow: whether only the deadline ends it.
        wait: the least and the most seconds for which nothing may be sent because the platform asked for it.
        says: what the operator is told, a pattern.
    """

    plays: Callable[[Asked], Play] = lambda asked: says(asked.answer(dict.fromkeys(asked.references, "unbound")))
    way: Way = Way.THROUGH
    certificate: str = ""
    slow: bool = False
    wait: tuple[float, float] = (0.0, 0.0)
    says: str = ""


@dataclass(frozen=True)
class Behaviour:
    """One of the 37.

    Attributes:
        words: what the platform does.
        reading: how the engine reads it.
        faults: what it does to one request after the other, from the start again when they end.
        reason: why a person is asked in the end, where one is.
        calls_back: for answers, when a callback brings them: "before" the response, "after" it, or "" for in the response; for
            what needs a person, the outcome that a callback brings after the response.
    """

    words: str
    reading: Reading
    faults: tuple[Fault, ...] = (Fault(),)
    reason: Reason | None = None
    calls_back: str = ""


def _raw(*raw: bytes) -> Callable[[Asked], Play]:
    return lambda _: says(b"".join(raw))


def _status(code: int, *headers: str) -> Fault:
    return Fault(_raw(response(f"{code} X", *headers, body=b"<html>no</html>")), says=f"status {code}")


def _signed(body: Callable[[Asked], bytes], trouble: str) -> Fault:
    return Fault(lambda asked: says(asked.signed(body(asked), "content-type: application/json")), says=trouble)


def _json(says_what: str) -> Fault:
    return _signed(
        lambda asked: says_what.replace("REF", asked.references[0]).encode(), "strict JSON|key `answers`|longer than|nests deeper"
    )


def _retry_after(text: str, least: float = 0.0, most: float = 0.0) -> Fault:
    # Dates are made now, when the request comes: the transport reads them by the host's clock.
    def plays(_: Asked) -> Play:
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True) if text == "date" else text
        return says(response("429 Too Many Requests", f"retry-after: {value}"))

    return Fault(plays, wait=(least, most), says="status 429")


def _redirect(code: int, to: str) -> Fault:
    return Fault(_raw(response(f"{code} X", f"location: {to}")), says=f"status {code}")


def _about(stranger: int) -> Fault:
    def body(asked: Asked) -> bytes:
        return json.dumps({"answers": [{"reference": asked.strangers[stranger], "outcome": "unbound"}]}).encode()

    return _signed(body, "did not ask")


def _invented(asked: Asked) -> bytes:
    said = [{"reference": each, "outcome": "unbound"} for each in (*asked.references, "ref_" + "a" * 26)]
    return json.dumps({"answers": said}).encode()


def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(50)) + packer.flush()


def _lost(asked: Asked) -> Play:
    return says_and_ends(asked.answer(dict.fromkeys(asked.references, "unbound"))[:-9], by_reset=True)


_PUBLIC, _METADATA = "https://api.larkchat.example/", "http://169.254.169.254/latest/meta-data/"
_HEAD = b"HTTP/1.1 200 OK\r\n"
_BIG_HEADER = drips(_HEAD + b"x: ", b"9" * 50_000, 0)
_ENDLESS = drips(_HEAD + b"transfer-encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n", 0)
_ACCEPTED = Fault(_raw(response("202 Accepted")))
_TLS = "talked to|found or reached|certificate"

BEHAVIOURS = (
    Behaviour("answers 200 at once", Reading.ANSWER),
    Behaviour("answers 202 and calls back", Reading.ANSWER, (_ACCEPTED,), calls_back="after"),
    Behaviour("calls back before it responds", Reading.ANSWER, (_ACCEPTED,), calls_back="before"),
    Behaviour("answers 202 and never calls back", Reading.LATER, (_ACCEPTED,), Reason.PLATFORM_SILENT),
    Behaviour(
        "answers 200 with a body that refuses",
        Reading.PERSON,
        (Fault(lambda asked: says(asked.answer(dict.fromkeys(asked.references, "refused")))),),
        Reason.PLATFORM_REFUSED,
    ),
    Behaviour(
        "clears in the response and takes it back by callback", Reading.PERSON, reason=Reason.PLATFORM_CONTRADICTED, calls_back="refused"
    ),
    Behaviour(
        "does it, and the response is lost",
        Reading.TROUBLE,
        (Fault(_lost, says="talked to"), Fault(lambda _: says_and_ends(b""), says="talked to")),
    ),
    Behaviour("answers 400", Reading.PERSON, (_status(400),), Reason.PLATFORM_REJECTED),
    Behaviour("answers 401", Reading.TROUBLE, (_status(401),)),
    Behaviour("answers 403", Reading.TROUBLE, (_status(403),)),
    Behaviour("answers 404", Reading.TROUBLE, (_status(404),)),
    Behaviour("answers 409", Reading.PERSON, (_status(409),), Reason.PLATFORM_REJECTED),
    Behaviour("answers 410", Reading.TROUBLE, (_status(410),)),
    Behaviour("answers 422", Reading.PERSON, (_status(422),), Reason.PLATFORM_REJECTED),
    Behaviour(
        "answers 429 and says when to come again",
        Reading.TROUBLE,
        (
            _retry_after("7", 7, 7),
            _retry_after("date", 60, 121),
            _retry_after("1000000000", 86_400, 86_400),
            _retry_after("-1"),
            _retry_after("soon"),
        ),
    ),
    Behaviour("answers 500", Reading.TROUBLE, (_status(500),)),
    Behaviour("answers 502", Reading.TROUBLE, (_status(502),)),
    Behaviour("answers 503", Reading.TROUBLE, (_status(503),)),
    Behaviour("answers 504", Reading.TROUBLE, (_status(504),)),
    Behaviour("redirects to a public host", Reading.TROUBLE, tuple(_redirect(code, _PUBLIC) for code in (301, 302, 303, 307, 308))),
    Behaviour("redirects to the cloud's metadata", Reading.TROUBLE, tuple(_redirect(code, _METADATA) for code in (302, 307))),
    Behaviour("refuses the connection", Reading.TROUBLE, (Fault(way=Way.CLOSED, says=_TLS),)),
    Behaviour("has a name that is not known", Reading.TROUBLE, (Fault(way=Way.NO_NAME, says="found or reached"),)),
    Behaviour(
        "shows a certificate that is expired, of another name or its own",
        Reading.TROUBLE,
        tuple(Fault(certificate=each, says=_TLS) for each in ("expired", "of_another_name", "self_signed")),
    ),
    Behaviour("does not accept the connection", Reading.TROUBLE, (Fault(way=Way.FULL, slow=True, says="within its timeout"),)),
    Behaviour(
        "sends headers without end",
        Reading.TROUBLE,
        (Fault(lambda _: drips(_HEAD, b"x-slow: 1\r\n", 0.05), slow=True, says="within its timeout"),),
    ),
    Behaviour(
        "sends a byte of the body a second",
        Reading.TROUBLE,
        (Fault(lambda _: drips(_HEAD + b"content-length: 100\r\n\r\n", b"x", 1.0), slow=True, says="within its timeout"),),
    ),
    Behaviour("sends a body without end", Reading.TROUBLE, (Fault(lambda _: _ENDLESS, says="more than 262144 bytes"),)),
    Behaviour(
        "sends 48 KB that unpack to 50 MB",
        Reading.TROUBLE,
        (Fault(_raw(response("200 OK", "content-encoding: gzip", body=_bomb())), says="compressed"),),
    ),
    Behaviour("signs what is no UTF-8", Reading.TROUBLE, (_signed(lambda _: b'{"answers":[\xff\xfe]}', "strict JSON"),)),
    Behaviour(
        "signs what is no JSON and calls it that", Reading.TROUBLE, (_json("<html>cut</html>"), _json("unbound"), _json('"success"'))
    ),
    Behaviour("signs JSON 100,000 deep", Reading.TROUBLE, (_json("[" * 100_000), _json('{"answers":' + "[" * 30_000 + "]" * 30_000 + "}"))),
    Behaviour(
        "signs NaN and Infinity",
        Reading.TROUBLE,
        (_json('{"answers":NaN}'), _json('{"answers":[Infinity]}'), _json('{"answers":[-Infinity]}')),
    ),
    Behaviour(
        "signs a key twice",
        Reading.TROUBLE,
        (
            _json('{"answers":[{"reference":"REF","outcome":"refused","outcome":"unbound"}]}'),
            _json('{"answers":[],"answers":[{"reference":"REF","outcome":"unbound"}]}'),
        ),
    ),
    Behaviour("sends a header of 10 MB", Reading.TROUBLE, (Fault(lambda _: _BIG_HEADER, says="talked to"),)),
    Behaviour("answers about a reference that nobody gave out", Reading.TROUBLE, (_signed(_invented, "did not ask"),)),
    Behaviour("answers about another number's reference", Reading.TROUBLE, (_about(0), _about(1))),
)
