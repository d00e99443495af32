"""Messages that prove their sender: Standard Webhooks 1.0.0, schemes ``v1a`` (Ed25519) and ``v1`` (HMAC-SHA-256).

Under ``v1a`` a platform signs its answers with a key that the engine does not hold, so an answer kept as evidence is one that
the engine could not have written itself. Under ``v1`` both sides hold the secret, and it is one that it could have written:
the key's ``kind`` tells the two apart wherever evidence is shown. Imports cryptography and the domain. Everything here
works on raw bytes: nothing of a message is parsed before its signature is verified, and every refusal looks the same to the sender.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fallow.domain.curve import is_weak
from fallow.domain.errors import AnswerMalformed, SettingRefused, SignatureRefused
from fallow.domain.ports import SignedDelivery
from fallow.platforms.verifying import VerifyingKey

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
#: Most signatures looked at in one header, and most keys of one sender and scheme (reliability.md S3).
MOST_SIGNATURES = 8
MOST_KEYS = 4
#: Of a body longer than this, only so many signatures are tried: anybody can send one, and each costs a pass over it for every key.
LONG_BODY, MOST_OF_LONG = 64 * 1024, 2

_SECRET_PREFIX = "whsk_"  # noqa: S105 - a form, not a secret
_PUBLIC_PREFIX = "whpk_"
_SHARED_PREFIX = "whsec_"
_ED25519, _HMAC = "v1a", "v1"
_KEY_BYTES = 32
_SHARED_BYTES = range(24, 65)
_SIGNATURE_BYTES = {_ED25519: 64, _HMAC: 32}
_LONGEST_SIGNATURE_HEADER = 2048
# Ids are stored and logged, so they must have a form that no phone number has: a prefix and at least one letter more.
_ID = re.compile(r"msg_(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,64}\Z", re.ASCII)
_NUMBER_LIKE = re.compile(r"[0-9]{7}", re.ASCII)
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}\Z", re.ASCII)


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
        if raw is None or len(raw) != _KEY_BYTES or is_weak(raw):
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
class HmacKey:
    """A secret that both sides hold: it signs and verifies under ``v1``. It does not print.

    Attributes:
        secret: its 24 to 64 bytes.
    """

    kind: ClassVar[str] = "hmac-sha256"
    secret: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``whsec_`` and base64, as Standard Webhooks writes it.

        Raises:
            SettingRefused: another form or length.
        """
        raw = _key_bytes(text, _SHARED_PREFIX)
        if raw is None or len(raw) not in _SHARED_BYTES:
            what = "A shared secret is not `whsec_` followed by the base64 of 24 to 64 bytes."
            raise SettingRefused(what, remedy="agree on a new one with the platform: 32 random bytes in that form.")
        return cls(raw)

    @property
    def text(self) -> str:
        """A mask: the prefix and the beginning of the fingerprint, never the secret."""
        return f"{_SHARED_PREFIX}…{self.fingerprint[:8]}"

    @property
    def fingerprint(self) -> str:
        """See :class:`VerifyingKey`."""
        return hashlib.sha256(self.secret).hexdigest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """See :class:`VerifyingKey`; in constant time."""
        return hmac.compare_digest(self.sign(content), signature)

    def sign(self, content: bytes) -> bytes:
        """Return the HMAC-SHA-256 of ``content``."""
        return hmac.digest(self.secret, content, "sha256")

    def __repr__(self) -> str:
        """Keep the secret out of logs and tracebacks."""
        return f"<shared key {self.text}>"


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


_SCHEMES: Mapping[type, str] = {PublicKey: _ED25519, HmacKey: _HMAC}


def new_delivery_id() -> str:
    """Return a random id for one message: 130 bits less a trifle, in the form :func:`receive` demands."""
    while _NUMBER_LIKE.search(made := base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]):
        pass  # one in 6,000 holds seven digits in a row
    return f"msg_{made}"


