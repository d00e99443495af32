"""Messages that their platform did not sign just so (reliability.md D5), each named in words; used by ``contract/test_api_forged.py``."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fallow.platforms.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, SigningKey, new_delivery_id, sign

#: The order of the group in which Ed25519 works (RFC 8032, 5.1): s and s + order would be two signatures of one message.
_ORDER = 2**252 + 27742317777372353535851937790883648493
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

Sent = tuple[dict[str, str], bytes]


@dataclass(frozen=True)
class Good:
    """A message that is as it should be, and what a forger may hold.

    Attributes:
        key: the platform's present key.
        retired: the one it had before.
        other: another platform's.
        body: what is to be said.
        at: now.
    """

    key: SigningKey
    retired: SigningKey
    other: SigningKey
    body: bytes
    at: datetime

    def headers(self, key: SigningKey | None = None) -> dict[str, str]:
        """Return the three headers, signed anew: until the signature's base64 holds what the plain alphabet does not have."""
        while True:
            made = sign(key or self.key, new_delivery_id(), self.at, self.body)
            if set("+/") & set(made[SIGNATURE_HEADER]):
                return made


Forge = Callable[[Good], Sent]


def _by(key: Callable[[Good], SigningKey]) -> Forge:
    return lambda good: (good.headers(key(good)), good.body)


def _signature(change: Callable[[str], str]) -> Forge:
    def forge(good: Good) -> Sent:
        headers = good.headers()
        return {**headers, SIGNATURE_HEADER: change(headers[SIGNATURE_HEADER])}, good.body

    return forge


def _bytes(change: Callable[[bytes], bytes]) -> Forge:
    return _signature(lambda text: "v1a," + base64.b64encode(change(base64.b64decode(text.removeprefix("v1a,")))).decode())


def _timestamp(change: Callable[[str], str]) -> Forge:
    def forge(good: Good) -> Sent:
        headers = good.headers()
        return {**headers, TIMESTAMP_HEADER: change(headers[TIMESTAMP_HEADER])}, good.body

    return forge


def _signed_as_read(change: Callable[[str], str]) -> Forge:
    """Sign over the altered timestamp itself: only its spelling is wrong."""

    def forge(good: Good) -> Sent:
        made, stamp = new_delivery_id(), change(str(int(good.at.timestamp())))
        return _made(made, stamp, f"{made}.{stamp}.".encode() + good.body, good), good.body

    return forge


def _over(content: Callable[[str, str, bytes], bytes]) -> Forge:
    """Sign other bytes than the protocol's."""

    def forge(good: Good) -> Sent:
        made, stamp = new_delivery_id(), str(int(good.at.timestamp()))
        return _made(made, stamp, content(made, stamp, good.body), good), good.body

    return forge


def _made(delivery_id: str, stamp: str, content: bytes, good: Good) -> dict[str, str]:
    signature = base64.b64encode(Ed25519PrivateKey.from_private_bytes(good.key.seed).sign(content)).decode()
    return {ID_HEADER: delivery_id, TIMESTAMP_HEADER: stamp, SIGNATURE_HEADER: f"v1a,{signature}"}


def _body(change: Callable[[bytes], bytes]) -> Forge:
    return lambda good: (good.headers(), change(good.body))


def _without(name: str) -> Forge:
    return lambda good: ({each: value for each, value in good.headers().items() if each != name}, good.body)


def _hmac(secret: Callable[[Good], bytes], tag: str = "v1") -> Forge:
    def forge(good: Good) -> Sent:
        headers = good.headers()
        content = f"{headers[ID_HEADER]}.{headers[TIMESTAMP_HEADER]}.".encode() + good.body
        made = base64.b64encode(hmac.digest(secret(good), content, hashlib.sha256)).decode()
        return {**headers, SIGNATURE_HEADER: f"{tag},{made}"}, good.body

    return forge


def _malleable(signature: bytes) -> bytes:
    return signature[:32] + (int.from_bytes(signature[32:], "little") + _ORDER).to_bytes(32, "little")


def _second_spelling(text: str) -> str:
    return text[:-3] + _ALPHABET[_ALPHABET.index(text[-3]) + 1] + "=="


