"""Residual traffic: a carrier's daily counters of its numbers are kept, and a number that waits to become quiet is looked at again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from sqlmodel import col, select, tuple_

from fallow.domain.lifecycle import State
from fallow.domain.people import Action, Person
from fallow.domain.traffic import DayCount, Verdict
from fallow.intake.csv_lines import Rejection, pages
from fallow.intake.traffic_file import Counted, read_traffic
from fallow.operations.installation import Installation
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, NumberRow, TrafficRow

#: Lines noted in one transaction: bounded, so that a large file never holds the database for long.
PAGE = 500


@dataclass(frozen=True)
class TrafficReport:
    """What became of a file of counters.

    Attributes:
        rows: data lines read.
        noted: lines whose counters stand now, or stood already.
        not_here: lines of numbers that were never enrolled here; nothing of them is kept.
        rejections: every other line.
    """

    rows: int
    noted: int
    not_here: int
    rejections: tuple[Rejection, ...]


def note_traffic(installation: Installation, person: Person, content: bytes) -> TrafficReport:
    """Keep the counters of a CSV file; safe to repeat, also after being cut off half-way.

    Where a day is stated more than once the larger of each counter stands. Counters only ever say that a number is still
    called, so a later file may add to a day and never take from it: else one careless or bribed export would quiet a number.

    Raises:
        PersonRefused: the caller may not feed counters.
        RowMalformed: the file as a whole can't be read (no header, wrong encoding); nothing was kept.
    """
    person.demand(Action.ENROL)
    with installation.db.read() as tx:
        now = tx.now
    read, noted, rejections = 0, 0, list[Rejection]()
    for page, rejected in pages(read_traffic(content, now), PAGE):
        read += len(page)
        noted += installation.db.once_more(partial(_note, installation=installation, page=page))
        rejections += rejected
    return TrafficReport(read + len(rejections), noted, read - noted, tuple(rejections))


def _note(tx: Tx, installation: Installation, page: Sequence[Counted]) -> int:
    lookups = [installation.vault.lookup(each.number) for each in page]
    query = select(NumberRow.lookup, NumberRow.number_id).where(col(NumberRow.lookup).in_(lookups))
    here = dict(tx.session.exec(query).all())
    counts = [(here[lookup], each.day) for lookup, each in zip(lookups, page, strict=True) if lookup in here]
    waiting = _lock_unwiped(tx, set(here.values()))
    changed = _keep(tx, _largest(counts))
    for row in waiting:
        waits = row.state == State.QUARANTINED and row.release_at <= tx.now and row.traffic not in (None, Verdict.QUIET)
        if waits and row.number_id in changed:
            cycles.wake(tx, row)
    return len(counts)


def _lock_unwiped(tx: Tx, number_ids: set[str]) -> list[CycleRow]:
    """Lock the cycles of these numbers that may be judged at this very moment.

    All of them, whatever their verdict says: a judgement that did not see these counters may be about to be written, and would
    wait for nobody if only those judged already were locked and woken.
    """
    unwiped = col(CycleRow.state).in_([State.ENROLLED, State.QUARANTINED])
    return cycles.lock(tx, tx.session.exec(select(CycleRow.cycle_id).where(col(CycleRow.number_id).in_(number_ids), unwiped)))


def _largest(counts: Sequence[tuple[str, DayCount]]) -> dict[tuple[str, date], DayCount]:
    found = dict[tuple[str, date], DayCount]()
    for number_id, day in counts:
        found[number_id, day.on] = _larger(day, found.get((number_id, day.on), day))
    return found


def _larger(one: DayCount, other: DayCount) -> DayCount:
    return DayCount(
        one.on,
        max(one.attempts, other.attempts),
        max(one.messages, other.messages),
        max(one.otp_like, other.otp_like),
    )


def _keep(tx: Tx, counts: Mapping[tuple[str, date], DayCount]) -> set[str]:
    """Write counters; return the numbers of which a day is known now that was not: more calls on a known day quiet nothing."""
    key = tuple_(col(TrafficRow.number_id), col(TrafficRow.on_date))
    query = select(TrafficRow).where(key.in_(list(counts))).order_by(TrafficRow.number_id, col(TrafficRow.on_date)).with_for_update()
    known = {(row.number_id, row.on_date): row for row in tx.session.exec(query.execution_options(populate_existing=True))}
    changed = set[str]()
    # In one order whatever the file's: two files of the same numbers would wait for one another for ever.
    for (number_id, on), day in sorted(counts.items(), key=lambda each: each[0]):
        row = known.get((number_id, on))
        if row is None:
            tx.session.add(TrafficRow(number_id=number_id, on_date=on, attempts=day.attempts, messages=day.messages, otp_like=day.otp_like))
            changed.add(number_id)
            continue
        stands = _larger(day, DayCount(on, row.attempts, row.messages, row.otp_like))
        if stands != DayCount(on, row.attempts, row.messages, row.otp_like):
            row.attempts, row.messages, row.otp_like = stands.attempts, stands.messages, stands.otp_like
    return changed
