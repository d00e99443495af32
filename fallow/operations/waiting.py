"""Why a cycle that should be done by now still waits: one clause for each reason, in words that a person can act on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import State
from fallow.domain.obligations import TargetKind
from fallow.domain.traffic import Verdict
from fallow.store import cycles
from fallow.store.tables import CycleRow, HoldRow, ObligationRow

_TARGETS = {TargetKind.RECORDS: "record systems", TargetKind.PLATFORM: "platforms"}
_TRAFFIC = {
    Verdict.NOISY: (Reason.STILL_CALLED, "it is still called: it waits until its counters are quiet"),
    Verdict.UNKNOWN: (Reason.TRAFFIC_UNKNOWN, "its traffic counters are missing: feed them with `fallow numbers traffic`"),
}


@dataclass(frozen=True, slots=True)
class Around:
    """What lies around a cycle's row.

    Attributes:
        holds: its open holds.
        owed: its open obligations.
        extended: whether a person ever moved its release later.
    """

    holds: Sequence[HoldRow]
    owed: Sequence[ObligationRow]
    extended: bool


def why_it_waits(row: CycleRow, around: Around, now: datetime) -> list[str]:
    """Return every reason why an active cycle has not gone on, those that only people can end first; never empty."""
    reasons = [*_held(around), *_for_people(row), *_for_time(row, around, now), *_for_targets(around)]
    return reasons or ["nothing stops it any more: its workflow takes it on; if it stays here, see `fallow doctor`"]


def _held(around: Around) -> Iterator[str]:
    for hold in around.holds:
        yield f"held under {hold.reference}" + (f", to be reviewed on {hold.review_on}" if hold.review_on else "")


def _for_people(row: CycleRow) -> Iterator[str]:
    for attention in sorted(cycles.facts(row).attention):
        yield f"ATTENTION {attention}: {attention.next.rstrip('.')}"


def _for_time(row: CycleRow, around: Around, now: datetime) -> Iterator[str]:
    if row.state not in (State.ENROLLED, State.QUARANTINED):
        return
    if now >= row.release_at:
        yield from _for_quiet(row)
    elif around.extended:
        yield f"its quarantine was extended to {row.release_at:%Y-%m-%d %H:%M} UTC, beyond its rule's maximum"
    else:
        # The observed part of a rule counts from enrolment: a number enrolled late enough is past its maximum before it is free.
        until, since = f"{row.release_at:%Y-%m-%d %H:%M} UTC", f"{row.enrolled_at:%Y-%m-%d}"
        yield f"its quarantine is not over before {until}, past its rule's maximum: it was enrolled only on {since}"


def _for_quiet(row: CycleRow) -> Iterator[str]:
    verdict = Verdict(row.traffic) if row.traffic else Verdict.QUIET
    if verdict in _TRAFFIC:
        reason, words = _TRAFFIC[verdict]
        if Attention(reason) not in cycles.facts(row).attention:  # said already
            yield words


def _for_targets(around: Around) -> Iterator[str]:
    for kind, name in _TARGETS.items():
        targets = [each.target_id for each in around.owed if each.kind == kind]
        if targets:
            yield f"waits for {name} {', '.join(targets)}"
