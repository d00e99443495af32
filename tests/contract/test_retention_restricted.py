"""Rows restricted at a record system, on both databases: registered by the wipe, destroyed there by schedule, never lost."""

from datetime import date, timedelta

import pytest
from builders import World, _lease, advance, enrolled, number, wipe_all
from builders_commands import sold
from builders_cycles import all_at, engine, events_of, facts_of, kinds_of, staff
from builders_retention import (
    BASIS,
    DAY,
    LAST_DAY,
    KeepingRecords,
    a_round,
    hold,
    keeper,
    keeping,
    kept_of,
    lift,
    to_day,
)

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import LeaseLost
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.operations.expiry_rounds import STUCK_AFTER
from fallow.operations.wiping_rounds import WipingRounds
from fallow.store import leases
from fallow.store.keeping_tables import RetentionRow
from fallow.store.tables import TargetRow

STUCK = Attention(Reason.RETENTION_STUCK, "billing")
AN_HOUR = timedelta(hours=1)


def wiped(world: World, count: int = 1, *, rows: int = 3, first: int = 0) -> tuple[KeepingRecords, list[str]]:
    """Return the system and cycles of which it keeps rows of invoices until the last day of March."""
    system = world.record_systems["billing"]
    if not isinstance(system, KeepingRecords):
        system = keeping(world, restricts={"invoices": rows})
    ids = all_at(world, count, State.WIPING, first=first)
    wipe_all(world)
    return system, ids


def test_a_wipe_registers_what_it_restricted(world: World) -> None:
    """How many rows are kept, why and until when is registered, with an event."""
    _, (cycle_id,) = wiped(world)

    (kept,) = kept_of(world, cycle_id)
    assert (kept.target_id, kept.collection, kept.how, kept.rows) == ("billing", "invoices", "restrict", 3)
    assert (kept.basis, kept.kept_until, kept.destroyed_at) == (BASIS, LAST_DAY, None)
    (begun,) = [each.body for each in events_of(world, cycle_id) if each.kind is Kind.RETENTION_BEGAN]
    assert begun == {"target_id": "billing", "collection": "invoices", "kept_until": "2026-03-31", "how": "restrict", "rows": 3}


def test_a_wipe_repeated_counts_anew_and_tells_nothing_twice(world: World) -> None:
    """A refused wipe that is tried again finds more rows kept: the count follows, the event stays one."""
    system = keeping(world, restricts={"invoices": 3}, remaining=1)
    (cycle_id,) = all_at(world, 1, State.WIPING)
    a_round(world, system)
    system.remaining, system.restricts["invoices"] = 0, 4
    engine(world).commands.retry(staff(world).operator, cycle_id, "again")
    a_round(world, system)

    assert [each.rows for each in kept_of(world, cycle_id)] == [4]
    assert kinds_of(world, cycle_id).count(Kind.RETENTION_BEGAN) == 1


def test_a_collection_that_keeps_nothing_is_not_registered(world: World) -> None:
    """Where the read-back found no kept row there is nothing to destroy later."""
    _, (cycle_id,) = wiped(world, rows=0)

    assert kept_of(world, cycle_id) == []


def test_rows_are_destroyed_at_their_system_after_the_last_day(world: World) -> None:
    """The system is told number, collection and expiry once the last day has passed, not before, and never twice."""
    system, (cycle_id,) = wiped(world)
    world.clock.pass_to(world.clock.now().replace(day=31, hour=23, minute=59, second=59))
    assert not a_round(world, system)

    world.clock.pass_by(timedelta(seconds=1))

    assert [a_round(world, system), a_round(world, system)] == [True, False]
    (order,) = system.expired
    assert (order.cycle_id, order.collection, order.number, order.kept_until) == (cycle_id, "invoices", number(0), LAST_DAY)
    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()
    (expired,) = [each.body for each in events_of(world, cycle_id) if each.kind is Kind.RETENTION_EXPIRED]
    assert expired == {"target_id": "billing", "collection": "invoices", "kept_until": "2026-03-31", "how": "restrict"}


def test_expiries_come_in_batches_after_every_wipe(world: World) -> None:
    """No more orders go to a system at once than it takes, and what is to be wiped goes first."""
    system, ids = wiped(world, 5)
    system.batch = 2
    fresh = all_at(world, 1, State.WIPING, first=10)
    to_day(world, LAST_DAY + DAY)

    a_round(world, system)
    assert (system.wiped[-1], system.calls) == (fresh[0], [])
    for _ in range(3):
        world.clock.pass_by(timedelta(seconds=1))
        assert a_round(world, system)

    assert system.calls == [2, 2, 2]
    assert {order.cycle_id for order in system.expired} == {*ids, *fresh}


