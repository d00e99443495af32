"""The sample before sale: whose draw anybody can repeat."""

import pytest

from fallow.domain.sample import is_drawn

CYCLES = [f"n_{index}/1" for index in range(20_000)]


@pytest.mark.parametrize("one_in", [2, 20, 100])
def test_about_one_in_so_many_is_drawn(one_in: int) -> None:
    """The share is the policy's: within five standard deviations of it."""
    drawn = sum(is_drawn(each, one_in) for each in CYCLES)
    share = 1 / one_in

    assert abs(drawn - len(CYCLES) * share) < 5 * (len(CYCLES) * share * (1 - share)) ** 0.5


def test_none_and_all_can_be_drawn() -> None:
    """0 draws nobody, 1 everybody."""
    assert not any(is_drawn(each, 0) for each in CYCLES)
    assert all(is_drawn(each, 1) for each in CYCLES)


def test_the_draw_is_the_one_that_auditors_compute() -> None:
    """SHA-256 of the prefix and the cycle's id, its first eight bytes as a number, modulo the share: as docs/lifecycle.md says."""
    assert [each for each in CYCLES[:60] if is_drawn(each, 20)] == ["n_16/1", "n_46/1", "n_57/1"]
