"""What is said between engine and an HTTP record system: JSON bodies, rendered and read. Imports the domain only.

The protocol is described in docs/record-systems.md. Nothing of an answer is kept or quoted but its counts.
"""

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fallow.domain.errors import AnswerMalformed, WipeRefused
from fallow.domain.events import canonical

#: What a system is asked to do -> the counts it answers with, per order and collection.
COUNTS: Mapping[str, frozenset[str]] = {
    "list": frozenset({"in_scope", "undecided", "newer"}),
    "clear": frozenset({"affected"}),
    "verify": frozenset({"remaining", "newer", "kept"}),
    "expire": frozenset({"affected", "remaining"}),
}
#: What changes rows. Only these may be refused, and only these have an idempotency key that a repeat has again.
CHANGING = frozenset({"clear", "expire"})
#: The largest count: the largest whole number that every JSON reader keeps exactly (RFC 8259 section 6).
MOST = 2**53
#: Collection id -> count.
Counts = dict[str, dict[str, int]]

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def name_of(verb: str) -> str:
    """Return the request's ``type``; the system must do nothing whose type is not its path's."""
    return f"fallow.records.{verb}.v1"


def reference(system_id: str, cycle_id: str, *more: str) -> str:
    """Return the opaque name of one order: the same at each repeat, another at each system, letters only.

    Cycle ids are random, so a digest of one leads nowhere; the number is no part of it.
    """
    return f"ref_{_letters({'of': [system_id, cycle_id, *more]})}"


def delivery_id(verb: str, orders: Sequence[Mapping[str, object]], *bound: str) -> str:
    """Return the request's ``webhook-id``: random for a look; for a change, the same for the same orders.

    Args:
        verb: a key of :data:`COUNTS`.
        orders: as rendered. What they say of a number is no part of the id.
        bound: what else makes it another change: the system and what the map says of its collections.
    """
    if verb not in CHANGING:
        return f"msg_{secrets.token_hex(16).translate(_LETTERS)}"
    told = {str(order["reference"]): [order.get("disconnected_at"), order.get("kept_until")] for order in orders}
    return f"msg_{_letters({'verb': verb, 'bound': bound, 'orders': told})}"


def digest(told: Mapping[str, Any]) -> str:
    """Return the SHA-256 of canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(told).encode()).hexdigest()


def instant(at: datetime) -> str:
    """Return an instant as the protocol writes it: RFC 3339 in UTC with ``Z``."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_answer(verb: str, body: bytes, asked: Mapping[str, Collection[str]], mapped: Collection[str]) -> dict[str, Counts]:
    """Read an answer whose signature has been verified: the counts by reference.

    Args:
        verb: what was asked.
        body: the bytes.
        asked: reference -> the collections that must be answered for, no more and no fewer.
        mapped: every collection that the map names.

    Raises:
        AnswerMalformed: anything outside the protocol, or about something that was not asked; the message holds nothing of the body.
        CollectionsDiffer: the system clears other collections than the map names.
        WipeRefused: the system refuses orders of this request for good.
    """
    document = _document(body)
    if isinstance(document, dict) and document.keys() == {"refused"} and verb in CHANGING:
        raise _refused(document["refused"], asked)
    if not isinstance(document, dict) or document.keys() != {"collections", "answers"}:
        raise _malformed("is not an object with the keys `collections` and `answers`")
    _demand_mapped(document["collections"], mapped)
    answers = document["answers"]
    if not isinstance(answers, dict) or answers.keys() != asked.keys():
        raise _malformed("does not answer for exactly the references that were asked")
    return {each: _counts(verb, answers[each], collections) for each, collections in asked.items()}


class CollectionsDiffer(AnswerMalformed):
    """The system says that it clears other collections than the map names."""


def _letters(told: Mapping[str, Any]) -> str:
    # Letters only: what is stored and logged must have a form that no phone number has.
    return digest(told)[:32].translate(_LETTERS)


def _demand_mapped(said: object, mapped: Collection[str]) -> None:
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said) or len(set(said)) != len(said):
        raise _malformed("does not list each of its collections once")
    if set(said) != set(mapped):
        unknown = sorted(set(mapped) - set(said))
        trouble = f"does not know {', '.join(unknown)}" if unknown else "has a collection that the map does not name"
        what = f"The system clears other collections than the map names: it {trouble}."
        raise CollectionsDiffer(what, remedy="name in collections exactly what it clears; see docs/record-systems.md.")


def _counts(verb: str, said: object, collections: Collection[str]) -> Counts:
    if not isinstance(said, dict) or said.keys() != set(collections):
        raise _malformed("does not answer for exactly the collections that were asked")
    for counts in said.values():
        if not isinstance(counts, dict) or counts.keys() != COUNTS[verb]:
            trouble = f"holds counts other than exactly {', '.join(sorted(COUNTS[verb]))}"
            raise _malformed(trouble)
        # bool is an int in Python, and `true` is no count.
        if not all(type(count) is int and 0 <= count <= MOST for count in counts.values()):
            raise _malformed("holds a count that is no whole number from 0 to 2^53")
    return said


def _refused(said: object, asked: Collection[str]) -> Exception:
    if not isinstance(said, list) or not said or not all(isinstance(each, str) and each in asked for each in said):
        return _malformed("refuses something else than references that were asked")
    what = f"The record system refused the change of {len(set(said))} of {len(asked)} orders."
    return WipeRefused(what, remedy="its log says why, by the orders' references.")


def _document(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never, parse_float=_never)
    except (ValueError, RecursionError):
        pass
    # Raised outside the except clause: a decoder's error quotes the body, and chaining would carry it into a log.
    raise _malformed("is not strict JSON in UTF-8")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        what = "duplicate key"
        raise ValueError(what)
    return keys


def _never(_literal: str) -> None:
    what = "the protocol has whole numbers only"
    raise ValueError(what)


def _malformed(trouble: str) -> AnswerMalformed:
    return AnswerMalformed(f"An answer {trouble}.", remedy="answer as docs/record-systems.md says.")
