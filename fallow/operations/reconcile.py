"""Reconciliation: which numbers of inventory's file are on sale, or with a new holder, without a released cycle here. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import col, select

from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.people import Action, Person
from fallow.intake.csv_lines import Rejection, pages
from fallow.intake.inventory_file import TAKEN, Statement, Status, read_statements
from fallow.operations.installation import Installation
from fallow.operations.sale import is_demo
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, InventoryRow, NumberRow

#: Lines compared in one snapshot.
PAGE = 500


class Code(StrEnum):
    """What is wrong with a number that inventory has on sale or in somebody's hands."""

    IN_CYCLE = "in-cycle"
    RETIRED = "retired"
    RETURNED = "returned"
    SALE_NOT_RECORDED = "sale-not-recorded"
    HELD = "held"
    RECLAIMED_ON_SALE = "reclaimed-on-sale"
    WITHDRAWN_ON_SALE = "withdrawn-on-sale"
    NO_CYCLE = "no-cycle"


NEXT: dict[Code, str] = {
    Code.IN_CYCLE: "its cycle has not ended: take it off sale; whoever has it already needs another number.",
    Code.RETIRED: "it was retired and is never sold again: take it off sale; whoever has it already needs another number.",
    Code.RETURNED: "it was handed back to its range holder: take it off sale here.",
    Code.SALE_NOT_RECORDED: "it was released: record the sale and its buyer's acknowledgement with `fallow numbers sell`.",
    Code.HELD: "something came up since its release: take it off sale; `fallow numbers show` says what.",
    Code.RECLAIMED_ON_SALE: "its former holder took it back: take it off sale; if they left since, enrol that cancellation first.",
    Code.WITHDRAWN_ON_SALE: "it was withdrawn: take it off sale; if it came back since, enrol its cancellation first.",
    Code.NO_CYCLE: "it left its holder without a cycle: take it off sale and enrol that cancellation first.",
}
_ON_SALE_AFTER = {
    State.RECLAIMED: Code.RECLAIMED_ON_SALE,
    State.WITHDRAWN: Code.WITHDRAWN_ON_SALE,
    State.RETURNED: Code.RETURNED,
    State.REASSIGNED: Code.NO_CYCLE,
}


@dataclass(frozen=True)
class Finding:
    """One number that is where it should not be; line and cycle name it, never its digits.

    Attributes:
        line: line of the file.
        code: what is wrong.
        cycle_id: its latest cycle here; None where it was never enrolled.
        state: where that cycle stands.
        next: what to do.
    """

    line: int
    code: Code
    cycle_id: str | None
    state: str | None
    next: str


@dataclass(frozen=True)
class Reconciliation:
    """What a file of inventory says beside what is known here.

    Attributes:
        rows: data lines read.
        clear: lines with nothing against them.
        unknown: lines of numbers of which nothing is known, neither by enrolment nor by an earlier inventory file.
        findings: numbers that are where they should not be.
        rejections: lines that can't be read.
    """

    rows: int
    clear: int
    unknown: int
    findings: tuple[Finding, ...]
    rejections: tuple[Rejection, ...]


def reconcile(installation: Installation, person: Person, content: bytes) -> Reconciliation:
    """Compare a CSV file of inventory with what is known here; changes nothing.

    Raises:
        PersonRefused: the caller may not read.
        RowMalformed: the file as a whole can't be read (no header, wrong encoding).
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        now = tx.now
    read, unknown, findings, rejections = 0, 0, list[Finding](), list[Rejection]()
    for page, rejected in pages(read_statements(content, now), PAGE):
        with installation.db.read() as tx:
            strangers, found = _compare(tx, installation, page)
        read, unknown = read + len(page), unknown + strangers
        findings += found
        rejections += rejected
    clear = read - unknown - len(findings)
    return Reconciliation(read + len(rejections), clear, unknown, tuple(findings), tuple(rejections))


def _compare(tx: Tx, installation: Installation, page: Sequence[Statement]) -> tuple[int, list[Finding]]:
    lookups = [installation.vault.lookup(each.number) for each in page]
    latest, earlier, demo = _latest_cycles(tx, lookups), _earlier_statements(tx, lookups), is_demo(tx)
    strangers, found = 0, list[Finding]()
    for lookup, said in zip(lookups, page, strict=True):
        cycle, before = latest.get(lookup), earlier.get(lookup)
        strangers += cycle is None and before is None
        code = _wrong_without_cycle(before, said) if cycle is None else _wrong(cycle, said, demo_allowed=demo)
        if code is not None:
            found.append(_finding(said, code, cycle))
    return strangers, found


def _finding(said: Statement, code: Code, cycle: CycleRow | None) -> Finding:
    if cycle is None:
        return Finding(said.line, code, None, None, NEXT[code])
    return Finding(said.line, code, cycle.cycle_id, cycle.state, NEXT[code])


def _latest_cycles(tx: Tx, lookups: Sequence[str]) -> dict[str, CycleRow]:
    query = select(NumberRow.lookup, CycleRow).where(
        CycleRow.number_id == NumberRow.number_id,
        CycleRow.cycle_no == NumberRow.last_cycle_no,
        col(NumberRow.lookup).in_(lookups),
    )
    return dict(tx.session.exec(query).all())


def _earlier_statements(tx: Tx, lookups: Sequence[str]) -> dict[str, InventoryRow]:
    return {row.lookup: row for row in tx.session.exec(select(InventoryRow).where(col(InventoryRow.lookup).in_(lookups)))}


def _wrong(cycle: CycleRow, said: Statement, *, demo_allowed: bool) -> Code | None:
    if said.status is Status.PORTED or (said.status in TAKEN and said.since <= cycle.disconnected_at):
        return None  # it left for another carrier, or the file still speaks of the former holder
    state = State(cycle.state)
    if state in ACTIVE:
        return Code.IN_CYCLE
    if state is State.RETIRED:
        return Code.RETIRED
    if state is State.RESELLABLE and said.status in TAKEN:
        return Code.SALE_NOT_RECORDED
    if state is State.RESELLABLE:
        barred = cycle.held or cycle.attention != "[]" or (cycle.demo and not demo_allowed)
        return Code.HELD if barred else None
    return _ON_SALE_AFTER[state] if said.status is Status.ON_SALE else None


def _wrong_without_cycle(before: InventoryRow | None, said: Statement) -> Code | None:
    """Judge a number that was never enrolled here: if somebody had it earlier, it left them without a cycle."""
    if before is None or before.status not in TAKEN or before.since >= said.since or said.status is Status.PORTED:
        return None
    connected = before.status == Status.ASSIGNED and said.status is Status.IN_SERVICE  # the same holder's line began to work
    return None if connected else Code.NO_CYCLE
