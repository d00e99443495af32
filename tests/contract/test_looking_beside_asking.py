"""Asking and looking at one platform share its pace, its pause and the due-scan. On both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import World
from builders_cycles import all_at, staff
from builders_looking import looking, owed_looks, rung, unconfirmed

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, TargetKind
from fallow.operations.looking_rounds import AskingAndLooking, LookingRounds
from fallow.operations.platform_control import pause
from fallow.operations.sending import Bell, Tally
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.store import leases, targets

ALPHA = "alpha-pay"


def test_nobody_rings_for_a_look_at_a_paused_platform(world: World) -> None:
    """A sender that may look at nothing is not woken twice a second for it."""
    looking(world, shows=None)
    unconfirmed(world)
    world.clock.pass_by(timedelta(minutes=1))
    before, operator = rung(world), staff(world).operator
    pause(world.installation, operator, ALPHA)

    assert (before, rung(world)) == (True, False)


@pytest.mark.parametrize("asked_before", [0, 1])
def test_looks_are_made_beside_a_backlog_of_requests(world: World, asked_before: int) -> None:
    """What asks and what looks take turns at what the pace lets through, whether there is something to send in a round or not."""
    platform = looking(world, shows=None)
    unconfirmed(world, 2)
    platform.shows = lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(minutes=1))
    all_at(world, 8, State.UNBINDING, first=100)
    world.installation.paces[ALPHA] = replace(world.installation.paces[ALPHA], rate_per_second=1.0, batch=2)  # type: ignore[index]
    both = AskingAndLooking(UnbindingRounds(world.installation, ALPHA), LookingRounds(world.installation, ALPHA))
    before = len(platform.asked)

    async def go() -> None:
        for _ in range(asked_before + 8):  # twice a second: the pace lets something through in every other round
            with world.installation.db.begin() as tx:
                fence = leases.take(tx, ALPHA, "a test")
            assert fence is not None
            await both.round("a test", fence, Tally())
            world.clock.pass_by(timedelta(seconds=0.5))

    asyncio.run(go())

    assert owed_looks(world) == []
    assert len(platform.asked) > before + 1


def test_a_look_that_is_due_rests_with_its_target(world: World) -> None:
    """A scan that took long silences looks, too."""
    looking(world, shows=None)
    unconfirmed(world)
    world.clock.pass_by(timedelta(minutes=1))
    seconds = iter([0.0, 0.0, 1.0, 2.0, 12.0, 12.0, 12.0])

    async def heard() -> list[bool]:
        bell, found = Bell(world.installation.db, seconds=lambda: next(seconds)), list[bool]()
        for _ in range(3):
            await bell.wait(ALPHA, 0)
            await bell.scan()
            found.append(bell._rung[ALPHA].is_set())
        return found

    assert asyncio.run(heard()) == [True, False, True]


def test_looks_go_in_full_batches_although_the_last_requests_failed(world: World) -> None:
    """Nothing is left to ask, so that nothing closes the platform's breaker; while it is open nobody looks, after that everybody does."""
    platform = looking(world, shows=None)
    unconfirmed(world, 5)
    platform.shows = lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(minutes=1))
    with world.installation.db.begin() as tx:
        row = targets.lock(tx, ALPHA, TargetKind.PLATFORM)
        for _ in range(4):
            targets.failed(tx, row, "It is away.", None)
        fence = leases.take(tx, ALPHA, "a test") or 0
    before, rounds, seen = len(platform.looked), LookingRounds(world.installation, ALPHA), list[int]()
    for _ in range(2):
        asyncio.run(rounds.round("a test", fence, Tally()))
        seen.append(len(platform.looked) - before)
        world.clock.pass_by(timedelta(seconds=5))

    assert seen == [0, 5]
