"""More builders, for tests of cycles: people by role, what the database holds, and calls made at one instant."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from builders import World, a_person, ask_all, enrolled, number, references, wipe_all
from memory_ports import signed_delivery
from sqlmodel import col, select

from fallow.domain.cycle import Cycle, CycleRef, ref
from fallow.domain.events import Event, Kind
from fallow.domain.fold import fold
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind
from fallow.domain.people import Person, Role
from fallow.operations.answers import accept_answer
from fallow.operations.commands import Commands
from fallow.operations.disclose import Disclosure
from fallow.operations.release import Release
from fallow.operations.stages import Stages
from fallow.operations.two_person import TwoPerson
from fallow.platforms.protocol import parse_answers
from fallow.store import cycles, obligations
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, EventRow, ObligationRow

DOCUMENT = "d" * 64


@dataclass(frozen=True)
class Staff:
    """The people of an installation.

    Attributes:
        enroller: an operator who enrols.
        operator: another operator, who commands and proposes.
        approver: approves.
        other_approver: approves too.
        shop: sells.
        auditor: reads.
    """

    enroller: Person
    operator: Person
    approver: Person
    other_approver: Person
    shop: Person
    auditor: Person


def staff(world: World) -> Staff:
    """Admit one person for each part."""
    return Staff(
        a_person(world, Role.OPERATOR),
        a_person(world, Role.OPERATOR),
        a_person(world, Role.APPROVER),
        a_person(world, Role.APPROVER),
        a_person(world, Role.SHOP),
        a_person(world, Role.AUDITOR),
    )


@dataclass(frozen=True)
class Engine:
    """The operations of one installation, each ready to be called."""

    stages: Stages
    disclosure: Disclosure
    release: Release
    commands: Commands
    two_person: TwoPerson


def engine(world: World) -> Engine:
    """Return the operations of ``world``."""
    installation = world.installation
    return Engine(Stages(installation), Disclosure(installation), Release(installation), Commands(installation), TwoPerson(installation))


def facts_of(world: World, cycle_id: str) -> Cycle:
    """Return a cycle's row as the domain sees it."""
    with world.installation.db.read() as tx:
        return cycles.facts(cycles.get(tx, cycle_id))


def kinds_of(world: World, cycle_id: str) -> list[Kind]:
    """Return the kinds of a cycle's events, in order."""
    return [event.kind for event in events_of(world, cycle_id)]


def row_of(world: World, cycle_id: str) -> CycleRow:
    """Return a cycle's row."""
    with world.installation.db.read() as tx:
        return cycles.get(tx, cycle_id)


def owed_by(world: World, cycle_id: str) -> dict[str, Obligation]:
    """Return a cycle's obligations by target."""
    with world.installation.db.read() as tx:
        return {row.target_id: obligations.facts(row) for row in obligations.of_cycle(tx, cycle_id)}


def events_of(world: World, cycle_id: str) -> list[Event]:
    """Return a cycle's events, oldest first."""
    with world.installation.db.read() as tx:
        return cycles.events(tx, cycle_id)


def answer(world: World, platform_id: str, cycle_id: str, outcome: Outcome, *, delivery_id: str | None = None) -> str:
    """Let a platform answer for one cycle by callback; return the acknowledgement."""
    said = {references(world, cycle_id)[platform_id]: outcome}
    delivery = signed_delivery(world.keys[platform_id], said, world.clock.now(), delivery_id=delivery_id)
    parsed = [(each.reference, each.outcome) for each in parse_answers(delivery.body)]
    return accept_answer(world.installation, platform_id, delivery, parsed)


def number_of(world: World, cycle_id: str) -> E164:
    """Return the number of a cycle."""
    number_id = cycle_id.rpartition("/")[0]
    with world.installation.db.read() as tx:
        return world.installation.vault.reveal(tx, [number_id])[number_id]


