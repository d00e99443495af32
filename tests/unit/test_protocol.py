"""The protocol's bodies: what we send, and the closed schemas of what we accept."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import AnswerMalformed
from fallow.domain.number import E164
from fallow.domain.obligations import Category, Outcome, RefusalReason
from fallow.domain.ports import UnbindItem
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.protocol import (
    DEEPEST,
    LONGEST_BODY,
    MOST_ANSWERS,
    MOST_ITEMS,
    Answer,
    demand_asked,
    new_challenge,
    parse_answers,
    parse_pong,
)
from fallow.platforms.request_bodies import hash_number, render_ping, render_status, render_unbind
from fallow.platforms.transport import LONGEST_REPLY

NUMBER = "+447700900123"
REF = "ref_" + "a" * 26
OTHER = "ref_" + "b" * 26


NUMBER_KEY = "whnk_" + base64.b64encode(bytes(range(32))).decode()


def item(reference: str = REF, deadline: datetime | None = None) -> UnbindItem:
    """Return an item to unbind."""
    there = datetime(2026, 1, 31, 8, tzinfo=timezone(timedelta(hours=8)))
    return UnbindItem(reference, E164(NUMBER), there, reminder=True, deadline=deadline)


def entry(**changed: Any) -> PlatformEntry:
    """Return a platform's registration."""
    return PlatformEntry("larkchat", Category.SOCIAL, None, (), 50, 20.0, 60.0, 3, 5.0, "x", **changed)


def answers(*said: tuple[str, str]) -> bytes:
    """Return a body that says so."""
    return json.dumps({"answers": [{"reference": reference, "outcome": outcome} for reference, outcome in said]}).encode()


def test_a_request_says_exactly_what_is_documented() -> None:
    """The terms once, then reference, number, cut-off in UTC, deadline and reminder of each item, and nothing else."""
    terms = entry(legal_basis="statutory-unbinding", contract="C-7/b", language="zh-CN")
    late = item(OTHER, datetime(2026, 2, 5, 1, 30, tzinfo=timezone(timedelta(hours=1))))
    one = {"number": NUMBER, "disconnected_at": "2026-01-31T00:00:00Z", "reminder": True}

    assert json.loads(render_unbind(terms, [item(), late])) == {
        "type": "fallow.unbind.v1",
        "platform": "larkchat",
        "legal_basis": "statutory-unbinding",
        "contract": "C-7/b",
        "language": "zh-CN",
        "number_form": "e164",
        "items": [{"reference": REF, "deadline": None, **one}, {"reference": OTHER, "deadline": "2026-02-05T00:30:00Z", **one}],
    }


def test_a_number_can_travel_as_a_hash_under_the_platforms_own_key() -> None:
    """Then the number itself is nowhere in the body; the hash is HMAC-SHA-256 of its E.164 text, in hex."""
    body = render_unbind(entry(number_form="keyed-hash", number_key=NUMBER_KEY), [item()])
    (said,) = json.loads(body)["items"]

    assert said["number_hash"] == hmac.new(bytes(range(32)), NUMBER.encode(), hashlib.sha256).hexdigest()
    assert json.loads(body)["number_form"] == "keyed-hash"
    assert "number" not in said
    assert NUMBER.encode() not in body
    assert hash_number("whnk_" + base64.b64encode(bytes(32)).decode(), E164(NUMBER)) != said["number_hash"]


def test_a_status_query_names_references_and_never_a_number() -> None:
    """What is asked is how these stand; who they are about was said before."""
    assert json.loads(render_status(entry(), [REF, OTHER])) == {
        "type": "fallow.status.v1",
        "platform": "larkchat",
        "references": [REF, OTHER],
    }


@pytest.mark.parametrize("outcome", ["unbound", "not_bound", "clear", "refused", "accepted", "needs_human"])
def test_every_outcome_of_a_platform_is_read(outcome: str) -> None:
    """The six words a platform can say."""
    assert parse_answers(answers((REF, outcome))) == [Answer(REF, Outcome(outcome))]


