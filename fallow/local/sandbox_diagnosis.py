"""Why a signature is refused, in words. The engine says it to nobody; a sandbox says it to the engineer who builds the other side.

The verdict is the engine's own code's; this only looks for the likeliest reason.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from fallow.platforms.signing import ID_HEADER, MOST_SIGNATURES, SIGNATURE_HEADER, TIMESTAMP_HEADER, PublicKey, SigningKey

_ID = re.compile(r"msg_(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,64}\Z", re.ASCII)
_WINDOW = 300


def why_refused(headers: Mapping[str, str], body: bytes, keys: Sequence[PublicKey], own: SigningKey, now: datetime) -> tuple[str, str]:
    """Return what is wrong with a message that was refused, and what to do.

    Args:
        headers: as they came.
        body: as it came.
        keys: the platform's keys that the sandbox was given.
        own: the sandbox's key: signing with it, or for it, is a mistake that happens.
        now: the instant of receipt.
    """
    mine = {name.lower(): value for name, value in headers.items()}
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if name not in mine:
            return f"has no header {name}", "send webhook-id, webhook-timestamp and webhook-signature, in responses too"
    return _form(mine, now) or _content(mine, body, keys, own)


def _form(mine: Mapping[str, str], now: datetime) -> tuple[str, str] | None:
    timestamp, tokens = mine[TIMESTAMP_HEADER], mine[SIGNATURE_HEADER].split(" ")
    if not _ID.match(mine[ID_HEADER]):
        return "has a webhook-id of another form", "make it msg_ and 16 to 64 letters and digits, at least one of them a letter"
    if not re.fullmatch(r"[1-9][0-9]{0,10}", timestamp, re.ASCII):
        return (
            "has a webhook-timestamp that is not whole seconds in plain digits",
            "send the seconds since 1970: no fraction, no milliseconds",
        )
    skew = int(timestamp) - int(now.timestamp())
    if abs(skew) > _WINDOW:
        return f"was signed {abs(skew)} s {'ahead' if skew > 0 else 'ago'} by its timestamp", "set the clock, and sign anew at each attempt"
    if len(tokens) > MOST_SIGNATURES:
        return f"has more than {MOST_SIGNATURES} signatures", "send one, or two while keys change"
    if not any(re.fullmatch(r"v1a,[A-Za-z0-9+/]{86}==", token) for token in tokens):
        return "has no signature of the form v1a, and the base64 of 64 bytes", "write v1a, a comma, then plain base64 with its padding"
    return None


def _content(mine: Mapping[str, str], body: bytes, keys: Sequence[PublicKey], own: SigningKey) -> tuple[str, str]:
    good = f"{mine[ID_HEADER]}.{mine[TIMESTAMP_HEADER]}.".encode() + body
    mistakes = {
        "is signed over the body alone": body,
        "is signed over timestamp and body, without the id": f"{mine[TIMESTAMP_HEADER]}.".encode() + body,
        "is signed over another body: a line end was added": good.rstrip(b"\r\n"),
        "is signed over another body: a line end was lost": good + b"\n",
    }
    for what, content in mistakes.items():
        if content != good and _signed(mine, content, keys):
            return what, "sign the bytes `{webhook-id}.{webhook-timestamp}.{body}`, the body exactly as it is sent"
    if _signed(mine, good, [own.public]):
        return "is signed with the sandbox's own key", "sign with your secret key; the sandbox's is for its requests"
    what = "is not signed over these bytes by the key that the sandbox was given"
    return what, "compare --public-key with your secret key's public half; sign the very bytes that are sent"


def _signed(mine: Mapping[str, str], content: bytes, keys: Sequence[PublicKey]) -> bool:
    tokens = [token.removeprefix("v1a,") for token in mine[SIGNATURE_HEADER].split(" ") if token.startswith("v1a,")]
    return any(key.verifies(_bytes(token), content) for key in keys for token in tokens)


def _bytes(token: str) -> bytes:
    try:
        return base64.b64decode(token, validate=True)
    except ValueError:
        return b""
