"""Platforms' answers: verified before they get here, kept verbatim, applied once, acknowledged alike every time.

Any number of deliveries is applied in one transaction and a handful of statements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fallow.domain.answers import move
from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import AnswerMalformed, FallowError, SignatureRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Outcome, RefusalReason, Status, shown
from fallow.domain.ports import SignedDelivery
from fallow.operations.installation import Installation
from fallow.platforms.speakers import Speaker
from fallow.platforms.verifying import VerifyingKey
from fallow.store import cycles, inbox, owed
from fallow.store.engine import Tx
from fallow.store.owed import Owed
from fallow.store.standings import Recording, Standing
from fallow.store.tables import CycleRow, DeliveryRow, HoldRow
from fallow.store.vault import opaque

#: Ends after which nobody waits for platforms any more: their answers are kept and change nothing.
_OVER = (State.RECLAIMED, State.RETIRED, State.WITHDRAWN, State.RETURNED)
_WORKING = (State.WIPING, State.UNBINDING, State.TAGGING)


@dataclass(frozen=True, slots=True)
class Heard:
    """A delivery that was verified as it came in.

    Attributes:
        speaker_id: whose signature it bears: a platform's, or a hub's.
        delivery: the message, verbatim.
        said: (reference, outcome) pairs parsed from its body.
        keys: the speaker's keys then. Where they are others by the time it is applied, it is verified again; () makes sure of that.
        asked: whether it came in the response to a request of ours: then who was asked may have been decommissioned meanwhile.
    """

    speaker_id: str
    delivery: SignedDelivery
    said: Sequence[tuple[str, Outcome]]
    keys: tuple[VerifyingKey, ...] = ()
    asked: bool = False


def accept_answer(installation: Installation, speaker_id: str, delivery: SignedDelivery, said: Sequence[tuple[str, Outcome]]) -> str:
    """Verify, keep and apply one callback; return the acknowledgement (JSON), the same for every repeat.

    Args:
        installation: where.
        speaker_id: whose message it is: a platform's, or a hub's.
        delivery: the message, verbatim.
        said: (reference, outcome) pairs parsed from its body.

    Raises:
        AnswerMalformed: the delivery id was used before for another message.
        SignatureRefused: none of the speaker's keys signed it.
    """
    return installation.db.once_more(lambda tx: apply_delivery(tx, installation, speaker_id, delivery, said))


def apply_delivery(
    tx: Tx,
    installation: Installation,
    speaker_id: str,
    delivery: SignedDelivery,
    said: Sequence[tuple[str, Outcome]],
    *,
    asked: bool = False,
) -> str:
    """Do the work of :func:`accept_answer` in a transaction that is already open; ``asked``: see :class:`Heard`."""
    (result,) = apply_all(tx, installation, [Heard(speaker_id, delivery, said, asked=asked)])
    if isinstance(result, FallowError):
        raise result
    return result


def apply_all(tx: Tx, installation: Installation, heard: Sequence[Heard]) -> list[str | FallowError]:
    """Apply deliveries as if one after the other; return for each its acknowledgement, or why it was refused: that one alone."""
    before = installation.inbox.find_all(tx, {_name(each) for each in heard})
    speakers = {each.speaker_id: _speaker(tx, installation, each) for each in heard}
    results, fresh = dict[int, str | FallowError](), dict[tuple[str, str], tuple[int, Heard, Speaker]]()
    for place, each in enumerate(heard):
        name, speaker = _name(each), speakers[each.speaker_id]
        if name in before:
            results[place] = _again(installation, before[name], each)
        elif name not in fresh:
            refusal = _refusal(each, speaker)
            if refusal is not None:
                results[place] = refusal
            elif speaker is not None:
                fresh[name] = place, each, speaker
    results |= _Application(tx, list(fresh.values())).acknowledged(installation)
    for place, each in enumerate(heard):  # what came twice in this very group
        if place not in results:
            first, kept, _ = fresh[_name(each)]
            results[place] = results[first] if kept.delivery.body == each.delivery.body else _used_twice()
    return [results[place] for place in range(len(heard))]


def _speaker(tx: Tx, installation: Installation, heard: Heard) -> Speaker | None:
    """Return who may speak now. In a response also who might a moment ago, as long as the gate, too, would believe it."""
    now = installation.speakers.now(heard.speaker_id)
    return installation.speakers.at(heard.speaker_id, tx.now) if now is None and heard.asked else now


def _name(heard: Heard) -> tuple[str, str]:
    return heard.speaker_id, heard.delivery.delivery_id


def _again(installation: Installation, row: DeliveryRow, heard: Heard) -> str | FallowError:
    kept = installation.inbox.open(row)  # a repeat is signed anew: same id and body, another timestamp
    return _used_twice() if kept is None or kept.body != heard.delivery.body else row.ack


def _used_twice() -> AnswerMalformed:
    what = "The delivery id was used before for another message."
    return AnswerMalformed(what, remedy="give every message an id of its own; repeat a message with the same body.")


def _refusal(heard: Heard, speaker: Speaker | None) -> SignatureRefused | None:
    if speaker is None:
        what = f"Nobody may speak as {heard.speaker_id} any more."
        return SignatureRefused(what, remedy="register its key again.")
    if heard.keys != speaker.keys:
        try:
            speaker.form.signer(speaker.keys, heard.delivery)
        except SignatureRefused as refused:
            return refused
    return None


class _Application:
    """What new deliveries do to obligations and cycles, worked out in memory and then written."""

    def __init__(self, tx: Tx, fresh: Sequence[tuple[int, Heard, Speaker]]) -> None:
        self._tx = tx
        self._fresh = fresh
        self._recording = Recording(tx)
        references = {reference for _, heard, _ in fresh for reference, _ in heard.said}
        targets = {target_id for _, _, speaker in fresh for target_id in speaker.speaks_for}
        # A cycle is locked before its obligations are read: another answer may have come first.
        self._cycles = owed.lock_cycles(tx, references, targets) if references else {}
        self._owed = owed.find(tx, references, targets) if references else {}
        self._open = {each.cycle_id: each.still_open for each in self._owed.values()}
        self._moved: dict[str, Owed] = {}
        self._holds: list[HoldRow] = []

    def acknowledged(self, installation: Installation) -> dict[int, str]:
        """Apply and keep the deliveries; return the acknowledgement of each by its place."""
        acks = {place: self._apply(heard, speaker) for place, heard, speaker in self._fresh}
        owed.write(self._tx, self._moved.values())
        self._recording.write()
        self._tx.session.add_all(self._holds)
        installation.inbox.keep_all(self._tx, [(heard.speaker_id, heard.delivery, acks[place]) for place, heard, _ in self._fresh])
        return acks

    def _apply(self, heard: Heard, speaker: Speaker) -> str:
        evidence, reasons = inbox.digest(heard.speaker_id, heard.delivery), _reasons(speaker, heard)
        results = {}
        for reference, outcome in heard.said:
            row = self._owed.get(reference)
            mine = row is not None and row.cycle_id in self._cycles and row.target_id in speaker.speaks_for
            results[reference] = "accepted" if mine else "unknown"
            if row is not None and mine:
                row.asked = heard.asked
                self._answer(self._cycles[row.cycle_id], row, outcome, evidence, reasons.get(reference))
        return canonical({"answers": results})

    def _answer(self, cycle: Standing, row: Owed, outcome: Outcome, evidence: str, reason: RefusalReason | None) -> None:
        if cycle.state in _OVER:
            return
        contradicted = bool(cycle.attention) and Attention(Reason.PLATFORM_CONTRADICTED, row.target_id) in cycle.attention
        change = move(row.status, outcome, contradicted=contradicted)
        if change.status is not None:
            self._move(cycle, row, change.status, shown(outcome), evidence)
        if change.raises is not None:
            why = {} if reason is None else {"why": [str(reason)]}
            is_new = self._recording.raise_attention(cycle, Attention(change.raises, row.target_id), **why)
            if is_new and cycle.state in ACTIVE:
                self._recording.wake(cycle)  # its workflow shows it in Temporal's lists
        if change.status is Status.DISCHARGED:
            self._recording.clear_attention(cycle, row.target_id)
            if self._open[cycle.cycle_id] == 0 and cycle.state in _WORKING:
                self._recording.wake(cycle)
        if change.raises is Reason.PLATFORM_CONTRADICTED and cycle.state is State.RESELLABLE:
            self._hold(cycle, f"contradicted by {row.target_id}")  # a hold blocks the sale

    def _move(self, cycle: Standing, row: Owed, status: Status, outcome: Outcome, evidence: str) -> None:
        self._open[cycle.cycle_id] += (status is not Status.DISCHARGED) - (row.status is not Status.DISCHARGED)
        row.status, row.outcome, row.evidence = status, outcome, evidence
        self._moved[row.reference] = row
        self._recording.record(
            cycle, Kind.OBLIGATION_MOVED, target_id=row.target_id, status=str(status), outcome=str(outcome), evidence=evidence
        )

    def _hold(self, cycle: Standing, reference: str) -> None:
        hold = HoldRow(hold_id=opaque("h_"), cycle_id=cycle.cycle_id, reference=reference, placed_by="engine")
        hold.placed_at = self._tx.now
        self._holds.append(hold)
        self._recording.record(cycle, Kind.HOLD_PLACED, hold_id=hold.hold_id, by="engine", reference=reference)


def _reasons(speaker: Speaker, heard: Heard) -> dict[str, RefusalReason]:
    """Return why it refuses, by reference, where it says so; read again only where it refuses something."""
    if all(outcome is not Outcome.REFUSED for _, outcome in heard.said):
        return {}
    return {answer.reference: answer.reason for answer in speaker.form.read(heard.delivery.body) if answer.reason is not None}


def place_hold(tx: Tx, cycle: CycleRow, by: str, reference: str, review_on: date | None = None) -> str:
    """Open a hold on a locked cycle and return its id."""
    hold = HoldRow(hold_id=opaque("h_"), cycle_id=cycle.cycle_id, reference=reference, review_on=review_on, placed_by=by)
    hold.placed_at = tx.now
    tx.session.add(hold)
    reviewed = {} if review_on is None else {"review_on": review_on.isoformat()}
    cycles.record(tx, cycle, Kind.HOLD_PLACED, hold_id=hold.hold_id, by=by, reference=reference, **reviewed)
    return hold.hold_id
