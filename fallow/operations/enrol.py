"""Enrolment: a file of cancelled numbers becomes cycles; each bad line is named, the good ones go on."""

import hashlib
import hmac
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlmodel import col, func, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.claims import Ground
from fallow.domain.commitment import commit
from fallow.domain.cycle import CycleRef
from fallow.domain.explanation import explain
from fallow.domain.lifecycle import State
from fallow.domain.people import Action, Person
from fallow.domain.rules import choose
from fallow.intake.cancelled_file import Row, read_rows
from fallow.intake.csv_lines import Rejection
from fallow.operations.answers import place_hold
from fallow.operations.claims import PASS_ON
from fallow.operations.commands import held_by_another_until, note_reminder
from fallow.operations.frozen import freeze, traits
from fallow.operations.installation import Installation
from fallow.operations.lines import Asked, note_line
from fallow.store import cycles, holders
from fallow.store.engine import Tx
from fallow.store.tables import BatchRow, CycleRow, NumberRow, RejectionRow
from fallow.store.vault import opaque

#: Rows enrolled in one transaction: bounded, so that a large file never holds the database for long.
PAGE = 200
#: Ends after which the same number may be cancelled again and come back.
_MAY_COME_BACK = (State.REASSIGNED, State.RECLAIMED, State.WITHDRAWN, State.RETURNED)
CRIME_REASONS = frozenset({"crime", "fraud"})


@dataclass(frozen=True)
class BatchReport:
    """What became of a file.

    Attributes:
        batch_id: the batch.
        rows: data lines read.
        accepted: cycles begun for this file (counted once, however often it is sent).
        rejections: (line, code, why) of every other line.
        again: whether the same file had been enrolled before; nothing was started then.
    """

    batch_id: str
    rows: int
    accepted: int
    rejections: tuple[tuple[int, str, str], ...]
    again: bool


def enrol_file(installation: Installation, person: Person, content: bytes) -> BatchReport:
    """Enrol a CSV file of cancelled numbers; safe to repeat, also after being cut off half-way.

    Raises:
        PersonRefused: the caller may not enrol.
        RowMalformed: the file as a whole can't be read (no header, wrong encoding); no line was enrolled.
        TargetUnavailable: the line register could not be asked; send the same file again, it goes on where it stopped.
    """
    person.demand(Action.ENROL)
    fingerprint = hmac.new(installation.keys["access"], content, hashlib.sha256).hexdigest()
    batch_id, now, again = installation.db.once_more(lambda tx: _batch(tx, person, fingerprint))
    if not again:
        lines = read_rows(io.BytesIO(content), now)
        first = list(islice(lines, PAGE))
        while first:
            _enrol_page(installation, person, batch_id, first)
            first = list(islice(lines, PAGE))
        _close(installation, batch_id)
    return _report(installation, batch_id, again=again)


def _batch(tx: Tx, person: Person, fingerprint: str) -> tuple[str, datetime, bool]:
    batch = tx.session.exec(select(BatchRow).where(BatchRow.fingerprint == fingerprint)).first()
    again = batch is not None and batch.rows > 0
    if batch is None:
        batch = BatchRow(batch_id=opaque("b_"), fingerprint=fingerprint, enrolled_by=person.person_id)
        batch.enrolled_at = tx.now
        tx.session.add(batch)
    return batch.batch_id, tx.now, again


def _enrol_page(installation: Installation, person: Person, batch_id: str, page: Sequence[Row | Rejection]) -> None:
    rows = [each for each in page if isinstance(each, Row)]
    with installation.db.read() as tx:
        asked_at = tx.now
    lines = [Asked(status, asked_at) for status in installation.line_register.statuses([row.number for row in rows])] if rows else []
    installation.db.once_more(lambda tx: _take_page(tx, installation, person, batch_id, page, lines))


def _take_page(
    tx: Tx, installation: Installation, person: Person, batch_id: str, page: Sequence[Row | Rejection], lines: Sequence[Asked]
) -> None:
    rows = [each for each in page if isinstance(each, Row)]
    for each in page:
        if isinstance(each, Rejection):
            _reject(tx, batch_id, each.line, each.code, each.why)
    policy = freeze(tx, installation.policy_to_freeze())
    known = _known(tx, installation, rows)
    # In one order whatever the file's: two files with the same new numbers would wait for one another for ever.
    in_order = sorted(zip(rows, lines, strict=True), key=lambda pair: installation.vault.lookup(pair[0].number))
    for row, line in in_order:
        number = known.get(installation.vault.lookup(row.number)) or installation.vault.new_row(row.number, row.country)
        why_not = _why_not(tx, number, batch_id, row.disconnected_at)
        if why_not is None:
            _begin(tx, installation, person, batch_id, policy, row, number, line)
        elif why_not != "ours":
            _reject(tx, batch_id, row.line, *_CODES[why_not])


