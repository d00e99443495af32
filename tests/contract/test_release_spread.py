"""Ten thousand numbers enrolled in one instant do not wake at one instant: their releases spread over the jitter, evenly."""

from dataclasses import replace
from datetime import datetime, timedelta
from math import log, sqrt

from builders import RULE, World, a_file, a_person
from sqlmodel import select

from fallow.domain.people import Role
from fallow.operations.enrol import enrol_file
from fallow.store.tables import CycleRow

NUMBERS = 10_000
JITTER = timedelta(minutes=1)
#: How rarely a right implementation may fail this test: once in a thousand million runs.
ONCE_IN = 1e-9


def farthest_from_even(spread: list[float]) -> float:
    """Return the Kolmogorov-Smirnov distance of values between 0 and 1 from the uniform distribution.

    It is the greatest gap between the share of values up to a point and the point itself, met just before or just after a value.
    """
    in_order = sorted(spread)
    return max(max((no + 1) / len(in_order) - value, value - no / len(in_order)) for no, value in enumerate(in_order))


def bound(values: int, failing: float) -> float:
    """Return the distance that ``values`` independent uniform ones exceed with probability ``failing`` at most.

    Dvoretzky, Kiefer and Wolfowitz with Massart's constant (Annals of Probability 18, 1990): for every n the distance D of n
    values has P(D > d) <= 2 exp(-2 n d^2). Solved for d. Nothing about it is asymptotic, and no figure is taken from a table.
    """
    return sqrt(log(2 / failing) / (2 * values))


def releases(world: World) -> list[datetime]:
    """Enrol all the numbers at one instant, with the same disconnect instant, and return their release dates."""
    policy = replace(world.installation.policy, release_jitter_for=JITTER)
    installation = replace(world.installation, policy=policy)
    enrol_file(installation, a_person(world, Role.OPERATOR), a_file(NUMBERS, now=world.clock.now()))
    with installation.db.read() as tx:
        return list(tx.session.exec(select(CycleRow.release_at)))


def test_ten_thousand_releases_spread_as_the_jitter_says(sqlite_world: World) -> None:
    """None comes earlier than its rule or later than the jitter allows, and in between they lie evenly."""
    now = sqlite_world.clock.now()
    by_the_rule = max(now - timedelta(days=1) + RULE.quarantine_for, now + RULE.observed_for)

    spread = [(release_at - by_the_rule) / JITTER for release_at in releases(sqlite_world)]

    assert len(spread) == NUMBERS
    assert min(spread) >= 0
    assert max(spread) <= 1
    assert farthest_from_even(spread) < bound(NUMBERS, ONCE_IN)


def test_the_bound_tells_even_from_uneven() -> None:
    """Ten thousand even values are within it; a jitter over nine tenths of the time, or one that half the numbers lack, is not."""
    even = [(no + 0.5) / NUMBERS for no in range(NUMBERS)]

    assert farthest_from_even(even) < bound(NUMBERS, ONCE_IN)
    assert farthest_from_even([value * 0.9 for value in even]) > bound(NUMBERS, ONCE_IN)
    assert farthest_from_even([value * (no % 2) for no, value in enumerate(even)]) > bound(NUMBERS, ONCE_IN)