def test_sealed_and_restricted_do_not_meet(world: World) -> None:
    """A record system is told nothing of rows that are sealed here, and sealing's expiry destroys nothing there."""
    system = keeping(world, restricts={"invoices": 1}, seals={"calls": [b"{}"]})
    (cycle_id,) = all_at(world, 1, State.WIPING)
    wipe_all(world)
    to_day(world, LAST_DAY + DAY)

    keeper(world).upkeep()
    assert [(each.collection, each.destroyed_at is None) for each in kept_of(world, cycle_id)] == [("calls", False), ("invoices", True)]
    a_round(world, system)
    assert [order.collection for order in system.expired] == ["invoices"]


def test_a_hold_suspends_and_lifting_resumes(world: World) -> None:
    """Nothing of a held cycle is destroyed, in whatever state it is."""
    system, people = keeping(world, restricts={"invoices": 1}), staff(world)
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    hold(world, people, cycle_id)
    to_day(world, LAST_DAY + 40 * DAY)
    assert (a_round(world, system), system.calls) == (False, [])

    lift(world, people, cycle_id)

    assert a_round(world, system)
    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()


def test_a_sold_numbers_former_rows_expire_too(world: World) -> None:
    """What is kept of a cycle that has ended goes at its time, unless a hold is placed on it even then."""
    system, people = keeping(world, restricts={"invoices": 1}), staff(world)
    cycle_id = sold(world)
    hold(world, people, cycle_id)
    to_day(world, LAST_DAY + DAY)
    assert (a_round(world, system), system.calls) == (False, [])
    lift(world, people, cycle_id)

    a_round(world, system)

    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()
    assert kinds_of(world, cycle_id)[-1] is Kind.RETENTION_EXPIRED


def test_a_hold_placed_after_the_claim_stops_it(world: World) -> None:
    """The last look before what can't be undone sees the hold."""
    system, (held, free) = wiped(world, 2)
    to_day(world, LAST_DAY + DAY)
    expiry, fence = WipingRounds(world.installation, system)._expiry, _lease(world, "billing")
    claimed = expiry._claim("test", fence)
    hold(world, staff(world), held)

    assert [order.cycle_id for order in expiry._still_due("test", fence, claimed)] == [free]


def test_a_paused_sender_writes_nothing(world: World) -> None:
    """Who has lost the lease to another while the system was at work can't say that rows are gone."""
    system, (cycle_id,) = wiped(world)
    to_day(world, LAST_DAY + DAY)
    expiry, fence = WipingRounds(world.installation, system)._expiry, _lease(world, "billing")
    claimed = expiry._claim("test", fence)
    world.clock.pass_by(timedelta(minutes=1))
    with world.installation.db.begin() as tx:
        assert leases.take(tx, "billing", "another") is not None

    with pytest.raises(LeaseLost):
        expiry._looked("test", fence, [(claimed[0], 0)])
    assert kept_of(world, cycle_id)[0].destroyed_at is None
    assert len(expiry._claim("another", fence + 1)) == 1


def test_a_hold_placed_beside_after_the_claim_stops_it(world: World) -> None:
    """The last look sees a hold on another cycle of the number, whose rows the system would destroy with these."""
    system, people = keeping(world, restricts={"invoices": 1}), staff(world)
    first = sold(world)
    second = kept_beside(world, LAST_DAY)
    to_day(world, LAST_DAY + DAY)
    expiry, fence = WipingRounds(world.installation, system)._expiry, _lease(world, "billing")
    claimed = expiry._claim("test", fence)
    hold(world, people, second)

    assert {order.cycle_id for order in claimed} == {first, second}
    assert expiry._still_due("test", fence, claimed) == []


def test_what_is_no_longer_kept_is_not_destroyed_again(world: World) -> None:
    """The last look leaves out what another round has destroyed since the claim."""
    system, ids = wiped(world, 2)
    to_day(world, LAST_DAY + DAY)
    expiry, fence = WipingRounds(world.installation, system)._expiry, _lease(world, "billing")
    claimed = expiry._claim("test", fence)
    expiry._looked("test", fence, [(order, 0) for order in claimed if order.cycle_id == ids[0]])

    assert [order.cycle_id for order in expiry._still_due("test", fence, claimed)] == [ids[1]]


@pytest.mark.parametrize(("days", "waits"), [(-1, True), (1, False)])
def test_a_held_cycle_keeps_what_expires_before(world: World, days: int, waits: bool) -> None:
    """An expiry destroys what expires until its day, so it waits for a hold on rows of that day or an earlier one, and on no later."""
    system, people = keeping(world, restricts={"invoices": 1}), staff(world)
    sold(world)
    hold(world, people, kept_beside(world, LAST_DAY + days * DAY))
    to_day(world, LAST_DAY + 3 * DAY)

    assert a_round(world, system) is not waits
    assert bool(system.calls) is not waits


def kept_beside(world: World, kept_until: date) -> str:
    """Return another cycle of a sold number, of which rows are kept beside the first one's."""
    world.clock.pass_by(DAY)
    second = enrolled(world, disconnected_at=world.clock.now().isoformat())[0]
    with world.installation.db.begin() as tx:
        tx.session.add(
            RetentionRow(
                cycle_id=second, target_id="billing", collection="invoices", kept_until=kept_until, how="restrict", basis=BASIS, rows=1
            )
        )
    return second


