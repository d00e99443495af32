"""Sale: refused without the buyer's recorded acknowledgement of that very tag; not to tell would be fraud."""

import json
from dataclasses import dataclass
from typing import Any

from fallow.domain.cycle import CycleRef
from fallow.domain.errors import CommandRefused, NotKnown
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State, demand
from fallow.domain.number import E164
from fallow.domain.obligations import Status
from fallow.domain.people import Action, Person
from fallow.domain.reference import read_reference
from fallow.operations.announcing import owe
from fallow.operations.installation import Installation
from fallow.operations.looking import demand_looked_at
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, FactRow, SaleRow, TagRow

DEMO_FACT = "demo"


@dataclass(frozen=True)
class SignedTag:
    """A tag as shown to a buyer.

    Attributes:
        cycle_id: which cycle.
        digest: what the buyer's acknowledgement must cite.
        body: the tag.
        signature: ours, over the digest.
        public_key: to check it with.
    """

    cycle_id: str
    digest: str
    body: dict[str, Any]
    signature: str
    public_key: str


def tag_for(installation: Installation, person: Person, number: E164) -> SignedTag:
    """Return the tag of a number that is for sale.

    Raises:
        PersonRefused, NotKnown: nothing for sale under that number (the same answer whether it is unknown or not ready).
    """
    person.demand(Action.READ_TAG)
    with installation.db.read() as tx:
        row = _latest(tx, installation, number)
        tag = None if row is None or row.state != State.RESELLABLE or row.tag is None else tx.session.get(TagRow, row.tag)
        if row is None or tag is None or (row.demo and not is_demo(tx)):
            raise _nothing_for_sale()
        return SignedTag(row.cycle_id, tag.digest, json.loads(tag.body), tag.signature, tag.public_key)


def sell(installation: Installation, person: Person, number: E164, tag: str, acknowledgement: str) -> str:
    """Record a sale and return the cycle's id: RESELLABLE → REASSIGNED.

    Args:
        installation: where.
        person: the shop.
        number: what is sold.
        tag: digest of the tag that the buyer acknowledged.
        acknowledgement: the shop's reference of that acknowledgement (a signed form, a session).

    Raises:
        PersonRefused, NotKnown, InputRefused: as they say.
        CommandRefused: not RESELLABLE, held, in doubt since its release, yet to be looked at once more as one of the sample, another
            tag, or a demo cycle outside a demo database.
    """
    person.demand(Action.SELL)
    reference = read_reference(acknowledgement)
    with installation.db.begin() as tx:
        found = _latest(tx, installation, number)
        if found is None:
            raise _nothing_for_sale()
        row = cycles.lock_one(tx, found.cycle_id)
        demand(State(row.state), Command.SELL, held=row.held)
        _demand_clear(tx, row)
        demand_looked_at(tx, installation, row)
        if tag != row.tag:
            what = "The buyer acknowledged another tag than this number's."
            raise CommandRefused(what, remedy="show the buyer the present tag and record their acknowledgement of it.")
        if row.demo and not is_demo(tx):
            what = "The number went through a demo quarantine: it can't be sold."
            raise CommandRefused(what, remedy="enrol it under a real policy.")
        tx.session.add(SaleRow(cycle_id=row.cycle_id, tag=tag, acknowledgement=reference, sold_by=person.person_id, sold_at=tx.now))
        cycles.record(tx, row, Kind.NUMBER_SOLD, tag=tag, acknowledgement=reference, by=person.person_id)
        owe(tx, installation, row.cycle_id, (each.target_id for each in obligations.of_cycle(tx, row.cycle_id)))
        return row.cycle_id


def _demand_clear(tx: Tx, row: CycleRow) -> None:
    """Refuse a number about which something came up after the gate: a platform took its clearance back, say."""
    doubts = sorted(map(str, cycles.facts(row).attention))
    doubts += [each.target_id for each in obligations.of_cycle(tx, row.cycle_id) if each.status != Status.DISCHARGED]
    if doubts:
        what = f"Something came up since the cycle {row.cycle_id} was released: {', '.join(doubts)}."
        raise CommandRefused(what, remedy="settle it as `fallow numbers show` says, then `retry`; or retire the number.")


def is_demo(tx: Tx) -> bool:
    """Tell whether this database was set up for a demo."""
    fact = tx.session.get(FactRow, DEMO_FACT)
    return fact is not None and fact.value == "yes"


def _latest(tx: Tx, installation: Installation, number: E164) -> CycleRow | None:
    found = installation.vault.find(tx, number)
    return None if found is None else tx.session.get(CycleRow, CycleRef(found.number_id, found.last_cycle_no).cycle_id)


def _nothing_for_sale() -> NotKnown:
    return NotKnown("Nothing is for sale under that number.", remedy="sell only what `fallow numbers export --state RESELLABLE` lists.")
