"""What the sample carrier knows: tables, and invented rows for each number of the sample.

Every table spells the number in its own way, as grown systems do. Each planted row has a fate, so that a checker can say
afterwards whether the right rows went and the right ones stayed. Imports the standard library, phonenumbers and its neighbour.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import phonenumbers

TABLES: Mapping[str, tuple[str, ...]] = {
    "subscribers": ("id", "msisdn", "subscription", "holder", "activated_at"),
    "subscribers_archive": ("id", "msisdn", "subscription", "holder", "activated_at", "legal_basis", "kept_until"),
    "identity_documents": ("id", "subscriber_id", "calling_code", "national_number", "document", "checked_at"),
    "marketing_contacts": ("id", "phone", "country", "name", "consented_at"),
    "bills": ("id", "subscriber", "subscription", "amount", "issued_at"),
    "value_added": ("id", "msisdn", "service", "started_at"),
    "call_records": ("id", "caller", "callee", "seconds", "began_at"),
    "messages": ("id", "sender", "recipient", "body", "sent_at"),
    "voicemails": ("id", "mailbox", "country", "recording", "left_at"),
    "call_statistics": ("id", "caller", "handset", "cell", "seconds", "day_began_at"),
    "lines": ("id", "msisdn", "status", "since"),
}
#: Columns by which rows are looked up; a real system has these indexes.
INDEXED: Mapping[str, tuple[str, ...]] = {
    "subscribers": ("msisdn", "subscription"),
    "subscribers_archive": ("msisdn",),
    "identity_documents": ("national_number",),
    "marketing_contacts": ("phone",),
    "bills": ("subscriber", "subscription"),
    "value_added": ("msisdn",),
    "call_records": ("caller",),
    "messages": ("sender",),
    "voicemails": ("mailbox",),
    "call_statistics": ("caller",),
    "lines": ("msisdn",),
}
#: (table, column) -> the table that it refers to: a row there can't go before the rows that refer to it.
REFERS: Mapping[tuple[str, str], str] = {("identity_documents", "subscriber_id"): "subscribers"}
#: The columns of a former holder's rows that are rewritten where the row itself stays in use.
REWRITTEN: Mapping[str, tuple[str, ...]] = {"call_statistics": ("caller", "handset", "cell")}
#: Somebody who is not in the sample: the other party of calls.
STRANGER = "+8613900000000"

_LINE_STATUS = {"ported": "ported_out", "in-service": "active"}
#: Lines whose former holder's rows must stay as they are: nothing may be wiped there.
_UNTOUCHED = frozenset({"ported", "in-service", "held", "crime", "reclaim", "rejected"})
_EITHER = "retire"
_WHEN_UNREADABLE = datetime(2026, 1, 1, tzinfo=UTC)


class Fate(StrEnum):
    """What must have become of a row in the end."""

    GONE = "gone"
    #: moved to the archive, with legal basis and last day.
    ARCHIVED = "archived"
    #: taken into the engine's own keeping.
    SEALED = "sealed"
    #: still there, and says no longer whose it was.
    REWRITTEN = "rewritten"
    SURVIVES = "survives"
    #: may be either: the number is retired at an instant that the operator chooses.
    EITHER = "either"
    #: the carrier itself changes it: the state of a line.
    OPEN = "open"


_KEPT = {"subscribers": Fate.ARCHIVED, "identity_documents": Fate.SEALED, "call_statistics": Fate.REWRITTEN}


@dataclass(frozen=True)
class Latest:
    """Stands for the key of the row that was last put into a table."""

    table: str


@dataclass(frozen=True)
class Planted:
    """One row of the carrier's.

    Attributes:
        line: line of the sample it belongs to.
        table: its table.
        values: the cells but for the primary key.
        fate: what must become of it.
        why: why that.
    """

    line: int
    table: str
    values: tuple[object, ...]
    fate: Fate
    why: str


@dataclass(frozen=True)
class Subscriber:
    """A number of the sample as the carrier sees it."""

    line: int
    number: str
    country: str
    left_at: datetime
    plays: str
    subscription: str

    @property
    def calling_code(self) -> str:
        """The number's country code."""
        return str(phonenumbers.parse(self.number, None).country_code)

    @property
    def digits(self) -> str:
        """The number without its plus sign."""
        return self.number.removeprefix("+")

    @property
    def national(self) -> str:
        """The number without its country code."""
        return phonenumbers.national_significant_number(phonenumbers.parse(self.number, None))

    @property
    def former_fate(self) -> Fate:
        """What must become of the former holder's rows."""
        if self.plays in _UNTOUCHED:
            return Fate.SURVIVES
        return Fate.EITHER if self.plays == _EITHER else Fate.GONE


