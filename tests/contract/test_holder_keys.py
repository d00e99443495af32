"""Holder keys: there as long as a wipe or a binding needs them, then destroyed with a receipt that the gate demands."""

import json
from collections.abc import Sequence

import pytest
from builders import World, advance, ask_all, enrolled, state_of
from builders_commands import DAY, FORMER_HOLDER, by_two, order, refusing, sold
from builders_cycles import all_at, engine, events_of, facts_of, kinds_of, row_of, staff
from sqlalchemy import text
from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.events import Event, Kind
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import TargetKind
from fallow.operations.forgetting import COVERS, KIND, destroy_ended
from fallow.store import holders
from fallow.store.holders import Holder
from fallow.store.keeping_tables import HolderRow
from fallow.store.tables import EvidenceRow

SUBSCRIPTION = "8613900000001234567"


def known(world: World, *cycle_ids: str) -> dict[str, Holder]:
    """Return what is known of the former holders of cycles."""
    with world.installation.db.begin() as tx:
        return holders.known(tx, world.installation.wrapping, cycle_ids)


def rows(world: World) -> Sequence[HolderRow]:
    """Return every holder key's row."""
    with world.installation.db.read() as tx:
        return list(tx.session.exec(select(HolderRow)))


def receipt_of(world: World, cycle_id: str) -> tuple[Event, EvidenceRow]:
    """Return the last event of a destruction, and the receipt that it cites."""
    event = [each for each in events_of(world, cycle_id) if each.kind is Kind.HOLDER_KEY_DESTROYED][-1]
    with world.installation.db.read() as tx:
        return event, tx.session.get_one(EvidenceRow, event.body["evidence"])


def spoil(world: World, *statements: str, **names: str) -> None:
    """Damage rows past every line of our code."""
    with world.installation.db.begin() as tx:
        for statement in statements:
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            assert tx.session.execute(text(statement), used).rowcount  # type: ignore[attr-defined]


def test_a_cycle_begins_with_a_key_of_its_own(world: World) -> None:
    """What enrolment states is sealed and can be opened; no two cycles share key or pseudonym; nothing of it is in an event."""
    first, second = enrolled(world, 2, subscription=SUBSCRIPTION)
    (third,) = enrolled(world, first=2)

    found = known(world, first, second, third)

    assert [found[each].subscription for each in (first, second, third)] == [SUBSCRIPTION, SUBSCRIPTION, None]
    assert len({each.pseudonym for each in found.values()}) == 3
    assert all(len(each.pseudonym) == 26 and each.pseudonym.isalnum() and each.pseudonym.islower() for each in found.values())
    assert known(world, first)[first] == found[first]
    assert SUBSCRIPTION not in repr([events_of(world, first), row_of(world, first), rows(world), found])


def test_a_wipe_is_told_the_subscription_and_the_pseudonym(world: World) -> None:
    """The order to a record system carries what is known of the former holder."""
    cycle_id = enrolled(world, subscription="sub-1")[0]
    said = known(world, cycle_id)[cycle_id]

    advance(world, cycle_id, State.UNBINDING)

    for system in world.record_systems.values():
        assert [(each.subscription, each.pseudonym) for each in system.orders] == [("sub-1", said.pseudonym)]


def test_a_key_is_bound_to_its_cycle(damaged: World) -> None:
    """A row put into another cycle's place opens nothing there."""
    first, second = enrolled(damaged, 2, subscription="sub-1")
    spoil(
        damaged,
        "DELETE FROM holders WHERE cycle_id = :second",
        "UPDATE holders SET cycle_id = :second WHERE cycle_id = :first",
        first=first,
        second=second,
    )

    assert known(damaged, first, second) == {}


def test_it_goes_with_the_last_binding_and_leaves_a_receipt(world: World) -> None:
    """In the transaction that settles UNBINDING the row is deleted; the receipt says what it covers, and the event cites it."""
    cycle_id = enrolled(world, subscription="sub-1")[0]
    advance(world, cycle_id, State.UNBINDING)
    assert known(world, cycle_id)

    advance(world, cycle_id, State.TAGGING)

    event, receipt = receipt_of(world, cycle_id)
    assert rows(world) == []
    assert known(world, cycle_id) == {}
    assert json.loads(receipt.body) == {
        "cycle_id": cycle_id,
        "target_id": KIND,
        "epoch": event.body["epoch"],
        "destroyed_at": event.at.isoformat(),
        "covers": COVERS,
    }
    assert event.body["epoch"] >= 1
    kinds = kinds_of(world, cycle_id)
    assert kinds[kinds.index(Kind.HOLDER_KEY_DESTROYED) + 1] is Kind.STAGE_SETTLED


