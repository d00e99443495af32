"""The protocol's two bodies: what we send, and the closed schema of what we accept."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.domain.errors import AnswerMalformed
from fallow.domain.number import E164
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem
from fallow.platforms.protocol import LONGEST_BODY, Answer, demand_asked, parse_answers, render_items

NUMBER = "+447700900123"
REF = "ref_" + "a" * 26
OTHER = "ref_" + "b" * 26


def item(reference: str = REF) -> UnbindItem:
    """Return an item to unbind."""
    return UnbindItem(reference, E164(NUMBER), datetime(2026, 1, 31, 8, tzinfo=timezone(timedelta(hours=8))), reminder=True)


def answers(*said: tuple[str, str]) -> bytes:
    """Return a body that says so."""
    return json.dumps({"answers": [{"reference": reference, "outcome": outcome} for reference, outcome in said]}).encode()


def test_a_request_says_exactly_what_is_documented() -> None:
    """Reference, number, instant in UTC and reminder, and nothing else."""
    assert json.loads(render_items([item()])) == {
        "type": "fallow.unbind.v1",
        "items": [{"reference": REF, "number": NUMBER, "disconnected_at": "2026-01-31T00:00:00Z", "reminder": True}],
    }


@pytest.mark.parametrize("outcome", ["unbound", "not_bound", "clear", "refused", "accepted", "needs_human"])
def test_every_outcome_of_a_platform_is_read(outcome: str) -> None:
    """The five words a platform can say."""
    assert parse_answers(answers((REF, outcome))) == [Answer(REF, Outcome(outcome))]


def test_five_hundred_answers_are_read_in_order() -> None:
    """A batch is read whole, in the order it came."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    references = [f"ref_{'a' * 24}{first}{second}" for first in letters for second in letters][:500]

    assert [each.reference for each in parse_answers(answers(*((ref, "unbound") for ref in references)))] == references


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
    "501 answers": b'{"answers":[' + b",".join([b"1"] * 501) + b"]}",
    "501 answers of the right form": answers(*((f"ref_{'a' * 23}{a}{b}{c}", "clear") for a, b, c in product("abcdefgh", repeat=3))),
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


def test_an_instant_is_sent_in_utc_whatever_its_offset() -> None:
    """The same instant is always written the same way."""
    there, here = item(), item()

    assert render_items([there]) == render_items([here])
    assert datetime(2026, 1, 31, tzinfo=UTC) == there.disconnected_at
