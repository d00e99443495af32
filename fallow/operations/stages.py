"""The steps of the stages before the gate. Each is one transaction, safe to repeat, and returns what it saw."""

import hashlib
from datetime import datetime

from sqlmodel import col, select

from fallow.domain.cycle import CycleRef
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status, TargetKind
from fallow.domain.ports import Look
from fallow.operations.forgetting import destroy_holder_key
from fallow.operations.frozen import frozen_choice, frozen_policy
from fallow.operations.installation import Installation
from fallow.operations.lines import ask_line, note_line
from fallow.operations.looking import await_looks
from fallow.operations.readiness import await_quiet, demand_reminder
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import AttemptRow, CycleRow

_STAGE_STATE = {TargetKind.RECORDS: State.WIPING, TargetKind.PLATFORM: State.UNBINDING}


class Stages:
    """Quarantine, wiping and unbinding as the workflow calls them."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation
        self._db = installation.db

    def begin_quarantine(self, ref: CycleRef) -> Look:
        """ENROLLED → QUARANTINED."""
        with self._db.begin() as tx:
            row = look_at(tx, ref)
            if row.state == State.ENROLLED:
                cycles.record(tx, row, Kind.QUARANTINE_BEGAN, release_at=row.release_at.isoformat())
            return seen(row, done=True)

    def end_quarantine(self, ref: CycleRef, asked_at: datetime) -> Look:
        """QUARANTINED → WIPING once the release instant has passed and neither a hold nor ATTENTION stops it.

        A hold does not stop the clock: it only keeps the door shut when the time has come. Wiping can't be undone, so before it
        the line register is asked once more, the former holder must have been reminded where the rule wants it, and the number
        must be quiet where the policy says what quiet is. Two clocks must agree that the time has come, the database's and
        Temporal's: one that was set forward moves no number.

        Args:
            ref: the cycle.
            asked_at: when the workflow asked, by Temporal's clock.

        Raises:
            TargetUnavailable: the register could not be asked; nothing was decided.
        """
        line = ask_line(self._installation, ref.cycle_id, _ripe)
        with self._db.begin() as tx:
            row = look_at(tx, ref)
            if row.state != State.QUARANTINED:
                return seen(row, done=True)
            if min(tx.now, asked_at) < row.release_at:
                return seen(row, look_at=row.release_at)
            if line is not None and not _stopped(row):  # stopped since the register was asked: its answer is older than the reason
                note_line(tx, row, line, "wiping")
            demand_reminder(tx, row, frozen_choice(tx, row).rule)
            quiet_at = await_quiet(tx, row, frozen_policy(tx, row.policy))
            if _stopped(row):
                return seen(row)
            if quiet_at is not None:
                return seen(row, look_at=quiet_at)
            if line is None:
                cycles.wake(tx, row)  # it became ripe, or a hold was lifted, since the first look: the next one asks the register
                return seen(row)
            _settle(tx, row, "QUARANTINE", [])
            return seen(row, done=True)

    def clear(self, ref: CycleRef, kind: TargetKind) -> Look:
        """Open the stage's obligations if they are not open yet; settle it once all are discharged.

        Settled means that the discharged targets *are* the frozen policy's targets, compared as sets, and that each platform with a
        status query has confirmed its word since. While a hold is
        open nothing is opened and nothing settled. With the last binding, or with a number that is to be returned, the
        holder key goes too, in the same transaction.
        """
        with self._db.begin() as tx:
            row = look_at(tx, ref)
            if row.state != _STAGE_STATE[kind]:
                return seen(row, done=True)
            if _stopped(row):
                return seen(row)
            demanded = _demanded(tx, row, kind)
            owed = [each for each in obligations.of_cycle(tx, row.cycle_id) if each.kind == kind]
            if not owed:
                obligations.open_all(tx, row, kind, demanded)
                return seen(row)
            discharged = {each.target_id for each in owed if each.status == Status.DISCHARGED}
            if discharged != demanded or (kind is TargetKind.PLATFORM and await_looks(tx, self._installation, row, owed)):
                return seen(row)
            if kind is TargetKind.PLATFORM:
                destroy_holder_key(tx, row)
            _settle(tx, row, _STAGE_STATE[kind], sorted(discharged))
            if kind is TargetKind.RECORDS and row.handback:
                cycles.record(tx, row, Kind.NUMBER_RETURNED)
                destroy_holder_key(tx, row)
            return seen(row, done=True)


def look_at(tx: Tx, ref: CycleRef) -> CycleRow:
    """Lock a cycle and take its wake back: this is the look it asked for."""
    row = cycles.lock_one(tx, ref.cycle_id)
    cycles.awake(tx, row)
    return row


def seen(row: CycleRow, *, done: bool = False, look_at: datetime | None = None) -> Look:
    """Return what was seen; an ended cycle is never *done*, it is *ended*."""
    cycle = cycles.facts(row)
    ended = cycle.state not in ACTIVE
    attention = sorted(map(str, cycle.attention))
    return Look(
        str(cycle.state),
        done=done and not ended,
        ended=ended,
        released=cycle.released_at is not None,
        look_at=look_at,
        held=cycle.held,
        attention=attention,
    )


def _ripe(tx: Tx, row: CycleRow) -> bool:
    return row.state == State.QUARANTINED and tx.now >= row.release_at and not _stopped(row)


def _stopped(row: CycleRow) -> bool:
    cycle = cycles.facts(row)
    return cycle.held or bool(cycle.attention)


def _demanded(tx: Tx, row: CycleRow, kind: TargetKind) -> set[str]:
    policy = frozen_policy(tx, row.policy)
    return set(policy.record_systems if kind is TargetKind.RECORDS else policy.platforms)


def _settle(tx: Tx, row: CycleRow, stage: str, targets: list[str]) -> None:
    query = select(AttemptRow).where(AttemptRow.cycle_id == row.cycle_id, col(AttemptRow.target_id).in_(targets))
    attempts = [[each.target_id, each.at.isoformat(), each.result] for each in tx.session.exec(query.order_by(col(AttemptRow.attempt_id)))]
    digest = hashlib.sha256(canonical({"attempts": attempts}).encode()).hexdigest()
    cycles.record(tx, row, Kind.STAGE_SETTLED, stage=str(stage), targets=targets, attempts=len(attempts), digest=digest)