def test_it_stays_while_a_platform_is_silent_or_a_hold_is_open(world: World) -> None:
    """Nothing is destroyed before every binding is settled, or under a hold."""
    silent = refusing(world)
    engine(world).stages.clear(ref(silent), TargetKind.PLATFORM)
    assert known(world, silent)

    held = all_at(world, 1, State.UNBINDING, first=5)[0]
    ask_all(world)
    order(world, staff(world).operator, held, Command.HOLD)
    engine(world).stages.clear(ref(held), TargetKind.PLATFORM)
    assert known(world, held)


@pytest.mark.parametrize("end", [Command.RECLAIM, Command.RETIRE, Command.WITHDRAW, Command.RETURN])
def test_a_cycle_that_ends_otherwise_loses_its_key_too(world: World, end: Command) -> None:
    """Reclaimed, retired, withdrawn or returned: the next sweep destroys the key, once, and no other's."""
    people = staff(world)
    cycle_id, other = enrolled(world, 2, by=people.enroller, subscription="sub-1")
    if end in (Command.RECLAIM, Command.RETIRE):
        by_two(world, people, cycle_id, end, **(FORMER_HOLDER if end is Command.RECLAIM else {}))
    else:
        order(world, people.operator, cycle_id, end)
    if end is Command.RETURN:
        advance(world, cycle_id, State.RETURNED)
        assert rows(world)[0].cycle_id == other  # in the transaction that returned it

    destroyed = destroy_ended(world.installation.db, 10) + destroy_ended(world.installation.db, 10)

    assert destroyed == (end is not Command.RETURN)
    assert [each.cycle_id for each in rows(world)] == [other]
    assert kinds_of(world, cycle_id).count(Kind.HOLDER_KEY_DESTROYED) == 1
    assert json.loads(receipt_of(world, cycle_id)[1].body)["cycle_id"] == cycle_id


def test_a_number_that_is_returned_late_loses_its_key(world: World) -> None:
    """A number handed back after its wiping was settled has ended at once; the sweep follows."""
    cycle_id = refusing(world)
    order(world, staff(world).operator, cycle_id, Command.RETURN)
    assert state_of(world, cycle_id) is State.RETURNED

    assert destroy_ended(world.installation.db, 10) == 1
    assert rows(world) == []


def test_a_hold_keeps_the_key_of_a_retired_number(world: World) -> None:
    """Whoever placed it may want to know who the holder was; once it is lifted the key goes."""
    people = staff(world)
    cycle_id = enrolled(world, by=people.enroller)[0]
    order(world, people.operator, cycle_id, Command.HOLD)
    by_two(world, people, cycle_id, Command.RETIRE)
    assert destroy_ended(world.installation.db, 10) == 0
    assert known(world, cycle_id)

    order(world, people.operator, cycle_id, Command.LIFT)

    assert destroy_ended(world.installation.db, 10) == 1
    assert known(world, cycle_id) == {}


def test_a_cycle_that_never_had_a_key_says_so(world: World) -> None:
    """Enrolled before there were holder keys, it is wiped without, and its receipt names no epoch; the gate takes that."""
    cycle_id = enrolled(world)[0]
    spoil(world, "DELETE FROM holders WHERE cycle_id = :it", it=cycle_id)

    advance(world, cycle_id, State.RESELLABLE)

    event, receipt = receipt_of(world, cycle_id)
    assert event.body["epoch"] is None
    assert json.loads(receipt.body)["epoch"] is None
    assert [(each.subscription, each.pseudonym) for each in world.record_systems["crm"].orders] == [(None, "")]
    assert state_of(world, cycle_id) is State.RESELLABLE


def caught_by_the_upgrade(damaged: World) -> str:
    """Return a cycle that came to TAGGING before there were holder keys."""
    cycle_id = all_at(damaged, 1, State.TAGGING)[0]
    forget = f"DELETE FROM events WHERE cycle_id = :it AND kind = '{Kind.HOLDER_KEY_DESTROYED}'"
    spoil(damaged, forget, "DELETE FROM evidence WHERE cycle_id = :it AND kind = 'holder-key'", it=cycle_id)
    return cycle_id


