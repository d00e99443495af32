"""What is kept by law, listed; and whose number it was on a day, on both databases."""

import json
from datetime import date, datetime

import pytest
from builders import World, advance, enrolled, number
from builders_commands import by_two
from builders_cycles import all_at, engine, facts_of, staff
from builders_retention import BASIS, DAY, LAST_DAY, PLANTED, a_row, hold, keeper, keeping, lift, to_day

from fallow.domain.errors import InputRefused, NotKnown
from fallow.domain.lifecycle import Command, State
from fallow.operations.held_by_law import HeldBy, list_kept, who_held
from fallow.operations.sale import sell

#: ``builders.a_file`` cancels a number a day before it is enrolled, on 2026-03-01.
LEFT = date(2026, 3, 1)


def asked(world: World, on: date) -> HeldBy:
    """Ask whose the first number was."""
    return who_held(world.installation, staff(world).auditor, number(0), on)


def sold_on_shelf(world: World) -> str:
    """Return a cycle that was sold the day it became RESELLABLE."""
    cycle_id = enrolled(world, disconnected_at=world.clock.now().isoformat())[0]
    advance(world, cycle_id, State.RESELLABLE)
    sell(world.installation, staff(world).shop, number(0), str(facts_of(world, cycle_id).tag), "form 1")
    return cycle_id


def test_the_list_says_what_where_how_why_and_until_when(world: World) -> None:
    """Each entry names cycle, system, collection, basis, expiry, rows, and whether a hold suspends it; no content."""
    people = staff(world)
    keeping(world, restricts={"invoices": 3}, seals={"calls": [json.dumps({"name": PLANTED}).encode()]})
    cycle_id, other = sorted(all_at(world, 2, State.UNBINDING))
    hold(world, people, cycle_id)

    listed = list_kept(world.installation, people.auditor)

    assert [each["cycle_id"] for each in listed] == [cycle_id, cycle_id, other, other]
    assert listed[:2] == [
        {
            "cycle_id": cycle_id,
            "target_id": "billing",
            "collection": collection,
            "how": how,
            "basis": BASIS,
            "kept_until": "2026-03-31",
            "rows": rows,
            "destroyed_at": None,
            "suspended": True,
            "overdue": False,
        }
        for collection, how, rows in (("calls", "sealed here", 1), ("invoices", "restricted there", 3))
    ]
    assert [each["suspended"] for each in listed[2:]] == [False, False]
    assert PLANTED not in json.dumps(listed)


def test_the_list_goes_on_and_can_be_of_one_cycle(world: World) -> None:
    """A page ends with whole cycles; what is destroyed stays listed with its day, and what should be and is not is overdue."""
    people, ids = staff(world), sorted(enrolled(world, 3))
    keeper(world).keep("billing", [a_row(cycle_id, each) for cycle_id in ids for each in ("invoices", "calls")])
    first = list_kept(world.installation, people.auditor, limit=2)
    rest = list_kept(world.installation, people.auditor, after=first[-1]["cycle_id"], limit=2)
    assert [each["cycle_id"] for each in first + rest] == [ids[0], ids[0], ids[1], ids[1], ids[2], ids[2]]

    to_day(world, LAST_DAY + DAY)
    assert {each["overdue"] for each in list_kept(world.installation, people.auditor)} == {True}
    keeper(world).upkeep()

    listed = list_kept(world.installation, people.auditor, cycle_id=ids[1])
    assert [(each["cycle_id"], each["destroyed_at"][:10], each["overdue"]) for each in listed] == [(ids[1], "2026-04-01", False)] * 2
    with pytest.raises(NotKnown):
        list_kept(world.installation, people.auditor, cycle_id="n_none/1")