FORGERIES: Mapping[str, Forge] = {
    "a retired key": _by(lambda good: good.retired),
    "another platform's key": _by(lambda good: good.other),
    "a key nobody registered": _by(lambda _: SigningKey.generate()),
    "64 bytes of nothing": _bytes(lambda _: bytes(64)),
    "one bit flipped": _bytes(lambda raw: bytes([raw[0] ^ 1]) + raw[1:]),
    "the other half flipped": _bytes(lambda raw: raw[:32] + bytes([raw[32] ^ 1]) + raw[33:]),
    "the same point, s one order higher": _bytes(_malleable),
    "a byte short": _bytes(lambda raw: raw[:-1]),
    "half": _bytes(lambda raw: raw[:32]),
    "a byte more": _bytes(lambda raw: raw + b"\0"),
    "twice in one": _bytes(lambda raw: raw + raw),
    "four letters short": _signature(lambda text: text[:-4]),
    "four letters more": _signature(lambda text: text + "AAAA"),
    "tagged v1": _signature(lambda text: text.replace("v1a,", "v1,")),
    "tagged v1A": _signature(lambda text: text.replace("v1a,", "v1A,")),
    "tagged v2": _signature(lambda text: text.replace("v1a,", "v2,")),
    "tagged v1a twice": _signature(lambda text: "v1a," + text),
    "tagged with a semicolon": _signature(lambda text: text.replace(",", ";")),
    "untagged": _signature(lambda text: text.removeprefix("v1a,")),
    "HMAC under the public key": _hmac(lambda good: good.key.public.raw),
    "HMAC under the public key's text": _hmac(lambda good: good.key.public.text.encode()),
    "HMAC under nothing": _hmac(lambda _: b""),
    "HMAC under the public key, tagged v1a": _hmac(lambda good: good.key.public.raw, "v1a"),
    "no signature": _without(SIGNATURE_HEADER),
    "no id": _without(ID_HEADER),
    "no timestamp": _without(TIMESTAMP_HEADER),
    "an empty signature": _signature(lambda _: ""),
    "spaces for a signature": _signature(lambda _: "   "),
    "commas for a signature": _signature(lambda _: ",,, v1a, ,"),
    "a hundred good signatures": _signature(lambda text: " ".join([text] * 100)),
    "a good one in ninth place": _signature(lambda text: "v1a,AAAA " * 8 + text),
    "a good one behind 3 KB": _signature(lambda text: "x" * 3000 + " " + text),
    "base64 for URLs": _signature(lambda text: text.replace("+", "-").replace("/", "_")),
    "base64 without its end": _signature(lambda text: text.rstrip("=")),
    "base64 with a tab": _signature(lambda text: text[:20] + "\t" + text[20:]),
    "base64 spelled otherwise": _signature(_second_spelling),
    "hex": _signature(lambda text: "v1a," + base64.b64decode(text.removeprefix("v1a,")).hex()),
    "a space more in the body": _body(lambda body: body + b" "),
    "half the body": _body(lambda body: body[: len(body) // 2]),
    "no body": _body(lambda _: b""),
    "another word in the body": _body(lambda body: body.replace(b"unbound", b"clear")),
    "another id": lambda good: ({**good.headers(), ID_HEADER: new_delivery_id()}, good.body),
    "a second later": _timestamp(lambda text: str(int(text) + 1)),
    "a leading zero": _signed_as_read(lambda text: "0" + text),
    "a plus": _signed_as_read(lambda text: "+" + text),
    "a fraction": _signed_as_read(lambda text: text + ".0"),
    "milliseconds": _signed_as_read(lambda text: text + "000"),
    "below zero": _signed_as_read(lambda text: "-" + text),
    "301 s ago": _signed_as_read(lambda text: str(int(text) - 301)),
    "301 s ahead": _signed_as_read(lambda text: str(int(text) + 301)),
    "over the body alone": _over(lambda _id, _at, body: body),
    "over the timestamp first": _over(lambda made, at, body: f"{at}.{made}.".encode() + body),
    "over colons": _over(lambda made, at, body: f"{made}:{at}:".encode() + body),
    "over the id in capitals": _over(lambda made, at, body: f"{made.upper()}.{at}.".encode() + body),
    "over the body's digest": _over(lambda made, at, body: f"{made}.{at}.{hashlib.sha256(body).hexdigest()}".encode()),
}
