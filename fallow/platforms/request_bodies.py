"""What the engine says to a platform: the JSON bodies of its three requests, rendered. docs/platforms.md is their description."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fallow.domain.number import E164
from fallow.domain.ports import UnbindItem
from fallow.platforms.platform_map import PlatformEntry

UNBIND_TYPE = "fallow.unbind.v1"
STATUS_TYPE = "fallow.status.v1"
PING_TYPE = "fallow.ping.v1"
#: What ``legal_basis`` may say by agreement; other codes of the same form are for the two sides to settle.
LEGAL_BASES = ("number-recycling", "statutory-unbinding", "contract", "regulator-order")

_NUMBER_KEY = "whnk_"


def render_unbind(entry: PlatformEntry, items: Sequence[UnbindItem]) -> bytes:
    """Return the body that asks a platform to unbind numbers, in the form and on the terms it registered."""
    asked = [
        {
            "reference": item.reference,
            **_number(entry, item.number),
            "disconnected_at": _instant(item.disconnected_at),
            "deadline": None if item.deadline is None else _instant(item.deadline),
            "reminder": item.reminder,
        }
        for item in items
    ]
    return _json(
        type=UNBIND_TYPE,
        platform=entry.platform_id,
        legal_basis=entry.legal_basis,
        contract=entry.contract,
        language=entry.language,
        number_form=entry.number_form,
        items=asked,
    )


def render_status(entry: PlatformEntry, references: Sequence[str]) -> bytes:
    """Return the body that asks how obligations stand: references only, never a number."""
    return _json(type=STATUS_TYPE, platform=entry.platform_id, references=list(references))


def render_ping(challenge: str) -> bytes:
    """Return the body that asks a platform to show that it holds its key."""
    return _json(type=PING_TYPE, challenge=challenge)


def hash_number(number_key: str, number: E164) -> str:
    """Return what stands for a number at a platform that registered a key for it: HMAC-SHA-256 of ``+…``, in lower-case hex.

    Args:
        number_key: ``whnk_`` and base64, as registered.
        number: which number.
    """
    key = base64.b64decode(number_key.removeprefix(_NUMBER_KEY))
    return hmac.new(key, number.text.encode("ascii"), hashlib.sha256).hexdigest()


def _number(entry: PlatformEntry, number: E164) -> dict[str, str]:
    if entry.number_form == "keyed-hash":
        return {"number_hash": hash_number(entry.number_key, number)}
    return {"number": number.text}


@lru_cache(maxsize=64)  # the same few in all items of a batch
def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(**body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
