"""Security Event Tokens as a platform's own software would write them, good and bad; shares no code with the engine's."""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

Key = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes | None
ENGINE_NAME = "urn:fallow:engine:alpha-pay"
EVENT = "urn:fallow:event-type:"


def text(raw: bytes) -> str:
    """Encode base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(value: object) -> bytes:
    """Encode JSON; bytes stay as they are."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def signature(key: Key, signed: bytes) -> bytes:
    """Sign with whatever the key is for; None signs nothing."""
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(signed)
        case rsa.RSAPrivateKey():
            return key.sign(signed, PKCS1v15(), SHA256())
        case ec.EllipticCurvePrivateKey():
            return key.sign(signed, ec.ECDSA(SHA256()))
        case bytes():
            return hmac.digest(key, signed, hashlib.sha256)
        case None:
            return b""


def token(key: Key, claims: object, header: object) -> str:
    """Return a token, however odd."""
    signed = f"{text(part(header))}.{text(part(claims))}"
    return f"{signed}.{text(signature(key, signed.encode()))}"


def claims(reference: str, event: str, at: datetime, issuer: str, **more: Any) -> dict[str, Any]:
    """Return the claims of an answer; what ``more`` sets to None is left out."""
    usual = {
        "iss": issuer,
        "jti": str(uuid.uuid4()),
        "iat": int(at.timestamp()),
        "aud": ENGINE_NAME,
        "txn": reference,
        "events": {EVENT + event: {}},
    }
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def header(alg: str, **more: Any) -> Mapping[str, Any]:
    """Return the header of an answer."""
    return {"alg": alg, "typ": "secevent+jwt", "kid": "key-1", **more}


def respelled(written: str) -> str:
    """Return a token whose last letter is another that decodes to the same bytes: four of its bits are not used."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return written[:-1] + letters[letters.index(written[-1]) ^ 1]
