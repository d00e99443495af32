"""Senders follow the registry while they run; what is owed to a decommissioned platform waits for a person. On both databases."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import PLATFORMS, World, advance, an_installation, enrolled, state_of
from builders_commands import by_two
from builders_cycles import DOCUMENT, Staff, assert_folds, engine, facts_of, staff
from builders_registry import a_table, enter, founded, run
from memory_ports import MemoryPlatform
from sqlalchemy import event

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import MapRefused, TargetUnavailable
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Category, Outcome, Status, TargetKind
from fallow.domain.ports import TurnOver
from fallow.operations.installation import Installation, Pace
from fallow.operations.registered import Live
from fallow.operations.retention import Retention
from fallow.operations.sending import Bell, Tally, TargetSender
from fallow.platforms.platform_map import PlatformEntry
from fallow.store import cycles, decommissioned, leases, looks, missing, obligations
from fallow.store.engine import Database
from fallow.store.tables import ObligationRow, TargetRow
from workers.targets import LiveRounds, Targets

PAY, CHAT, SHOP = "alpha-pay", "beta-chat", "delta-shop"
GONE = Attention(Reason.PLATFORM_DECOMMISSIONED, PAY)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world whose policy names a shop that is not registered yet, and whose platforms are the registry's."""
    made = an_installation(tmp_path, url=database_url, platforms={**PLATFORMS, SHOP: Category.SHOP})
    keys, shop = dict(made.keys), made.keys.pop(SHOP)
    here = founded(made)
    made.keys[SHOP] = shop

    def reach(entry: PlatformEntry, _entries: Mapping[str, PlatformEntry]) -> MemoryPlatform:
        platform = made.platforms[entry.platform_id] = MemoryPlatform(entry.platform_id, keys[entry.platform_id], made.clock)
        return platform

    paces = Live(here.registered, lambda entry, _: Pace(entry.batch, 10_000.0, 3600.0, 2))
    made.wired = replace(made.wired, installation=replace(here, platforms=Live(here.registered, reach), paces=paces))
    yield made
    assert_folds(made.installation.db)
    made.installation.db.close()


@pytest.fixture
def people(world: World) -> Staff:
    """Somebody for each part."""
    return staff(world)


def test_a_sender_serves_a_platform_that_was_registered_after_its_start(world: World) -> None:
    """Before, the turn fails and is tried again; after, it asks."""
    here, cycle_id = world.installation, _unbinding(world)
    sender = _sender(here)
    with pytest.raises(TargetUnavailable, match=SHOP):
        _turn(sender, SHOP, lambda: True)

    enter(here, a_table(SHOP, world.keys[SHOP]))
    over = _turn(sender, SHOP, lambda: _owed(world, cycle_id, SHOP).status == Status.DISCHARGED)

    assert over.discharged == 1
    assert SHOP in Targets(here)
    assert list(Targets(here)) == [*here.record_systems, PAY, "beta-chat", SHOP, "gamma-bank"]


def test_a_change_reaches_a_turn_that_is_under_way(world: World) -> None:
    """The next round of a lane asks, and looks, by the new registration, in the same turn."""
    here, cycles_of = world.installation, [_unbinding(world, first=index) for index in range(3)]
    rounds = LiveRounds(here, Retention(here))[PAY]
    with here.db.begin() as tx:
        fence = leases.take(tx, PAY, "a test") or 0
    numbers = list[int]()
    for batch in (1, 50, 1):
        world.clock.pass_by(timedelta(seconds=1))
        enter(here, a_table(PAY, world.keys[PAY], batch=batch))
        platform = here.platforms[PAY]
        assert isinstance(platform, MemoryPlatform)
        platform.looks = len(numbers) > 1
        if platform.looks:
            with here.db.begin() as tx:
                for cycle_id in cycles_of:
                    looks.want(tx, cycle_id, [PAY], tx.now)
        assert run(rounds.round("a test", fence, Tally()))
        numbers.append(len(platform.looked if platform.looks else platform.asked))

    assert numbers == [1, 2, 1]


def test_an_answer_that_is_under_way_when_its_platform_leaves_counts(world: World) -> None:
    """Nothing dies of it, the lease is given back, and nothing more is sent."""
    here, cycles_of = world.installation, [_unbinding(world, first=index) for index in range(2)]
    enter(here, a_table(PAY, world.keys[PAY], batch=1))
    world.clock.pass_by(timedelta(days=1))
    platform = here.platforms[PAY]
    assert isinstance(platform, MemoryPlatform)

    def leaves(_: object) -> Outcome:
        _decommission(world)
        return Outcome.UNBOUND

    platform.says = leaves
    over = _turn(_sender(here), PAY, lambda: len(platform.asked) > 0)

    assert (over.discharged, over.failed, over.why) == (1, 0, "stopping")
    assert sorted(_owed(world, each, PAY).status for each in cycles_of) == [Status.DISCHARGED, Status.OPEN]
    with here.db.begin() as tx:
        assert leases.take(tx, PAY, "another")
    assert _turn(_sender(here), PAY, lambda: True).failed == 0
    assert len(platform.asked) == 1


