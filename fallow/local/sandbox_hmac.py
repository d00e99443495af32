"""What services get wrong about HMAC: the key's bytes, the content, the spelling, the place in the header.

The sandbox knows the secret, so it can tell which mistake a service makes: in what it signs, and in what it believes.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from fallow.domain.errors import FallowError
from fallow.local.sandbox_book import Fault
from fallow.local.sandbox_diagnosis import misread_keys
from fallow.local.sandbox_engine import SandboxEngine
from fallow.platforms.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, HmacKey, new_delivery_id

#: Makes the token of a signature: of the id, the timestamp and the body.
_Token = Callable[[str, str, bytes], str]
_DECODE = "decode the base64 behind whsec_: the key is those bytes"
_CONTENT = "verify over the bytes `{webhook-id}.{webhook-timestamp}.{body}`, the body exactly as it came"


async def why_not_believed(engine: SandboxEngine, body: bytes) -> Fault | None:
    """Send a harmless body again as services mistake HMAC; the mistake that is believed is theirs. None: none of these."""
    for what, remedy, token in _mistakes(engine.entry.shared_key):
        try:
            reply = await engine.post(_headers(token, body), body)
        except FallowError:
            return None
        if reply.status == HTTPStatus.OK:
            engine.book.say(f"→ the same under {what}: 200")
            return Fault(f"believes only {what}", remedy)
    return None


def _mistakes(key: HmacKey | None) -> Iterator[tuple[str, str, _Token]]:
    if key is None:
        return
    yield "an HMAC that stands first in webhook-signature", "look at each signature in the header; one good one suffices", _usual(key)
    for what, misread in misread_keys(key):
        yield f"an HMAC under {what}", _DECODE, _usual(misread)
    yield "an HMAC over the body alone", _CONTENT, lambda _id, _at, body: _v1(key.sign(body))
    yield (
        "an HMAC over timestamp and body, without the id",
        _CONTENT,
        lambda _id, at, body: _v1(key.sign(f"{at}.".encode() + body)),
    )
    yield "an HMAC in hex", "compare with the base64 of the 32 bytes", lambda *parts: f"v1,{key.sign(_whole(*parts)).hex()}"


def _usual(key: HmacKey) -> _Token:
    return lambda *parts: _v1(key.sign(_whole(*parts)))


def _headers(token: _Token, body: bytes) -> Mapping[str, str]:
    delivery_id, at = new_delivery_id(), str(int(datetime.now(UTC).timestamp()))
    return {ID_HEADER: delivery_id, TIMESTAMP_HEADER: at, SIGNATURE_HEADER: token(delivery_id, at, body)}


def _whole(delivery_id: str, at: str, body: bytes) -> bytes:
    return f"{delivery_id}.{at}.".encode() + body


def _v1(signature: bytes) -> str:
    return f"v1,{base64.b64encode(signature).decode()}"