_CODES = {
    "enrolled": ("already-enrolled", "the number is in a cycle that has not ended; see `fallow numbers show`."),
    "earlier": ("disconnected-before", "the number was in use after that instant, as its last cycle says; give the latest disconnect."),
    "retired": ("retired", "the number was retired and is never sold again."),
}


def _known(tx: Tx, installation: Installation, rows: Sequence[Row]) -> dict[str, NumberRow]:
    lookups = [installation.vault.lookup(row.number) for row in rows]
    found = tx.session.exec(select(NumberRow).where(col(NumberRow.lookup).in_(lookups)).order_by(NumberRow.number_id).with_for_update())
    return {number.lookup: number for number in found}


def _why_not(tx: Tx, number: NumberRow, batch_id: str, disconnected_at: datetime) -> str | None:
    if number.last_cycle_no == 0:
        return None
    last = cycles.get(tx, CycleRef(number.number_id, number.last_cycle_no).cycle_id)
    if last.batch_id == batch_id:
        return "ours"  # enrolled by an earlier, interrupted reading of this very file
    if last.state == State.RETIRED:
        return "retired"
    if last.state not in _MAY_COME_BACK:
        return "enrolled"
    return "earlier" if disconnected_at <= _in_use_until(last) else None


def _in_use_until(last: CycleRow) -> datetime:
    """Return the last instant at which somebody is known to have held the number: an older disconnect is not the latest one."""
    if last.state in (State.REASSIGNED, State.RECLAIMED):
        return last.state_at
    if last.state == State.RETURNED:
        return last.disconnected_at
    if last.state == State.WITHDRAWN:  # the very instant may come back: it was withdrawn by mistake
        return last.disconnected_at - timedelta(microseconds=1)
    return datetime.min.replace(tzinfo=UTC)


def _begin(
    tx: Tx, installation: Installation, person: Person, batch_id: str, policy: str, row: Row, number: NumberRow, line: Asked
) -> None:
    cycle = begin_cycle(
        tx,
        installation,
        number,
        policy=policy,
        by=person.person_id,
        batch_id=batch_id,
        disconnected_at=row.disconnected_at,
        country=row.country,
        number_class=row.number_class,
        pool=row.pool,
        carrier=row.carrier,
        range_holder=row.range_holder,
        reason=row.reason,
        prior_holders=row.prior_holders,
        source_ref=row.source_ref,
        recalled=False,
        subscription=row.subscription,
    )
    note_line(tx, cycle, line, "enrolment")
    # A reminder to an earlier holder is none to this one: left out, it is missing where the rule wants one.
    if row.reminded_at is not None and row.reminder_channel is not None and row.reminded_at > held_by_another_until(tx, cycle):
        note_reminder(tx, cycle, person.person_id, row.reminded_at, row.reminder_channel, row.source_ref)
    if row.reason == Ground.WRONGFUL:
        cycles.raise_attention(tx, cycle, Attention(Reason.WRONGFUL_DISCONNECT))
    if row.hold_reference:
        place_hold(tx, cycle, person.person_id, row.hold_reference)
    if row.reason in CRIME_REASONS:
        place_hold(tx, cycle, "engine", f"reason {row.reason}")
        cycles.raise_attention(tx, cycle, Attention(Reason.CRIME))


