"""Senders follow the registry while they run; what is owed to a decommissioned platform waits for a person. On both databases."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import PLATFORMS, World, advance, an_installation, enrolled, state_of
from builders_commands import by_two
from builders_cycles import DOCUMENT, Staff, assert_folds, engine, facts_of, staff
from builders_registry import a_table, enter, founded, run
from memory_ports import MemoryPlatform

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
from fallow.store import decommissioned, leases, looks, obligations
from fallow.store.tables import ObligationRow, TargetRow
from workers.targets import LiveRounds, Targets

PAY, SHOP = "alpha-pay", "delta-shop"
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


def _unbinding(world: World, first: int = 0, by: Staff | None = None) -> str:
    cycle_id = enrolled(world, first=first, by=None if by is None else by.enroller)[0]
    advance(world, cycle_id, State.UNBINDING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    return cycle_id


def _owed(world: World, cycle_id: str, target_id: str) -> ObligationRow:
    with world.installation.db.read() as tx:
        return obligations.at_target(tx, target_id, [cycle_id])[cycle_id]


def _decommission(world: World) -> None:
    enter(world.installation, a_table(PAY, world.keys[PAY]), decommissioned=True)


def _sweep(world: World, most: int = 200) -> None:
    """Note what the sweep notes; the shop is left out, which is in no registry."""
    targets = Targets(world.installation)
    with world.installation.db.begin() as tx:
        obligations.note_missing(tx, {*targets, *targets.decommissioned, SHOP}, most)
        decommissioned.note(tx, targets.decommissioned, most)


def _sender(here: Installation) -> TargetSender:
    return TargetSender(here.db, Bell(here.db), LiveRounds(here, Retention(here)), "a test")


def _turn(sender: TargetSender, target_id: str, done: Callable[[], bool]) -> TurnOver:
    async def turn() -> TurnOver:
        return await asyncio.wait_for(sender.turn(target_id, turn_for=30.0, beat=lambda: None, stopping=done), 40)

    return run(turn())
