"""What a leaf of the ledger holds: one event, in one spelling, so that the same fact has the same hash wherever it is computed.

The octets are the canonical JSON (:func:`fallow.domain.events.canonical`) of::

    {"at": "2026-03-01T09:00:00.000000Z", "body": {…}, "id": "n_…/1", "kind": "NumberReleased", "of": "cycle", "seq": 17, "v": 1}

``of`` says what the event is about and ``id`` which one; ``seq`` is the event's place among those: of a cycle 1, 2, 3 …, of others the
number of its row. A number that is not whole is spelled as Python spells it, the shortest text that reads back as the same double.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self

from fallow.domain.errors import EntryRefused
from fallow.domain.events import canonical

#: Most octets of an entry that is read.
LONGEST_ENTRY = 1024 * 1024
#: What entries may be about: a cycle's events, a platform's registration, the ledger itself (a change of its key, a look of an auditor).
CYCLE, PLATFORM, LEDGER = "cycle", "platform", "ledger"

_VERSION = 1
_KEYS = frozenset({"at", "body", "id", "kind", "of", "seq", "v"})
_LAST_SEQ = 2**63 - 1
# None of these characters is escaped in JSON, so what matches can be put between quotes as it is.
_OF = re.compile(r"[a-z][a-z-]{0,31}\Z", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9._~/-]{1,255}\Z", re.ASCII)
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,63}\Z", re.ASCII)
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the ledger holds it.

    Attributes:
        of: what it is about: :data:`CYCLE`, :data:`PLATFORM`, :data:`LEDGER`, or what a later version adds.
        id: which one, by its opaque identifier.
        seq: its place among the events of that one; from 1.
        kind: what happened.
        at: when, UTC.
        body: what else is said of it; JSON values.
    """

    of: str
    id: str
    seq: int
    kind: str
    at: datetime
    body: Mapping[str, Any]

    @property
    def raw(self) -> bytes:
        """The leaf's octets.

        Raises:
            EntryRefused: an attribute can't stand in an entry.
        """
        return entry_bytes(of=self.of, which=self.id, seq=self.seq, kind=self.kind, at=self.at, body=canonical(self.body))

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Read a leaf's octets back; as :func:`read_entry`."""
        document = _document(raw)
        of, which, kind, at, seq, body = (document[key] for key in ("of", "id", "kind", "at", "seq", "body"))
        if type(document["v"]) is not int or document["v"] != _VERSION:
            _refuse("is of a version that this program does not know")
        if not all(isinstance(each, str) for each in (of, which, kind, at)) or not _AT.match(at) or not isinstance(body, dict):
            _refuse("has a value of another kind than it must have")
        _demand(of, which, kind, seq)
        return cls(of, which, seq, kind, _instant(at), body)


def entry_bytes(*, of: str, which: str, seq: int, kind: str, at: datetime, body: str) -> bytes:
    """Return the leaf's octets of an event whose body is canonical JSON already, as the database keeps it.

    The body is put in as it is, so that making a leaf costs no parsing. One that is not canonical makes an entry that can't be read back,
    which is what an auditor must see of a row that somebody changed.

    Raises:
        EntryRefused: another argument can't stand in an entry.
    """
    _demand(of, which, kind, seq)
    if at.utcoffset() != timedelta(0):
        _refuse("has an instant that is not in UTC")
    written = at.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f'{{"at":"{written}Z","body":{body},"id":"{which}","kind":"{kind}","of":"{of}","seq":{seq},"v":{_VERSION}}}'.encode()


def read_entry(raw: bytes) -> Entry:
    """Read a leaf's octets, which must be exactly those that :func:`entry_bytes` would write.

    Raises:
        EntryRefused: anything else; the message holds nothing of it.
    """
    return Entry.from_raw(raw)


def _document(raw: object) -> dict[str, Any]:
    document: object = None
    if type(raw) is bytes and len(raw) <= LONGEST_ENTRY:
        try:
            document = _DECODER.decode(raw.decode("ascii"))
            # Spelled again rather than looked over: so a key that occurs twice, a space, another order or another spelling is seen at once.
            if not isinstance(document, dict) or canonical(document).encode() != raw or not _is_text(raw, document):
                document = None
        except (ValueError, RecursionError):
            document = None
    # Raised outside the except clause: a decoder's error quotes what came in.
    if not isinstance(document, dict) or document.keys() != _KEYS:
        _refuse("is not written in the one way that entries are")
    return document


def _is_text(raw: bytes, document: object) -> bool:
    """Tell whether every text can be written as UTF-8: half of a surrogate pair can be escaped in JSON and is no character."""
    return b"\\ud" not in raw or bool(json.dumps(document, ensure_ascii=False).encode("utf-8"))


def _never(_literal: str) -> NoReturn:
    what = "no JSON"
    raise ValueError(what)


# Made once: json.loads would make one for every text. A double beyond all bounds is caught when it is spelled again.
_DECODER = json.JSONDecoder(parse_constant=_never)


def _instant(text: str) -> datetime:
    at = None
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        at = None
    if at is None:
        _refuse("has an instant that no calendar has")
    return at


def _demand(of: str, which: str, kind: str, seq: object) -> None:
    if not (_OF.match(of) and _ID.match(which) and _KIND.match(kind)):
        _refuse("has a name that can't stand in one")
    if type(seq) is not int or not 1 <= seq <= _LAST_SEQ:
        _refuse("has no place among the events of what it is about")


def _refuse(trouble: str) -> NoReturn:
    what = f"An entry of the ledger {trouble}."
    raise EntryRefused(what, remedy="keep it as it came: it shows that somebody changed it, or that it was made by a newer fallow.")
