"""What is said between engine and platform: the two JSON bodies, rendered and read. Imports the domain only.

The answer's schema is closed: every key and every value comes from a short list or has a form that no phone number has.
An answer that holds a number is therefore refused, and never kept.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any, NamedTuple

from fallow.domain.errors import AnswerMalformed
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem

REQUEST_TYPE = "fallow.unbind.v1"
#: Longest answer body in bytes, and most answers in one (reliability.md S11).
LONGEST_BODY = 64 * 1024
MOST_ANSWERS = 500
#: The same of a batch callback, and the deepest nesting.
LONGEST_BATCH = 4 * 1024 * 1024
MOST_ANSWERS_IN_BATCH = 20_000
_DEEPEST = 32
#: Most numbers in one request.
MOST_ITEMS = 1000
#: What a platform can say. The other outcomes are the engine's own.
SAYABLE = frozenset({Outcome.UNBOUND, Outcome.NOT_BOUND, Outcome.CLEAR, Outcome.REFUSED, Outcome.NEEDS_HUMAN, Outcome.ACCEPTED})
# An older word for the same; what was kept with it must stay readable.
_OLDER = {"pending": Outcome.ACCEPTED}

_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_REFERENCE = re.compile(r"ref_[a-z2-7]{26}\Z", re.ASCII)


class Answer(NamedTuple):
    """What a platform said about one obligation.

    Attributes:
        reference: the obligation's opaque reference.
        outcome: one of :data:`SAYABLE`.
    """

    reference: str
    outcome: Outcome


def render_items(items: Sequence[UnbindItem]) -> bytes:
    """Return the body of an unbind request."""
    listed = [
        {
            "reference": item.reference,
            "number": item.number.text,
            "disconnected_at": item.disconnected_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "reminder": item.reminder,
        }
        for item in items
    ]
    return json.dumps({"type": REQUEST_TYPE, "items": listed}, separators=(",", ":")).encode()


def parse_answers(body: bytes, longest: int = LONGEST_BODY, most: int = MOST_ANSWERS) -> list[Answer]:
    """Read the body of an answer whose signature has been verified.

    Args:
        body: its bytes.
        longest: most bytes.
        most: most answers.

    Raises:
        AnswerMalformed: anything outside the protocol; the message holds nothing of the body.
    """
    document = _document(body, longest)
    if not isinstance(document, dict) or document.keys() != {"answers"}:
        raise _malformed("is not an object with the one key `answers`")
    listed = document["answers"]
    if not isinstance(listed, list) or not 0 < len(listed) <= most:
        trouble = f"does not list 1 to {most} answers"
        raise _malformed(trouble)
    answers = [_answer(each) for each in listed]
    if len({answer.reference for answer in answers}) != len(answers):
        raise _malformed("names a reference twice")
    return answers


def demand_asked(answers: Sequence[Answer], items: Sequence[UnbindItem]) -> None:
    """Refuse a response that speaks of something its request did not ask.

    Raises:
        AnswerMalformed: a reference that is not among ``items``.
    """
    asked = {item.reference for item in items}
    if any(answer.reference not in asked for answer in answers):
        raise _malformed("speaks of a reference that this request did not ask")


def _document(body: bytes, longest: int) -> Any:
    if len(body) > longest:
        trouble = f"is longer than {longest} bytes"
        raise _malformed(trouble)
    try:
        _demand_shallow(body)
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never, parse_int=_never, parse_float=_never)
    except (ValueError, RecursionError):
        pass
    # Raised outside the except clause: a decoder's error quotes the body, and chaining would carry it into a log.
    raise _malformed("is not strict JSON in UTF-8")


def _demand_shallow(body: bytes) -> None:
    """Refuse nesting beyond :data:`_DEEPEST` before anything is built of it; no string of the protocol holds a bracket."""
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(_DEEPEST):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if not brackets:
            return
    what = "nested too deeply"
    raise ValueError(what)


def _answer(said: object) -> Answer:
    if not isinstance(said, dict) or said.keys() != {"reference", "outcome"}:
        raise _malformed("holds an answer without exactly `reference` and `outcome`")
    reference, outcome = said["reference"], said["outcome"]
    if not isinstance(reference, str) or not _REFERENCE.match(reference):
        raise _malformed("holds a reference of another form than the request's")
    if not isinstance(outcome, str) or outcome not in SAYABLE | _OLDER.keys():
        trouble = f"holds an outcome other than {', '.join(sorted(SAYABLE))}"
        raise _malformed(trouble)
    return Answer(reference, _OLDER.get(outcome) or Outcome(outcome))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        what = "duplicate key"
        raise ValueError(what)
    return keys


def _never(_literal: str) -> None:
    what = "the protocol has no numbers"
    raise ValueError(what)


def _malformed(trouble: str) -> AnswerMalformed:
    return AnswerMalformed(f"An answer {trouble}.", remedy="answer as docs/platforms.md says.")
