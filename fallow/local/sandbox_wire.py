"""What the sandbox sends: invented numbers under references of their own, in the engine's own form. Knows the protocol and the domain."""

import base64
import itertools
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fallow.domain.number import E164
from fallow.domain.ports import UnbindItem
from fallow.platforms.endpoints import Endpoint
from fallow.platforms.platform_map import PlatformEntry, read_registration

#: Ofcom's range of mobile numbers that nobody ever gets: 07700 900000 to 900999.
NUMBERS = tuple(E164(f"+447700900{tail:03d}") for tail in range(1000))
_LEFT_FOR, _ANSWER_WITHIN = timedelta(days=90), timedelta(days=5)


def registered(status_url: Endpoint | None = None, shared_secret: str = "", number_key: str = "") -> PlatformEntry:
    """Return how the sandbox asks, as a registration that says nothing of terms.

    Args:
        status_url: where the platform takes status queries; None: nowhere.
        shared_secret: ``whsec_…``; "" where it signs and verifies with keys alone.
        number_key: ``whnk_…``; "" where numbers travel as themselves.

    Raises:
        MapRefused: one of the two has another form.
    """
    about = {"id": "sandbox", "category": "social", "adapter": "manual", "contact": "the sandbox"}
    table = {**about, "shared_secret": shared_secret, "number_key": number_key, "number_form": "keyed-hash" if number_key else "e164"}
    return replace(read_registration("the sandbox", table), status_url=status_url)


#: The number that a test account is bound to where numbers travel as keyed hashes, and one that none is bound to.
BOUND, FREE = NUMBERS[-1], NUMBERS[-2]


class Inventor:
    """Makes items to ask about; every reference is new, numbers come round again after a thousand."""

    def __init__(self) -> None:
        self._numbers: Iterator[E164] = itertools.cycle(NUMBERS)

    def items(self, count: int, *, reminder: bool = False) -> list[UnbindItem]:
        """Return that many items."""
        return self.about(itertools.islice(self._numbers, count), reminder=reminder)

    def about(self, numbers: Iterable[E164], *, reminder: bool = False) -> list[UnbindItem]:
        """Return an item about each of some numbers."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [UnbindItem(new_reference(), number, now - _LEFT_FOR, reminder, now + _ANSWER_WITHIN) for number in numbers]


def reminded(items: Sequence[UnbindItem]) -> list[UnbindItem]:
    """Return the same items as reminders."""
    return [replace(each, reminder=True) for each in items]


def with_new_fields(body: bytes) -> bytes:
    """Return a request's body with a field more, outside and in each item: what a later engine may send."""
    asked = json.loads(body)
    items = [{**item, "sandbox_field": {"nested": []}} for item in asked["items"]]
    return json.dumps({**asked, "sandbox_field": True, "items": items}, separators=(",", ":")).encode()


def new_reference() -> str:
    """Return a reference that nobody was asked about."""
    return "ref_" + base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]
