"""The dry run of a wipe and the second look at one, on SQLite and on PostgreSQL, with record systems in memory."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import World, a_person, advance, enrolled, number, wipe_all
from builders_cycles import engine
from memory_ports import MemoryRecords
from sqlmodel import update

from fallow.domain.cycle import ref
from fallow.domain.errors import GateRefused, InstantMalformed, NotKnown, PersonRefused, TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import TargetKind
from fallow.domain.people import Role
from fallow.domain.ports import WipeOrder, WipeReceipt
from fallow.operations.key_epochs import rotate
from fallow.operations.planning import Plan, plan
from fallow.operations.rechecking import Ledger, Rechecked, recheck
from fallow.store.tables import EvidenceRow
from fallow.store.wrapping import WrappingKeys

STATED = "2026-01-31T12:00:00+08:00"


def planned(world: World, *numbers: E164, stated: str | None = None) -> Plan:
    """Return the dry run that an auditor gets."""
    return plan(world.installation, a_person(world, Role.AUDITOR), list(enumerate(numbers, 1)), stated)


def rechecked(world: World, *cycle_ids: str, told_apart: tuple[str, ...] = ()) -> tuple[list[Rechecked], dict[str, type[Exception]]]:
    """Return what a second look at billing finds, and what could not be looked at."""
    here = world.installation
    ledger = Ledger(here.db, here.vault, here.wrapping)
    found, errors = recheck(ledger, a_person(world, Role.AUDITOR), world.record_systems["billing"], cycle_ids, told_apart)
    return found, {cycle_id: type(error) for cycle_id, error in errors.items()}


def wiped(world: World) -> str:
    """Return a cycle whose records have been wiped."""
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.UNBINDING)
    return cycle_id


def test_a_plan_takes_the_disconnect_of_an_open_cycle(world: World) -> None:
    """Of a number in a cycle the cycle says when it was disconnected, whatever else is stated; the number itself is masked."""
    (cycle_id,) = enrolled(world)
    found = planned(world, number(0), stated=STATED)

    assert [(each.line, each.cycle_id, each.number) for each in found.numbers] == [(1, cycle_id, "+33*******00")]
    assert found.numbers[0].disconnected_at == world.clock.now() - timedelta(days=1)
    assert [(each.system, each.collection.collection, each.collection.in_scope) for each in found.numbers[0].found] == [
        ("billing", "invoices", 1),
        ("billing", "calls", 1),
        ("crm", "contacts", 1),
    ]
    assert number(0).text not in repr(found)
    assert (found.refused, found.silent, found.numbers[0].in_the_way) == ((), {}, [])


def test_a_number_without_a_cycle_needs_an_instant(world: World) -> None:
    """Unknown and ended numbers are planned for as of the stated instant, and refused by line without one."""
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.RESELLABLE)
    refused = planned(world, number(0), number(1)).refused
    found = planned(world, number(0), number(1), stated=STATED)

    assert [each.line for each in refused] == [1, 2]
    assert all("--disconnected-at" in each.why for each in refused)
    assert [(each.cycle_id, each.disconnected_at.isoformat()) for each in found.numbers] == [(None, "2026-01-31T04:00:00+00:00")] * 2
    with pytest.raises(InstantMalformed):
        planned(world, number(1), stated="yesterday")


def test_a_plan_follows_the_order_of_the_systems(world: World) -> None:
    """A system comes behind those it is cleared after, and one that is not in the map keeps nobody back."""
    world.record_systems["billing"].after = frozenset({"crm", "gone"})
    found = planned(world, number(0), stated=STATED)

    assert found.order == ("crm", "billing")
    assert [each.system for each in found.numbers[0].found] == ["crm", "billing", "billing"]


def test_a_plan_says_what_is_in_the_way(world: World) -> None:
    """Rows that nothing can decide, and rows of a newer holder, are named with system and collection."""
    world.record_systems["crm"].remaining, world.record_systems["billing"].newer = 2, 1
    found = planned(world, number(0), stated=STATED)

    assert [each.partition(". Remedy: ")[0] for each in found.numbers[0].in_the_way] == [
        "billing.invoices: 1 row is a newer holder's (no subscription is known: a final bill counts so): the stage stops",
        "billing.calls: 1 row is a newer holder's (no subscription is known: a final bill counts so): the stage stops",
        "crm.contacts: 2 rows are undecided: not touched, and the read-back fails",
    ]
    assert all("Remedy: " in each for each in found.numbers[0].in_the_way)


def test_a_system_that_is_down_does_not_silence_the_others(world: World) -> None:
    """The plan of the other systems stands, and the silent one is named."""
    world.record_systems["billing"].down = True
    found = planned(world, number(0), stated=STATED)

    assert {name: type(error) for name, error in found.silent.items()} == {"billing": TargetUnavailable}
    assert [each.system for each in found.numbers[0].found] == ["crm"]


def test_a_plan_asks_in_batches(world: World) -> None:
    """More numbers than a system takes at once come back whole and in order."""
    for system in world.record_systems.values():
        system.batch = 2
    found = planned(world, *(number(index) for index in range(5)), stated=STATED)

    assert [each.number[-2:] for each in found.numbers] == ["00", "01", "02", "03", "04"]
    assert {len(each.found) for each in found.numbers} == {3}


def test_a_plan_and_a_recheck_change_nothing(world: World) -> None:
    """Neither wipes."""
    cycle_id = wiped(world)
    before = list(world.record_systems["billing"].wiped)
    planned(world, number(0), stated=STATED)
    rechecked(world, cycle_id)

    assert world.record_systems["billing"].wiped == before


def test_only_readers_may_look(world: World) -> None:
    """A shop may neither plan nor recheck."""
    here, shop = world.installation, a_person(world, Role.SHOP)

    with pytest.raises(PersonRefused):
        plan(here, shop, [], None)
    with pytest.raises(PersonRefused):
        recheck(Ledger(here.db, here.vault, here.wrapping), shop, world.record_systems["billing"], [])


def test_a_recheck_that_finds_what_the_receipt_says(world: World) -> None:
    """Nothing left, the same query, the same meaning: nothing is amiss in any collection."""
    cycle_id = wiped(world)
    found, unsaid = rechecked(world, cycle_id)

    assert [(each.cycle_id, each.collection, each.amiss) for each in found] == [(cycle_id, "invoices", []), (cycle_id, "calls", [])]
    assert unsaid == {}


def test_a_recheck_finds_rows(world: World) -> None:
    """Rows of the former holder are amiss for ever; those of a newer holder only as long as the number is not released."""
    cycle_id, system = wiped(world), world.record_systems["billing"]
    system.remaining, system.newer = 3, 2
    assert [len(each.amiss) for each in rechecked(world, cycle_id)[0]] == [2, 2]
    system.remaining = system.newer = 0
    advance(world, cycle_id, State.RESELLABLE)
    system.newer = 2
    assert [each.amiss for each in rechecked(world, cycle_id)[0]] == [[], []]
    system.remaining = 1
    assert [each.amiss for each in rechecked(world, cycle_id)[0]] == [["1 row of the former holder"]] * 2


class Placed(MemoryRecords):
    """The same system at a place that its receipts name."""

    place = "1" * 16

    def _receipt_of(self, order: WipeOrder, affected: int) -> WipeReceipt:
        return replace(super()._receipt_of(order, affected), place=self.place)


def test_a_recheck_sees_that_it_looks_elsewhere(world: World) -> None:
    """Another database under the same map contradicts the receipt, unless who asks named the address: then it is only said."""
    system = world.record_systems["billing"] = Placed("billing", ("invoices", "calls"), clock=world.clock)
    cycle_id = wiped(world)
    here, auditor = world.installation, a_person(world, Role.AUDITOR)
    ledger = Ledger(here.db, here.vault, here.wrapping)

    there, _ = recheck(ledger, auditor, system, [cycle_id])
    system.place = "2" * 16
    elsewhere, _ = recheck(ledger, auditor, system, [cycle_id])
    asked, _ = recheck(ledger, auditor, system, [cycle_id], own_address=True)
    nowhere, _ = recheck(ledger, auditor, MemoryRecords("billing", ("invoices", "calls")), [cycle_id])

    assert [(each.same_place, each.amiss) for each in there] == [(True, [])] * 2
    assert [(each.same_place, each.amiss) for each in elsewhere] == [(False, ["read at another place than the receipt"])] * 2
    assert [(each.same_place, each.amiss) for each in asked] == [(False, [])] * 2
    assert [each.same_place for each in nowhere] == [False] * 2


def test_a_receipt_of_before_places_contradicts_none(world: World) -> None:
    """A receipt that names no place is compared with no place."""
    cycle_id = wiped(world)
    world.record_systems["billing"] = Placed("billing", ("invoices", "calls"), clock=world.clock)

    assert [(each.same_place, each.amiss) for each in rechecked(world, cycle_id)[0]] == [(None, [])] * 2


class Otherwise(MemoryRecords):
    """The same system under a map that says something else."""

    def read_back(self, orders):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as its parent's
        """Answer another query, of another meaning, for one collection more."""
        other = [replace(receipt, query="2" * 64, meaning="other") for receipt in super().read_back(orders)[0].collections]
        return [replace(super().read_back(orders)[0], collections=(*other[1:], replace(other[0], collection="more")))]


def test_a_recheck_sees_that_the_map_was_changed(world: World) -> None:
    """Another query, another meaning, a collection more and one less are each told."""
    cycle_id = wiped(world)
    changed = Otherwise("billing", ("invoices", "calls"))
    world.record_systems["billing"] = changed
    found = {each.collection: each.amiss for each in rechecked(world, cycle_id)[0]}

    assert found == {
        "calls": ["another query than the receipt's", "the map says otherwise than at the receipt"],
        "more": ["not in the receipt"],
        "invoices": ["in the receipt, and no longer in the map"],
    }


def test_a_recheck_says_where_only_time_tells_holders_apart(world: World) -> None:
    """Where the map names a subscription and nobody knows it any more, that is said of that collection alone."""
    found, _ = rechecked(world, wiped(world), told_apart=("calls",))

    assert [(each.collection, each.by_time_only) for each in found] == [("invoices", False), ("calls", True)]


def test_a_recheck_of_what_has_no_receipt(world: World) -> None:
    """An unknown cycle and one that is not wiped yet are not known; an altered receipt is no evidence."""
    cycle_id = wiped(world)
    (waiting,) = enrolled(world, first=7)
    with world.installation.db.begin() as tx:
        tx.session.exec(update(EvidenceRow).where(EvidenceRow.cycle_id == cycle_id).values(body="{}"))  # type: ignore[arg-type]
    found, unsaid = rechecked(world, cycle_id, waiting, "n_nobody/1")

    assert found == []
    assert unsaid == {cycle_id: GateRefused, waiting: NotKnown, "n_nobody/1": NotKnown}


class Overtaken(WrappingKeys):
    """Keys that another process rotates between a holder's row and the look for its key."""

    rotate: Callable[[], object]

    def unwrap(self, name: str, wrapped: bytes, bound_to: str) -> bytes:
        """Come too late for the first epoch's."""
        if name == "holder-1" and self.exists(name):
            self.rotate()
        return super().unwrap(name, wrapped, bound_to)


