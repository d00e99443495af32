"""Reading what strangers wrote in the one way it can be written: base64, base64url and closed JSON. Imports the domain's errors."""

import base64
import hashlib
import json
import re
from typing import Any, NoReturn

from fallow.domain.errors import AnswerMalformed, SignatureRefused

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z", re.ASCII)
_LONGEST_WHOLE = 15
_NUMBER_LIKE = re.compile(r"[0-9]{7}", re.ASCII)
# RFC 9562: what most software makes ids with; one in six holds seven digits in a row, and a token is never signed anew under another.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE)
_ID = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9._~-]{8,128}\Z", re.ASCII)
_DEEPEST = 32


def read_base64url(text: str) -> bytes | None:
    """Decode base64url without padding (RFC 7515 section 2) in its canonical spelling; None for any other."""
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return raw if write_base64url(raw) == text else None


def write_base64url(raw: bytes) -> str:
    """Encode base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_object(raw: bytes, most: int) -> dict[str, Any]:
    """Read a JSON object in UTF-8 in which every key occurs once and every number is a whole one.

    Args:
        raw: the bytes.
        most: longest, in bytes.

    Raises:
        AnswerMalformed: anything else; the message holds nothing of it.
    """
    document: object = None
    if len(raw) <= most:
        try:
            document = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_int=_whole, parse_float=_never, parse_constant=_never)
            document = document if _depth(document) <= _DEEPEST else None
        except (ValueError, RecursionError):
            document = None
    # Raised outside the except clause: a decoder's error quotes what came in, and chaining would carry it into a log.
    if not isinstance(document, dict):
        refuse(f"is not one strict JSON object of at most {most} bytes")
    return document


def could_be_a_number(text: str) -> bool:
    """Tell whether a phone number could stand in what a sender chose at will: seven digits in a row, other than in a UUID."""
    return bool(_NUMBER_LIKE.search(text)) and not _UUID.match(text)


def known_by(prefix: str, text: object) -> str:
    """Return the id that a message is kept and logged under, made from the one its sender gave it, which could be anything.

    Letters and digits of a SHA-256, so it can't be a phone number; and an id without a letter, which could be one, is refused.

    Raises:
        AnswerMalformed: not 8 to 128 of A-Z a-z 0-9 . _ ~ - with a letter, or no UUID with seven digits in a row.
    """
    if not isinstance(text, str) or not _ID.match(text) or could_be_a_number(text):
        refuse("has an id that is not 8 to 128 of A-Z a-z 0-9 . _ ~ - with a letter, or holds seven digits in a row and is no UUID")
    letters = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
    return prefix + letters[:40].translate(str.maketrans("234567", "bcdfgh"))


def refuse(trouble: str) -> NoReturn:
    """Refuse a verified message.

    Raises:
        AnswerMalformed: always.
    """
    what = f"An answer {trouble}."
    raise AnswerMalformed(what, remedy="answer as docs/adapters.md says.")


def unproved() -> SignatureRefused:
    """Return the refusal of a message whose sender is not proved: the same whatever was wrong."""
    what = "The sender of a message could not be proved."
    return SignatureRefused(what, remedy="sign it as docs/adapters.md says, with a registered key and a right clock.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        what = "duplicate key"
        raise ValueError(what)
    return keys


def _whole(text: str) -> int:
    if len(text) > _LONGEST_WHOLE:
        what = "a number too long"
        raise ValueError(what)
    return int(text)


def _never(_literal: str) -> None:
    what = "a number that is not whole"
    raise ValueError(what)


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