def test_a_cycle_caught_in_tagging_by_the_upgrade_gets_its_receipt(damaged: World) -> None:
    """It settled its bindings under older code: the sweep writes what is missing and wakes it, and it passes."""
    cycle_id = caught_by_the_upgrade(damaged)

    assert destroy_ended(damaged.installation.db, 10) == 1
    assert row_of(damaged, cycle_id).wake_at is not None
    assert destroy_ended(damaged.installation.db, 10) == 0
    engine(damaged).release.release(ref(cycle_id))

    assert state_of(damaged, cycle_id) is State.RESELLABLE


def test_a_cycle_caught_in_tagging_may_come_to_the_gate_before_the_sweep(damaged: World) -> None:
    """The gate itself writes that it had no key, and the number passes at once instead of waiting for a person."""
    cycle_id = caught_by_the_upgrade(damaged)

    engine(damaged).release.release(ref(cycle_id))

    event, receipt = receipt_of(damaged, cycle_id)
    assert (event.body["epoch"], json.loads(receipt.body)["epoch"]) == (None, None)
    assert (state_of(damaged, cycle_id), facts_of(damaged, cycle_id).attention) == (State.RESELLABLE, set())


def test_the_gate_destroys_no_key(damaged: World) -> None:
    """A key that is still there without a receipt is for a person: the gate writes none and the number waits."""
    cycle_id = caught_by_the_upgrade(damaged)
    (third,) = enrolled(damaged, first=7)
    spoil(damaged, SHORT["a key still there"][0], it=cycle_id, third=third)

    engine(damaged).release.release(ref(cycle_id))

    assert {each.cycle_id for each in rows(damaged)} == {cycle_id, third}
    assert Kind.HOLDER_KEY_DESTROYED not in kinds_of(damaged, cycle_id)
    assert facts_of(damaged, cycle_id).attention == {Attention(Reason.GATE_SHORT)}


def test_a_recalled_number_begins_with_a_new_key(world: World) -> None:
    """The next cycle has a key of its own, with nothing known of the holder it is taken from."""
    people = staff(world)
    cycle_id = sold(world)
    world.clock.pass_by(DAY)

    by_two(world, people, cycle_id, Command.RECALL, line_cancelled_at=world.clock.now().isoformat())

    (row,) = rows(world)
    assert row.cycle_id != cycle_id
    assert known(world, row.cycle_id)[row.cycle_id].subscription is None


FOREIGN = """UPDATE events SET body = (SELECT o.body FROM events o WHERE o.cycle_id = :other AND o.kind = 'HolderKeyDestroyed')
WHERE cycle_id = :it AND kind = 'HolderKeyDestroyed'"""
MINE = "cycle_id = :it AND kind = 'holder-key'"
SHORT: dict[str, tuple[str, str]] = {
    "no event": ("DELETE FROM events WHERE cycle_id = :it AND kind = 'HolderKeyDestroyed'", "no receipt"),
    "no receipt": (f"DELETE FROM evidence WHERE {MINE}", "missing, altered or another cycle's"),
    "a foreign receipt": (FOREIGN, "missing, altered or another cycle's"),
    "a receipt made another's": (f"UPDATE evidence SET cycle_id = :other WHERE {MINE}", "missing, altered or another cycle's"),
    "an altered receipt": (
        f"UPDATE evidence SET body = replace(body, 'the row', 'no row') WHERE {MINE}",
        "missing, altered or another cycle's",
    ),
    "a receipt of another kind": (f"UPDATE evidence SET kind = 'receipt' WHERE {MINE}", "missing, altered or another cycle's"),
    "a key still there": (
        "INSERT INTO holders (cycle_id, epoch, wrapped, sealed) SELECT :it, epoch, wrapped, sealed FROM holders WHERE cycle_id = :third",
        "a holder key is still there",
    ),
}


@pytest.mark.parametrize("defect", SHORT)
def test_the_gate_demands_the_receipt(damaged: World, defect: str) -> None:
    """Without it, with another's, with an altered one, or with a key still there the number waits for a person, who is told why."""
    statement, why = SHORT[defect]
    it, other = all_at(damaged, 2, State.TAGGING)
    (third,) = enrolled(damaged, first=7)
    spoil(damaged, statement, it=it, other=other, third=third)

    engine(damaged).release.release(ref(it))
    engine(damaged).release.release(ref(other))

    assert state_of(damaged, it) is State.TAGGING
    (raised,) = [each for each in events_of(damaged, it) if each.kind is Kind.ATTENTION_RAISED]
    assert raised.body["attention"] == str(Attention(Reason.GATE_SHORT))
    assert [why in short for short in raised.body["why"]] == [True]
    assert state_of(damaged, other) is State.RESELLABLE
