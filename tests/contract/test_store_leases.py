"""Leases, rate buckets and breakers on both databases: rows that all workers share."""

from datetime import timedelta

import pytest
from builders import World

from fallow.domain.errors import LeaseLost
from fallow.domain.obligations import TargetKind
from fallow.store import leases, targets
from fallow.store.engine import Tx
from fallow.store.leases import LEASE_FOR
from fallow.store.targets import LONGEST_CLOSED_FOR, OPENS_AFTER

SECOND = timedelta(seconds=1)


def take(world: World, holder: str) -> int | None:
    """Take the lease on a target."""
    with world.installation.db.begin() as tx:
        return leases.take(tx, "pay", holder)


def demand(world: World, holder: str, fence: int) -> None:
    """Write under the lease."""
    with world.installation.db.begin() as tx:
        leases.demand(tx, "pay", holder, fence)


def test_a_lease_is_held_by_one(world: World) -> None:
    """The first takes it and may renew it; a second gets nothing."""
    assert [take(world, "a"), take(world, "b"), take(world, "a")] == [1, None, 1]


def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_fence(world: World) -> None:
    """At the very instant it ends, and not one second before."""
    take(world, "a")

    world.clock.pass_by(LEASE_FOR - SECOND)
    early = take(world, "b")
    world.clock.pass_by(SECOND)

    assert (early, take(world, "b"), take(world, "a")) == (None, 2, None)


def test_a_renewal_moves_the_end(world: World) -> None:
    """Whoever goes on working keeps the lease."""
    take(world, "a")
    world.clock.pass_by(LEASE_FOR - SECOND)
    take(world, "a")
    world.clock.pass_by(LEASE_FOR - SECOND)

    assert take(world, "b") is None


@pytest.mark.parametrize("waited", [0.001, 1.0, 29.0])
def test_who_waited_for_the_lease_takes_none_that_was_renewed_meanwhile(world: World, waited: float) -> None:
    """The end of a lease that was renewed after one's own clock reading is further away than a lease lasts, and it is held all the same."""
    take(world, "a")

    with world.installation.db.begin() as tx:
        began = Tx(tx.session, tx.now - timedelta(seconds=waited))
        assert leases.take(began, "pay", "b") is None


def test_a_lease_from_before_the_clock_was_set_back_is_taken(world: World) -> None:
    """Nobody waits an hour because the clock went back by an hour."""
    take(world, "a")
    world.clock.pass_by(timedelta(hours=-1))

    assert take(world, "b") == 2


def test_a_write_after_a_takeover_is_refused(world: World) -> None:
    """A paused sender that wakes up too late writes nothing; the new one does."""
    take(world, "a")
    world.clock.pass_by(LEASE_FOR)
    take(world, "b")

    with pytest.raises(LeaseLost):
        demand(world, "a", 1)
    demand(world, "b", 2)


def test_a_write_after_the_end_is_refused_even_before_a_takeover(world: World) -> None:
    """A lease that ran out protects nothing any more."""
    take(world, "a")
    world.clock.pass_by(LEASE_FOR)

    with pytest.raises(LeaseLost):
        demand(world, "a", 1)


@pytest.mark.parametrize(("holder", "fence"), [("b", 1), ("a", 0), ("a", 2)])
def test_a_write_under_another_name_or_fence_is_refused(world: World, holder: str, fence: int) -> None:
    """Both must be those of the present lease."""
    take(world, "a")

    with pytest.raises(LeaseLost):
        demand(world, holder, fence)


def test_a_write_without_any_lease_is_refused(world: World) -> None:
    """Nobody writes for a target that nobody took."""
    with pytest.raises(LeaseLost):
        demand(world, "a", 1)


def test_a_lease_given_back_is_free_at_once(world: World) -> None:
    """A successor need not wait; a stranger can't give it back."""
    take(world, "a")

    with world.installation.db.begin() as tx:
        leases.give_back(tx, "pay", "b")
    still = take(world, "b")
    with world.installation.db.begin() as tx:
        leases.give_back(tx, "pay", "a")

    assert (still, take(world, "b")) == (None, 2)
    with pytest.raises(LeaseLost):
        demand(world, "a", 1)


def allowance(world: World, rate: float, most: int, *, spend: int = 0) -> int:
    """Ask the bucket, and spend what was sent."""
    with world.installation.db.begin() as tx:
        row = targets.lock(tx, "pay", TargetKind.PLATFORM)
        allowed = targets.allowance(tx, row, rate, most)
        row.tokens -= min(spend, allowed)
        return allowed


def fail(world: World, *, retry_after: float | None = None) -> None:
    """Count a failure."""
    with world.installation.db.begin() as tx:
        targets.failed(tx, targets.lock(tx, "pay", TargetKind.PLATFORM), "It is away.", retry_after)


def closed_for(world: World) -> timedelta:
    """Return how long the breaker stays open from now on."""
    with world.installation.db.begin() as tx:
        row = targets.lock(tx, "pay", TargetKind.PLATFORM)
        return max((row.closed_until or tx.now) - tx.now, timedelta(0))


def test_the_bucket_fills_at_its_rate_and_overflows_at_one_batch(world: World) -> None:
    """20 a second in batches of 50: the first second's worth, then what has come in, never more than a batch."""
    first = allowance(world, 20.0, 50, spend=20)
    at_once = allowance(world, 20.0, 50)
    world.clock.pass_by(SECOND / 2)
    half = allowance(world, 20.0, 50, spend=10)
    world.clock.pass_by(timedelta(hours=1))

    assert (first, at_once, half, allowance(world, 20.0, 50)) == (20, 0, 10, 50)


def test_a_slow_platform_gets_one_item_at_a_time(world: World) -> None:
    """A rate below one a second lets one through every few seconds, not none for ever."""
    allowed = []
    for _ in range(8):
        allowed.append(allowance(world, 0.5, 50, spend=1))
        world.clock.pass_by(SECOND)

    assert allowed == [0, 1, 0, 1, 0, 1, 0, 1]


def test_the_breaker_opens_at_the_third_failure_in_a_row(world: World) -> None:
    """Two failures pause nothing; from the third on pauses double, up to ten minutes."""
    pauses = []
    for _ in range(OPENS_AFTER + 12):
        fail(world)
        pauses.append(closed_for(world))

    assert pauses[: OPENS_AFTER + 2] == [0 * SECOND, 0 * SECOND, 1 * SECOND, 2 * SECOND, 4 * SECOND]
    assert pauses[-1] == LONGEST_CLOSED_FOR


def test_an_open_breaker_lets_nothing_through_then_one_probe(world: World) -> None:
    """After the pause one item tries; the others wait for its success."""
    allowance(world, 100.0, 50)
    for _ in range(OPENS_AFTER):
        fail(world)

    paused = allowance(world, 100.0, 50)
    world.clock.pass_by(SECOND)
    probe = allowance(world, 100.0, 50)
    with world.installation.db.begin() as tx:
        targets.succeeded(targets.lock(tx, "pay", TargetKind.PLATFORM))

    assert (paused, probe, allowance(world, 100.0, 50)) == (0, 1, 50)


def test_the_target_s_own_retry_after_is_kept_from_the_first_failure_on(world: World) -> None:
    """Who asks to be left alone for 30 s is."""
    fail(world, retry_after=30.0)

    assert closed_for(world) == 30 * SECOND
    assert allowance(world, 100.0, 50) == 0