def test_on_the_day_it_was_cancelled_it_was_still_its_former_holders(world: World) -> None:
    """Until and on that day the cycle's former holder had it, unless somebody did before whom nobody here knows; a day later nobody."""
    (cycle_id,) = enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])

    on_the_day, before, after = asked(world, LEFT), asked(world, LEFT - 1000 * DAY), asked(world, LEFT + DAY)

    assert (on_the_day.cycle_id, [each["collection"] for each in on_the_day.kept]) == (cycle_id, ["invoices"])
    assert before.cycle_id == cycle_id
    assert "when they began is not known here" in before.why
    assert (after.cycle_id, after.kept) == (None, [])
    assert after.why.startswith("Nobody")
    assert PLANTED not in json.dumps(on_the_day.kept)


def test_days_of_several_holders_are_told_apart(world: World) -> None:
    """Two former holders, the days between them when it lay fallow, and the present holder who is never stored."""
    world.clock.pass_to(datetime.fromisoformat("2026-03-02T08:00:00+00:00"))
    first = sold_on_shelf(world)
    first_sold = world.clock.now().date()
    world.clock.pass_by(30 * DAY)
    second_left = world.clock.now().date()
    second = sold_on_shelf(world)
    second_sold = world.clock.now().date()
    world.clock.pass_by(5 * DAY)

    holders = {
        date(2026, 3, 2): first,
        date(2026, 3, 3): None,
        first_sold - DAY: None,
        first_sold: second,
        second_left: second,
        second_left + DAY: None,
        second_sold - DAY: None,
        second_sold: None,
    }

    assert {day: asked(world, day).cycle_id for day in holders} == holders
    assert asked(world, second_sold - DAY).why.startswith("Nobody")
    assert "never stored" in asked(world, second_sold).why
    assert asked(world, first_sold).why.endswith(f"who had it from {first_sold} and left on {second_left}.")


def test_the_day_is_utcs(world: World) -> None:
    """A line that ended at one in the morning in Paris ended the day before."""
    cycle_id = enrolled(world, disconnected_at="2026-03-01T00:30:00+01:00")[0]

    assert asked(world, date(2026, 2, 28)).cycle_id == cycle_id
    assert asked(world, date(2026, 3, 1)).cycle_id is None


def test_whoever_took_it_back_is_not_told_apart_from_a_present_holder(world: World) -> None:
    """After a reclaim the number is with somebody again, from that day on."""
    people = staff(world)
    (cycle_id,) = enrolled(world, by=people.enroller)
    world.clock.pass_by(3 * DAY)
    by_two(world, people, cycle_id, Command.RECLAIM, ground="former-holder")
    world.clock.pass_by(30 * DAY)
    again = enrolled(world, disconnected_at=world.clock.now().isoformat())[0]

    assert asked(world, date(2026, 3, 3)).cycle_id is None
    assert asked(world, date(2026, 3, 5)).cycle_id == again


def test_what_went_elsewhere_is_not_known(world: World) -> None:
    """A number that was withdrawn may be with anybody; should it come back, nobody knows since when its next holder had it."""
    people, (cycle_id,) = staff(world), enrolled(world)
    engine(world).commands.withdraw(people.operator, cycle_id, "ported out")
    world.clock.pass_by(30 * DAY)
    assert asked(world, LEFT + 3 * DAY).why.startswith("Not known")

    again = enrolled(world, disconnected_at=world.clock.now().isoformat())[0]

    found = asked(world, LEFT + 3 * DAY)
    assert (found.cycle_id, "is not known here" in found.why) == (again, True)


def test_a_day_to_come_and_a_strange_number_are_refused(world: World) -> None:
    """Nobody knows tomorrow, nor a number that was never enrolled."""
    enrolled(world)

    with pytest.raises(InputRefused):
        asked(world, world.clock.now().date() + DAY)
    with pytest.raises(NotKnown):
        who_held(world.installation, staff(world).auditor, number(1), LEFT)


def test_a_hold_shows_at_once(world: World) -> None:
    """Suspended from the hold on until it is lifted."""
    people, (cycle_id,) = staff(world), enrolled(world)
    keeper(world).keep("billing", [a_row(cycle_id)])

    seen = []
    for change in (hold, lift):
        change(world, people, cycle_id)
        seen.append([each["suspended"] for each in list_kept(world.installation, people.auditor)])

    assert seen == [[True], [False]]
