"""Verify and sign messages between fallow and a platform: Standard Webhooks 1.0.0, `v1a` (Ed25519) and `v1` (HMAC-SHA-256).

Copy the two functions. As a program it tries them on the test vectors: `python verify.py < ../vectors.tsv`.
"""

import binascii
import hmac
import re
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

WINDOW = 300  # seconds between the sender's clock and yours, either way
MOST_SIGNATURES, LONGEST_HEADER, MOST_KEYS = 8, 2048, 4
_ID = re.compile(r"msg_(?=[0-9]*[A-Za-z])(?!.*[0-9]{7})[A-Za-z0-9]{16,64}", re.ASCII)
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)


def verify(
    message_id: str | None, timestamp: str | None, signature: str | None, body: bytes, keys: Sequence[str], now: float | None = None
) -> bool:
    """Tell whether the owner of one of `keys` has signed this very body just now.

    Args:
        message_id: the header `webhook-id`; None where it is missing.
        timestamp: the header `webhook-timestamp`.
        signature: the header `webhook-signature`.
        body: the bytes as they came; parse them afterwards.
        keys: the sender's active keys, `whpk_…` (Ed25519) or `whsec_…` (shared secret).
        now: unix seconds; the clock where nothing is given.
    """
    if not _ID.fullmatch(message_id or "") or not _TIMESTAMP.fullmatch(timestamp or "") or not 0 < len(keys) <= MOST_KEYS:
        return False
    if abs((time.time() if now is None else now) - int(timestamp or "")) > WINDOW:
        return False
    tokens = (signature or "").split(" ")
    if len(signature or "") > LONGEST_HEADER or len(tokens) > MOST_SIGNATURES:
        return False
    content = f"{message_id}.{timestamp}.".encode() + body
    verdicts = [_matches(key, token, content) for key in keys for token in tokens]  # every pair, so that the time taken tells nothing
    return any(verdicts)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature` for a body that is sent at `timestamp`, unix seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    if secret.startswith("whsec_"):
        return "v1," + b64encode(hmac.digest(b64decode(secret.removeprefix("whsec_")), content, "sha256")).decode()
    key = Ed25519PrivateKey.from_private_bytes(b64decode(secret.removeprefix("whsk_"))[:32])
    return "v1a," + b64encode(key.sign(content)).decode()


def _matches(key: str, token: str, content: bytes) -> bool:
    scheme, _, text = token.partition(",")
    made = _strict_base64(text)
    if scheme == "v1" and key.startswith("whsec_"):
        return hmac.compare_digest(made, hmac.digest(b64decode(key.removeprefix("whsec_")), content, "sha256"))
    if scheme != "v1a" or not key.startswith("whpk_"):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(b64decode(key.removeprefix("whpk_"))).verify(made, content)
    except InvalidSignature:
        return False
    return True


def _strict_base64(text: str) -> bytes:
    """Decode base64 in its one canonical spelling; anything else gives no bytes, which are no signature."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if b64encode(raw).decode() == text else b""


def _header(cell: str) -> str | None:
    return None if cell == "-" else b64decode(cell).decode()


def _try_vectors() -> int:
    wrong = 0
    for line in sys.stdin.read().splitlines():
        if line.startswith("#"):
            continue
        kind, name, expected, keys, now, message_id, timestamp, signature, body = line.split("\t")
        headers = _header(message_id), _header(timestamp), _header(signature)
        if kind == "verify":
            found = "ok" if verify(*headers, b64decode(body), keys.split(), int(now)) else "refused"
        else:
            found = sign(keys, headers[0] or "", int(headers[1] or ""), b64decode(body))
        wrong += found != expected
        print(name, found, "" if found == expected else f"but expected: {expected}", sep="\t")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(_try_vectors())
