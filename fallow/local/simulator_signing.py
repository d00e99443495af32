"""The simulator's own wording and signing, Standard Webhooks ``v1a``, written apart from the engine's.

Both sides check each other: a mistake in either breaks the conversation. Imports cryptography only.
"""

import base64
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_WINDOW = 300


def sign(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """Return the three headers for a message sent now."""
    at = str(int(time.time()))
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret.removeprefix("whsk_")))
    signature = base64.b64encode(key.sign(f"{message_id}.{at}.".encode() + body)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": at, "webhook-signature": f"v1a,{signature}"}


def is_signed(public: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a message just received was signed by the owner of ``public``."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    try:
        message_id, at = headers["webhook-id"], headers["webhook-timestamp"]
        fresh = abs(time.time() - int(at)) <= _WINDOW
        scheme, signature = headers["webhook-signature"].split(" ")[0].split(",")
        key.verify(base64.b64decode(signature), f"{message_id}.{at}.".encode() + body)
    except (KeyError, ValueError, InvalidSignature):
        return False
    return fresh and scheme == "v1a"


def answers_body(answers: Sequence[tuple[str, str]]) -> bytes:
    """Return the body that gives (reference, outcome) pairs; a refusal says why."""
    reason = {"refused": {"reason": "dispute"}}
    return json.dumps({"answers": [{"reference": ref, "outcome": said, **reason.get(said, {})} for ref, said in answers]}).encode()


def public_half(secret: str) -> str:
    """Return the ``whpk_`` text that belongs to a ``whsk_`` text."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret.removeprefix("whsk_")))
    return "whpk_" + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def new_message_id() -> str:
    """Return a random id for a callback: letters only, because seven digits in a row could be a phone number."""
    return "msg_sim" + "".join(secrets.choice(ascii_lowercase) for _ in range(24))


def keep_keys(path: Path, platforms: Iterable[str]) -> dict[str, str]:
    """Return each platform's secret key, read from ``path`` or made and kept there for its owner's eyes only."""
    keys: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    for platform in platforms:
        keys.setdefault(platform, "whsk_" + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode())
    path.touch(mode=0o600)
    path.write_text(json.dumps(keys, indent=2))
    return keys