def begin_cycle(
    tx: Tx, installation: Installation, number: NumberRow, *, policy: str, by: str, subscription: str | None = None, **stated: object
) -> CycleRow:
    """Begin the next cycle of a number, with the rule chosen now and frozen with the policy.

    Args:
        tx: the transaction.
        installation: for the policy in force.
        number: the number's row, new or locked.
        policy: digest of the frozen policy.
        by: the person's id.
        subscription: the carrier's id of the former holder's subscription, sealed under the cycle's holder key.
        **stated: the columns of the cycle that enrolment states.
    """
    number.last_cycle_no += 1
    tx.session.add(number)
    tx.session.flush()
    ref = CycleRef(number.number_id, number.last_cycle_no)
    cycle = CycleRow.model_validate(
        {"cycle_id": ref.cycle_id, "number_id": ref.number_id, "cycle_no": ref.cycle_no, "enrolled_by": by, **_unset(), **stated}
    )
    cycle.former_holders = _former_holders(tx, number, cycle)
    choice = choose(installation.policy.rules, traits(cycle))
    jitter = installation.policy.release_jitter_for * random.random()  # noqa: S311 - spreads load, protects nothing
    by_rule, not_before = choice.rule.release_at(cycle.disconnected_at, tx.now) + jitter, _not_before(tx, cycle)
    release_at = max(by_rule, not_before)
    cycle.overdue_at = choice.rule.overdue_at(cycle.disconnected_at)
    spans = {"disconnected_at": cycle.disconnected_at, "enrolled_at": tx.now, "release_at": release_at}
    why = explain(choice, traits(cycle), **spans, extended=not_before > by_rule)
    cycle.explanation, cycle.explanation_zh = why.en, why.zh
    cycles.enrol(
        tx,
        cycle,
        disconnected_at=cycle.disconnected_at.isoformat(),
        release_at=release_at.isoformat(),
        policy=policy,
        demo=choice.rule.demo,
        handback=cycle.range_holder != cycle.carrier,
        enrolled_by=by,
        batch_id=cycle.batch_id,
        jitter_seconds=jitter.total_seconds(),
        denials=_denials_brought(tx, number, cycle),
        commitment=commit(installation.vault.open(number), installation.vault.salt(cycle.cycle_id)),
    )
    holders.begin(tx, installation.wrapping, cycle.cycle_id, subscription)
    return cycle


def _not_before(tx: Tx, cycle: CycleRow) -> datetime:
    """Return the release date of a withdrawn cycle before this one: withdrawing and enrolling again shortens no quarantine."""
    if cycle.cycle_no > 1:
        last = cycles.get(tx, CycleRef(cycle.number_id, cycle.cycle_no - 1).cycle_id)
        if last.state == State.WITHDRAWN:
            return last.release_at
    return datetime.min.replace(tzinfo=UTC)


def _denials_brought(tx: Tx, number: NumberRow, cycle: CycleRow) -> int:
    """Return the failed claims that still count: withdrawing a locked number and enrolling it again must not unlock it."""
    if cycle.cycle_no == 1:
        return 0
    last = cycles.get(tx, CycleRef(number.number_id, cycle.cycle_no - 1).cycle_id)
    return last.denials if last.state in PASS_ON else 0


def _former_holders(tx: Tx, number: NumberRow, cycle: CycleRow) -> int:
    """Return how many have held the number, the one who leaves now included: what the row states or what is known here, the larger."""
    stated = (cycle.prior_holders or 0) + 1
    if cycle.cycle_no == 1:
        return stated
    last = cycles.get(tx, CycleRef(number.number_id, cycle.cycle_no - 1).cycle_id)
    return max(stated, last.former_holders + (last.state == State.REASSIGNED))


def _unset() -> dict[str, object]:
    long_ago = datetime.min.replace(tzinfo=UTC)
    return {
        "state": "",
        "policy": "",
        "demo": False,
        "handback": False,
        "explanation": "",
        "former_holders": 0,
        "enrolled_at": long_ago,
        "release_at": long_ago,
    }


def _reject(tx: Tx, batch_id: str, line: int, code: str, why: str) -> None:
    tx.session.merge(RejectionRow(batch_id=batch_id, line=line, code=code, why=why))


def _close(installation: Installation, batch_id: str) -> None:
    """Count what there is, instead of counting along: the figures are right even after an interrupted reading."""
    with installation.db.begin() as tx:
        batch = tx.session.get_one(BatchRow, batch_id)
        batch.accepted = tx.session.exec(select(func.count()).where(CycleRow.batch_id == batch_id)).one()
        rejected = list(tx.session.exec(select(RejectionRow.code).where(RejectionRow.batch_id == batch_id)))
        batch.duplicates = sum(code in ("duplicate-in-file", "already-enrolled") for code in rejected)
        batch.rejected = len(rejected) - batch.duplicates
        batch.rows = batch.accepted + len(rejected)


def _report(installation: Installation, batch_id: str, *, again: bool) -> BatchReport:
    with installation.db.read() as tx:
        batch = tx.session.get_one(BatchRow, batch_id)
        query = select(RejectionRow).where(RejectionRow.batch_id == batch_id).order_by(col(RejectionRow.line))
        rejections = tuple((each.line, each.code, each.why) for each in tx.session.exec(query))
        return BatchReport(batch_id, batch.rows, batch.accepted, rejections, again)
