"""Reading back again what a receipt says, by whoever doubts it: the same question on the same numbers, compared with the receipt."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fallow.domain.errors import FallowError, GateRefused, NotKnown
from fallow.domain.people import Action, Person
from fallow.domain.ports import CollectionReceipt, RecordSystem
from fallow.operations.proofs import stored
from fallow.operations.wipe_orders import order_of
from fallow.store import holders, obligations
from fallow.store.engine import Database, Tx
from fallow.store.tables import CycleRow, ObligationRow
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys


@dataclass(frozen=True)
class Rechecked:
    """One collection of one cycle, read back again.

    Attributes:
        cycle_id: whose.
        collection: where.
        remaining: rows of the former holder found now; None where the map no longer has the collection.
        newer: rows of a newer holder found now; None as above.
        same_query: whether the question has the digest that the receipt names; None where the receipt does not name the collection.
        same_meaning: whether the map says of the collection what it said then; None as above.
        by_time_only: whether rows were told apart by time alone although the map names a subscription: none is known.
        released: whether the number has been released since, so that a newer holder's rows are as they should be.
        same_place: whether the system was read where the receipt was written; None where the receipt does not name the place.
        own_address: whether it was read at an address of the asker's own, where another place contradicts nothing.
    """

    cycle_id: str
    collection: str
    remaining: int | None
    newer: int | None
    same_query: bool | None
    same_meaning: bool | None
    by_time_only: bool
    released: bool
    same_place: bool | None = None
    own_address: bool = False

    @property
    def amiss(self) -> list[str]:
        """What contradicts the receipt, in words; empty where nothing does."""
        if self.remaining is None:
            return ["in the receipt, and no longer in the map"]
        said = (
            (self.remaining, f"{_rows(self.remaining)} of the former holder"),
            (self.newer and not self.released, f"{_rows(self.newer or 0)} of a newer holder, and the number is not released"),
            (self.same_query is None, "not in the receipt"),
            (self.same_query is False, "another query than the receipt's"),
            (self.same_meaning is False, "the map says otherwise than at the receipt"),
            (self.same_place is False and not self.own_address, "read at another place than the receipt"),
        )
        return [what for is_so, what in said if is_so]


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


@dataclass(frozen=True)
class Ledger:
    """Where cycles, numbers and receipts are kept: what a recheck needs of an installation."""

    db: Database
    vault: Vault
    wrapping: WrappingKeys


@dataclass(frozen=True)
class _Then:
    """What a receipt says: its collections by id, and its place, "" where it names none."""

    collections: Mapping[str, Any]
    place: str


def recheck(
    ledger: Ledger,
    person: Person,
    system: RecordSystem,
    cycle_ids: Sequence[str],
    by_subscription: Collection[str] = (),
    *,
    own_address: bool = False,
) -> tuple[list[Rechecked], dict[str, FallowError]]:
    """Read back again at ``system`` and compare with the receipts.

    Args:
        ledger: where the receipts are.
        person: who asks.
        system: the record system, on whichever address.
        cycle_ids: whose rows to look for.
        by_subscription: ids of its collections whose rows are told apart by a subscription, too.
        own_address: whether ``system`` is read at an address of the asker's own.

    Returns:
        What was found, and the cycles that nothing can be said of, each with why: NotKnown, or GateRefused for a receipt that was altered.

    Raises:
        PersonRefused, TargetUnavailable, MapRefused: as they say.
    """
    person.demand(Action.READ)
    receipts, unknown = dict[str, _Then](), dict[str, FallowError]()
    with ledger.db.read() as tx:
        owed = obligations.at_target(tx, system.system_id, cycle_ids)
        for cycle_id in dict.fromkeys(cycle_ids):
            try:
                receipts[cycle_id] = _receipt(tx, owed.get(cycle_id), cycle_id, system.system_id)
            except FallowError as error:
                unknown[cycle_id] = error
        rows = {cycle_id: _row(tx, cycle_id) for cycle_id in receipts}
        numbers = ledger.vault.reveal(tx, [row.number_id for row in rows.values()])
    with ledger.db.begin() as tx:  # no snapshot: a rotation may take a key's place between its row and its wrapping key
        known = holders.known(tx, ledger.wrapping, rows)
    orders = [order_of(row, numbers[row.number_id], known.get(cycle_id)) for cycle_id, row in rows.items()]
    found = list[Rechecked]()
    for first in range(0, len(orders), system.batch):
        some = orders[first : first + system.batch]
        for order, answer in zip(some, system.read_back(some), strict=True):
            blind = by_subscription if order.subscription is None else ()
            then, was_released = receipts[order.cycle_id], rows[order.cycle_id].released_at is not None
            compared = _compared(order.cycle_id, answer.collections, then.collections, blind, released=was_released)
            same_place = then.place == answer.place if then.place else None
            found += [replace(each, same_place=same_place, own_address=own_address) for each in compared]
    return found, unknown


def _receipt(tx: Tx, owed: ObligationRow | None, cycle_id: str, system_id: str) -> _Then:
    """Return a cycle's receipt.

    Raises:
        NotKnown: no such cycle, or nothing was wiped there.
        GateRefused: the receipt is not what its digest says.
    """
    _row(tx, cycle_id)
    body = None if owed is None or owed.evidence is None else stored(tx, owed, "receipt")
    if owed is None or owed.evidence is None:
        what = f"The cycle {cycle_id} has no receipt of {system_id}."
        raise NotKnown(what, remedy="wait until it is wiped there; `fallow numbers show` tells.")
    listed = None if body is None else body.get("collections")
    if body is None or not isinstance(listed, list):
        what = f"The receipt that the cycle {cycle_id} cites for {system_id} is missing or altered."
        raise GateRefused(what, remedy="treat the number as not wiped, and ask who can write to fallow's database.")
    return _Then({str(each["collection"]): each for each in listed}, str(body.get("place", "")))


def _row(tx: Tx, cycle_id: str) -> CycleRow:
    row = tx.session.get(CycleRow, cycle_id)
    if row is None:
        what = "There is no such cycle."
        raise NotKnown(what, remedy="name cycles as `fallow numbers list` does, n_…/1, one a line.")
    return row


def _compared(
    cycle_id: str, now: Sequence[CollectionReceipt], then: Mapping[str, Any], blind: Collection[str], *, released: bool
) -> list[Rechecked]:
    found = [
        Rechecked(
            cycle_id,
            each.collection,
            each.remaining,
            each.newer,
            same_query=None if each.collection not in then else then[each.collection]["query"] == each.query,
            same_meaning=None if each.collection not in then else then[each.collection].get("meaning", "") == each.meaning,
            by_time_only=each.collection in blind,
            released=released,
        )
        for each in now
    ]
    gone = [each for each in then if each not in {one.collection for one in now}]
    return found + [Rechecked(cycle_id, each, None, None, None, None, by_time_only=False, released=released) for each in gone]
