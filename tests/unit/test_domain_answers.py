"""Answers move obligations alike in every order."""

from itertools import permutations, product

import pytest

from fallow.domain.answers import Move, move, seen_again
from fallow.domain.attention import Reason
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome, Status

FOREIGN = (Outcome.WIPED, Outcome.ATTESTED, Outcome.ACCEPTED)


def after(*said: Outcome) -> Status:
    """Return where an open obligation ends after these answers."""
    status = Status.OPEN
    for outcome in said:
        status = move(status, outcome).status or status
    return status


@pytest.mark.parametrize(
    ("status", "said", "becomes", "raises"),
    [
        *[(Status.OPEN, said, Status.DISCHARGED, None) for said in sorted(CLEARED_BY_PLATFORM)],
        *[(Status.REFUSED, said, Status.DISCHARGED, None) for said in sorted(CLEARED_BY_PLATFORM)],
        *[(Status.DISCHARGED, said, None, None) for said in sorted(CLEARED_BY_PLATFORM)],
        (Status.OPEN, Outcome.REFUSED, Status.REFUSED, Reason.PLATFORM_REFUSED),
        (Status.DISCHARGED, Outcome.REFUSED, Status.REFUSED, Reason.PLATFORM_CONTRADICTED),
        (Status.REFUSED, Outcome.REFUSED, None, None),
        (Status.OPEN, Outcome.NEEDS_HUMAN, None, Reason.PLATFORM_NEEDS_HUMAN),
        (Status.DISCHARGED, Outcome.NEEDS_HUMAN, None, None),
        (Status.REFUSED, Outcome.NEEDS_HUMAN, None, None),
        *[(status, said, None, None) for status, said in product(Status, FOREIGN)],
    ],
)
def test_the_whole_table(status: Status, said: Outcome, becomes: Status | None, raises: Reason | None) -> None:
    """Each status meets each answer as written here."""
    change = move(status, said)

    assert (change.status, change.raises) == (becomes, raises)


def test_the_table_above_is_whole() -> None:
    """No status or outcome was forgotten: three of each clear, one refuses, one calls a person, the rest say nothing."""
    assert {*CLEARED_BY_PLATFORM, Outcome.REFUSED, Outcome.NEEDS_HUMAN, *FOREIGN} == set(Outcome)


@pytest.mark.parametrize("said", sorted(set(permutations([*CLEARED_BY_PLATFORM, Outcome.ACCEPTED, Outcome.UNBOUND]))))
def test_every_order_of_clearances_ends_cleared(said: tuple[Outcome, ...]) -> None:
    """Late, early, twice and out of order: all the same."""
    assert after(*said) is Status.DISCHARGED


@pytest.mark.parametrize(
    "said", sorted(set(permutations([Outcome.REFUSED, Outcome.REFUSED, Outcome.UNBOUND, Outcome.CLEAR, Outcome.ACCEPTED])))
)
def test_a_refusal_after_a_clearance_closes_the_gate(said: tuple[Outcome, ...]) -> None:
    """Only what a platform decided last counts, and its clearance can be taken back."""
    decisive = [each for each in said if each is not Outcome.ACCEPTED]

    assert after(*said) is (Status.REFUSED if decisive[-1] is Outcome.REFUSED else Status.DISCHARGED)


@pytest.mark.parametrize("said", Outcome)
def test_whatever_is_no_clearance_takes_a_clearance_back_at_a_look(said: Outcome) -> None:
    """Also what means only that somebody is working on it: so something is bound there again."""
    contradicted = Move(Status.REFUSED, Reason.PLATFORM_CONTRADICTED)

    assert seen_again(said) == (Move(None) if said in CLEARED_BY_PLATFORM else contradicted)