def test_the_older_word_for_accepted_stays_readable() -> None:
    """What was kept with it is read again as long as it is kept."""
    assert parse_answers(answers((REF, "pending"))) == [Answer(REF, Outcome.ACCEPTED)]


@pytest.mark.parametrize("reason", RefusalReason)
def test_a_refusal_may_say_why(reason: RefusalReason) -> None:
    """From a closed list, because free text could hold a number or a name."""
    body = json.dumps({"answers": [{"reference": REF, "outcome": "refused", "reason": reason}]}).encode()

    assert parse_answers(body) == [Answer(REF, Outcome.REFUSED, reason)]


def many(count: int) -> list[str]:
    """Return that many references."""
    return [f"ref_{'a' * 22}{''.join(end)}" for end in product("abcdefgh", repeat=4)][:count]


def test_whatever_can_be_asked_at_once_can_be_answered_at_once() -> None:
    """A thousand answers are read whole, in the order they came; with the longest words and loose spacing they fit into a response."""
    said = [{"reference": each, "outcome": "refused", "reason": "newer-holder"} for each in many(MOST_ITEMS)]
    body = json.dumps({"answers": said}, indent=2).encode()

    assert MOST_ANSWERS == MOST_ITEMS == 1000
    assert [each.reference for each in parse_answers(body)] == many(1000)
    assert len(body) <= LONGEST_REPLY


