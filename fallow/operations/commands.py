"""What one person may order: each command is one transaction that records who, what and why, and wakes the workflow."""

from datetime import UTC, date, datetime, timedelta

from sqlmodel import select

from fallow.domain.attention import Attention, Reason
from fallow.domain.claims import REMINDER_BEFORE, Channel
from fallow.domain.cycle import CycleRef
from fallow.domain.errors import InputRefused, NotKnown, SecondPersonNeeded
from fallow.domain.events import Kind
from fallow.domain.explanation import explain
from fallow.domain.lifecycle import Command, State, demand
from fallow.domain.obligations import Status
from fallow.domain.people import Action, Person
from fallow.domain.reference import read_reference
from fallow.operations.answers import place_hold
from fallow.operations.claims import demand_unclaimed, waiting
from fallow.operations.frozen import frozen_choice, traits
from fallow.operations.installation import Installation
from fallow.operations.lines import ask_line, note_line
from fallow.operations.looking import look_again
from fallow.operations.readiness import TIRED
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, HoldRow

#: No quarantine is extended further than this from now.
LONGEST_EXTENSION = timedelta(days=36525)


class Commands:
    """The one-person commands. Every method raises PersonRefused, NotKnown, CommandRefused and InputRefused."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation

    def hold(self, person: Person, cycle_id: str, reference: str, review_on: date | None = None) -> str:
        """Stop the number at once, under a case reference; return the hold's id. The quarantine clock goes on.

        ``review_on`` is the day on which somebody must ask whether it is still needed; ``fallow numbers overdue`` lists it then.
        """
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.HOLD)
            if review_on is not None and review_on < tx.now.date():
                what = f"The review date of the hold on cycle {cycle_id} has passed."
                raise InputRefused(what, remedy="give a day that is still to come, or none.")
            hold_id = place_hold(tx, row, person.person_id, read_reference(reference), review_on)
            cycles.wake(tx, row)
            return hold_id

    def lift(self, person: Person, cycle_id: str, hold_id: str, reference: str) -> None:
        """Lift one hold. A hold on a number tied to a crime takes two people instead."""
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.LIFT)
            if Attention(Reason.CRIME) in cycles.facts(row).attention:
                what = f"The cycle {cycle_id} is tied to a crime: one person can't lift its hold."
                raise SecondPersonNeeded(what, remedy="propose `lift` with the authority's reference; a second person approves.")
            lift_hold(tx, row, person.person_id, hold_id, read_reference(reference))
            cycles.wake(tx, row)

    def extend(self, person: Person, cycle_id: str, release_at: datetime, reference: str) -> None:
        """Move the end of quarantine later; never earlier."""
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.EXTEND)
            if release_at.tzinfo is None or not row.release_at < release_at <= tx.now + LONGEST_EXTENSION:
                what = f"The new release of cycle {cycle_id} is not later than its present one, or more than a hundred years away."
                raise InputRefused(what, remedy="give a later instant with an offset; quarantine can't be shortened.")
            cycles.record(
                tx,
                row,
                Kind.QUARANTINE_EXTENDED,
                release_at=release_at.isoformat(),
                by=person.person_id,
                reference=read_reference(reference),
            )
            cycles.clear_attention(tx, row, TIRED)  # it lies on, and is judged anew at its new date
            row.explanation, row.explanation_zh = _why_later(tx, row)
            cycles.wake(tx, row)

    def withdraw(self, person: Person, cycle_id: str, reference: str) -> None:
        """Take the number out before wiping: ported out, or enrolled by mistake."""
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.WITHDRAW)
            demand_unclaimed(tx, row)
            cycles.record(tx, row, Kind.NUMBER_WITHDRAWN, by=person.person_id, reference=read_reference(reference))
            cycles.wake(tx, row)

    def hand_back(self, person: Person, cycle_id: str, reference: str) -> None:
        """Return the number to its range holder: after wiping if that is still to come, else at once."""
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.RETURN)
            demand_unclaimed(tx, row)
            cycles.record(tx, row, Kind.RETURN_ORDERED, by=person.person_id, reference=read_reference(reference))
            if "WIPING" in cycles.facts(row).settled:
                cycles.record(tx, row, Kind.NUMBER_RETURNED)
            cycles.wake(tx, row)

    def remind(self, person: Person, cycle_id: str, reminded_at: datetime, channel: str, reference: str) -> None:
        """Record that the former holder was reminded of the accounts that hang on the number: when, how, under which reference."""
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.REMIND)
            note_reminder(tx, row, person.person_id, reminded_at, channel, read_reference(reference))
            cycles.wake(tx, row)

    def retry(self, person: Person, cycle_id: str, reference: str) -> None:
        """Look again after the cause was mended: ask the line register and platforms, arm refused obligations, clear ATTENTION.

        What stays: crime, what the register says of the line, and a claim that is still open. A lock on claims stays too, unseen.
        """
        person.demand(Action.COMMAND)
        line = ask_line(self._installation, cycle_id, lambda _tx, _row: True)
        with self._installation.db.begin() as tx:
            row = _ordered(tx, person, cycle_id, Command.RETRY)
            cycles.record(tx, row, Kind.RETRY_ORDERED, by=person.person_id, reference=read_reference(reference))
            if line is not None:
                note_line(tx, row, line, "retry")
            look_again(tx, self._installation, row)
            for owed in obligations.of_cycle(tx, cycle_id):
                if owed.status == Status.REFUSED:
                    owed.failures = owed.asked = 0
                    obligations.shift(tx, row, owed, Status.OPEN, None, None)
                elif owed.status == Status.OPEN:
                    owed.due_at, owed.asked = tx.now, 0
            lasting = {Reason.CRIME, Reason.LINE_IN_SERVICE, Reason.LINE_PORTED, Reason.LINE_UNKNOWN}
            if waiting(tx, row):
                lasting.add(Reason.RECLAIM_WAITS)  # one person does not decide over a claim by looking away
            cycles.clear_attention(tx, row, {each for each in cycles.facts(row).attention if each.reason not in lasting})
            cycles.wake(tx, row)


def note_reminder(tx: Tx, row: CycleRow, by: str, reminded_at: datetime, channel: str, reference: str) -> None:
    """Record a reminder to the former holder on a locked cycle.

    Raises:
        InputRefused: the instant is in the future or long before the line ended, or the channel is unknown.
    """
    belongs = reminded_at.tzinfo is not None and row.disconnected_at - REMINDER_BEFORE <= reminded_at <= tx.now
    if not belongs or reminded_at <= held_by_another_until(tx, row):
        what = f"The reminder to the former holder of cycle {row.cycle_id} is not dated around the end of the line."
        raise InputRefused(what, remedy="give the past instant at which it was sent, with an offset, at most a year before the line ended.")
    if channel not in {str(each) for each in Channel}:
        what = "The channel of the reminder is none of the known words."
        raise InputRefused(what, remedy=f"give one of {', '.join(Channel)}.")
    cycles.record(tx, row, Kind.HOLDER_REMINDED, at=reminded_at.isoformat(), channel=channel, by=by, reference=reference)


def held_by_another_until(tx: Tx, row: CycleRow) -> datetime:
    """Return when the holder before the one who left now gave the number up, as far as is known here."""
    if row.cycle_no > 1:
        last = cycles.get(tx, CycleRef(row.number_id, row.cycle_no - 1).cycle_id)
        if last.state in (State.REASSIGNED, State.RECLAIMED):
            return last.state_at
    return datetime.min.replace(tzinfo=UTC)


def _why_later(tx: Tx, row: CycleRow) -> tuple[str, str]:
    spans = {"disconnected_at": row.disconnected_at, "enrolled_at": row.enrolled_at, "release_at": row.release_at}
    why = explain(frozen_choice(tx, row), traits(row), **spans, extended=True)
    return why.en, why.zh


def lift_hold(tx: Tx, row: CycleRow, by: str, hold_id: str, reference: str) -> None:
    """Close a hold of a locked cycle.

    Raises:
        NotKnown: the cycle has no such open hold.
    """
    hold = open_hold(tx, row, hold_id)
    hold.lifted_by, hold.lifted_at = by, tx.now
    cycles.record(tx, row, Kind.HOLD_LIFTED, hold_id=hold_id, by=by, reference=reference)


def open_hold(tx: Tx, row: CycleRow, hold_id: str) -> HoldRow:
    """Return an open hold of a cycle.

    Raises:
        NotKnown: the cycle has no such open hold.
    """
    hold = tx.session.exec(select(HoldRow).where(HoldRow.hold_id == hold_id, HoldRow.cycle_id == row.cycle_id)).first()
    if hold is None or hold.lifted_at is not None:
        what = f"The cycle {row.cycle_id} has no open hold of that id."
        raise NotKnown(what, remedy="`fallow numbers show` lists its holds.")
    return hold


def _ordered(tx: Tx, person: Person, cycle_id: str, command: Command) -> CycleRow:
    person.demand(Action.COMMAND)
    row = cycles.lock_one(tx, cycle_id)
    demand(State(row.state), command, held=row.held)
    return row
