"""What must be cleared before a number may go on: one obligation per cycle and target."""

from dataclasses import dataclass
from enum import StrEnum


class TargetKind(StrEnum):
    """The two kinds of target."""

    RECORDS = "records"
    PLATFORM = "platform"


class Category(StrEnum):
    """What a platform is to the former holder."""

    PAYMENT = "payment"
    SOCIAL = "social"
    BANK = "bank"
    SHOP = "shop"
    GAME = "game"
    GOVERNMENT = "government"
    CALL_LABEL = "call-label"


class Status(StrEnum):
    """How far an obligation is. Only DISCHARGED counts for the gate."""

    OPEN = "OPEN"
    DISCHARGED = "DISCHARGED"
    REFUSED = "REFUSED"


class Outcome(StrEnum):
    """What a target said or what was done there."""

    WIPED = "wiped"
    UNBOUND = "unbound"
    NOT_BOUND = "not_bound"
    CLEAR = "clear"
    ATTESTED = "attested"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    NEEDS_HUMAN = "needs_human"


#: Outcomes by which a platform itself says that nothing of the former holder is left there.
CLEARED_BY_PLATFORM = frozenset({Outcome.UNBOUND, Outcome.NOT_BOUND, Outcome.CLEAR})


def shown(said: Outcome) -> Outcome:
    """Return what may be shown of a platform's word: of the three clearances only that nothing is bound now.

    A carrier is not to learn which services a person used; what was said is in the sealed evidence.
    """
    return Outcome.CLEAR if said in CLEARED_BY_PLATFORM else said


class RefusalReason(StrEnum):
    """Why a platform refuses: a short list, because free text could hold a number or a name."""

    LEGAL_HOLD = "legal-hold"
    DEBT = "debt"
    DISPUTE = "dispute"
    NEWER_HOLDER = "newer-holder"
    NOT_OURS = "not-ours"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Obligation:
    """One obligation as the gate and the fold see it.

    Attributes:
        target_id: which record system or platform.
        kind: which of the two.
        status: how far it is.
        outcome: the answer that settled it, or None.
        evidence: digest of the receipt, delivery or attestation that proves the outcome, or None.
        confirmed: digest of the delivery by which the platform said later, when it was looked at, that this still stands; or None.
    """

    target_id: str
    kind: TargetKind
    status: Status = Status.OPEN
    outcome: Outcome | None = None
    evidence: str | None = None
    confirmed: str | None = None

    @property
    def by_own_word(self) -> bool:
        """Whether the platform itself cleared it: such a word can be asked after, a receipt or two people's document can't."""
        cleared = self.outcome is not None and self.outcome in CLEARED_BY_PLATFORM
        return self.kind is TargetKind.PLATFORM and self.status is Status.DISCHARGED and cleared
