"""How an answer moves an obligation: a table, never last-write-wins.

Answers come twice, late, early and out of order; a platform may contradict itself. The table makes every order of the
same answers end in the same place, except that a refusal after a clearance closes the gate again.
"""

from dataclasses import dataclass

from fallow.domain.attention import Reason
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Outcome, Status


@dataclass(frozen=True, slots=True)
class Move:
    """What an answer changes.

    Attributes:
        status: the obligation's next status, or None when the answer changes nothing.
        raises: the attention it raises, or None.
    """

    status: Status | None
    raises: Reason | None = None


NOTHING = Move(None)


def move(status: Status, said: Outcome, *, contradicted: bool = False) -> Move:
    """Return what ``said`` does to an obligation in ``status``.

    Args:
        status: how far the obligation is.
        said: the platform's word.
        contradicted: whether the platform took a clearance back before. A clearance after that may be an old one that came late,
            so it counts only once a person has had the platform asked again.
    """
    if said in CLEARED_BY_PLATFORM:
        settled = status is Status.DISCHARGED or (status is Status.REFUSED and contradicted)
        return NOTHING if settled else Move(Status.DISCHARGED)
    if said is Outcome.NEEDS_HUMAN:
        return Move(None, Reason.PLATFORM_NEEDS_HUMAN) if status is Status.OPEN else NOTHING
    if said is Outcome.REFUSED and status is not Status.REFUSED:
        contradicted = status is Status.DISCHARGED
        return Move(Status.REFUSED, Reason.PLATFORM_CONTRADICTED if contradicted else Reason.PLATFORM_REFUSED)
    return NOTHING


def seen_again(said: Outcome) -> Move:
    """Return what a platform's word to a status query does to an obligation that it had cleared.

    Anything but a clearance takes the clearance back: ``accepted`` or ``needs_human`` mean that something is bound there again.
    """
    return NOTHING if said in CLEARED_BY_PLATFORM else Move(Status.REFUSED, Reason.PLATFORM_CONTRADICTED)
