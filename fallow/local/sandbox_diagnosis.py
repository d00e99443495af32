"""Why a signature is refused, in words. The engine says it to nobody; a sandbox says it to the engineer who builds the other side.

The verdict is the engine's own code's; this only looks for the likeliest reason.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from fallow.platforms.signing import ID_HEADER, MOST_SIGNATURES, SIGNATURE_HEADER, TIMESTAMP_HEADER, HmacKey, PublicKey, SigningKey
from fallow.platforms.verifying import VerifyingKey

_ID = re.compile(r"msg_(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,64}\Z", re.ASCII)
_WINDOW = 300
_FORMS = {"v1a": re.compile(r"v1a,[A-Za-z0-9+/]{86}==", re.ASCII), "v1": re.compile(r"v1,[A-Za-z0-9+/]{43}=", re.ASCII)}
_MEANS = {"v1a": "v1a, and the base64 of 64 bytes", "v1": "v1, and the base64 of 32 bytes"}
_HEX = re.compile(r"(?:v1,|v1=|sha256=)?[0-9A-Fa-f]{64}", re.ASCII)
_OTHER_LENGTH = re.compile(r"v1,[A-Za-z0-9+/]{16,}={0,2}", re.ASCII)
_KINDS: Mapping[str, type] = {"v1a": PublicKey, "v1": HmacKey}


def why_refused(headers: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], own: SigningKey, now: datetime) -> tuple[str, str]:
    """Return what is wrong with a message that was refused, and what to do.

    Args:
        headers: as they came.
        body: as it came.
        keys: the platform's keys, and the shared secret, that the sandbox was given.
        own: the sandbox's key: signing with it, or for it, is a mistake that happens.
        now: the instant of receipt.
    """
    mine = {name.lower(): value for name, value in headers.items()}
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if name not in mine:
            return f"has no header {name}", "send webhook-id, webhook-timestamp and webhook-signature, in responses too"
    return _form(mine, now) or _mislabelled(mine, body, keys) or _tokens(mine, keys) or _content(mine, body, keys, own)


def misread_keys(key: HmacKey) -> Iterator[tuple[str, HmacKey]]:
    """Yield what services take for the key that it is not, with what it is."""
    text = base64.b64encode(key.secret)
    yield "the secret's text, whsec_ and all, instead of its bytes", HmacKey(b"whsec_" + text)
    yield "the secret's base64 as text instead of its bytes", HmacKey(text)


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
    return None


def _mislabelled(mine: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey]) -> tuple[str, str] | None:
    """Find the right HMAC under a wrong name."""
    for token in mine[SIGNATURE_HEADER].split(" "):
        scheme, comma, text = token.rpartition(",")
        if scheme != "v1" and any(isinstance(key, HmacKey) and key.verifies(_bytes(text), _signed_content(mine, body)) for key in keys):
            return f"calls its HMAC {scheme!r}" if comma else "has its HMAC without a name", "write v1, a comma, then the base64"
    return None


def _tokens(mine: Mapping[str, str], keys: Sequence[VerifyingKey]) -> tuple[str, str] | None:
    """Look whether there is a signature of a scheme that the sandbox was given a key of."""
    tokens = mine[SIGNATURE_HEADER].split(" ")
    known = [scheme for scheme, kind in _KINDS.items() if any(isinstance(key, kind) for key in keys)]
    found = {scheme for scheme, form in _FORMS.items() if any(form.fullmatch(token) for token in tokens)}
    if found.intersection(known):
        return None
    if "v1" in found:
        what = "is signed with HMAC (v1) alone, and the sandbox was given no shared secret"
        return what, "give --shared-secret FILE, or sign with your Ed25519 key (v1a)"
    if "v1a" in found:
        return (
            "is signed with Ed25519 (v1a) alone, and the sandbox was given no public key",
            "give --public-key, or sign with the shared secret (v1)",
        )
    if "v1" in known and any(_HEX.fullmatch(token) for token in tokens):
        return "has its HMAC in hex", "write v1, a comma, then the base64 of the 32 bytes"
    if "v1" in known and any(_OTHER_LENGTH.fullmatch(token) for token in tokens):
        return (
            "has an HMAC of another length than 32 bytes, or another spelling of base64",
            "use HMAC-SHA-256; plain base64 with its padding",
        )
    means = ", or ".join(_MEANS[scheme] for scheme in known)
    return f"has no signature of the form {means}", f"write {' or '.join(known)}, a comma, then plain base64 with its padding"


def _signed_content(mine: Mapping[str, str], body: bytes) -> bytes:
    return f"{mine[ID_HEADER]}.{mine[TIMESTAMP_HEADER]}.".encode() + body


def _content(mine: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey], own: SigningKey) -> tuple[str, str]:
    good = _signed_content(mine, body)
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
    for key in keys:
        for what, misread in misread_keys(key) if isinstance(key, HmacKey) else ():
            if _signed(mine, good, [misread]):
                return f"is signed under {what}", "decode the base64 behind whsec_: the key is those bytes"
    return _by_nobody(mine, keys)


def _by_nobody(mine: Mapping[str, str], keys: Sequence[VerifyingKey]) -> tuple[str, str]:
    what = "is not signed over these bytes by the key that the sandbox was given"
    shared = any(isinstance(key, HmacKey) for key in keys) and any(map(_FORMS["v1"].fullmatch, mine[SIGNATURE_HEADER].split(" ")))
    compare = "--shared-secret's file with your service's secret" if shared else "--public-key with your secret key's public half"
    return what, f"compare {compare}; sign the very bytes that are sent"


def _signed(mine: Mapping[str, str], content: bytes, keys: Sequence[VerifyingKey]) -> bool:
    pairs = [token.partition(",") for token in mine[SIGNATURE_HEADER].split(" ")]
    made = [(_KINDS.get(scheme, object), _bytes(text)) for scheme, _, text in pairs if scheme in _KINDS]
    return any(type(key) is kind and key.verifies(signature, content) for key in keys for kind, signature in made)


def _bytes(token: str) -> bytes:
    try:
        return base64.b64decode(token, validate=True)
    except ValueError:
        return b""