ONE = '{"reference":"%s","outcome":"unbound"}' % REF  # noqa: UP031 - braces
MALFORMED = {
    "empty": b"",
    "no JSON": b"success",
    "invalid UTF-8": b'{"answers":[{"reference":"\xff","outcome":"unbound"}]}',
    "UTF-16": json.dumps({"answers": []}).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + answers((REF, "unbound")),
    "a list": f"[{ONE}]".encode(),
    "a string": b'"unbound"',
    "null": b"null",
    "no answers": b'{"answers":[]}',
    "answers no list": f'{{"answers":{ONE}}}'.encode(),
    "unknown key outside": f'{{"answers":[{ONE}],"note":"x"}}'.encode(),
    "unknown key inside": answers((REF, "unbound")).replace(b'"outcome"', b'"number":"+447700900123","outcome"'),
    "number as text": answers((REF, NUMBER)),
    "number as reference": answers((NUMBER, "unbound")),
    "number as a number": f'{{"answers":[{ONE}],"n":447700900123}}'.encode(),
    "number as a key": f'{{"answers":[{ONE}],"{NUMBER}":"x"}}'.encode(),
    "number after the document": f'{{"answers":[{ONE}]}} {NUMBER}'.encode(),
    "number in a comment": f'{{"answers":[{ONE}]/*{NUMBER}*/}}'.encode(),
    "duplicate key outside": f'{{"answers":[],"answers":[{ONE}]}}'.encode(),
    "duplicate key inside": answers((REF, "unbound")).replace(b'"outcome"', b'"outcome":"refused","outcome"'),
    "duplicate key hidden by an escape": answers((REF, "unbound")).replace(b'"outcome"', b'"\\u006futcome":"refused","outcome"'),
    "a reference twice": answers((REF, "accepted"), (REF, "unbound")),
    "NaN": b'{"answers":[{"reference":NaN,"outcome":"unbound"}]}',
    "Infinity": b'{"answers":[{"reference":-Infinity,"outcome":"unbound"}]}',
    "an endless integer": b'{"answers":' + b"9" * 5000 + b"}",
    "true as outcome": b'{"answers":[{"reference":"%s","outcome":true}]}' % REF.encode(),
    "a list as outcome": b'{"answers":[{"reference":"%s","outcome":["unbound"]}]}' % REF.encode(),
    "null as answer": b'{"answers":[null]}',
    "wrong outcome": answers((REF, "done")),
    "upper case": answers((REF, "UNBOUND")),
    "an outcome that only the engine has": answers((REF, "attested")),
    "another that only the engine has": answers((REF, "wiped")),
    "short reference": answers((REF[:-1], "unbound")),
    "long reference": answers((REF + "a", "unbound")),
    "reference with a newline": answers((REF + "\n", "unbound")),
    "reference outside the alphabet": answers((REF[:-1] + "1", "unbound")),
    "lone surrogate": b'{"answers":[{"reference":"\\ud800","outcome":"unbound"}]}',
    "deep lists": b'{"answers":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "too long": answers((REF, "unbound")) + b" " * LONGEST_BODY,
    "deep lists in a list that closes": b'{"answers":[' + b"[]," * 9_000 + b"[" * 32 + b"]" * 32 + b"]}",
    "quotes without end": b'{"answers":"' + b'\\"' * 100_000,
    "1001 answers": b'{"answers":[' + b",".join([b"{}"] * 1001) + b"]}",
    "1001 answers of the right form": answers(*((reference, "clear") for reference in many(1001))),
    "a reason beside another outcome": answers((REF, "unbound")).replace(b'"outcome"', b'"reason":"debt","outcome"'),
    "a reason of its own": answers((REF, "refused")).replace(b'"outcome"', b'"reason":"call +447700900123","outcome"'),
    "an empty reason": answers((REF, "refused")).replace(b'"outcome"', b'"reason":"","outcome"'),
    "no reason": answers((REF, "refused")).replace(b'"outcome"', b'"reason":null,"outcome"'),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_outside_the_protocol_is_refused(body: bytes) -> None:
    """Refused with one error that shows nothing of the body, also not through chaining."""
    with pytest.raises(AnswerMalformed) as caught:
        parse_answers(body)
    error = caught.value

    assert error.__cause__ is None
    assert error.__context__ is None
    assert not {"447700900123", "ref_", "success"} & set(str(error).split())
    assert NUMBER not in str(error)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_crash(body: bytes) -> None:
    """Whatever comes, the only error is AnswerMalformed."""
    with pytest.raises(AnswerMalformed):
        parse_answers(body)


def test_a_response_may_answer_a_part_of_what_was_asked() -> None:
    """What is missing comes by callback."""
    demand_asked([Answer(REF, Outcome.UNBOUND)], [item(), item(OTHER)])


def test_a_response_about_something_else_is_refused() -> None:
    """A reference that this request did not ask is another number's, or invented."""
    with pytest.raises(AnswerMalformed):
        demand_asked([Answer(REF, Outcome.UNBOUND), Answer(OTHER, Outcome.UNBOUND)], [item()])


def test_depth_is_judged_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets inside strings do not count, those outside do, and a parser never sees a body that nests too deep."""
    deep = b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)
    monkeypatch.setattr("fallow.platforms.protocol.json.loads", lambda *_, **__: {"answers": [{"reference": REF, "outcome": "clear"}]})

    assert parse_answers(deep[1:-1])
    assert parse_answers(b'"' + deep + b'\\"' + deep + b'"')
    for body in (deep, b'"\\\\"' + deep, b"[]" * 40 + deep):
        with pytest.raises(AnswerMalformed, match="nests deeper"):
            parse_answers(body)


def test_a_pong_repeats_the_challenge_of_its_ping() -> None:
    """No two pings ask alike, and no challenge could be a phone number."""
    challenge = new_challenge()
    said = json.loads(render_ping(challenge))

    assert said == {"type": "fallow.ping.v1", "challenge": challenge}
    assert challenge.isalpha()
    assert challenge != new_challenge()
    parse_pong(json.dumps({**said, "type": "fallow.pong.v1"}).encode(), challenge)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "fallow.ping.v1", "challenge": "abcd"},
        {"type": "fallow.pong.v1", "challenge": "abce"},
        {"type": "fallow.pong.v1", "challenge": ["abcd"]},
        {"type": "fallow.pong.v1", "challenge": "abcd\ud800"},
        {"type": "fallow.pong.v1"},
        {"type": "fallow.pong.v1", "challenge": "abcd", "note": ""},
        ["abcd"],
    ],
)
def test_anything_but_a_pong_is_refused(body: object) -> None:
    """Another type, another challenge or another key proves nothing."""
    with pytest.raises(AnswerMalformed):
        parse_pong(json.dumps(body).encode(), "abcd")
