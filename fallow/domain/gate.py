"""The gate: RESELLABLE only with evidence of every stage, compared as sets, never as counts.

There is no waiver and no flag. The judge is given everything afresh, read under the cycle's lock, and names each thing
that is missing. A count would let one platform confirmed N times pass for N platforms (the shape of Let's Encrypt's
incident of 2020, Mozilla bug 1619047: one name checked N times for N names).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fallow.domain.cycle import Cycle
from fallow.domain.lifecycle import State
from fallow.domain.obligations import CLEARED_BY_PLATFORM, Obligation, Outcome, Status, TargetKind
from fallow.domain.policy import Policy
from fallow.domain.traffic import Verdict

#: How old the second look at the line register may be when the gate opens.
LINE_CHECK_FRESH_FOR = timedelta(minutes=5)
#: How far the clock that a receipt was written by may be behind the database's.
CLOCKS_APART = timedelta(minutes=5)
STAGES = ("QUARANTINE", "WIPING", "UNBINDING")


class LineStatus(StrEnum):
    """What the line register says of a number."""

    OFF = "off"
    IN_SERVICE = "in-service"
    PORTED = "ported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence for one obligation, as re-read and re-verified for this judgement.

    Attributes:
        target_id: whose evidence.
        kind: record system or platform.
        digest: the evidence's own digest, recomputed.
        genuine: digest matches, signature verifies, and it speaks of this very cycle.
        outcome: what it says.
        collections: for a wipe receipt, the collections read back; else empty.
        remaining: for a wipe receipt, rows in scope that were still there; else 0.
        unkept: for a wipe receipt, rows that were to be kept by law and were not found kept; else 0.
        read_back_at: for a wipe receipt, when the first of its collections was read back; None where one does not say.
    """

    target_id: str
    kind: TargetKind
    digest: str
    genuine: bool
    outcome: Outcome
    collections: frozenset[str] = frozenset()
    remaining: int = 0
    unkept: int = 0
    read_back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A platform's word, to a status query, that its clearance still stands, as re-read and re-verified for this judgement.

    Attributes:
        target_id: whose.
        digest: the delivery's own digest, recomputed.
        genuine: digest matches, signature verifies, it says so of this very obligation, and it came after what it confirms.
    """

    target_id: str
    digest: str
    genuine: bool


@dataclass(frozen=True, slots=True)
class KeyProof:
    """The receipt that the cycle's holder key was destroyed, as re-read for this judgement.

    Attributes:
        digest: what the event cites.
        genuine: the receipt is kept, its digest matches, and it speaks of this very cycle's key as the event does.
    """

    digest: str
    genuine: bool


@dataclass(frozen=True, slots=True)
class View:
    """Everything the judge looks at, read in one transaction.

    Attributes:
        now: the database's clock.
        cycle: the cycle's row.
        policy: the policy frozen at enrolment.
        earliest_release_at: recomputed from the frozen rule, without jitter and extensions.
        obligations: every obligation of the cycle.
        proofs: evidence found for them.
        confirmations: what platforms said when they were looked at again.
        looking: the platforms that offer a status query now.
        holder_key: the receipt for the holder key that the cycle's last event of it cites; None without such an event.
        holder_key_kept: whether a holder key of the cycle is still there.
        reminder_due: whether the frozen rule wants a reminder to the former holder.
        traffic: the verdict on residual traffic, judged now; None where the policy does not look at it.
        line_status: the register's last answer for the gate, or None.
        line_checked_at: when it was given.
        expected_tag: digest of the tag that follows from the facts.
        tag_signed: whether the stored tag's signature verifies.
    """

    now: datetime
    cycle: Cycle
    policy: Policy
    earliest_release_at: datetime
    obligations: tuple[Obligation, ...]
    proofs: tuple[Proof, ...]
    confirmations: tuple[Confirmation, ...]
    looking: frozenset[str]
    holder_key: KeyProof | None
    holder_key_kept: bool
    reminder_due: bool
    traffic: Verdict | None
    line_status: LineStatus | None
    line_checked_at: datetime | None
    expected_tag: str
    tag_signed: bool


def shortfalls(view: View) -> tuple[str, ...]:
    """Return everything that is missing for RESELLABLE; empty means that the gate opens."""
    checks = (_standing, _quarantine, _line, _records, _platforms, _confirmed, _evidence_distinct, _holder_key, _tag)
    return tuple(short for check in checks for short in check(view))


def _standing(view: View) -> Iterator[str]:
    cycle = view.cycle
    if cycle.state is not State.TAGGING:
        yield f"the cycle is {cycle.state}, not TAGGING"
    if cycle.held:
        yield "a hold is open"
    if cycle.handback:
        yield "the number is to be returned to its range holder"
    if cycle.attention:
        yield "something waits for a person: " + ", ".join(sorted(map(str, cycle.attention)))
    if cycle.settled != STAGES:
        yield "stages settled are " + (", ".join(cycle.settled) or "none")


def _quarantine(view: View) -> Iterator[str]:
    if view.now < max(view.cycle.release_at, view.earliest_release_at):
        yield "quarantine is not over"
    if view.reminder_due and view.cycle.reminded_at is None:
        yield "no reminder to the former holder is recorded"
    if view.policy.quiet is not None and view.traffic is not Verdict.QUIET:
        yield f"residual traffic is {view.traffic or 'not judged'}"


def _line(view: View) -> Iterator[str]:
    if view.line_status is not LineStatus.OFF:
        yield f"the line register says {view.line_status or 'nothing yet'}"
    elif view.line_checked_at is None or view.now - view.line_checked_at > LINE_CHECK_FRESH_FOR:
        yield "the line register's answer is too old"


def _records(view: View) -> Iterator[str]:
    yield from _differences("record systems", view, TargetKind.RECORDS, view.policy.record_systems, frozenset({Outcome.WIPED}))
    for proof in view.proofs:
        if proof.kind is not TargetKind.RECORDS:
            continue
        if proof.collections != frozenset(view.policy.record_systems.get(proof.target_id, ())):
            yield f"the receipt of {proof.target_id} does not cover the collections of the policy"
        if proof.remaining:
            yield f"rows in scope remained at {proof.target_id}"
        if not _after_quarantine(proof.read_back_at, view.cycle.quarantine_ended_at):
            yield f"the receipt of {proof.target_id} does not say that it was read back after quarantine ended"
        if proof.unkept:
            yield f"rows that the law wants kept are not there any more at {proof.target_id}"


def _after_quarantine(read_back_at: datetime | None, ended_at: datetime | None) -> bool:
    return read_back_at is not None and ended_at is not None and read_back_at >= ended_at - CLOCKS_APART


def _platforms(view: View) -> Iterator[str]:
    good = CLEARED_BY_PLATFORM | {Outcome.ATTESTED}
    yield from _differences("platforms", view, TargetKind.PLATFORM, view.policy.platforms, good)


def _differences(what: str, view: View, kind: TargetKind, demanded: Iterable[str], good: frozenset[Outcome]) -> Iterator[str]:
    """Compare three sets: what the policy demands, what the rows say is discharged, what genuine evidence proves."""
    wanted = frozenset(demanded)
    opened = frozenset(each.target_id for each in view.obligations if each.kind is kind)
    discharged = {
        (each.target_id, each.evidence, each.outcome)
        for each in view.obligations
        if each.kind is kind and each.status is Status.DISCHARGED and each.outcome is not None and each.outcome in good
    }
    proved = {(proof.target_id, proof.digest, proof.outcome) for proof in view.proofs if proof.kind is kind and proof.genuine}
    if not wanted:
        yield f"the policy demands no {what}"
    if opened != wanted:
        yield f"{what} opened differ from the policy: {_named(opened ^ wanted)}"
    if frozenset(target_id for target_id, _, _ in discharged) != wanted:
        yield f"{what} not discharged: {_named(wanted - {target_id for target_id, _, _ in discharged})}"
    if discharged != proved:
        yield f"{what} without genuine evidence: {_named({target_id for target_id, _, _ in discharged ^ proved})}"


def _confirmed(view: View) -> Iterator[str]:
    """Compare two pairs of sets: what is cited with what is genuine, and who was to be looked at with who was."""
    cited = {(each.target_id, each.confirmed) for each in view.obligations if each.confirmed is not None}
    genuine = {(each.target_id, each.digest) for each in view.confirmations if each.genuine}
    if cited != genuine:
        yield f"confirmations that are not genuine: {_named({target_id for target_id, _ in cited ^ genuine})}"
    again = {each.target_id for each in view.obligations if each.confirmed is not None and each.confirmed == each.evidence}
    if again:
        yield f"confirmed by the first answer once more: {_named(again)}"
    wanted = view.looking & {each.target_id for each in view.obligations if each.by_own_word}
    unseen = wanted - {target_id for target_id, _ in cited}
    if unseen:
        yield f"platforms not looked at again: {_named(unseen)}"


def _evidence_distinct(view: View) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for proof in view.proofs:
        if (proof.target_id, proof.digest) in seen:
            yield f"evidence of {proof.target_id} is counted twice"
        seen.add((proof.target_id, proof.digest))


def _holder_key(view: View) -> Iterator[str]:
    if view.holder_key is None:
        yield "no receipt for the destruction of the holder key"
    elif not view.holder_key.genuine:
        yield "the receipt for the destruction of the holder key is missing, altered or another cycle's"
    if view.holder_key_kept:
        yield "a holder key is still there"


def _tag(view: View) -> Iterator[str]:
    if view.cycle.tag is None:
        yield "no disclosure tag"
    elif view.cycle.tag != view.expected_tag or not view.tag_signed:
        yield "the disclosure tag does not match the facts or is not signed"


def _named(targets: Iterable[str]) -> str:
    return ", ".join(sorted(targets)) or "none"
