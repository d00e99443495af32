"""The installation's keys, used as their documentation says, not as the engine's code does. Imports cryptography."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12
_TAG_PREFIX = b"fallow.tag.v1\n"
#: By what begins a key: the scheme of what it signs.
_SCHEMES = {"whpk_": "v1a", "whsec_": "v1"}


class Keyring:
    """The keys of one folder."""

    def __init__(self, folder: Path) -> None:
        """Read the keys; those that wrap others are read when they are needed.

        Raises:
            OSError: one is missing.
        """
        self._wrapping = folder / "wrapping"
        self._keys = {name: (folder / f"{name}.key").read_bytes() for name in ("vault", "lookup", "access", "signing", "evidence")}

    def lookup(self, number: str) -> str:
        """Return the index value of an E.164 number: HMAC-SHA-256 in hex."""
        return self._mac("lookup", number.encode())

    def fingerprint(self, content: bytes) -> str:
        """Return the fingerprint under which a file was enrolled."""
        return self._mac("access", content)

    def open(self, number_id: str, sealed: bytes) -> str:
        """Return the number that was sealed for ``number_id`` (AES-256-GCM, nonce first).

        Raises:
            cryptography.exceptions.InvalidTag: altered, or sealed for another id.
        """
        cipher = AESGCM(self._keys["vault"])
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], number_id.encode()).decode()

    def open_sealed(self, row: Mapping[str, Any], retention_keys: Iterable[Mapping[str, Any]]) -> bytes:
        """Return what a sealed row holds: its cycle's retention key of that day is unwrapped by the month's key, and opens it.

        Raises:
            OSError, StopIteration: a key of the two is missing.
            cryptography.exceptions.InvalidTag: altered, or sealed for another cycle, system, collection or day.
        """
        cycle_id, day = row["cycle_id"], str(row["kept_until"])[:10]
        kept = next(each for each in retention_keys if (each["cycle_id"], str(each["kept_until"])[:10]) == (cycle_id, day))
        month = (self._wrapping / f"{kept['wrapped_by']}.key").read_bytes()
        secret = _opened(month, kept["wrapped"], f"{kept['wrapped_by']}|retention|{cycle_id}|{day}")
        return _opened(secret, row["sealed"], f"{cycle_id}|{row['target_id']}|{row['collection']}|{day}")

    def open_answer(self, row: Mapping[str, Any]) -> bytes:
        """Return a platform's message as it came: AES-256-GCM, nonce first, behind its scheme; bound to that, who spoke and its id.

        What was sealed is its length (4 bytes, big-endian), the message, and zeros.

        Raises:
            cryptography.exceptions.InvalidTag: altered, or sealed for another message.
        """
        _, scheme, sealed = bytes(row["body"]).split(b"\0", 2)
        padded = _opened(self._keys["evidence"], sealed, f"answer|{scheme.decode()}|{row['platform_id']}|{row['delivery_id']}")
        return padded[4 : 4 + int.from_bytes(padded[:4], "big")]

    def tag_key(self) -> str:
        """Return the public key of tags, base64: Ed25519 of HKDF-SHA-256 of the signing key, for the purpose "tag"."""
        seed = HKDF(hashes.SHA256(), 32, salt=None, info=b"fallow.tag.v1").derive(self._keys["signing"])
        return base64.b64encode(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()).decode()

    def _mac(self, name: str, content: bytes) -> str:
        return hmac.new(self._keys[name], content, hashlib.sha256).hexdigest()


def _opened(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())


def is_tag_signed(public_key: str, digest: str, signature: str) -> bool:
    """Tell whether a tag's digest was signed by the owner of ``public_key``."""
    return _is_signed(base64.b64decode(public_key), base64.b64decode(signature), _TAG_PREFIX + digest.encode())


def is_delivery_signed(keys: list[str], delivery_id: str, signed_at: int, header: str, body: bytes) -> bool:
    """Tell whether a message was signed by one of a platform's keys: Standard Webhooks 1.0.0.

    Args:
        keys: ``whpk_…`` signs by scheme ``v1a`` (Ed25519), ``whsec_…``, a shared secret, by ``v1`` (HMAC-SHA-256).
        delivery_id: the message's id.
        signed_at: its timestamp, seconds since 1970.
        header: its signatures.
        body: its bytes.
    """
    content = f"{delivery_id}.{signed_at}.".encode() + body
    tokens = [token.partition(",") for token in header.split(" ")]
    return any(_has_made(key, base64.b64decode(text), content, scheme) for key in keys for scheme, _, text in tokens)


def _has_made(key: str, signature: bytes, content: bytes, scheme: str) -> bool:
    prefix, _, text = key.partition("_")
    if _SCHEMES[f"{prefix}_"] != scheme:
        return False
    if scheme == "v1":
        return hmac.compare_digest(hmac.digest(base64.b64decode(text), content, "sha256"), signature)
    return _is_signed(base64.b64decode(text), signature, content)


def _is_signed(public_key: bytes, signature: bytes, content: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, content)
    except InvalidSignature:
        return False
    return True
