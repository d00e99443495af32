"""The disclosure tag: what the buyer is told before paying: a duty, since not to tell is fraud."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from fallow.domain.cycle import Cycle, CycleRef
from fallow.domain.events import canonical
from fallow.domain.obligations import Obligation, Outcome, TargetKind
from fallow.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Tag:
    """What is known of a number's past, without naming anybody.

    Attributes:
        number_id: the number this tag is bound to.
        cycle_no: the cycle this tag is bound to.
        former_holders_at_least: holders before the buyer; a lower bound.
        prior_holders_known: whether the carrier stated how many held it before this engine knew it.
        last_disconnect_month: YYYY-MM of the last disconnect.
        quarantine_declared_days: days before enrolment, on the carrier's word.
        quarantine_observed_days: days after it, seen by the engine.
        categories_clear: platform categories asked, all of whose platforms answered for themselves.
        attested: platforms cleared by two people on the platform's document, apart from the others.
        not_asked: categories outside the policy: nobody asked them.
        policy: id and version of the policy.
        demo: quarantine too short for a real number.
        recalled: this cycle began because the number had to be taken back from a buyer.
    """

    number_id: str
    cycle_no: int
    former_holders_at_least: int
    prior_holders_known: bool
    last_disconnect_month: str
    quarantine_declared_days: int
    quarantine_observed_days: int
    categories_clear: tuple[str, ...]
    attested: tuple[str, ...]
    not_asked: tuple[str, ...]
    policy: str
    demo: bool
    recalled: bool

    def to_json(self) -> dict[str, Any]:
        """Return the tag as plain JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON: what the signature covers and a sale must cite."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Past:
    """What enrolment recorded of a number's earlier life.

    Attributes:
        former_holders: holders so far, the one who leaves now included, as far as is known: a lower bound.
        stated: whether the carrier stated how many there were.
        recalled: whether this cycle was opened by a recall.
    """

    former_holders: int
    stated: bool
    recalled: bool


def tag(ref: CycleRef, cycle: Cycle, past: Past, policy: Policy, obligations: Iterable[Obligation]) -> Tag:
    """Return the tag that follows from the facts; the gate recomputes it and compares digests.

    Raises:
        ValueError: if quarantine has not ended.
    """
    if cycle.quarantine_ended_at is None:
        what = "a tag needs the end of quarantine"
        raise ValueError(what)
    platforms = [obligation for obligation in obligations if obligation.kind is TargetKind.PLATFORM]
    attested = {obligation.target_id for obligation in platforms if obligation.outcome is Outcome.ATTESTED}
    unclear = {str(policy.platforms[target_id]) for target_id in attested}
    return Tag(
        number_id=ref.number_id,
        cycle_no=ref.cycle_no,
        former_holders_at_least=past.former_holders,
        prior_holders_known=past.stated,
        last_disconnect_month=f"{cycle.disconnected_at:%Y-%m}",
        quarantine_declared_days=_days(cycle.enrolled_at - cycle.disconnected_at),
        quarantine_observed_days=_days(cycle.quarantine_ended_at - cycle.enrolled_at),
        categories_clear=tuple(sorted({str(category) for category in policy.platforms.values()} - unclear)),
        attested=tuple(sorted(attested)),
        not_asked=tuple(sorted(policy.not_asked)),
        policy=f"{policy.policy_id} v{policy.version}",
        demo=cycle.demo,
        recalled=past.recalled,
    )


def _days(span: timedelta) -> int:
    return max(0, span.days)
