"""Entries: one spelling of each fact, read back as it was, and nothing else read."""

import json
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fallow.domain.errors import EntryRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.registration import RegistryKind
from fallow.ledger.entries import CYCLE, LEDGER, LONGEST_ENTRY, PLATFORM, Entry, entry_bytes, read_entry

AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ENTRY = Entry(CYCLE, "n_abcdefghijklmnopqrstuvwxyz/1", 17, Kind.NUMBER_RELEASED, AT, {"tag": "00", "gate": "é\U0001f4de", "jitter": 0.1})
SPELLED = (
    b'{"at":"2026-03-01T09:00:00.000000Z","body":{"gate":"\\u00e9\\ud83d\\udcde","jitter":0.1,"tag":"00"},'
    b'"id":"n_abcdefghijklmnopqrstuvwxyz/1","kind":"NumberReleased","of":"cycle","seq":17,"v":1}'
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(**members: Any) -> bytes:
    """Return the entry with members changed, in the canonical spelling."""
    return canonical({**json.loads(SPELLED), **members}).encode()


def test_an_entry_is_spelled_so() -> None:
    """The spelling is pinned: a change of it would change every hash."""
    assert ENTRY.raw == SPELLED
    assert read_entry(SPELLED) == ENTRY


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.datetimes(timezones=st.just(UTC)), st.integers(1, 2**63 - 1))
def test_an_entry_is_read_back_as_it_was(body: dict[str, Any], at: datetime, seq: int) -> None:
    """Whatever JSON a body holds, whatever the instant: what is read is what was written, and so is its spelling."""
    entry = Entry(LEDGER, "ledger.example/1", seq, "KeyRotated", at, body)

    assert read_entry(entry.raw) == entry
    assert read_entry(entry.raw).raw == entry.raw
    assert entry.raw == canonical(json.loads(entry.raw)).encode()


@pytest.mark.parametrize("kind", [*Kind, *RegistryKind])
def test_every_kind_of_event_can_stand_in_an_entry(kind: str) -> None:
    """Every kind of event of a cycle and of a platform can stand in an entry."""
    assert read_entry(Entry(PLATFORM, "delta-shop", 1, kind, AT, {}).raw).kind == kind


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        SPELLED + b"\n",
        b" " + SPELLED,
        SPELLED[:-1],
        SPELLED.replace(b'":', b'": ', 1),
        SPELLED.replace(b'"v":1', b'"v":1,"w":1'),
        SPELLED.replace(b'"seq":17,', b""),
        SPELLED.replace(b'"seq":17,', b'"seq":17,"seq":17,'),
        SPELLED.replace(b'"tag":"00"', b'"tag":"00","tag":"00"'),
        SPELLED.replace(b'"gate"', b'"zzz"'),
        SPELLED.replace(b"\\u00e9", "é".encode()),
        SPELLED.replace(b"\\u00e9", b"\\u00E9"),
        SPELLED.replace(b"\\ud83d\\udcde", b"\\ud83d"),
        SPELLED.replace(b"0.1", b"0.10"),
        SPELLED.replace(b"0.1", b"1e400"),
        SPELLED.replace(b"0.1", b"NaN"),
        SPELLED.replace(b"0.1", b"Infinity"),
        SPELLED.replace(b"0.1", b"-Infinity"),
        SPELLED.replace(b"0.1", b"-0"),
        SPELLED.replace(b"0.1", b"9" * 5000),
        SPELLED.replace(b"0.1", b"[" * 100_000 + b"]" * 100_000),
        SPELLED.replace(b"0.1", b'"' + b"x" * LONGEST_ENTRY + b'"'),
        changed(v=2),
        changed(v=1.0),
        changed(v=True),
        changed(v="1"),
        changed(seq=0),
        changed(seq=-1),
        changed(seq=17.0),
        changed(seq=True),
        changed(seq="17"),
        changed(seq=2**63),
        changed(body=[]),
        changed(body="{}"),
        changed(of="Cycle"),
        changed(of=""),
        changed(of=1),
        changed(id="two words"),
        changed(id=""),
        changed(id=None),
        changed(id='a"b'),
        changed(id="a\n"),
        changed(kind="Number Released"),
        changed(kind={}),
        changed(at="2026-03-01T09:00:00Z"),
        changed(at="2026-03-01T09:00:00.000000+00:00"),
        changed(at="2026-02-30T09:00:00.000000Z"),
        changed(at="2026-03-01T24:00:00.000000Z"),
        changed(at="2026-03-01T09:00:00.000000Z\n"),
        changed(at="0000-03-01T09:00:00.000000Z"),
        changed(at=1),
    ],
    ids=lambda raw: raw[:60].decode("utf-8", "replace") + f" {zlib.crc32(raw) % 9999}",
)
def test_another_spelling_is_refused(raw: bytes) -> None:
    """Every other spelling, member, kind of value or bound is refused in words that repeat nothing of it."""
    with pytest.raises(EntryRefused) as refusal:
        read_entry(raw)
    assert len(str(refusal.value)) < 300
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


@given(st.binary(max_size=200))
@example(SPELLED)
def test_nothing_crashes_the_reading(raw: bytes) -> None:
    """Whatever is read is refused in words, or is an entry that is spelled as it was read."""
    try:
        entry = read_entry(raw)
    except EntryRefused:
        return
    assert entry.raw == raw


@pytest.mark.parametrize("hostile", [None, "text", 1, bytearray(SPELLED), {}])
def test_what_is_no_octets_is_refused(hostile: Any) -> None:
    """Another type is refused in words."""
    with pytest.raises(EntryRefused):
        read_entry(hostile)


def test_every_octet_counts() -> None:
    """With any bit of any octet turned it is another entry or none."""
    for at in range(len(SPELLED)):
        for bit in range(8):
            turned = SPELLED[:at] + bytes([SPELLED[at] ^ 1 << bit]) + SPELLED[at + 1 :]
            try:
                assert read_entry(turned) != ENTRY
            except EntryRefused:
                continue


@pytest.mark.parametrize(
    "members",
    [
        {"of": "a cycle"},
        {"which": 'x","id":"y'},
        {"which": ""},
        {"kind": 'Released","v":2,"x":"'},
        {"seq": 0},
        {"seq": True},
        {"at": AT.replace(tzinfo=None)},
        {"at": AT.astimezone(timezone(timedelta(hours=8)))},
    ],
    ids=str,
)
def test_what_can_not_stand_in_an_entry_is_not_written(members: dict[str, Any]) -> None:
    """A name that would need escaping, a place before the first, an instant that is not UTC: refused before there is a leaf."""
    good: dict[str, Any] = {"of": CYCLE, "which": "n_a/1", "seq": 1, "kind": "NumberReleased", "at": AT, "body": "{}"}

    assert read_entry(entry_bytes(**good)).body == {}
    with pytest.raises(EntryRefused):
        entry_bytes(**{**good, **members})


@pytest.mark.parametrize("body", ["", "null", "[]", '{"b":1,"a":2}', "{ }", '{"a":1}}', '{},"id":"n_b/1"', '{},"body":{}', '{"a":"é"}'])
def test_a_row_that_was_changed_makes_no_entry_that_is_read(body: str) -> None:
    """A body that is no canonical object, or tries to bring members of its own, makes an entry that is refused."""
    with pytest.raises(EntryRefused):
        read_entry(entry_bytes(of=CYCLE, which="n_a/1", seq=1, kind="NumberReleased", at=AT, body=body))
