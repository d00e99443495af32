"""Receipts of a kind that is somebody else's code: one that is not well-formed is trouble of the target, never evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from builders import World, advance, enrolled, state_of, wipe_all
from builders_cycles import engine, facts_of, owed_by
from memory_ports import START, MemoryRecords

from fallow.domain.cycle import ref
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status, TargetKind
from fallow.domain.ports import Keeper, WipeOrder, WipeReceipt
from fallow.store.tables import TargetRow

Damage = Callable[[list[WipeReceipt]], Any]


@dataclass
class Foreign(MemoryRecords):
    """A record system whose receipts are not what they should be.

    Attributes:
        damage: what becomes of them.
    """

    damage: Damage = field(default=lambda receipts: receipts)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> Any:
        """Carry out the orders and answer otherwise."""
        return self.damage(super().wipe(orders, keeper))


def one(**altered: Any) -> Damage:
    """Alter the first collection of the first receipt."""
    return lambda all_: [replace(all_[0], collections=(replace(all_[0].collections[0], **altered), *all_[0].collections[1:])), *all_[1:]]


DAMAGES: dict[str, tuple[Damage, str]] = {
    "nothing": (lambda _: None, "no list of WipeReceipt"),
    "something else": (lambda all_: [*all_[1:], "done"], "no list of WipeReceipt"),
    "one too few": (lambda all_: all_[1:], "exactly one for each order"),
    "one twice": (lambda all_: [all_[0], *all_], "exactly one for each order"),
    "another cycle": (lambda all_: [replace(all_[0], cycle_id="n_other/1"), *all_[1:]], "exactly one for each order"),
    "another system": (lambda all_: [replace(all_[0], system_id="crm"), *all_[1:]], "another system"),
    "no place": (lambda all_: [replace(all_[0], place=None), *all_[1:]], "place is no text"),
    "no collections": (lambda all_: [replace(all_[0], collections=None), *all_[1:]], "no list of CollectionReceipt"),
    "a collection less": (
        lambda all_: [replace(all_[0], collections=all_[0].collections[1:]), *all_[1:]],
        "each collection of the system once",
    ),
    "a collection twice": (lambda all_: [replace(all_[0], collections=all_[0].collections[:1] * 2), *all_[1:]], "each collection of"),
    "nothing left, not zero": (one(remaining=None), "remaining is no count"),
    "a truth for a count": (one(remaining=False), "remaining is no count"),
    "a fraction": (one(newer=0.0), "newer is no count"),
    "less than none": (one(remaining=-1), "remaining is no count"),
    "more than any column holds": (one(kept=2**63), "kept is no count"),
    "no affected": (one(affected="1"), "affected is no count"),
    "read back before the order": (one(read_back_at=START), "read_back_at lies before the order"),
    "read back at no instant": (one(read_back_at=START.isoformat()), "read_back_at is no instant"),
    "read back without an offset": (one(read_back_at=datetime(2099, 1, 1)), "read_back_at is no instant"),  # noqa: DTZ001 - the point of it
    "no day": (one(strategy="restrict", kept=1, kept_until="some day"), "kept_until is no ISO date"),
    "no text": (one(legal_basis="tax\0law"), "legal_basis is no text"),
    "no list": (one(not_reached=object()), "not_reached is no list"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_receipt_that_is_not_well_formed_does_not_count(world: World, damage: str) -> None:
    """Nothing is discharged and nobody is called: the trouble is named, the system is asked again, and mended it goes on."""
    alter, named = DAMAGES[damage]
    system = world.record_systems["billing"] = Foreign("billing", ("invoices", "calls"), clock=world.clock, damage=alter)
    ids = enrolled(world, 2)
    for cycle_id in ids:
        advance(world, cycle_id, State.WIPING)
        engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)

    wipe_all(world)
    with world.installation.db.read() as tx:
        target = tx.session.get_one(TargetRow, "billing")
    owed = [owed_by(world, cycle_id)["billing"].status for cycle_id in ids]
    system.damage = lambda receipts: receipts
    world.clock.pass_by(timedelta(minutes=1))
    for cycle_id in ids:
        advance(world, cycle_id, State.RESELLABLE)

    assert (target.failures, named in str(target.trouble), owed) == (1, True, [Status.OPEN] * 2), target.trouble
    assert [(state_of(world, each), facts_of(world, each).attention) for each in ids] == [(State.RESELLABLE, frozenset())] * 2