def spellings(index: int) -> tuple[str, ...]:
    """Return the ways in which the ``index``-th test number could be written."""
    text = number(index).text
    return text, text[1:], f"0{text[3:]}", text[3:]


def assert_folds(db: Database) -> None:
    """Assert invariant I7: the events of every cycle, in unbroken order, add up to exactly its rows."""
    with db.read() as tx:
        for row in tx.session.exec(select(CycleRow)):
            seqs = tx.session.exec(select(EventRow.seq).where(EventRow.cycle_id == row.cycle_id).order_by(col(EventRow.seq))).all()
            assert list(seqs) == list(range(1, row.events_no + 1))
            owed = {each.target_id: obligations.facts(each) for each in obligations.of_cycle(tx, row.cycle_id)}
            assert fold(cycles.events(tx, row.cycle_id)) == (cycles.facts(row), owed)
            assert row.held == cycles.facts(row).held


def race(*sides: Sequence[Callable[[], Any]]) -> list[tuple[Any, ...]]:
    """Let the sides run their calls in step, the n-th of each at one instant; return what came of each n."""
    barrier = threading.Barrier(len(sides))

    def run(side: Sequence[Callable[[], Any]]) -> list[Any]:
        return [_together(barrier, call) for call in side]

    with ThreadPoolExecutor(max_workers=len(sides)) as threads:
        return list(zip(*threads.map(run, sides), strict=True))


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make the calls at one instant, each in a thread of its own; return results, an exception in place of one that raised."""
    barrier = threading.Barrier(len(calls))

    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return list(threads.map(lambda call: _together(barrier, call), calls))


def _together(barrier: threading.Barrier, call: Callable[[], Any]) -> Any:
    barrier.wait(timeout=60)
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - a test looks at whatever came
        return error


def all_at(world: World, count: int, state: State, *, first: int = 0, **cells: str) -> list[str]:
    """Return ``count`` new cycles in ``state``, taken there together; much faster than one by one.

    In WIPING and UNBINDING their obligations are open, in TAGGING the tag is issued.
    """
    operations, ids = engine(world), enrolled(world, count, first=first, **cells)
    stages = operations.stages
    steps: dict[State, Callable[[CycleRef], object]] = {
        State.ENROLLED: stages.begin_quarantine,
        State.QUARANTINED: lambda cycle: stages.end_quarantine(cycle, world.clock.now()),
        State.WIPING: lambda cycle: stages.clear(cycle, TargetKind.RECORDS),
        State.UNBINDING: lambda cycle: stages.clear(cycle, TargetKind.PLATFORM),
        State.TAGGING: operations.release.release,
    }
    for stage, step in steps.items():
        if stage is State.QUARANTINED and state is not State.QUARANTINED:
            world.clock.pass_to(max(row_of(world, cycle_id).release_at for cycle_id in ids))
        _open(operations, ids, stage)
        if stage is state:
            break
        _discharge(world, ids, stage)
        for cycle_id in ids:
            step(ref(cycle_id))
    return ids


def _open(operations: Engine, ids: Sequence[str], stage: State) -> None:
    kinds = {State.WIPING: TargetKind.RECORDS, State.UNBINDING: TargetKind.PLATFORM}
    for cycle_id in ids:
        if stage in kinds:
            operations.stages.clear(ref(cycle_id), kinds[stage])
        if stage is State.TAGGING:
            operations.disclosure.issue_tag(ref(cycle_id))


def _discharge(world: World, ids: Sequence[str], stage: State) -> None:
    if stage in (State.WIPING, State.UNBINDING):
        while _something_open(world, ids):
            (wipe_all if stage is State.WIPING else ask_all)(world)
            world.clock.pass_by(timedelta(seconds=1))


def _something_open(world: World, ids: Sequence[str]) -> bool:
    query = select(ObligationRow).where(col(ObligationRow.cycle_id).in_(ids), ObligationRow.status != Status.DISCHARGED)
    with world.installation.db.read() as tx:
        return tx.session.exec(query.limit(1)).first() is not None
