"""Races at a barrier: whatever happens at one instant, one order of it is what the database holds.

On PostgreSQL with many pairs, because there transactions really overlap; on SQLite, with its single writer, with a few.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import World, _lease, a_file, ask_all, enrolled, number, references, state_of, wipe_all
from builders_cycles import all_at, answer, at_once, engine, facts_of, kinds_of, owed_by, race, row_of, staff
from memory_ports import signed_delivery
from sqlalchemy import text
from sqlmodel import func, select

from fallow.domain.attention import Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, FallowError, TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Outcome, Status, TargetKind
from fallow.domain.ports import UnbindItem
from fallow.operations.answers import accept_answer
from fallow.operations.enrol import enrol_file
from fallow.operations.sale import sell
from fallow.operations.sending import Tally
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.store import leases, obligations
from fallow.store.tables import CycleRow, NumberRow

#: Events that a hold must prevent.
PREVENTED = {Kind.STAGE_SETTLED, Kind.OBLIGATIONS_OPENED, Kind.NUMBER_RELEASED, Kind.NUMBER_SOLD}


def pairs(world: World, on_postgresql: int) -> int:
    """Return how many pairs to race."""
    return max(4, on_postgresql // 10) if world.installation.db.sqlite else on_postgresql


def calls(ids: Sequence[str], call: Callable[[str], Any]) -> list[Callable[[], Any]]:
    """Return one call for each cycle."""
    return [lambda cycle_id=cycle_id: call(cycle_id) for cycle_id in ids]


def unexpected(results: Sequence[tuple[Any, ...]]) -> list[BaseException]:
    """Return exceptions that are not refusals of ours: deadlocks, unique violations, anything that would be an error 500."""
    return [each for pair in results for each in pair if isinstance(each, BaseException) and not isinstance(each, FallowError)]


def test_simultaneous_last_answers_wake_every_cycle(world: World) -> None:
    """Of two answers that both see the other still open, none is left unnoticed: every cycle is woken and settles."""
    ids = all_at(world, pairs(world, 200), State.UNBINDING)
    for cycle_id in ids:
        answer(world, "gamma-bank", cycle_id, Outcome.CLEAR)
    sides = []
    for platform_id in ("alpha-pay", "beta-chat"):
        by_reference = {cycle_id: references(world, cycle_id)[platform_id] for cycle_id in ids}
        sides.append(calls(ids, lambda cycle_id, p=platform_id, r=by_reference: _answered(world, p, r[cycle_id])))

    results = race(*sides)

    assert unexpected(results) == []
    assert [cycle_id for cycle_id in ids if row_of(world, cycle_id).wake_at is None] == []
    assert all(engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM).done for cycle_id in ids)


def _answered(world: World, platform_id: str, reference: str) -> str:
    delivery = signed_delivery(world.keys[platform_id], {reference: Outcome.UNBOUND}, world.clock.now())
    return accept_answer(world.installation, platform_id, delivery, [(reference, Outcome.UNBOUND)])


def test_a_hold_and_the_gate_at_one_instant(world: World) -> None:
    """Whichever came first wins: held in TAGGING, or RESELLABLE and then held; never released under a hold."""
    ids, people, operations = all_at(world, pairs(world, 100), State.TAGGING), staff(world), engine(world)

    results = race(
        calls(ids, lambda cycle_id: operations.commands.hold(people.operator, cycle_id, "case 1")),
        calls(ids, lambda cycle_id: operations.release.release(ref(cycle_id))),
    )

    assert [each for pair in results for each in pair if isinstance(each, Exception)] == []
    for cycle_id in ids:
        cycle, kinds = facts_of(world, cycle_id), kinds_of(world, cycle_id)
        released_first = Kind.NUMBER_RELEASED in kinds
        assert (cycle.held, cycle.attention) == (True, frozenset())
        assert cycle.state is (State.RESELLABLE if released_first else State.TAGGING)
        assert not released_first or kinds.index(Kind.NUMBER_RELEASED) < kinds.index(Kind.HOLD_PLACED)


STEPS: dict[str, tuple[State, Callable[[World, str], object]]] = {
    "end of quarantine": (State.QUARANTINED, lambda world, cycle_id: engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())),
    "wipes settled": (State.WIPING, lambda world, cycle_id: engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)),
    "unbinding settled": (State.UNBINDING, lambda world, cycle_id: engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)),
    "tag": (State.TAGGING, lambda world, cycle_id: engine(world).disclosure.issue_tag(ref(cycle_id))),
    "gate": (State.TAGGING, lambda world, cycle_id: engine(world).release.release(ref(cycle_id))),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_hold_and_a_stage_at_one_instant(world: World, step: str) -> None:
    """Once a hold is committed nothing is opened, settled or released after it."""
    state, take = STEPS[step]
    ids, people = all_at(world, pairs(world, 20), state), staff(world)
    if state is State.QUARANTINED:
        world.clock.pass_to(max(row_of(world, cycle_id).release_at for cycle_id in ids))
    if state in (State.WIPING, State.UNBINDING):
        (wipe_all if state is State.WIPING else ask_all)(world)

    results = race(
        calls(ids, lambda cycle_id: engine(world).commands.hold(people.operator, cycle_id, "case 1")),
        calls(ids, lambda cycle_id: take(world, cycle_id)),
    )

    assert [each for pair in results for each in pair if isinstance(each, Exception)] == []
    for cycle_id in ids:
        kinds = kinds_of(world, cycle_id)
        assert not PREVENTED & set(kinds[kinds.index(Kind.HOLD_PLACED) :])


def test_lifting_a_hold_while_the_gate_looks_loses_no_wake(world: World) -> None:
    """A number whose hold is lifted between two looks is released by this look, or woken for the next; nobody is called."""
    ids, people, operations = all_at(world, pairs(world, 40), State.TAGGING), staff(world), engine(world)
    holds = {cycle_id: operations.commands.hold(people.operator, cycle_id, "case 1") for cycle_id in ids}

    race(
        calls(ids, lambda cycle_id: operations.commands.lift(people.operator, cycle_id, holds[cycle_id], "case 1")),
        calls(ids, lambda cycle_id: operations.release.release(ref(cycle_id))),
    )

    for cycle_id in ids:
        row = row_of(world, cycle_id)
        assert row.attention == "[]"
        assert row.state == State.RESELLABLE or row.wake_at is not None


def test_a_reclaim_and_the_end_of_quarantine_at_one_instant(world: World) -> None:
    """A claim made in time keeps the number from being wiped: approved while the stage looks, it is given back untouched."""
    ids, people, operations = all_at(world, pairs(world, 40), State.QUARANTINED), staff(world), engine(world)
    world.clock.pass_to(max(row_of(world, cycle_id).release_at for cycle_id in ids))
    ground = {"ground": "former-holder"}
    proposals = {cycle_id: operations.two_person.propose(people.operator, cycle_id, Command.RECLAIM, "id 1", ground) for cycle_id in ids}

    def go_on(cycle_id: str) -> None:
        operations.stages.end_quarantine(ref(cycle_id), world.clock.now())
        operations.stages.clear(ref(cycle_id), TargetKind.RECORDS)

    results = race(calls(ids, lambda cycle_id: operations.two_person.approve(people.approver, proposals[cycle_id])), calls(ids, go_on))
    wipe_all(world)

    assert unexpected(results) == []
    wiped = {cycle_id for system in world.record_systems.values() for cycle_id in system.wiped}
    for cycle_id, (approved, _) in zip(ids, results, strict=True):
        assert approved == cycle_id
        assert state_of(world, cycle_id) is State.RECLAIMED
        assert cycle_id not in wiped
        assert owed_by(world, cycle_id) == {}


def test_two_approvals_of_one_proposal_at_one_instant(world: World) -> None:
    """One carries it out; the other is told that it was decided."""
    ids, people, two = all_at(world, pairs(world, 40), State.ENROLLED), staff(world), engine(world).two_person
    proposals = {cycle_id: two.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {}) for cycle_id in ids}

    results = race(
        calls(ids, lambda cycle_id: two.approve(people.approver, proposals[cycle_id])),
        calls(ids, lambda cycle_id: two.approve(people.other_approver, proposals[cycle_id])),
    )

    for cycle_id, pair in zip(ids, results, strict=True):
        assert sorted(type(each) for each in pair if not isinstance(each, str)) == [CommandRefused]
        assert kinds_of(world, cycle_id).count(Kind.NUMBER_RETIRED) == 1


def test_two_sales_of_one_number_at_one_instant(world: World) -> None:
    """One buyer has it, the other is refused."""
    ids, shop = all_at(world, pairs(world, 30), State.RESELLABLE), staff(world).shop
    tags = {cycle_id: str(facts_of(world, cycle_id).tag) for cycle_id in ids}
    numbers = dict(zip(ids, map(number, range(len(ids))), strict=True))

    results = race(
        calls(ids, lambda cycle_id: sell(world.installation, shop, numbers[cycle_id], tags[cycle_id], "form 1")),
        calls(ids, lambda cycle_id: sell(world.installation, shop, numbers[cycle_id], tags[cycle_id], "form 2")),
    )

    for cycle_id, pair in zip(ids, results, strict=True):
        assert sorted(isinstance(each, CommandRefused) for each in pair) == [False, True]
        assert kinds_of(world, cycle_id).count(Kind.NUMBER_SOLD) == 1


def test_a_sale_and_a_hold_at_one_instant(world: World) -> None:
    """Held and not sold, or sold and then held, which stops no sale."""
    ids, people = all_at(world, pairs(world, 30), State.RESELLABLE), staff(world)
    tags = {cycle_id: str(facts_of(world, cycle_id).tag) for cycle_id in ids}
    numbers = dict(zip(ids, map(number, range(len(ids))), strict=True))

    results = race(
        calls(ids, lambda cycle_id: sell(world.installation, people.shop, numbers[cycle_id], tags[cycle_id], "form 1")),
        calls(ids, lambda cycle_id: engine(world).commands.hold(people.operator, cycle_id, "case 1")),
    )

    assert unexpected(results) == []
    for cycle_id in ids:
        cycle = facts_of(world, cycle_id)
        kinds = [kind for kind in kinds_of(world, cycle_id) if kind in {Kind.NUMBER_SOLD, Kind.HOLD_PLACED}]
        sold_first = (State.REASSIGNED, [Kind.NUMBER_SOLD, Kind.HOLD_PLACED])
        assert (cycle.state, kinds) in [sold_first, (State.RESELLABLE, [Kind.HOLD_PLACED])]


def test_a_contradiction_and_the_gate_at_one_instant(world: World) -> None:
    """A platform that takes its clearance back stops the number in TAGGING, or holds it as RESELLABLE."""
    ids, operations = all_at(world, pairs(world, 40), State.TAGGING), engine(world)

    results = race(
        calls(ids, lambda cycle_id: answer(world, "alpha-pay", cycle_id, Outcome.REFUSED)),
        calls(ids, lambda cycle_id: operations.release.release(ref(cycle_id))),
    )

    assert unexpected(results) == []
    for cycle_id in ids:
        cycle = facts_of(world, cycle_id)
        assert Reason.PLATFORM_CONTRADICTED in {each.reason for each in cycle.attention}
        assert (cycle.state, cycle.held) in {(State.TAGGING, False), (State.RESELLABLE, True)}


def test_the_same_numbers_in_two_files_at_one_instant(world: World) -> None:
    """In opposite orders, too: each number has exactly one cycle, and each file says which of its lines were not its own."""
    count, rounds = 30, pairs(world, 20)
    people = staff(world)
    for turn in range(rounds):
        forth = a_file(count, first=turn * count, source_ref="forth").splitlines()
        back = [forth[0], *reversed(a_file(count, first=turn * count, source_ref="back").splitlines()[1:])]

        reports = at_once([lambda file=file: enrol_file(world.installation, people.enroller, b"\n".join(file)) for file in (forth, back)])

        assert unexpected([tuple(reports)]) == []
        assert sum(report.accepted for report in reports) == count
        assert {code for report in reports for _, code, _ in report.rejections} <= {"already-enrolled"}
        assert [report.rows for report in reports] == [count, count]
    with world.installation.db.read() as tx:
        numbers = tx.session.exec(select(func.count()).select_from(NumberRow)).one()
        assert (numbers, tx.session.exec(select(func.count()).select_from(CycleRow)).one()) == (rounds * count, rounds * count)


def test_the_same_file_four_times_at_one_instant(world: World) -> None:
    """Nothing is started twice, and all four are told of the same batch (I9)."""
    person = staff(world).enroller

    reports = at_once([lambda: enrol_file(world.installation, person, a_file(50))] * 4)

    assert unexpected([tuple(reports)]) == []
    assert {(report.batch_id, report.rows, report.accepted, report.rejections) for report in reports} == {(reports[0].batch_id, 50, 50, ())}
    with world.installation.db.read() as tx:
        assert tx.session.exec(select(func.count()).select_from(CycleRow)).one() == 50


@pytest.mark.parametrize("known", [True, False])
def test_64_copies_of_one_delivery_at_one_instant(world: World, known: bool) -> None:
    """One changes state, all are acknowledged alike (I5), references nobody knows included."""
    cycle_id = all_at(world, 1, State.UNBINDING)[0]
    reference = references(world, cycle_id)["alpha-pay"] if known else "ref_" + "a" * 26
    delivery = signed_delivery(world.keys["alpha-pay"], {reference: Outcome.CLEAR}, world.clock.now())

    acks = at_once([lambda: accept_answer(world.installation, "alpha-pay", delivery, [(reference, Outcome.CLEAR)])] * 64)

    assert set(acks) == {f'{{"answers":{{"{reference}":"{"accepted" if known else "unknown"}"}}}}'}
    assert kinds_of(world, cycle_id).count(Kind.OBLIGATION_MOVED) == len(world.record_systems) + known


def test_a_new_lease_is_taken_by_one_of_many(world: World) -> None:
    """Nobody fails, one holds it."""
    for turn in range(pairs(world, 20)):

        def take(holder: str, name: str = f"target-{turn}") -> int | None:
            with world.installation.db.begin() as tx:
                return leases.take(tx, name, holder)

        fences = at_once([lambda holder=f"worker-{index}": take(holder) for index in range(8)])

        assert sorted(fences, key=str) == [1, *[None] * 7]


def test_two_senders_never_claim_the_same_obligation(world: World) -> None:
    """Claims made at one instant share nothing, and together they are everything."""
    ids = all_at(world, pairs(world, 120), State.UNBINDING)

    def claim() -> list[str]:
        with world.installation.db.begin() as tx:
            due = obligations.claim(tx, "alpha-pay", TargetKind.PLATFORM, most=7, for_=timedelta(minutes=1))
            return [each.cycle_id for each in due]

    claimed = race(*[[claim] * len(ids)] * 3)

    assert unexpected(claimed) == []
    assert sorted(cycle_id for turn in claimed for part in turn for cycle_id in part) == sorted(ids)


def test_a_recall_and_a_new_cancellation_at_one_instant(world: World) -> None:
    """The number begins one next cycle, whichever of both it is."""
    ids, people = all_at(world, pairs(world, 20), State.RESELLABLE), staff(world)
    two, proposals = engine(world).two_person, {}
    for index, cycle_id in enumerate(ids):
        sell(world.installation, people.shop, number(index), str(facts_of(world, cycle_id).tag), "form 1")
    world.clock.pass_by(timedelta(days=3))
    for cycle_id in ids:
        arguments = {"line_cancelled_at": world.clock.now().isoformat()}
        proposals[cycle_id] = two.propose(people.operator, cycle_id, Command.RECALL, "defect 1", arguments)
    files = {cycle_id: a_file(1, now=world.clock.now(), first=index, source_ref="again") for index, cycle_id in enumerate(ids)}

    results = race(
        calls(ids, lambda cycle_id: two.approve(people.approver, proposals[cycle_id])),
        calls(ids, lambda cycle_id: enrol_file(world.installation, people.enroller, files[cycle_id])),
    )

    assert unexpected(results) == []
    for cycle_id, (recalled, report) in zip(ids, results, strict=True):
        assert isinstance(recalled, CommandRefused) is (report.accepted == 1)
        assert row_of(world, replace(ref(cycle_id), cycle_no=2).cycle_id).recalled is (report.accepted == 0)


def test_enrolling_while_others_are_enrolled_elsewhere_disturbs_nobody(world: World) -> None:
    """Different numbers in files at one instant all begin."""
    person = staff(world).enroller

    reports = at_once([lambda part=part: enrol_file(world.installation, person, a_file(20, first=part * 20)) for part in range(4)])

    assert [report.accepted for report in reports] == [20] * 4
    assert enrolled(world, 1, first=0, source_ref="later")[0].endswith("/1")


def _out_of_reach(_: UnbindItem) -> Outcome:
    what = "It can't be reached."
    raise TargetUnavailable(what, remedy="wait.")


class Crossed:
    """A transaction that holds the later of two cycles, and wants the earlier one once somebody who has that waits for it."""

    def __init__(self, world: World, first: str, last: str) -> None:
        """Begin with the later one."""
        self._connection = world.installation.db.engine.connect()
        self._first = first
        self._connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))  # so that the other one is ended
        self._lock(last)

    def cross(self) -> None:
        """Wait until somebody waits, then for them."""
        while not self._connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
            pass
        self._lock(self._first)
        self._connection.close()

    def _lock(self, cycle_id: str) -> None:
        self._connection.execute(text("SELECT 1 FROM cycles WHERE cycle_id = :id FOR UPDATE"), {"id": cycle_id})


@pytest.mark.parametrize("down", [False, True])
def test_an_answer_outlives_a_deadlock(postgres_world: World, down: bool) -> None:
    """What came of a request is written once more when the database ends its transaction for another's sake, and the turn goes on."""
    world = postgres_world
    first, last = sorted(all_at(world, 2, State.UNBINDING))
    if down:
        world.platforms["alpha-pay"].says = _out_of_reach
    with ThreadPoolExecutor(1) as threads:
        crossed = Crossed(world, first, last)
        other = threads.submit(crossed.cross)
        asyncio.run(UnbindingRounds(world.installation, "alpha-pay").round("test", _lease(world, "alpha-pay"), Tally()))
        other.result(60)

    with world.installation.db.read() as tx:
        owed = obligations.at_target(tx, "alpha-pay", (first, last))
    assert [(owed[each].failures, owed[each].asked) for each in (first, last)] == [(1, 0) if down else (0, 1)] * 2


def test_an_answer_at_the_desk_outlives_a_deadlock(postgres_world: World) -> None:
    """A lone callback is applied once more and acknowledged."""
    world = postgres_world
    first, last = sorted(all_at(world, 2, State.UNBINDING))
    said = {references(world, each)["alpha-pay"]: Outcome.CLEAR for each in (first, last)}
    delivery = signed_delivery(world.keys["alpha-pay"], said, world.clock.now())
    with ThreadPoolExecutor(1) as threads:
        crossed = Crossed(world, first, last)
        other = threads.submit(crossed.cross)
        accept_answer(world.installation, "alpha-pay", delivery, list(said.items()))
        other.result(60)

    assert [owed_by(world, each)["alpha-pay"].status for each in (first, last)] == [Status.DISCHARGED] * 2
