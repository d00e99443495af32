"""What inventory is told: each number once when it is for sale, once when it must be taken back, on both databases."""

from collections.abc import Callable

import pytest
from builders import World, advance, enrolled, number, state_of
from builders_cycles import Staff, answer, engine, facts_of, staff
from sqlmodel import col, select

from fallow.domain.errors import PersonRefused
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Outcome
from fallow.operations.inventory import mark_exported, mark_withheld, released, withheld
from fallow.operations.sale import sell
from fallow.store.tables import OutboxRow


@pytest.fixture
def people(world: World) -> Staff:
    """Return the staff."""
    return staff(world)


def exported(world: World, people: Staff, count: int = 1) -> list[str]:
    """Return RESELLABLE cycles that inventory was given."""
    ids = enrolled(world, count)
    for cycle_id in ids:
        advance(world, cycle_id, State.RESELLABLE)
    assert offer(world, people) == ids
    return ids


def offer(world: World, people: Staff, *, again: bool = False) -> list[str]:
    """Export what is for sale; return its cycles."""
    page = released(world.installation, people.operator, again=again)
    mark_exported(world.installation, people.operator, [each.outbox_id for each in page])
    return [each.cycle_id for each in page]


def take_back(world: World, people: Staff, *, again: bool = False) -> list[str]:
    """Export what must be taken back; return its cycles."""
    page = withheld(world.installation, people.operator, again=again)
    mark_withheld(world.installation, people.operator, [each.outbox_id for each in page])
    return [each.cycle_id for each in page]


def hold(world: World, people: Staff, cycle_id: str) -> None:
    """Place a hold."""
    engine(world).commands.hold(people.operator, cycle_id, "court 7")


def contradict(world: World, _people: Staff, cycle_id: str) -> None:
    """Let a platform take its clearance back."""
    answer(world, "beta-chat", cycle_id, Outcome.REFUSED)


def retire(world: World, people: Staff, cycle_id: str) -> None:
    """Retire it by two people."""
    two = engine(world).two_person
    two.approve(people.approver, two.propose(people.operator, cycle_id, Command.RETIRE, "crime 1", {}))


def hand_back(world: World, people: Staff, cycle_id: str) -> None:
    """Return it to its range holder."""
    engine(world).commands.hand_back(people.operator, cycle_id, "port 1")


def lift(world: World, people: Staff, cycle_id: str) -> None:
    """Lift every hold."""
    for hold_id in facts_of(world, cycle_id).holds:
        engine(world).commands.lift(people.operator, cycle_id, hold_id, "court 7")


@pytest.mark.parametrize("end", [hold, contradict, retire, hand_back])
def test_what_is_no_longer_for_sale_is_taken_back_once(world: World, people: Staff, end: Callable[[World, Staff, str], None]) -> None:
    """Inventory had it and is told, once, and again where it asks for everything."""
    first, second = exported(world, people, 2)
    end(world, people, first)

    told = [take_back(world, people), take_back(world, people), take_back(world, people, again=True)]

    assert told == [[first], [], [first]]
    assert offer(world, people) == []
    assert offer(world, people, again=True) == [second]


def test_what_inventory_never_had_is_not_taken_back(world: World, people: Staff) -> None:
    """A number held before its first export waits, and is offered once it is clear."""
    (cycle_id,) = enrolled(world)
    advance(world, cycle_id, State.RESELLABLE)
    hold(world, people, cycle_id)

    assert (offer(world, people), take_back(world, people)) == ([], [])
    lift(world, people, cycle_id)
    assert (offer(world, people), offer(world, people), take_back(world, people)) == ([cycle_id], [], [])


def test_a_number_goes_to_and_fro_as_often_as_it_must(world: World, people: Staff) -> None:
    """Taken back, offered again once it is clear, taken back again: each change told exactly once."""
    (cycle_id,) = exported(world, people)

    for _ in range(3):
        hold(world, people, cycle_id)
        assert (take_back(world, people), take_back(world, people), offer(world, people)) == ([cycle_id], [], [])
        lift(world, people, cycle_id)
        assert (offer(world, people), offer(world, people), take_back(world, people)) == ([cycle_id], [], [])

    assert offer(world, people, again=True) == [cycle_id]
    with world.installation.db.read() as tx:
        kinds = [row.kind for row in tx.session.exec(select(OutboxRow).order_by(col(OutboxRow.outbox_id)))]
    assert kinds == ["NumberReleased", *["NumberWithheld", "NumberReleasedAgain"] * 3]


def test_a_hold_that_was_lifted_before_anybody_was_told_is_nothing(world: World, people: Staff) -> None:
    """Inventory learns where a number stands, not what became of it in between."""
    (cycle_id,) = exported(world, people)
    hold(world, people, cycle_id)
    lift(world, people, cycle_id)

    assert (take_back(world, people), offer(world, people)) == ([], [])


def test_a_list_that_broke_off_comes_again(world: World, people: Staff) -> None:
    """Told is what was marked after it was written."""
    (cycle_id,) = exported(world, people)
    hold(world, people, cycle_id)

    assert [each.cycle_id for each in withheld(world.installation, people.operator)] == [cycle_id]
    assert take_back(world, people) == [cycle_id]


def test_a_sold_number_is_not_taken_back(world: World, people: Staff) -> None:
    """It left inventory by its sale."""
    (cycle_id,) = exported(world, people)
    sell(world.installation, people.shop, number(0), str(facts_of(world, cycle_id).tag), "form 1")

    assert state_of(world, cycle_id) is State.REASSIGNED
    assert take_back(world, people, again=True) == []


def test_only_who_exports_may_take_back(world: World, people: Staff) -> None:
    """The list holds numbers in the clear."""
    for person in (people.auditor, people.shop, people.approver):
        with pytest.raises(PersonRefused):
            withheld(world.installation, person)
        with pytest.raises(PersonRefused):
            mark_withheld(world.installation, person, [1])
