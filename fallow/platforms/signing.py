"""Messages that prove their sender: Standard Webhooks 1.0.0, asymmetric scheme ``v1a`` (Ed25519).

A platform signs its answers with a key that the engine does not hold, so an answer kept as evidence is one that the
engine could not have written itself. Imports cryptography and the domain. Everything here works on raw bytes: nothing
of a message is parsed before its signature is verified, and every refusal looks the same to the sender.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fallow.domain.errors import AnswerMalformed, SettingRefused, SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.platforms.verifying import VerifyingKey

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
#: Most signatures looked at in one header, and most keys of one sender (reliability.md S3).
MOST_SIGNATURES = 8
MOST_KEYS = 4

_SECRET_PREFIX = "whsk_"  # noqa: S105 - a form, not a secret
_PUBLIC_PREFIX = "whpk_"
_SCHEME = "v1a"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_LONGEST_SIGNATURE_HEADER = 2048
# Ids are stored and logged, so they must have a form that no phone number has: a prefix and at least one letter more.
_ID = re.compile(r"msg_(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,64}\Z", re.ASCII)
_NUMBER_LIKE = re.compile(r"[0-9]{7}", re.ASCII)
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}\Z", re.ASCII)
# Points of small order (sign bit cleared), RFC 7748 section 7 and RFC 8032 section 5.1.7: under such a "key" anybody can sign.
_WEAK_KEYS = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies a sender's messages, and can't sign any.

    Attributes:
        raw: the 32 bytes of an Ed25519 public key.
    """

    kind: ClassVar[str] = "ed25519"
    raw: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``whpk_`` and base64.

        Raises:
            SettingRefused: another form, another length, or a weak key.
        """
        raw = _key_bytes(text, _PUBLIC_PREFIX)
        if raw is None or len(raw) != _KEY_BYTES or _is_weak(raw):
            what = "A public key is not `whpk_` followed by the base64 of 32 sound bytes."
            raise SettingRefused(what, remedy="ask its owner for their Ed25519 public key in the form whpk_….")
        return cls(raw)

    @property
    def text(self) -> str:
        """The key in the form platforms exchange: ``whpk_`` and base64."""
        return _PUBLIC_PREFIX + base64.b64encode(self.raw).decode()

    @property
    def fingerprint(self) -> str:
        """What people compare out of band and evidence cites: SHA-256 of the raw key, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Tell whether ``signature`` of ``content`` was made by this key's owner."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A secret signing key. It does not print.

    Attributes:
        seed: the 32 secret bytes.
    """

    seed: bytes

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``whsk_`` and the base64 of the seed, alone (32 bytes) or followed by its public key (64 bytes).

        Raises:
            SettingRefused: another form, or a public half that is not the seed's.
        """
        raw = _key_bytes(text, _SECRET_PREFIX)
        if raw is not None and len(raw) in (_KEY_BYTES, 2 * _KEY_BYTES):
            key = cls(raw[:_KEY_BYTES])
            if raw[_KEY_BYTES:] in (b"", key.public.raw):
                return key
        what = "A signing key is not `whsk_` followed by the base64 of an Ed25519 key."
        raise SettingRefused(what, remedy="restore the key from where it is kept, or make a new one and send its public half.")

    @property
    def text(self) -> str:
        """The secret in the form it is kept in: ``whsk_`` and base64 of the seed."""
        return _SECRET_PREFIX + base64.b64encode(self.seed).decode()

    @property
    def public(self) -> PublicKey:
        """The public half, for those who verify."""
        return PublicKey(Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def __repr__(self) -> str:
        """Keep the secret out of logs and tracebacks."""
        return "<signing key>"


def new_delivery_id() -> str:
    """Return a random id for one message: 130 bits less a trifle, in the form :func:`receive` demands."""
    while _NUMBER_LIKE.search(made := base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]):
        pass  # one in 6,000 holds seven digits in a row
    return f"msg_{made}"


