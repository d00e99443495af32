"""Sale and recall, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import World, a_file, a_person, advance, an_installation, enrolled, number, state_of
from builders_commands import DAY, resellable, sold
from builders_cycles import engine, facts_of, number_of, row_of, staff
from memory_ports import START
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, InputRefused, NotKnown, PersonRefused, SecondPersonNeeded
from fallow.domain.lifecycle import Command, State
from fallow.domain.people import Role
from fallow.domain.rules import Rule
from fallow.operations.enrol import enrol_file
from fallow.operations.inventory import released
from fallow.operations.sale import sell, tag_for
from fallow.store.tables import FactRow

SECOND = timedelta(seconds=1)


def test_a_sale_needs_the_acknowledgement_of_that_very_tag(world: World) -> None:
    """Another tag, none, or one of another number is refused; the right one sells."""
    cycle_id = resellable(world)
    other = enrolled(world, first=1)[0]
    advance(world, other, State.RESELLABLE)
    shop = staff(world).shop

    for wrong in ("", "0" * 64, str(facts_of(world, other).tag)):
        with pytest.raises(CommandRefused, match="another tag"):
            sell(world.installation, shop, number(0), wrong, "form 1")
    for unsigned in ("", "+33199000000"):
        with pytest.raises(InputRefused):
            sell(world.installation, shop, number(0), str(facts_of(world, cycle_id).tag), unsigned)
    seen = tag_for(world.installation, shop, number(0))

    assert sell(world.installation, shop, number(0), seen.digest, "form 1") == cycle_id
    assert state_of(world, cycle_id) is State.REASSIGNED
    assert world.installation.tag_signed(seen.digest, seen.signature)


def test_a_number_is_sold_once(world: World) -> None:
    """The second buyer is refused."""
    cycle_id = sold(world)

    with pytest.raises(CommandRefused):
        sell(world.installation, staff(world).shop, number(0), str(facts_of(world, cycle_id).tag), "form 2")


def test_only_the_shop_sells(sqlite_world: World) -> None:
    """Not even an administrator does."""
    cycle_id = resellable(sqlite_world)
    for role in Role:
        if role is not Role.SHOP:
            with pytest.raises(PersonRefused):
                sell(sqlite_world.installation, a_person(sqlite_world, role), number(0), str(facts_of(sqlite_world, cycle_id).tag), "f")


def test_unknown_and_unready_numbers_look_alike_to_a_shop(world: World) -> None:
    """Nobody learns from the tag desk which numbers are in recycling."""
    enrolled(world)
    shop = staff(world).shop

    refusals = []
    for index in (0, 1):
        with pytest.raises(NotKnown) as refused:
            tag_for(world.installation, shop, number(index))
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]


def test_a_held_number_is_not_sold_until_every_hold_is_lifted(world: World) -> None:
    """And sold as before after it."""
    cycle_id = resellable(world)
    people = staff(world)
    tag = str(facts_of(world, cycle_id).tag)
    hold_id = engine(world).commands.hold(people.operator, cycle_id, "court 1")

    with pytest.raises(CommandRefused, match="HELD"):
        sell(world.installation, people.shop, number(0), tag, "form 1")
    engine(world).commands.lift(people.operator, cycle_id, hold_id, "court 1")

    assert sell(world.installation, people.shop, number(0), tag, "form 1") == cycle_id


def test_a_demo_number_is_sold_in_a_demo_database_only(database_url: str, tmp_path: object) -> None:
    """A quarantine of seconds is never passed off as a real one."""
    rule = Rule("*", "*", "*", "*", SECOND, SECOND, demo=True, source="tests")
    world = an_installation(tmp_path, url=database_url, rule=rule)
    cycle_id = resellable(world)
    people = staff(world)
    shop, digest = people.shop, str(facts_of(world, cycle_id).tag)

    with pytest.raises(CommandRefused, match="demo"):
        sell(world.installation, shop, number(0), digest, "form 1")
    with pytest.raises(NotKnown):
        tag_for(world.installation, shop, number(0))
    assert released(world.installation, people.operator) == []
    with world.installation.db.begin() as tx:
        tx.session.add(FactRow(name="demo", value="yes"))

    assert tag_for(world.installation, shop, number(0)).body["demo"]
    assert [each.cycle_id for each in released(world.installation, people.operator)] == [cycle_id]
    assert sell(world.installation, shop, number(0), digest, "form 1") == cycle_id
    world.installation.db.close()


def recall(world: World, cycle_id: str, line_cancelled_at: str | None = None) -> str:
    """Recall a sold number by two people; return the next cycle."""
    people, two = staff(world), engine(world).two_person
    arguments = {"line_cancelled_at": line_cancelled_at or world.clock.now().isoformat()}
    two.approve(people.approver, two.propose(people.operator, cycle_id, Command.RECALL, "defect 1", arguments))
    return replace(ref(cycle_id), cycle_no=ref(cycle_id).cycle_no + 1).cycle_id


def test_a_recall_opens_the_next_cycle(world: World) -> None:
    """With quarantine from the present holder's disconnect, and the tag says that it was recalled."""
    first = sold(world)
    world.clock.pass_by(DAY)
    cancelled_at = world.clock.now()
    world.clock.pass_by(DAY)

    second = recall(world, first, cancelled_at.isoformat())
    row = row_of(world, second)
    advance(world, second, State.RESELLABLE)
    tag = tag_for(world.installation, staff(world).shop, number(0))

    assert state_of(world, first) is State.REASSIGNED
    assert (row.recalled, row.reason, row.disconnected_at) == (True, "recall", cancelled_at)
    assert number_of(world, second) == number(0)
    assert (tag.cycle_id, tag.body["recalled"], tag.body["former_holders_at_least"]) == (second, True, 3)


