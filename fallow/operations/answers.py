"""Platforms' answers: verified before they get here, kept verbatim, applied once, acknowledged alike every time."""

from collections.abc import Collection, Sequence
from datetime import date

from sqlmodel import col, select

from fallow.domain.answers import move
from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import AnswerMalformed, SignatureRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, RefusalReason, Status, shown
from fallow.domain.ports import SignedDelivery
from fallow.operations.installation import Installation
from fallow.platforms.speakers import Speaker
from fallow.store import cycles, inbox, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, HoldRow, ObligationRow
from fallow.store.vault import opaque


def accept_answer(installation: Installation, speaker_id: str, delivery: SignedDelivery, said: Sequence[tuple[str, Outcome]]) -> str:
    """Keep and apply a verified callback; return the acknowledgement (JSON), the same for every repeat.

    Args:
        installation: where.
        speaker_id: whose signature was verified: a platform, or a hub.
        delivery: the message, verbatim.
        said: (reference, outcome) pairs parsed from its body.

    Raises:
        AnswerMalformed: the delivery id was used before for another message.
        SignatureRefused: the speaker's keys changed in this very moment.
    """
    return installation.db.once_more(lambda tx: apply_delivery(tx, installation, speaker_id, delivery, said))


def apply_delivery(
    tx: Tx, installation: Installation, speaker_id: str, delivery: SignedDelivery, said: Sequence[tuple[str, Outcome]]
) -> str:
    """Do the work of :func:`accept_answer` in a transaction that is already open."""
    before = installation.inbox.find(tx, speaker_id, delivery.delivery_id)
    if before is not None:
        kept = installation.inbox.open(before)
        if kept is None or kept.body != delivery.body:  # a repeat is signed anew: same id and body, another timestamp
            what = "The delivery id was used before for another message."
            raise AnswerMalformed(what, remedy="give every message an id of its own; repeat a message with the same body.")
        return before.ack
    speaker = installation.speakers.now(speaker_id)
    if speaker is None:
        what = f"Nobody may speak as {speaker_id} any more."
        raise SignatureRefused(what, remedy="register its key again.")
    speaker.form.signer(speaker.keys, delivery)
    owed = _owed(tx, speaker.speaks_for, [reference for reference, _ in said])
    rows = {row.cycle_id: row for row in cycles.lock(tx, [each.cycle_id for each in owed.values()])}
    evidence, reasons = inbox.digest(speaker_id, delivery), _reasons(speaker, delivery, said)
    for reference, outcome in said:
        if reference in owed:
            tx.session.refresh(owed[reference])  # read before the cycle was locked: another answer may have come first
            _apply(tx, rows[owed[reference].cycle_id], owed[reference], outcome, evidence, reasons.get(reference))
    obligations.wake_completed(tx, list(rows.values()))
    results = {reference: "accepted" if reference in owed else "unknown" for reference, _ in said}
    return installation.inbox.keep(tx, speaker_id, delivery, canonical({"answers": results})).ack


def _owed(tx: Tx, targets: Collection[str], references: list[str]) -> dict[str, ObligationRow]:
    # The targets are part of the look-up: another platform's reference is as unknown as an invented one.
    query = select(ObligationRow).where(col(ObligationRow.target_id).in_(sorted(targets)), col(ObligationRow.reference).in_(references))
    return {row.reference: row for row in tx.session.exec(query)}


def _reasons(speaker: Speaker, delivery: SignedDelivery, said: Sequence[tuple[str, Outcome]]) -> dict[str, RefusalReason]:
    """Return why it refuses, by reference, where it says so; read again only where it refuses something."""
    if all(outcome is not Outcome.REFUSED for _, outcome in said):
        return {}
    return {answer.reference: answer.reason for answer in speaker.form.read(delivery.body) if answer.reason is not None}


def _apply(tx: Tx, cycle: CycleRow, row: ObligationRow, outcome: Outcome, evidence: str, reason: RefusalReason | None) -> None:
    contradicted = Attention(Reason.PLATFORM_CONTRADICTED, row.target_id) in cycles.facts(cycle).attention
    change = move(Status(row.status), outcome, contradicted=contradicted)
    if change.status is None:
        if change.raises is not None:
            obligations.raise_at_target(tx, cycle, row, change.raises)
        return
    why = () if reason is None else (str(reason),)
    obligations.shift(tx, cycle, row, change.status, shown(outcome), evidence, change.raises, why)
    if change.raises is Reason.PLATFORM_CONTRADICTED and cycle.state == State.RESELLABLE:
        place_hold(tx, cycle, "engine", f"contradicted by {row.target_id}")  # a hold blocks the sale


def place_hold(tx: Tx, cycle: CycleRow, by: str, reference: str, review_on: date | None = None) -> str:
    """Open a hold on a locked cycle and return its id."""
    hold = HoldRow(hold_id=opaque("h_"), cycle_id=cycle.cycle_id, reference=reference, review_on=review_on, placed_by=by)
    hold.placed_at = tx.now
    tx.session.add(hold)
    reviewed = {} if review_on is None else {"review_on": review_on.isoformat()}
    cycles.record(tx, cycle, Kind.HOLD_PLACED, hold_id=hold.hold_id, by=by, reference=reference, **reviewed)
    return hold.hold_id
