"""What a record system's sender does with what it finds: newer holders, order among systems, the words of ATTENTION."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from builders import RECORD_SYSTEMS, World, advance, enrolled, number, state_of, wipe_all
from builders_cycles import all_at, engine, events_of, facts_of, number_of, owed_by, staff
from builders_retention import keeping
from memory_ports import START, MemoryRecords
from sqlalchemy import text

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Status, TargetKind
from fallow.domain.ports import Keeper, WipeOrder, WipeReceipt
from fallow.store import obligations


@dataclass
class Overburdened(MemoryRecords):
    """A record system that fails as a whole whenever one number is in the batch, as one whose rows take too long does.

    Attributes:
        heavy: the number.
        asked: the sizes of all batches, and whether the number was in them.
    """

    heavy: E164 = field(default_factory=lambda: number(20))
    asked: list[tuple[int, bool]] = field(default_factory=list)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Fail, or carry out the orders."""
        failing = any(order.number == self.heavy for order in orders)
        self.asked.append((len(orders), failing))
        if failing:
            what = f"The record system {self.system_id} did not finish in time."
            raise TargetUnavailable(what, remedy="give it an index.")
        return super().wipe(orders, keeper)


def at_wiping(world: World) -> str:
    """Return a cycle whose record systems are owed."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.WIPING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)
    return cycle_id


def statuses(world: World, cycle_id: str) -> dict[str, Status]:
    """Return how far each record system is."""
    with world.installation.db.read() as tx:
        return {row.target_id: Status(row.status) for row in obligations.of_cycle(tx, cycle_id)}


def test_a_newer_holders_row_stops_the_stage(world: World) -> None:
    """The number stays in WIPING with a reason of its own and the collections named, whatever else is clean; a retry looks again."""
    world.record_systems["crm"].newer = 1
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    stopped = (state_of(world, cycle_id), facts_of(world, cycle_id).attention)

    world.record_systems["crm"].newer = 0
    engine(world).commands.retry(staff(world).operator, cycle_id, "it was a test call")
    advance(world, cycle_id, State.RESELLABLE)

    assert stopped == (State.WIPING, {Attention(Reason.NEWER_HOLDER, "crm")})
    raised = [event.body for event in events_of(world, cycle_id) if event.kind is Kind.ATTENTION_RAISED]
    assert raised == [{"attention": "newer-holder:crm", "why": list(world.record_systems["crm"].collections)}]
    assert state_of(world, cycle_id) is State.RESELLABLE


@pytest.mark.parametrize("system_id", RECORD_SYSTEMS)
@pytest.mark.parametrize(("field", "reason"), [("remaining", Reason.WIPE_INCOMPLETE), ("newer", Reason.NEWER_HOLDER)])
def test_no_path_reaches_unbinding_with_a_receipt_missing(world: World, system_id: str, field: str, reason: Reason) -> None:
    """Each system alone keeps the stage from settling, however often everybody looks; the others' receipts stand."""
    setattr(world.record_systems[system_id], field, 1)
    cycle_id = at_wiping(world)

    for _ in range(3):
        wipe_all(world)
        engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)

    assert state_of(world, cycle_id) is State.WIPING
    assert facts_of(world, cycle_id).attention == {Attention(reason, system_id)}
    assert {target_id for target_id, status in statuses(world, cycle_id).items() if status is not Status.DISCHARGED} == {system_id}


def test_a_system_waits_for_those_that_come_before_it(world: World) -> None:
    """What must be erased after another is claimed only once that one is discharged, and is due for nobody before."""
    first, second = list(world.record_systems)[:2]
    world.record_systems[first].after = frozenset({second})
    world.record_systems[second].down = True
    cycle_id = at_wiping(world)
    after = {system_id: system.after for system_id, system in world.record_systems.items()}

    wipe_all(world)
    with world.installation.db.read() as tx:
        due_before = obligations.due_targets(tx, after)
    world.record_systems[second].down = False
    world.clock.pass_by(timedelta(minutes=1))
    wipe_all(world)
    with world.installation.db.read() as tx:
        due_then = obligations.due_targets(tx, after)
    wipe_all(world)

    assert first not in due_before
    assert first in due_then
    assert set(statuses(world, cycle_id).values()) == {Status.DISCHARGED}


