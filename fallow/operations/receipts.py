"""Receipts as they come from a record system, looked at before they count: a kind may be anybody's code (docs/record-systems.md)."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime

from fallow.domain.errors import TargetUnavailable
from fallow.domain.gate import CLOCKS_APART
from fallow.domain.ports import CollectionReceipt, WipeReceipt

#: What a column for a count takes (a signed 64-bit integer).
_MOST = 2**63 - 1
_COUNTS = ("affected", "remaining", "newer", "kept")
_TEXTS = ("strategy", "statement", "query", "meaning")
_PERHAPS_TEXTS = ("legal_basis", "kept_until", "backups_until")


def demand_well_formed(
    system_id: str, collections: Collection[str], cycle_ids: Sequence[str], receipts: object, since: datetime
) -> list[WipeReceipt]:
    """Return ``receipts`` if there is one for each order and each says what a receipt must say.

    Args:
        system_id: who gave them.
        collections: ids of its collections.
        cycle_ids: of the orders.
        receipts: what it gave, whatever it is.
        since: when the orders were given, by the database's clock.

    Raises:
        TargetUnavailable: one is not well-formed, so that none of them counts; names what is wrong.
    """
    wrong = next(_faults(system_id, collections, cycle_ids, receipts, since), None)
    if wrong is not None:
        what = f"The record system {system_id} gave a receipt that does not count: {wrong}."
        raise TargetUnavailable(what, remedy="mend the system, or its kind, as docs/record-systems.md says; it is asked again by itself.")
    return list(receipts)  # type: ignore[call-overload, no-any-return]


def _faults(system_id: str, collections: Collection[str], cycle_ids: Sequence[str], receipts: object, since: datetime) -> Iterator[str]:
    if not isinstance(receipts, list | tuple) or not all(isinstance(each, WipeReceipt) for each in receipts):
        yield "it is no list of WipeReceipt"
        return
    if any(each.system_id != system_id for each in receipts):
        yield "it names another system"
    if not all(map(_is_text, (each.place for each in receipts))):
        yield "place is no text"
    if Counter(str(each.cycle_id) for each in receipts) != Counter(cycle_ids):
        yield "there is not exactly one for each order"
    for receipt in receipts:
        yield from _of_collections(receipt.collections, collections, since)


def _of_collections(found: object, collections: Collection[str], since: datetime) -> Iterator[str]:
    if not isinstance(found, list | tuple) or not all(isinstance(each, CollectionReceipt) for each in found):
        yield "its collections are no list of CollectionReceipt"
    elif Counter(str(each.collection) for each in found) != Counter(set(collections)):
        yield "it does not name each collection of the system once"
    else:
        for each in found:
            yield from (f"{each.collection}: {what}" for what in _of_one(each, since))


def _of_one(receipt: CollectionReceipt, since: datetime) -> Iterator[str]:
    yield from (f"{name} is no count" for name in _COUNTS if not _is_count(getattr(receipt, name)))
    yield from (f"{name} is no text" for name in _TEXTS if not _is_text(getattr(receipt, name)))
    yield from (f"{name} is no text" for name in _PERHAPS_TEXTS if not (getattr(receipt, name) is None or _is_text(getattr(receipt, name))))
    if not isinstance(receipt.not_reached, list | tuple) or not all(map(_is_text, receipt.not_reached)):
        yield "not_reached is no list of texts"
    if receipt.kept_until is not None and not _is_day(receipt.kept_until):
        yield "kept_until is no ISO date"
    if not isinstance(receipt.read_back_at, datetime) or receipt.read_back_at.utcoffset() is None:
        yield "read_back_at is no instant with an offset"
    elif receipt.read_back_at < since - CLOCKS_APART:
        yield "read_back_at lies before the order; is its clock right?"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST  # a bool is none


def _is_text(value: object) -> bool:
    """Tell whether both databases can keep it: PostgreSQL takes neither NUL nor half of a surrogate pair."""
    return isinstance(value, str) and "\0" not in value and value == value.encode(errors="ignore").decode()


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True