def sign(key: SigningKey, delivery_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that prove who sent ``body``.

    Args:
        key: the sender's key.
        delivery_id: the message's id; the same at each repeat.
        at: the instant of this attempt.
        body: the bytes exactly as they are sent.
    """
    timestamp = int(at.timestamp())
    made = Ed25519PrivateKey.from_private_bytes(key.seed).sign(_content(delivery_id, timestamp, body))
    signature = f"{_SCHEME},{base64.b64encode(made).decode()}"
    return {ID_HEADER: delivery_id, TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: signature}


def receive(
    headers: Mapping[str, str], body: bytes, public_keys: Sequence[VerifyingKey], now: datetime, window: int = 300
) -> SignedDelivery:
    """Verify a message that has just come in. What is returned is kept, so it holds nothing that was not looked at.

    Args:
        headers: its headers; names in any case.
        body: its bytes as received.
        public_keys: at most four active keys of its sender.
        now: the instant of receipt.
        window: how far its timestamp may lie from ``now``, in seconds, either way.

    Raises:
        SignatureRefused: always the same error, whatever was wrong.
        AnswerMalformed: well signed, under an id with seven digits in a row, which could be a phone number.
    """
    mine = {name.lower(): value for name, value in headers.items()}
    timestamp = mine.get(TIMESTAMP_HEADER, "")
    if not _TIMESTAMP.match(timestamp) or abs(int(now.timestamp()) - int(timestamp)) > window:
        raise _refusal()
    signature = " ".join(token for token, _ in _signatures(mine.get(SIGNATURE_HEADER, "")))
    delivery = SignedDelivery(mine.get(ID_HEADER, ""), int(timestamp), signature, body)
    verify(public_keys, delivery)
    # Only here, and only once the sender is proved: what was kept under such an id stays verifiable.
    if _NUMBER_LIKE.search(delivery.delivery_id):
        what = "A message's webhook-id holds seven digits in a row, so it could be a phone number."
        raise AnswerMalformed(what, remedy="send it under another id, without seven digits in a row; letters alone do.")
    return delivery


def verify(public_keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> None:
    """Verify a kept message again, whenever that may be: the gate and auditors do. One good signature suffices.

    Raises:
        SignatureRefused: always the same error, whatever was wrong.
    """
    well_formed = _ID.match(delivery.delivery_id) and _TIMESTAMP.match(str(delivery.signed_at))
    if not well_formed or not 0 < len(public_keys) <= MOST_KEYS:
        raise _refusal()
    content = _content(delivery.delivery_id, delivery.signed_at, delivery.body)
    candidates = [candidate for _, candidate in _signatures(delivery.signature)]
    # Every pair is tried, so that the time taken does not tell which key or which token was the good one.
    verdicts = [key.verifies(candidate, content) for key in public_keys for candidate in candidates]
    if not any(verdicts):
        raise _refusal()


def _signatures(header: str) -> Iterator[tuple[str, bytes]]:
    """Yield text and bytes of the well-formed ``v1a`` signatures; another token beside them does not spoil them."""
    tokens = header.split(" ")
    if len(header) > _LONGEST_SIGNATURE_HEADER or len(tokens) > MOST_SIGNATURES:
        return
    for token in tokens:
        scheme, _, text = token.partition(",")
        signature = _strict_base64(text) if scheme == _SCHEME else None
        if signature is not None and len(signature) == _SIGNATURE_BYTES:
            yield token, signature


def _content(delivery_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{delivery_id}.{timestamp}.".encode() + body


def _key_bytes(text: str, prefix: str) -> bytes | None:
    return _strict_base64(text.removeprefix(prefix)) if text.startswith(prefix) else None


def _strict_base64(text: str) -> bytes | None:
    """Decode base64 that is written in the one canonical way; a second spelling of a signature would be a second evidence."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _is_weak(raw: bytes) -> bool:
    return raw[:-1] + bytes([raw[-1] & 0x7F]) in _WEAK_KEYS


def _refusal() -> SignatureRefused:
    what = "The sender of a message could not be proved."
    return SignatureRefused(what, remedy="sign it as docs/platforms.md says, with a registered key and a right clock.")
