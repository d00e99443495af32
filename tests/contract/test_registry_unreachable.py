"""One platform that can't be made in this process is trouble of that platform, and of no other number. On both databases."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import World, advance, an_installation, enrolled, state_of
from builders_cycles import engine, number_of, row_of, staff
from builders_registry import a_table, enter, founded

from fallow.domain.cycle import ref
from fallow.domain.errors import MapRefused
from fallow.domain.lifecycle import State
from fallow.operations.installation import Pace
from fallow.operations.looking import forget_strayed, looking_now
from fallow.operations.platform_control import pause
from fallow.operations.registered import Live
from fallow.operations.registering import Registering
from fallow.operations.sale import sell
from fallow.platforms.adapters.catalogue import make_platform
from fallow.platforms.signing import SigningKey
from fallow.store import looks, registry
from fallow.store.platform_tables import PlatformRow
from fallow.store.registry import Registration
from workers.targets import Targets

KEY = SigningKey.generate()
BROKEN = "epsilon-shop"


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world whose own platforms live in memory, while every other one is made as its registration says."""
    made = an_installation(tmp_path, url=database_url)
    here = founded(made)
    way = here.registered.way
    platforms = Live(here.registered, lambda entry, all_: made.platforms.get(entry.platform_id) or make_platform(entry, all_, way))
    paces = Live(here.registered, lambda entry, _: Pace(entry.batch, 10_000.0, 3600.0, 2))
    made.wired = replace(made.wired, installation=replace(here, platforms=platforms, paces=paces))
    yield made
    made.installation.db.close()


def _broken(world: World, **changed: object) -> None:
    """Register a platform behind a hub that is not there, so that no process can make it."""
    enter(world.installation, a_table(BROKEN, KEY, via="no-hub", public_keys=[], **changed))
    with pytest.raises(MapRefused):
        world.installation.platforms[BROKEN]


def _await(seen: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < until


def test_other_numbers_are_cleared_released_and_sold(world: World) -> None:
    """A platform that they owe nothing stops none of them, whatever is wrong with it."""
    _broken(world)
    here, cycle_id = world.installation, enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    people = staff(world)

    assert state_of(world, cycle_id) is State.RESELLABLE
    assert sell(here, people.shop, number_of(world, cycle_id), str(row_of(world, cycle_id).tag), "ack-0001")
    assert forget_strayed(here, 10) == 0
    pause(here, people.operator, BROKEN)
    assert BROKEN in Targets(here)


@pytest.mark.parametrize("body", ['{"id": "epsilon-sh', "[]", "{}"])
def test_a_revision_that_is_no_registration_ends_nobody_who_follows(world: World, body: str) -> None:
    """A torn body takes its own platform out of use: the others stay, and what is registered after it is seen."""
    here = world.installation
    with here.registered.following():
        with here.db.begin() as tx:
            torn = PlatformRow(platform_id=BROKEN, revision=1, body=body, proposed_by="one", approved_by="another")
            torn.active_from = tx.now
            tx.session.add(torn)
        _await(lambda: BROKEN in here.registered.present.unread)
        with here.db.begin() as tx:
            table = Registration(a_table("zeta-shop", SigningKey.generate()))
            registry.append(tx, here.registered.bodies, table, proposed_by="one", approved_by="another")
        _await(lambda: here.registered.now("zeta-shop") is not None)

    assert here.registered.now("alpha-pay") is not None


def test_what_it_cleared_stays_to_be_confirmed(world: World) -> None:
    """Whether it offers a status query can't be told, so its own numbers wait, and what is owed there is not forgotten."""
    here, cycle_id = world.installation, enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    enter(here, a_table("alpha-pay", via="no-hub", public_keys=[]))

    assert looking_now(here) == {"alpha-pay"}
    engine(world).release.release(ref(cycle_id))
    assert state_of(world, cycle_id) is State.TAGGING
    with here.db.read() as tx:
        assert looks.of_cycle(tx, cycle_id) == ["alpha-pay"]
    assert forget_strayed(here, 10) == 0


def test_a_missing_file_is_no_reason_not_to_be_made(world: World, tmp_path: Path) -> None:
    """Its files are read when it is asked, and when it is proposed."""
    missing = a_table(BROKEN, KEY, ca_file=str(tmp_path / "gone.pem"), status_url=f"https://{BROKEN}.example.com/status")
    with pytest.raises(MapRefused, match=r"gone\.pem"):
        Registering(world.installation).propose(staff(world).operator, missing)

    enter(world.installation, missing)
    assert world.installation.platforms[BROKEN].looks
    assert looking_now(world.installation) == {BROKEN}