def test_a_platform_that_can_not_be_made_here_is_trouble_of_its_own(world: World) -> None:
    """Its requests fail and are tried again, and its breaker says why."""
    here, cycle_id = world.installation, _unbinding(world)

    def reach(entry: PlatformEntry, _entries: Mapping[str, PlatformEntry]) -> MemoryPlatform:
        what = f"The platform {entry.platform_id} names a hub that is not registered."
        raise MapRefused(what, remedy="register the hub.")

    here = replace(here, platforms=Live(here.registered, reach))
    over = _turn(_sender(here), PAY, lambda: _owed(world, cycle_id, PAY).failures > 0)

    assert (over.discharged, over.failed) == (0, 1)
    with here.db.read() as tx:
        assert "names a hub" in str(tx.session.get_one(TargetRow, PAY).trouble)


def test_a_decommissioned_platform_is_asked_no_more(world: World) -> None:
    """Its workflow takes turns that rest; nothing fails, nothing is sent."""
    here, cycle_id = world.installation, _unbinding(world)
    sender, asked = _sender(here), world.installation.platforms[PAY]
    _decommission(world)

    _turn(sender, PAY, lambda: True)
    assert isinstance(asked, MemoryPlatform)
    assert asked.asked == []
    assert _owed(world, cycle_id, PAY).status == Status.OPEN
    assert PAY not in Targets(here)


def test_a_platform_that_comes_back_is_asked_in_the_turn_that_rests_there(world: World) -> None:
    """A turn lasts ten minutes: who comes back need not wait for the end of the one that found nobody there."""
    here, cycle_id = world.installation, _unbinding(world)
    _decommission(world)
    rounds = LiveRounds(here, Retention(here))[PAY]
    with here.db.begin() as tx:
        fence = leases.take(tx, PAY, "a test") or 0
    rests = run(rounds.round("a test", fence, Tally())), rounds.lanes
    enter(here, a_table(PAY, world.keys[PAY]))

    assert (rests, run(rounds.round("a test", fence, Tally()))) == ((False, 1), True)
    assert _owed(world, cycle_id, PAY).status == Status.DISCHARGED


def test_what_is_owed_to_it_waits_for_a_person(world: World, people: Staff) -> None:
    """It is platform-decommissioned and not target-missing, and an attested document takes the number on."""
    cycle_id = _unbinding(world, by=people)
    _decommission(world)
    _sweep(world)
    _sweep(world)

    assert facts_of(world, cycle_id).attention == {GONE}
    assert _owed(world, cycle_id, PAY).due_at is None
    enter(world.installation, a_table(SHOP, world.keys[SHOP]))
    by_two(world, people, cycle_id, Command.ATTEST, target_id=PAY, document_sha256=DOCUMENT)
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.RESELLABLE


def test_every_cycle_is_noted_a_page_at_a_time(world: World) -> None:
    """What is noted makes room in the page for what is not."""
    cycles_of = [_unbinding(world, first=index) for index in range(3)]
    _decommission(world)
    for _ in cycles_of:
        _sweep(world, most=1)

    assert [GONE in facts_of(world, each).attention for each in cycles_of] == [True, True, True]


def test_a_platform_that_comes_back_is_asked_again(world: World) -> None:
    """Its obligations leave the queue by themselves and are due at once."""
    cycle_id = _unbinding(world)
    _decommission(world)
    _sweep(world)
    enter(world.installation, a_table(PAY, world.keys[PAY]))
    _sweep(world)

    assert facts_of(world, cycle_id).attention == frozenset()
    assert _owed(world, cycle_id, PAY).due_at == world.clock.now()


def test_a_platform_that_comes_back_is_found_behind_those_that_wait_for_others(world: World) -> None:
    """More than a page that waits for another platform keeps nothing in the queue."""
    others, mine = [_unbinding(world, first=index) for index in range(2)], _unbinding(world, first=2)
    for cycle_id, target_id in (*((each, CHAT) for each in others), (mine, PAY)):
        _refuse(world, cycle_id, target_id)
    for target_id in (PAY, CHAT):
        enter(world.installation, a_table(target_id, world.keys[target_id]), decommissioned=True)
    _sweep(world)
    enter(world.installation, a_table(CHAT, world.keys[CHAT]))
    _sweep(world, most=1)

    assert facts_of(world, mine).attention == frozenset()
    assert [facts_of(world, each).attention for each in others] == [{GONE}, {GONE}]