def test_a_cycle_is_recalled_once(world: World) -> None:
    """The number's next cycle is under way already."""
    first = sold(world)
    world.clock.pass_by(DAY)
    recall(world, first)

    with pytest.raises(CommandRefused, match="not the number's latest"):
        recall(world, first)


@pytest.mark.parametrize("instant", ["2099-01-01T00:00:00+00:00", "2026-03-02T08:00:00", "yesterday", "", START.isoformat()])
def test_a_recall_needs_a_line_cancelled_since_the_sale(world: World, instant: str) -> None:
    """The present holder's line must be cut first: not in the future, not before they had it, and at one instant only."""
    cycle_id = sold(world)
    arguments = {"line_cancelled_at": instant}

    with pytest.raises(InputRefused):
        engine(world).two_person.propose(staff(world).operator, cycle_id, Command.RECALL, "defect 1", arguments)


def test_the_recalled_cycle_s_proposer_counts_as_its_enroller(world: World) -> None:
    """Who opened it does not decide over it."""
    people, two = staff(world), engine(world).two_person
    first = sold(world)
    world.clock.pass_by(DAY)
    arguments = {"line_cancelled_at": world.clock.now().isoformat()}
    two.approve(people.approver, two.propose(people.operator, first, Command.RECALL, "defect 1", arguments))
    second = replace(ref(first), cycle_no=2).cycle_id

    with pytest.raises(SecondPersonNeeded, match="Who enrolled"):
        two.propose(people.operator, second, Command.RETIRE, "court 1", {})


@pytest.mark.parametrize(("prior", "again", "at_least"), [("1", "2", 3), ("unknown", "unknown", 2), ("0", "7", 8), ("3", "", 5)])
def test_the_tag_of_a_later_cycle_counts_nobody_twice(world: World, prior: str, again: str, at_least: int) -> None:
    """What the carrier states or what is known here, whichever is more."""
    first = enrolled(world, prior_holders=prior)[0]
    advance(world, first, State.RESELLABLE)
    sell(world.installation, staff(world).shop, number(0), str(facts_of(world, first).tag), "form 1")
    world.clock.pass_by(400 * DAY)

    advance(world, enrolled(world, prior_holders=again)[0], State.RESELLABLE)

    assert tag_for(world.installation, staff(world).shop, number(0)).body["former_holders_at_least"] == at_least


def test_a_holder_who_took_the_number_back_is_counted_once(world: World) -> None:
    """Reclaimed and cancelled again is the same holder leaving twice."""
    people, two = staff(world), engine(world).two_person
    first = enrolled(world, prior_holders="0")[0]
    two.approve(people.approver, two.propose(people.operator, first, Command.RECLAIM, "id 1", {"ground": "former-holder"}))
    world.clock.pass_by(30 * DAY)

    advance(world, enrolled(world, prior_holders="0")[0], State.RESELLABLE)

    assert tag_for(world.installation, people.shop, number(0)).body["former_holders_at_least"] == 1


def test_an_old_row_of_a_number_in_use_begins_nothing(world: World) -> None:
    """A disconnect before the sale is not the buyer's: the row is refused by line."""
    sold(world)

    report = enrol_file(world.installation, staff(world).enroller, a_file(1, now=START, source_ref="stale"))

    assert [code for _, code, _ in report.rejections] == ["disconnected-before"]


def test_no_statement_sells_what_is_not_for_sale(damaged: World) -> None:
    """The database itself refuses REASSIGNED from any other state, under a hold, or in ATTENTION."""
    cycle_id = resellable(damaged)

    def forced(spoilt: str) -> None:
        with damaged.installation.db.begin() as tx:
            tx.session.execute(text(f"UPDATE cycles SET {spoilt}"))
            tx.session.execute(text("UPDATE cycles SET state = 'REASSIGNED'"))

    for spoilt in ("state = 'RETIRED'", "held = true", "attention = '[\"crime\"]'"):
        with pytest.raises(DBAPIError):
            forced(spoilt)

    assert state_of(damaged, cycle_id) is State.RESELLABLE