def test_more_rows_than_a_small_number_holds_are_registered(world: World) -> None:
    """A count beyond 32 bits is kept as it is."""
    keeping(world, restricts={"invoices": 2**40})
    (cycle_id,) = all_at(world, 1, State.WIPING)

    wipe_all(world)

    assert [each.rows for each in kept_of(world, cycle_id)] == [2**40]


def test_a_held_cycle_of_the_same_number_keeps_what_lies_beside(world: World) -> None:
    """Rows that the system can't tell apart, by number and day, wait for the hold of either cycle."""
    system, people = keeping(world, restricts={"invoices": 1}), staff(world)
    first = sold(world)
    second = kept_beside(world, LAST_DAY)
    assert first != second
    hold(world, people, second)
    to_day(world, LAST_DAY + DAY)
    assert (a_round(world, system), system.calls) == (False, [])

    lift(world, people, second)

    assert a_round(world, system)
    assert {order.cycle_id for order in system.expired} == {first, second}


def test_a_system_that_is_down_is_asked_again(world: World) -> None:
    """Three days of outage cost one waiting sender: no expiry is lost, none is a person's matter, and none is tried in vain by itself."""
    system, ids = wiped(world, 3)
    to_day(world, LAST_DAY + DAY)
    system.down = True
    for _ in range(72):
        a_round(world, system)
        world.clock.pass_by(AN_HOUR)
    with world.installation.db.read() as tx:
        target = tx.session.get_one(TargetRow, "billing")
    assert (target.failures, target.trouble) == (72, "The record system billing can't be reached.")
    assert [facts_of(world, cycle_id).attention for cycle_id in ids] == [frozenset()] * 3

    system.down = False
    while a_round(world, system):
        world.clock.pass_by(timedelta(seconds=1))

    assert [kept_of(world, cycle_id)[0].destroyed_at is None for cycle_id in ids] == [False] * 3
    with world.installation.db.read() as tx:
        assert tx.session.get_one(TargetRow, "billing").failures == 0


def test_rows_that_will_not_go_become_a_persons_matter(world: World) -> None:
    """After five tries with rows left somebody is asked; it is tried on, and the day it works takes the cycle off the queue."""
    system, (cycle_id, other) = wiped(world, 2)
    system.left = {cycle_id: 1}
    to_day(world, LAST_DAY + DAY)
    for tries in range(STUCK_AFTER):
        assert STUCK not in facts_of(world, cycle_id).attention, tries
        assert a_round(world, system)
        world.clock.pass_by(AN_HOUR)
    assert STUCK in facts_of(world, cycle_id).attention
    assert [each.body["why"] for each in events_of(world, cycle_id) if each.kind is Kind.ATTENTION_RAISED] == [["invoices"]]
    assert (kept_of(world, other)[0].destroyed_at is None, facts_of(world, other).attention) == (False, frozenset())

    system.left = {}
    assert a_round(world, system)

    assert facts_of(world, cycle_id).attention == frozenset()
    assert kept_of(world, cycle_id)[0].destroyed_at == world.clock.now()


def test_tries_come_ever_more_rarely(world: World) -> None:
    """After a try with rows left the next one waits a second, then two, then four."""
    system, (cycle_id,) = wiped(world)
    system.left = {cycle_id: 1}
    to_day(world, LAST_DAY + DAY)
    waits = []
    for _ in range(4):
        assert a_round(world, system)
        assert not a_round(world, system)
        due_at = kept_of(world, cycle_id)[0].due_at
        assert due_at is not None
        waits.append(round((due_at - world.clock.now()).total_seconds()))
        world.clock.pass_to(due_at)

    assert waits == [1, 2, 4, 8]


def test_one_that_is_refused_keeps_no_other(world: World) -> None:
    """A batch with a row that the system refuses is tried again one by one, and the others go."""
    system, ids = wiped(world, 3)
    system.refuses = {ids[1]}
    to_day(world, LAST_DAY + DAY)
    for _ in range(3 + STUCK_AFTER):
        world.clock.pass_by(AN_HOUR)
        a_round(world, system)

    assert [kept_of(world, cycle_id)[0].destroyed_at is None for cycle_id in ids] == [False, True, False]
    assert [STUCK in facts_of(world, cycle_id).attention for cycle_id in ids] == [False, True, False]


def test_a_collection_that_left_the_map_is_told(world: World) -> None:
    """What the map no longer names can't be destroyed: the system is not asked, other expiries go on, and a person learns of it."""
    system, (cycle_id,) = wiped(world)
    system.collections = ("calls",)
    to_day(world, LAST_DAY + DAY)
    for _ in range(STUCK_AFTER):
        a_round(world, system)
        world.clock.pass_by(AN_HOUR)

    assert (system.calls, STUCK in facts_of(world, cycle_id).attention) == ([], True)
