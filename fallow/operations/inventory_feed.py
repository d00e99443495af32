"""What inventory says of numbers: its newest statement is kept, and one that contradicts a cycle stops it for a person to look.

Inventory speaks where the line register may be silent: a number sold or connected past fallow shows here first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.people import Action, Person
from fallow.intake.csv_lines import Rejection, pages
from fallow.intake.inventory_file import TAKEN, Statement, Status, read_statements
from fallow.operations.installation import Installation
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, InventoryRow, NumberRow

#: Lines noted in one transaction: bounded, so that a large file never holds the database for long.
PAGE = 500
#: States in which a number may not be in anybody's hands.
_IN_NOBODYS_HANDS = (*ACTIVE, State.RESELLABLE)


@dataclass(frozen=True)
class InventoryReport:
    """What became of a file of statements.

    Attributes:
        rows: data lines read.
        noted: statements that stand now.
        outdated: lines that say something older than what is known.
        attention: cycles that were put into ATTENTION by it.
        rejections: every other line.
    """

    rows: int
    noted: int
    outdated: int
    attention: tuple[str, ...]
    rejections: tuple[Rejection, ...]


def note_inventory(installation: Installation, person: Person, content: bytes) -> InventoryReport:
    """Keep the statements of a CSV file; safe to repeat, also after being cut off half-way.

    Raises:
        PersonRefused: the caller may not feed statements.
        RowMalformed: the file as a whole can't be read (no header, wrong encoding); nothing was kept.
    """
    person.demand(Action.ENROL)
    with installation.db.read() as tx:
        now = tx.now
    read, noted, attention, rejections = 0, 0, list[str](), list[Rejection]()
    for page, rejected in pages(read_statements(content, now), PAGE):
        standing, stopped = installation.db.once_more(partial(_note, installation=installation, page=page))
        read, noted = read + len(page), noted + standing
        attention += stopped
        rejections += rejected
    return InventoryReport(read + len(rejections), noted, read - noted, tuple(attention), tuple(rejections))


def _note(tx: Tx, installation: Installation, page: Sequence[Statement]) -> tuple[int, list[str]]:
    newest = dict[str, Statement]()
    for each in page:
        lookup = installation.vault.lookup(each.number)
        if lookup not in newest or each.since >= newest[lookup].since:
            newest[lookup] = each
    lookup_of = _cycles_in_nobodys_hands(tx, newest)
    locked = cycles.lock(tx, lookup_of)
    standing = _keep(tx, newest)
    stopped = [row.cycle_id for row in locked if (said := standing.get(lookup_of[row.cycle_id])) and _stop(tx, row, said)]
    return len(standing), stopped


def _cycles_in_nobodys_hands(tx: Tx, lookups: Mapping[str, Statement]) -> dict[str, str]:
    """Return the lookup of each number by the id of its cycle; of the cycles of one number only the latest can be among them."""
    query = select(CycleRow.cycle_id, NumberRow.lookup).where(
        CycleRow.number_id == NumberRow.number_id,
        col(CycleRow.state).in_(_IN_NOBODYS_HANDS),
        col(NumberRow.lookup).in_(list(lookups)),
    )
    return dict(tx.session.exec(query).all())


def _keep(tx: Tx, newest: Mapping[str, Statement]) -> dict[str, Statement]:
    """Write what is not older than what is known; return what stands. Of two as old as each other the one said later stands."""
    query = select(InventoryRow).where(col(InventoryRow.lookup).in_(list(newest))).order_by(InventoryRow.lookup).with_for_update()
    known = {row.lookup: row for row in tx.session.exec(query.execution_options(populate_existing=True))}
    standing = dict[str, Statement]()
    # In one order whatever the file's: two files of the same numbers would wait for one another for ever.
    for lookup, said in sorted(newest.items(), key=lambda each: each[0]):
        row = known.get(lookup)
        if row is None:
            tx.session.add(InventoryRow(lookup=lookup, status=said.status, since=said.since, said_at=tx.now))
        elif said.since >= row.since:
            row.status, row.since, row.said_at = said.status, said.since, tx.now
        else:
            continue
        standing[lookup] = said
    return standing


def _stop(tx: Tx, row: CycleRow, said: Statement) -> bool:
    """Put a locked cycle into ATTENTION where inventory contradicts it; tell whether that is news."""
    reason = _doubt(row, said)
    if reason is None or Attention(reason) in cycles.facts(row).attention:
        return False
    why = {"source": "inventory", "status": str(said.status), "since": said.since.isoformat()}
    cycles.raise_attention(tx, row, Attention(reason), **why)
    if row.state in ACTIVE:
        cycles.wake(tx, row)
    return True


def _doubt(row: CycleRow, said: Statement) -> Reason | None:
    if row.state not in _IN_NOBODYS_HANDS:
        return None  # it moved on before it was locked
    if said.status is Status.PORTED:
        return Reason.LINE_PORTED
    # Until its disconnect the number was rightly in its former holder's hands.
    return Reason.LINE_IN_SERVICE if said.status in TAKEN and said.since > row.disconnected_at else None
