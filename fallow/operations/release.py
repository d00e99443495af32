"""The guarded transaction: the only place in the engine that makes a number RESELLABLE."""

import hashlib
import json
from datetime import datetime

from sqlmodel import col, select

from fallow.domain import gate
from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import CycleRef
from fallow.domain.errors import GateRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.gate import LineStatus
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status
from fallow.domain.ports import Look
from fallow.operations.disclose import refresh_tag, tag_of
from fallow.operations.forgetting import key_proof, note_keyless
from fallow.operations.frozen import frozen_choice, frozen_policy
from fallow.operations.installation import Installation
from fallow.operations.lines import ask_line, note_line
from fallow.operations.looking import await_looks, draw, looking_now
from fallow.operations.proofs import confirmations, proofs
from fallow.operations.readiness import judge_traffic, traffic_of
from fallow.operations.stages import look_at, seen
from fallow.store import cycles, holders, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, EventRow, OutboxRow, TagRow


class Release:
    """Asks the line register once more, then opens the gate or says what is missing."""

    def __init__(self, installation: Installation) -> None:
        """Judge by the installation's keys and the cycle's frozen policy."""
        self._installation = installation

    def release(self, ref: CycleRef) -> Look:
        """TAGGING → RESELLABLE, or ATTENTION, or nothing while a hold is open.

        Raises:
            TargetUnavailable: the line register could not be asked; nothing was decided.
        """
        line = ask_line(self._installation, ref.cycle_id, lambda _, row: _ready(row))
        with self._installation.db.begin() as tx:
            row = look_at(tx, ref)
            if line is not None and _ready(row):  # stopped since the register was asked: its answer is older than the reason
                note_line(tx, row, line, "gate")
            if _ready(row) and line is None:
                cycles.wake(tx, row)  # a hold was lifted since the first look, say: the next one asks the register
            elif _ready(row) and not self._being_asked(tx, row):
                self._judge(tx, row)
            return seen(row)

    def _being_asked(self, tx: Tx, row: CycleRow) -> bool:
        """Tell whether a platform is asked again after it took its clearance back, or is yet to confirm: its word wakes the cycle."""
        owed = obligations.of_cycle(tx, row.cycle_id)
        return any(each.status == Status.OPEN for each in owed) or await_looks(tx, self._installation, row, owed)

    def _judge(self, tx: Tx, row: CycleRow) -> None:
        quiet = frozen_policy(tx, row.policy).quiet
        if quiet is not None:
            judge_traffic(tx, row, quiet, "gate")  # what was seen at the gate stays on record, whatever it decides
        note_keyless(tx, row)  # before the first sweep after an upgrade
        refresh_tag(tx, self._installation, row)  # a platform attested since tagging changes what the buyer must be told
        seen_now = view(tx, self._installation, row)
        short = gate.shortfalls(seen_now)
        if short:
            cycles.raise_attention(tx, row, Attention(Reason.GATE_SHORT), why=list(short))
            return
        digest = hashlib.sha256(canonical(_judged(seen_now)).encode()).hexdigest()
        cycles.record(tx, row, Kind.NUMBER_RELEASED, tag=row.tag, gate=digest)
        tx.session.add(OutboxRow(kind="NumberReleased", cycle_id=row.cycle_id, at=tx.now))
        draw(tx, self._installation, row)


def _judged(seen_now: gate.View) -> dict[str, object]:
    """Return the evidence that the gate opened for."""
    holder_key = None if seen_now.holder_key is None else seen_now.holder_key.digest
    proved = sorted([proof.target_id, proof.digest] for proof in seen_now.proofs)
    judged: dict[str, object] = {"proofs": proved, "holder_key": holder_key, "policy": seen_now.cycle.policy}
    if seen_now.confirmations:
        judged["confirmations"] = sorted([each.target_id, each.digest] for each in seen_now.confirmations)
    return judged


def _ready(row: CycleRow) -> bool:
    return row.state == State.TAGGING and not row.held and row.attention == "[]"


def view(tx: Tx, installation: Installation, row: CycleRow) -> gate.View:
    """Return everything the gate judges, read in this transaction.

    Raises:
        GateRefused: if quarantine has not ended, so that no tag can exist.
    """
    if row.quarantine_ended_at is None:
        what = f"The cycle {row.cycle_id} has not left quarantine."
        raise GateRefused(what, remedy="wait for its release date.")
    policy = frozen_policy(tx, row.policy)
    owed = obligations.of_cycle(tx, row.cycle_id)
    stored = None if row.tag is None else tx.session.get(TagRow, row.tag)
    rule = frozen_choice(tx, row).rule
    return gate.View(
        now=tx.now,
        cycle=cycles.facts(row),
        policy=policy,
        earliest_release_at=rule.release_at(row.disconnected_at, row.enrolled_at),
        obligations=tuple(obligations.facts(each) for each in owed),
        proofs=proofs(tx, installation, owed),
        confirmations=confirmations(tx, installation, owed),
        looking=looking_now(installation),
        holder_key=key_proof(tx, row.cycle_id),
        holder_key_kept=holders.exists(tx, row.cycle_id),
        reminder_due=rule.reminder,
        traffic=None if policy.quiet is None else traffic_of(tx, row, policy.quiet).verdict,
        line_status=None if row.line_status is None else LineStatus(row.line_status),
        line_checked_at=_checked_for_gate_at(tx, row),
        expected_tag=tag_of(tx, row).digest(),
        tag_signed=stored is not None and installation.tag_signed(stored.digest, stored.signature),
    )


def _checked_for_gate_at(tx: Tx, row: CycleRow) -> datetime | None:
    query = select(EventRow).where(EventRow.cycle_id == row.cycle_id, EventRow.kind == Kind.LINE_CHECKED)
    last = tx.session.exec(query.order_by(col(EventRow.seq).desc())).first()
    body = {} if last is None else json.loads(last.body)
    return datetime.fromisoformat(body["asked_at"]) if body.get("stage") == "gate" else None
