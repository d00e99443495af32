"""What the sandbox sends: invented numbers under references of their own, in the engine's own form. Knows the protocol and the domain."""

import base64
import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fallow.domain.errors import AnswerMalformed
from fallow.domain.number import E164
from fallow.domain.ports import UnbindItem
from fallow.platforms.protocol import render_items

#: Ofcom's range of mobile numbers that nobody ever gets: 07700 900000 to 900999.
NUMBERS = tuple(E164(f"+447700900{tail:03d}") for tail in range(1000))
PING_TYPE, PONG_TYPE = "fallow.ping.v1", "fallow.pong.v1"
_LEFT_FOR, _ANSWER_WITHIN = timedelta(days=90), timedelta(days=5)


class Inventor:
    """Makes items to ask about; every reference is new, numbers come round again after a thousand."""

    def __init__(self) -> None:
        self._numbers: Iterator[E164] = itertools.cycle(NUMBERS)

    def items(self, count: int, *, reminder: bool = False) -> list[UnbindItem]:
        """Return that many items."""
        now = datetime.now(UTC).replace(microsecond=0)
        numbers = itertools.islice(self._numbers, count)
        return [UnbindItem(_opaque("ref_"), number, now - _LEFT_FOR, reminder, now + _ANSWER_WITHIN) for number in numbers]


def reminded(items: Sequence[UnbindItem]) -> list[UnbindItem]:
    """Return the same items as reminders."""
    return [replace(each, reminder=True) for each in items]


def unbind_body(items: Sequence[UnbindItem]) -> bytes:
    """Return the body of an unbind request, by the engine's own code."""
    return render_items(items)


def with_new_fields(body: bytes) -> bytes:
    """Return a request's body with a field more, outside and in each item: what a later engine may send."""
    asked = json.loads(body)
    items = [{**item, "sandbox_field": {"nested": []}} for item in asked["items"]]
    return json.dumps({**asked, "sandbox_field": True, "items": items}, separators=(",", ":")).encode()


def ping_body(challenge: str) -> bytes:
    """Return the body of a ping."""
    return json.dumps({"type": PING_TYPE, "challenge": challenge}, separators=(",", ":")).encode()


def new_challenge() -> str:
    """Return random letters, which no phone number can look like."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(40))


def demand_pong(body: bytes, challenge: str) -> None:
    """Read the answer to a ping.

    Raises:
        AnswerMalformed: anything but ``{"type": "fallow.pong.v1", "challenge": …}`` with the challenge that was sent.
    """
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if said != {"type": PONG_TYPE, "challenge": challenge}:
        what = "The answer to a ping is not a pong with its challenge."
        raise AnswerMalformed(what, remedy=f'answer {{"type": "{PONG_TYPE}", "challenge": …}} with the challenge as it came, signed.')


def _opaque(prefix: str) -> str:
    return prefix + base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]
