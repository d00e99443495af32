"""Rotation by age, a step at a sweep: when an epoch begins, when its wrapping key dies, and what the log says in between."""

from datetime import timedelta

import pytest
from builders import World, enrolled
from builders_cycles import at_once
from sqlmodel import select
from structlog.testing import capture_logs

from fallow.operations import key_epochs
from fallow.operations.key_epochs import keep_young, standing
from fallow.store import holders
from fallow.store.keeping_tables import HolderRow

DAY = timedelta(days=1)


def known(world: World) -> set[str]:
    """Return the cycles whose holder keys open."""
    with world.installation.db.begin() as tx:
        cycle_ids = tx.session.exec(select(HolderRow.cycle_id)).all()
        return set(holders.known(tx, world.installation.wrapping, cycle_ids))


def epochs_of(world: World) -> list[int]:
    """Return the epoch of every holder key."""
    with world.installation.db.read() as tx:
        return list(tx.session.exec(select(HolderRow.epoch)))


def test_workers_rotate_by_age_and_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Young, nothing happens; old, an epoch begins and each step rewraps a page, until the old key is destroyed."""
    here = world.installation
    monkeypatch.setattr(key_epochs, "PAGE", 2)
    monkeypatch.setattr(key_epochs, "PAGES", 1)
    assert keep_young(here.db, here.wrapping, DAY) == ()  # before the first enrolment there is nothing to rotate
    ids = enrolled(world, 5)
    assert keep_young(here.db, here.wrapping, DAY) == ()
    assert here.wrapping.names() == ["holder-1"]
    world.clock.pass_by(DAY)

    steps = [keep_young(here.db, here.wrapping, DAY) for _ in range(4)]

    assert steps == [(), (), ("holder-1",), ()]
    assert here.wrapping.names() == ["holder-2"]
    assert known(world) == set(ids)
    found = standing(here.db, here.wrapping)
    assert found is not None
    assert (found.epoch, found.age) == (2, timedelta(0))


def test_no_epoch_begins_before_the_last_one_s_keys_are_rewrapped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where steps are too few for the keys, epochs last longer, a warning says so, and each wrapping key dies in its turn."""
    here = world.installation
    monkeypatch.setattr(key_epochs, "PAGE", 3)
    monkeypatch.setattr(key_epochs, "PAGES", 1)
    ids, destroyed, most = enrolled(world, 10), list[str](), 0

    with capture_logs() as said:
        for _ in range(6):
            world.clock.pass_by(DAY)
            for _ in range(2):  # four are needed
                destroyed += keep_young(here.db, here.wrapping, DAY)
                most = max(most, len(here.wrapping.names()))

    assert most == 2
    assert destroyed == ["holder-1", "holder-2", "holder-3"]
    assert [each["count"] for each in said if each["log_level"] == "warning"] == [1, 4, 1, 1, 4, 1]
    assert known(world) == set(ids)


def test_a_step_rewraps_several_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded, and more than one."""
    here = world.installation
    monkeypatch.setattr(key_epochs, "PAGE", 2)
    monkeypatch.setattr(key_epochs, "PAGES", 3)
    enrolled(world, 10)
    world.clock.pass_by(DAY)

    first = keep_young(here.db, here.wrapping, DAY)
    rewrapped = epochs_of(world).count(2)

    assert (first, rewrapped) == ((), 6)
    assert keep_young(here.db, here.wrapping, DAY) == ("holder-1",)


def test_two_processes_find_an_epoch_old_at_once(world: World) -> None:
    """It is replaced once, not twice."""
    here = world.installation
    enrolled(world)
    world.clock.pass_by(DAY)

    came = at_once([lambda: keep_young(here.db, here.wrapping, DAY)] * 4)

    assert not [each for each in came if isinstance(each, Exception)], came
    found = standing(here.db, here.wrapping)
    assert found is not None
    assert found.epoch == 2