def sign(key: SigningKey, delivery_id: str, at: datetime, body: bytes, shared: HmacKey | None = None) -> dict[str, str]:
    """Return the three headers that prove who sent ``body``.

    Args:
        key: the sender's key.
        delivery_id: the message's id; the same at each repeat.
        at: the instant of this attempt.
        body: the bytes exactly as they are sent.
        shared: signs as well, for a receiver that knows HMAC only.
    """
    timestamp = int(at.timestamp())
    content = _content(delivery_id, timestamp, body)
    made = [(_ED25519, Ed25519PrivateKey.from_private_bytes(key.seed).sign(content))]
    if shared is not None:
        made.append((_HMAC, shared.sign(content)))
    signature = " ".join(f"{scheme},{base64.b64encode(each).decode()}" for scheme, each in made)
    return {ID_HEADER: delivery_id, TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: signature}


def receive(headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], now: datetime, window: int = 300) -> SignedDelivery:
    """Verify a message that has just come in. What is returned is kept, so it holds nothing that was not looked at.

    Args:
        headers: its headers; names in any case.
        body: its bytes as received.
        keys: the active keys of its sender, at most four of a scheme.
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
    came = SignedDelivery(mine.get(ID_HEADER, ""), int(timestamp), mine.get(SIGNATURE_HEADER, ""), body)
    good = _verified(keys, came, MOST_SIGNATURES if len(body) <= LONG_BODY else MOST_OF_LONG)
    # Only here, and only once the sender is proved: what was kept under such an id stays verifiable.
    if _NUMBER_LIKE.search(came.delivery_id):
        what = "A message's webhook-id holds seven digits in a row, so it could be a phone number."
        raise AnswerMalformed(what, remedy="send it under another id, without seven digits in a row; letters alone do.")
    return SignedDelivery(came.delivery_id, came.signed_at, " ".join(good), body)


def verify(keys: Sequence[VerifyingKey], delivery: SignedDelivery) -> None:
    """Verify a kept message again, whenever that may be: the gate and auditors do. One good signature suffices.

    Raises:
        SignatureRefused: always the same error, whatever was wrong.
    """
    _verified(keys, delivery)


def _verified(keys: Sequence[VerifyingKey], delivery: SignedDelivery, most: int = MOST_SIGNATURES) -> list[str]:
    """Return the tokens that one of the keys has made, of the first ``most`` that are well-formed: at least one."""
    well_formed = _ID.match(delivery.delivery_id) and _TIMESTAMP.match(str(delivery.signed_at))
    mine = [(key, _SCHEMES[type(key)]) for key in keys if type(key) in _SCHEMES]  # of another kind: another form's
    if not well_formed or not 0 < max(Counter(scheme for _, scheme in mine).values(), default=0) <= MOST_KEYS:
        raise _refusal()
    content = _content(delivery.delivery_id, delivery.signed_at, delivery.body)
    candidates = list(_signatures(delivery.signature))[:most]
    # Every pair of a scheme is tried, so that the time taken does not tell which key or which token was the good one.
    verdicts = [(each.token, key.verifies(each.raw, content)) for key, scheme in mine for each in candidates if each.scheme == scheme]
    good = {token for token, is_good in verdicts if is_good}
    if not good:
        raise _refusal()
    return [each.token for each in candidates if each.token in good]


class _Signature(NamedTuple):
    token: str
    scheme: str
    raw: bytes


def _signatures(header: str) -> Iterator[_Signature]:
    """Yield the well-formed signatures of a header; another token beside them does not spoil them."""
    tokens = header.split(" ")
    if len(header) > _LONGEST_SIGNATURE_HEADER or len(tokens) > MOST_SIGNATURES:
        return
    for token in tokens:
        scheme, _, text = token.partition(",")
        raw = _strict_base64(text) if scheme in _SIGNATURE_BYTES else None
        if raw is not None and len(raw) == _SIGNATURE_BYTES[scheme]:
            yield _Signature(token, scheme, raw)


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


def _refusal() -> SignatureRefused:
    what = "The sender of a message could not be proved."
    return SignatureRefused(what, remedy="sign it as docs/platforms.md says, with a registered key and a right clock.")