def digest(row: Sequence[object]) -> str:
    """Return the SHA-256 of a row's cells, primary key first, in the table's order, as compact ASCII JSON."""
    return hashlib.sha256(json.dumps(list(row), ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def subscribers(rows: Mapping[int, Mapping[str, str]], plays: Mapping[int, str]) -> Iterator[Subscriber]:
    """Return the numbers of the sample that the carrier knows: each well-written one once."""
    seen = set[str]()
    for line, row in rows.items():
        number = row["number"]
        known = number.startswith("+") and number[1:].isascii() and number[1:].isdigit() and number not in seen
        parsed = phonenumbers.parse(number, None) if known else phonenumbers.PhoneNumber()
        country = phonenumbers.region_code_for_number(parsed)
        if country is None or not phonenumbers.is_valid_number(parsed):
            continue
        seen.add(number)
        yield Subscriber(line, number, country, _left_at(row["disconnected_at"]), plays.get(line, ""), row["subscription"])


def rows_of_holder(who: Subscriber) -> Iterator[Planted]:
    """Return every row the carrier has about one number."""
    yield Planted(who.line, "lines", (who.number, _LINE_STATUS.get(who.plays, "disconnected"), _iso(who.left_at)), Fate.OPEN, "")
    for table, values in _former(who):
        fate = _KEPT.get(table, Fate.GONE) if who.former_fate is Fate.GONE else who.former_fate
        yield Planted(who.line, table, values, fate, "former holder's")
    for table, values in _of_others(who):
        yield Planted(who.line, table, values, Fate.SURVIVES, "the number is the other party")
    if who.plays == "newer-holder":
        for table, values in _newer(who):
            yield Planted(who.line, table, values, Fate.SURVIVES, "newer holder's")


def passing_call(place: int, now: datetime) -> tuple[object, ...]:
    """Return a call between two strangers, for a database that lives."""
    return (f"861390000{place % 10_000:04d}", f"861390001{place % 10_000:04d}", 30 + place % 90, _naive(now))


def _former(who: Subscriber) -> Iterator[tuple[str, tuple[object, ...]]]:
    name, left_at = f"Sample Person {who.line}", who.left_at
    started_at = left_at - timedelta(days=700)
    yield from _contract(who, f"Earlier {name}", f"OLD-{who.subscription}", started_at - timedelta(days=900))
    yield from _contract(who, name, who.subscription, started_at)
    yield "marketing_contacts", (who.national, who.country, name, _zulu(started_at + timedelta(days=1)))
    for month in range(3):
        yield "bills", (who.digits, who.subscription, f"{19 + month}.90", _naive(left_at - timedelta(days=30 * month)))
    if who.subscription:
        # Written after the disconnect: only the subscription says whose it is.
        yield "bills", (who.digits, who.subscription, "7.45", _naive(left_at + timedelta(days=9)))
    yield "value_added", (who.number, "ringback tones", _iso(started_at + timedelta(days=3)))
    yield "value_added", (who.number, "horoscope", _iso(left_at - timedelta(days=40)))
    for day in range(3):
        yield "call_records", (who.digits, _other(who, day), 60 + day, _naive(left_at - timedelta(days=day)))
        yield "call_statistics", (who.digits, _handset(who), f"cell {day}", 60 + day, _naive(left_at - timedelta(days=day)))
    for day in range(2):
        yield "messages", (who.digits, _other(who, day), "invented text", _zulu(left_at - timedelta(days=day, hours=1)))
    yield "voicemails", (who.national, who.country, "invented recording", _iso(left_at - timedelta(days=2)))


def _of_others(who: Subscriber) -> Iterator[tuple[str, tuple[object, ...]]]:
    before = who.left_at - timedelta(days=5)
    yield "call_records", (_other(who, 7), who.digits, 42, _naive(before))
    yield "messages", (_other(who, 8), who.digits, "invented answer", _zulu(before))


def _newer(who: Subscriber) -> Iterator[tuple[str, tuple[object, ...]]]:
    since = who.left_at + timedelta(seconds=1)
    name, subscription = f"Newer Sample Person {who.line}", f"NEW-{who.subscription}"
    yield from _contract(who, name, subscription, since)
    yield "marketing_contacts", (who.national, who.country, name, _zulu(since))
    yield "bills", (who.digits, subscription, "25.00", _naive(since))
    yield "value_added", (who.number, "weather", _iso(since))
    yield "call_records", (who.digits, _other(who, 9), 12, _naive(since))
    yield "messages", (who.digits, _other(who, 9), "invented greeting", _zulu(since))
    yield "voicemails", (who.national, who.country, "newer invented recording", _iso(since))
    yield "call_statistics", (who.digits, _handset(who, "newer "), "cell 9", 12, _naive(since))


def _contract(who: Subscriber, holder: str, subscription: str, since: datetime) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield what the register has of one holder: the contract, and the identity document behind it."""
    yield "subscribers", (who.number, subscription, holder, _iso(since))
    document = f"INVENTED-{who.line:05d} of {holder}"
    yield "identity_documents", (Latest("subscribers"), who.calling_code, who.national, document, _zulu(since))


def _handset(who: Subscriber, whose: str = "") -> str:
    return f"{whose}handset {who.line}"


def _other(who: Subscriber, place: int) -> str:
    return f"{STRANGER[1:-4]}{(who.line * 10 + place) % 10_000:04d}"


def _left_at(cell: str) -> datetime:
    try:
        instant = datetime.fromisoformat(cell)
    except ValueError:
        return _WHEN_UNREADABLE
    return instant if instant.tzinfo is not None and instant.year < _WHEN_UNREADABLE.year + 1 else _WHEN_UNREADABLE


def _iso(instant: datetime) -> str:
    return instant.isoformat()


def _zulu(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _naive(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
