"""What a platform says to the engine: answers and pongs, read. Imports the domain only; ``request_bodies`` is the other direction.

The answer's schema is closed: every key and every value comes from a short list or has a form that no phone number has.
An answer that holds a number is therefore refused, and never kept.
"""

import base64
import hmac
import json
import re
import secrets
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from fallow.domain.errors import AnswerMalformed
from fallow.domain.obligations import Outcome, RefusalReason
from fallow.domain.ports import UnbindItem

PONG_TYPE = "fallow.pong.v1"
#: Longest answer body in bytes; a callback is bounded at a quarter of it on its way in (reliability.md S11).
LONGEST_BODY = 256 * 1024
#: Most answers in one body, and most numbers in one request: whatever was asked at once can be answered at once.
MOST_ANSWERS = MOST_ITEMS = 1000
#: The same of a batch callback.
LONGEST_BATCH = 4 * 1024 * 1024
MOST_ANSWERS_IN_BATCH = 20_000
#: How deep a body may nest (reliability.md S11); the protocol's own need is three.
DEEPEST = 32
#: What a platform can say. The other outcomes are the engine's own.
SAYABLE = frozenset({Outcome.UNBOUND, Outcome.NOT_BOUND, Outcome.CLEAR, Outcome.REFUSED, Outcome.NEEDS_HUMAN, Outcome.ACCEPTED})
# An older word for the same; what was kept with it must stay readable.
_OLDER = {"pending": Outcome.ACCEPTED}
_WORDS = {**{str(outcome): outcome for outcome in SAYABLE}, **_OLDER}

_REFERENCE = re.compile(r"ref_[a-z2-7]{26}\Z", re.ASCII)
_NEEDED, _ALLOWED = {"reference", "outcome"}, {"reference", "outcome", "reason"}
_STRANGE_KEYS = "has keys other than `reference`, `outcome` and `reason`"
_MISSING_KEYS = "holds an answer without exactly `reference` and `outcome`, and `reason` where it refuses"
# Possessive, and a string that never ends counts to the end: a body of quotes alone must not take a second look at each of them.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS = bytes(each for each in range(256) if each not in _STEPS)


class Answer(NamedTuple):
    """What a platform said about one obligation.

    Attributes:
        reference: the obligation's opaque reference.
        outcome: one of :data:`SAYABLE`.
        reason: why it refuses, where it says so.
    """

    reference: str
    outcome: Outcome
    reason: RefusalReason | None = None


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
    demand_references(answers, {item.reference for item in items})


def demand_references(answers: Sequence[Answer], asked: Collection[str]) -> None:
    """Refuse a response that speaks of a reference its request did not name.

    Raises:
        AnswerMalformed: a reference that is not among ``asked``.
    """
    if any(answer.reference not in asked for answer in answers):
        raise _malformed("speaks of a reference that this request did not ask")


def new_challenge() -> str:
    """Return 160 random bits as letters: what a ping holds and its pong must repeat; no phone number can look like it."""
    drawn = base64.b16encode(secrets.token_bytes(20)).decode()
    return drawn.translate(str.maketrans("0123456789ABCDEF", "abcdefghijklmnop"))


def parse_pong(body: bytes, challenge: str) -> None:
    """Read the answer to a ping; its signature has been verified.

    Raises:
        AnswerMalformed: anything but a pong that repeats ``challenge``.
    """
    document = _document(body, LONGEST_BODY)
    if not isinstance(document, dict) or document.keys() != {"type", "challenge"} or document["type"] != PONG_TYPE:
        trouble = f"to a ping is not an object of `type` {PONG_TYPE} and `challenge`"
        raise _malformed(trouble)
    said = document["challenge"]
    if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), challenge.encode()):
        raise _malformed("to a ping does not repeat its challenge")


def _document(body: bytes, longest: int) -> Any:
    if len(body) > longest:
        trouble = f"is longer than {longest} bytes"
        raise _malformed(trouble)
    if _depth(body) > DEEPEST:
        trouble = f"nests deeper than {DEEPEST}"
        raise _malformed(trouble)
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never, parse_int=_never, parse_float=_never)
    except (ValueError, RecursionError):
        pass
    # Raised outside the except clause: a decoder's error quotes the body, and chaining would carry it into a log.
    raise _malformed("is not strict JSON in UTF-8")


def _depth(body: bytes) -> int:
    """Return how deep brackets nest outside strings, without parsing: a parser would recurse that deep."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return 0
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _answer(said: object) -> Answer:
    if not isinstance(said, dict) or (said.keys() != _NEEDED and not _NEEDED <= said.keys() <= _ALLOWED):
        strange = isinstance(said, dict) and said.keys() - _ALLOWED
        raise _malformed(_STRANGE_KEYS if strange else _MISSING_KEYS)
    reference, outcome = said["reference"], said["outcome"]
    if not isinstance(reference, str) or not _REFERENCE.match(reference):
        raise _malformed("holds a reference of another form than the request's")
    found = _WORDS.get(outcome) if isinstance(outcome, str) else None
    if found is None:
        trouble = f"holds an outcome other than {', '.join(sorted(SAYABLE))}"
        raise _malformed(trouble)
    return Answer(reference, found, _reason(found, said["reason"]) if "reason" in said else None)


def _reason(outcome: Outcome, reason: object) -> RefusalReason:
    if outcome is not Outcome.REFUSED:
        raise _malformed("holds a `reason` beside another outcome than `refused`")
    if not isinstance(reason, str) or reason not in set(RefusalReason):
        trouble = f"holds a reason other than {', '.join(RefusalReason)}"
        raise _malformed(trouble)
    return RefusalReason(reason)


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