def test_the_same_receipt_again_is_the_same_evidence(world: World) -> None:
    """After a retry a receipt may be to the byte as it was: the obligation cites it once more, and nothing breaks."""
    world.record_systems["crm"].remaining = 1
    cycle_id = at_wiping(world)
    wipe_all(world)
    before = owed_by(world, cycle_id)["crm"]

    engine(world).commands.retry(staff(world).operator, cycle_id, "it was mended")
    wipe_all(world)

    assert (before.status, owed_by(world, cycle_id)["crm"]) == (Status.REFUSED, before)
    assert facts_of(world, cycle_id).attention == {Attention(Reason.WIPE_INCOMPLETE, "crm")}


def test_an_order_shows_nothing_of_its_holder() -> None:
    """Neither subscription nor pseudonym is in an order's printed form, which may end in a traceback."""
    shown = repr(WipeOrder("n_x/1", number(0), START, "S-77", "pseudonymous"))

    assert "S-77" not in shown
    assert "pseudonymous" not in shown


def test_rows_kept_by_law_that_vanished_stop_the_stage(world: World) -> None:
    """Rows that were restricted and are not found kept at the read-back are a fault, with their collection named."""
    keeping(world, restricts={"invoices": 0})
    cycle_id = enrolled(world)[0]

    advance(world, cycle_id, State.RESELLABLE)

    assert (state_of(world, cycle_id), facts_of(world, cycle_id).attention) == (
        State.WIPING,
        {Attention(Reason.WIPE_INCOMPLETE, "billing")},
    )
    assert [each.body["why"] for each in events_of(world, cycle_id) if each.kind is Kind.ATTENTION_RAISED] == [["invoices"]]
    assert statuses(world, cycle_id)["billing"] is Status.REFUSED


def test_a_refused_change_is_found_out_and_said_as_such(world: World) -> None:
    """One number among others whose rows the system will not let go is sent alone and goes to a person; the others are discharged."""
    world.record_systems["billing"].refuses = {number(1)}
    cycle_ids = enrolled(world, 3)
    for cycle_id in cycle_ids:
        advance(world, cycle_id, State.QUARANTINED)
        advance(world, cycle_id, State.WIPING)
        engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)

    for _ in range(6):
        wipe_all(world)
        world.clock.pass_by(timedelta(minutes=1))

    settled = {cycle_id: statuses(world, cycle_id)["billing"] for cycle_id in cycle_ids}
    assert list(settled.values()) == [Status.DISCHARGED, Status.REFUSED, Status.DISCHARGED]
    assert facts_of(world, cycle_ids[1]).attention == {Attention(Reason.WIPE_REFUSED, "billing")}
    assert "fallow records check" in Attention(Reason.WIPE_REFUSED, "billing").next


def test_a_batch_that_fails_as_a_whole_halves_until_only_what_spoils_it_is_left(world: World) -> None:
    """Within a minute every other number is wiped, in few requests, and the one that spoils its batch is asked for alone."""
    system = Overburdened("crm", world.record_systems["crm"].collections, clock=world.clock)
    world.installation.record_systems["crm"] = world.record_systems["crm"] = system  # type: ignore[index]
    ids = all_at(world, 60, State.WIPING)

    for _ in range(60):
        wipe_all(world)
        world.clock.pass_by(timedelta(seconds=1))

    left = [cycle_id for cycle_id in ids if statuses(world, cycle_id)["crm"] is not Status.DISCHARGED]
    assert [number_of(world, cycle_id) for cycle_id in left] == [system.heavy]
    assert (1, True) in system.asked
    assert len(system.asked) < 20, system.asked
    assert max(size for size, _ in system.asked) == system.batch


def test_a_number_that_can_not_be_read_keeps_no_other_from_being_wiped(damaged: World) -> None:
    """A row that was altered goes to a person, at every system; the rest of its batch is wiped."""
    lost, *others = all_at(damaged, 3, State.WIPING)
    with damaged.installation.db.begin() as tx:
        altered = text("UPDATE numbers SET sealed = :sealed WHERE number_id = :id")
        tx.session.execute(altered, {"sealed": b"x" * 40, "id": lost.partition("/")[0]})

    wipe_all(damaged)
    wipe_all(damaged)

    assert facts_of(damaged, lost).attention == {Attention(Reason.WIPE_REFUSED, each) for each in damaged.record_systems}
    assert {status for each in others for target, status in statuses(damaged, each).items() if target in damaged.record_systems} == {
        Status.DISCHARGED
    }