def overtaken(world: World) -> Overtaken:
    """Return the world's keys, to be overtaken once."""
    here = world.installation
    keys = Overtaken(here.wrapping._folder)
    keys.rotate = lambda: rotate(here.db, here.wrapping)
    return keys


def test_a_rotation_meanwhile_stops_no_plan(postgres_world: World) -> None:
    """A dry run that reads a row just before a rotation destroys its key reads the row again."""
    enrolled(postgres_world, subscription="S-77")
    here = replace(postgres_world.installation, wrapping=overtaken(postgres_world))

    found = plan(here, a_person(postgres_world, Role.AUDITOR), [(1, number(0))], None)

    assert [each.by_subscription for each in found.numbers] == [True]


def test_a_rotation_meanwhile_stops_no_recheck(postgres_world: World) -> None:
    """Neither does it stop a second look."""
    (cycle_id,) = enrolled(postgres_world, subscription="S-77")
    advance(postgres_world, cycle_id, State.WIPING)
    engine(postgres_world).stages.clear(ref(cycle_id), TargetKind.RECORDS)
    wipe_all(postgres_world)
    here, system = postgres_world.installation, postgres_world.record_systems["billing"]
    ledger = Ledger(here.db, here.vault, overtaken(postgres_world))

    found, unsaid = recheck(ledger, a_person(postgres_world, Role.AUDITOR), system, [cycle_id], ("calls",))

    assert ([each.by_time_only for each in found], unsaid) == ([False, False], {})
