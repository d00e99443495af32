"""A dry run of wiping: what would be cleared where, in which order, and what stands in the way. Changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from graphlib import TopologicalSorter

from fallow.domain.cycle import CycleRef
from fallow.domain.errors import FallowError, InputRefused
from fallow.domain.number import E164
from fallow.domain.people import Action, Person
from fallow.domain.ports import Finding, RecordSystem, WipeOrder
from fallow.intake.instants import read_instant
from fallow.operations.installation import Installation
from fallow.operations.wipe_orders import order_of
from fallow.store import cycles, holders
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow

#: Stands in an order for a cycle where there is none.
NO_CYCLE = "planned"


@dataclass(frozen=True)
class Found:
    """What a wipe would find of one number at one system's collection.

    Attributes:
        system: id of the record system.
        collection: what its look found.
    """

    system: str
    collection: Finding

    def in_the_way(self, *, by_subscription: bool) -> list[str]:
        """Return what would stop the stage there, in words; whether the former holder's subscription is known says what may be meant."""
        seen, said = self.collection, list[str]()
        where = f"{self.system}.{seen.collection}"
        if seen.undecided:
            what = f"{_rows(seen.undecided)} undecided: not touched, and the read-back fails"
            said.append(f"{where}: {what}. Remedy: mend their instant, country, spelling or subscription there, or the records map.")
        if seen.newer:
            unknown = "" if by_subscription else " (no subscription is known: a final bill counts so)"
            remedy = "find out who holds the line" + ("" if by_subscription else ", and state the subscription when you enrol")
            said.append(f"{where}: {_rows(seen.newer)} a newer holder's{unknown}: the stage stops. Remedy: {remedy}.")
        return said


@dataclass(frozen=True)
class Planned:
    """The dry run for one number.

    Attributes:
        line: where it was asked for.
        number: masked.
        cycle_id: its open cycle here, or None.
        disconnected_at: until when rows are the former holder's.
        by_subscription: whether the former holder's subscription is known, too.
        found: in the order in which a wipe clears.
    """

    line: int
    number: str
    cycle_id: str | None
    disconnected_at: datetime
    by_subscription: bool
    found: tuple[Found, ...] = ()

    @property
    def in_the_way(self) -> list[str]:
        """What would stop the stage, in words."""
        return [what for each in self.found for what in each.in_the_way(by_subscription=self.by_subscription)]


@dataclass(frozen=True)
class Refused:
    """A line that nothing is planned for; ``why`` never holds the number."""

    line: int
    code: str
    why: str


@dataclass(frozen=True)
class Plan:
    """The dry run for all numbers.

    Attributes:
        order: ids of the record systems in the order in which a number is cleared at them.
        numbers: by line.
        refused: lines that can't be planned for.
        silent: what each system said that could not be asked.
    """

    order: tuple[str, ...]
    numbers: tuple[Planned, ...]
    refused: tuple[Refused, ...]
    silent: Mapping[str, FallowError] = field(default_factory=dict)


def plan(installation: Installation, person: Person, numbers: Sequence[tuple[int, E164]], stated: str | None) -> Plan:
    """Look at every record system for what a wipe of ``numbers``, each with its line, would do.

    Args:
        installation: where.
        person: who asks.
        numbers: the numbers; those with an open cycle here take their disconnect and subscription from it.
        stated: for the others, when they were disconnected, ISO 8601 with an offset.

    Raises:
        PersonRefused, InstantMalformed: as they say.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        disconnected_at = None if stated is None else read_instant(stated, tx.now)
        rows = {line: _open_cycle(tx, installation, number) for line, number in numbers}
    with installation.db.begin() as tx:  # no snapshot: a rotation may take a key's place between its row and its wrapping key
        known = holders.known(tx, installation.wrapping, [row.cycle_id for row in rows.values() if row is not None])
    orders, refused = dict[int, WipeOrder](), list[Refused]()
    for line, number in numbers:
        order = _order(number, rows[line], disconnected_at, known)
        if order is None:
            what = "The number has no open cycle here that says when it was disconnected."
            refused.append(refusal(line, InputRefused(what, remedy="state it by --disconnected-at 2026-04-30T18:00:00+08:00.")))
        else:
            orders[line] = order
    systems = in_order(installation.record_systems)
    found, silent = _found(systems, list(orders.values()))
    planned = [replace(_planned(line, order), found=tuple(each)) for (line, order), each in zip(orders.items(), found, strict=True)]
    return Plan(tuple(each.system_id for each in systems), tuple(planned), tuple(refused), silent)


def _rows(count: int) -> str:
    return f"{count} row is" if count == 1 else f"{count} rows are"


def refusal(line: int, error: FallowError) -> Refused:
    """Return a line that nothing is planned for, with what is wrong with it."""
    return Refused(line, error.code, f"Line {line}. {error}")


def in_order(systems: Mapping[str, RecordSystem]) -> list[RecordSystem]:
    """Return record systems in the order in which a number is cleared at them: each behind those it comes after, then by id."""
    graph = TopologicalSorter({system_id: system.after & systems.keys() for system_id, system in sorted(systems.items())})
    graph.prepare()
    ordered = list[RecordSystem]()
    while graph.is_active():
        ready = sorted(graph.get_ready())
        ordered += [systems[system_id] for system_id in ready]
        graph.done(*ready)
    return ordered


def _open_cycle(tx: Tx, installation: Installation, number: E164) -> CycleRow | None:
    found = installation.vault.find(tx, number)
    row = None if found is None else tx.session.get(CycleRow, CycleRef(found.number_id, found.last_cycle_no).cycle_id)
    return row if row is not None and cycles.facts(row).active else None


def _order(number: E164, row: CycleRow | None, stated: datetime | None, known: Mapping[str, holders.Holder]) -> WipeOrder | None:
    if row is None:
        return None if stated is None else WipeOrder(NO_CYCLE, number, stated)
    return order_of(row, number, known.get(row.cycle_id))


def _planned(line: int, order: WipeOrder) -> Planned:
    cycle_id = None if order.cycle_id == NO_CYCLE else order.cycle_id
    return Planned(line, order.number.masked(), cycle_id, order.disconnected_at, by_subscription=order.subscription is not None)


def _found(systems: Sequence[RecordSystem], orders: Sequence[WipeOrder]) -> tuple[list[list[Found]], dict[str, FallowError]]:
    """Ask each system about all orders, some at a time; one that can't be asked does not keep the others from answering."""
    found: list[list[Found]] = [[] for _ in orders]
    silent = dict[str, FallowError]()
    for system in systems:
        try:
            answers = [
                answer for first in range(0, len(orders), system.batch) for answer in system.find(orders[first : first + system.batch])
            ]
        except FallowError as error:
            silent[system.system_id] = error
            continue
        for place, answer in zip(found, answers, strict=True):
            place += [Found(system.system_id, each) for each in answer]
    return found, silent