def test_a_target_that_is_back_is_found_behind_those_that_wait_for_others(world: World) -> None:
    """One that is missing still keeps nothing of another's in the queue, however many wait for it."""
    cycles_of, db = [_unbinding(world, first=index) for index in range(3)], world.installation.db
    here = {*Targets(world.installation), SHOP}
    for cycle_id, target_id in ((cycles_of[0], CHAT), (cycles_of[1], CHAT), (cycles_of[2], PAY)):
        _refuse(world, cycle_id, target_id)
    missing.note(db, here - {PAY, CHAT}, 200)
    before = [len(facts_of(world, each).attention) for each in cycles_of]
    missing.note(db, here - {PAY}, 1)

    lacking = Attention(Reason.TARGET_MISSING, PAY)
    assert before == [1, 1, 1]
    assert [facts_of(world, each).attention for each in cycles_of] == [{lacking}, {lacking}, frozenset()]


def test_each_page_is_noted_in_a_transaction_of_its_own(world: World) -> None:
    """Cycles are locked in id order within a page only: two pages in one transaction wait for whoever waits for them."""
    last, first = sorted((_unbinding(world), _unbinding(world, first=1)), reverse=True)
    _refuse(world, last, CHAT)
    _refuse(world, first, PAY)
    for target_id in (PAY, CHAT):
        enter(world.installation, a_table(target_id, world.keys[target_id]), decommissioned=True)
    made, engine_ = list[str](), world.installation.db.engine
    event.listen(engine_, "before_cursor_execute", lambda *call: made.append("w" if call[2].startswith("UPDATE cycles") else ""))
    event.listen(engine_, "commit", lambda _: made.append("|"))

    _sweep(world)

    assert [facts_of(world, each).attention for each in (last, first)] == [{GONE}, {Attention(Reason.PLATFORM_DECOMMISSIONED, CHAT)}]
    assert "".join(made).strip("|") == "w|w"


def _unbinding(world: World, first: int = 0, by: Staff | None = None) -> str:
    cycle_id = enrolled(world, first=first, by=None if by is None else by.enroller)[0]
    advance(world, cycle_id, State.UNBINDING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    return cycle_id


def _owed(world: World, cycle_id: str, target_id: str) -> ObligationRow:
    with world.installation.db.read() as tx:
        return obligations.at_target(tx, target_id, [cycle_id])[cycle_id]


def _refuse(world: World, cycle_id: str, target_id: str) -> None:
    with world.installation.db.begin() as tx:
        cycle = cycles.lock_one(tx, cycle_id)
        obligations.shift(tx, cycle, obligations.at_target(tx, target_id, [cycle_id])[cycle_id], Status.REFUSED, None, None)


def _decommission(world: World) -> None:
    enter(world.installation, a_table(PAY, world.keys[PAY]), decommissioned=True)


def _sweep(world: World, most: int = 200) -> None:
    """Note what the sweep notes; the shop is left out, which is in no registry."""
    targets = Targets(world.installation)
    missing.note(world.installation.db, {*targets, *targets.decommissioned, SHOP}, most)
    decommissioned.note(world.installation.db, targets.decommissioned, most)


def _sender(here: Installation) -> TargetSender:
    return TargetSender(here.db, Bell(here.db), LiveRounds(here, Retention(here)), "a test")


def _turn(sender: TargetSender, target_id: str, done: Callable[[], bool]) -> TurnOver:
    async def turn() -> TurnOver:
        return await asyncio.wait_for(sender.turn(target_id, turn_for=30.0, beat=lambda: None, stopping=done), 40)

    return run(turn())


def test_a_sweep_looks_through_no_cycles_that_are_in_no_queue(world: World) -> None:
    """Each of its questions to the database is answered by an index, ten thousand released numbers or none."""
    asked, db = list[tuple[str, Any]](), world.installation.db
    event.listen(db.engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    _sweep(world)
    noting = [each for each in asked if "FROM cycles" in each[0] or "FROM obligations" in each[0]]

    plans = [_plan(db, *each) for each in noting]
    assert [("ix_cycles_attention" in plan, "FROM cycles" in sql) for plan, (sql, _) in zip(plans, noting, strict=True)] == [
        (False, False),
        (True, True),
        (True, True),
    ]
    assert "ix_obligations_" in plans[0]


def _plan(db: Database, sql: str, values: Any) -> str:
    with db.engine.connect() as connection:
        if not db.sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # a scan of so few rows is cheaper
        rows = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if db.sqlite else ''}{sql}", values)
        return " ".join(str(row) for row in rows)
