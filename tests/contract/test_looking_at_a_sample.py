"""The sample before sale, on both databases: a drawn number is neither exported nor sold before its platforms were looked at once more."""

from datetime import timedelta
from pathlib import Path

import pytest
from builders import World, an_installation, look_all, number, state_of
from builders_commands import resellable
from builders_cycles import answer, engine, events_of, facts_of, owed_by, staff
from builders_looking import SILENT_FOR, looking, owed_looks, sampling
from memory_ports import MemoryPlatform
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import CommandRefused
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, Status
from fallow.domain.rules import Rule
from fallow.operations.inventory import released
from fallow.operations.looking import SAMPLE_AFTER
from fallow.operations.sale import sell
from fallow.store.tables import FactRow

ALPHA = "alpha-pay"
SECOND = timedelta(seconds=1)


def drawn(world: World) -> tuple[str, MemoryPlatform]:
    """Return a released cycle of the sample, and its one platform with a status query."""
    sampling(world)
    platform = looking(world)
    return resellable(world), platform


def sale_of(world: World, cycle_id: str) -> str:
    """Sell the number as a shop does."""
    return sell(world.installation, staff(world).shop, number(0), str(facts_of(world, cycle_id).tag), "form 1")


def test_a_drawn_number_is_sold_after_it_was_looked_at_once_more(world: World) -> None:
    """Ten minutes after its release; until then it is neither exported nor sold."""
    cycle_id, platform = drawn(world)
    operator, first = staff(world).operator, owed_by(world, cycle_id)[ALPHA].confirmed

    with pytest.raises(CommandRefused, match="looked at once more before it is sold, at alpha-pay"):
        sale_of(world, cycle_id)
    withheld = released(world.installation, operator)
    early = look_all(world)
    world.clock.pass_by(SAMPLE_AFTER)
    look_all(world)

    assert (withheld, early, len(platform.looked)) == ([], False, 2)
    assert owed_by(world, cycle_id)[ALPHA].confirmed not in (None, first)
    assert [event.kind for event in events_of(world, cycle_id)][-2:] == [Kind.NUMBER_RELEASED, Kind.OBLIGATION_CONFIRMED]
    assert [each.cycle_id for each in released(world.installation, operator)] == [cycle_id]
    assert sale_of(world, cycle_id) == cycle_id


def test_numbers_that_are_not_drawn_are_sold_at_once(world: World) -> None:
    """Nothing is owed for them, and nobody is asked."""
    sampling(world, one_in=0)
    platform = looking(world)
    cycle_id = resellable(world)

    assert owed_looks(world) == []
    assert sale_of(world, cycle_id) == cycle_id
    assert len(platform.looked) == 1


@pytest.mark.parametrize("said", [Outcome.REFUSED, Outcome.ACCEPTED])
def test_a_contradiction_holds_the_number_until_the_platform_cleared_it_and_confirmed(world: World, said: Outcome) -> None:
    """The engine's hold, a person, a new answer and a new look: only then is it sold."""
    cycle_id, platform = drawn(world)
    people, commands = staff(world), engine(world).commands
    platform.shows = lambda _: said
    world.clock.pass_by(SAMPLE_AFTER)

    look_all(world)
    cycle = facts_of(world, cycle_id)
    with pytest.raises(CommandRefused, match="HELD"):
        sale_of(world, cycle_id)
    commands.lift(people.operator, cycle_id, next(iter(cycle.holds)), "case 1")
    commands.retry(people.operator, cycle_id, "case 1")
    answer(world, ALPHA, cycle_id, Outcome.CLEAR)
    with pytest.raises(CommandRefused, match="looked at once more"):
        sale_of(world, cycle_id)
    platform.shows = lambda _: Outcome.CLEAR
    world.clock.pass_by(timedelta(minutes=1))
    look_all(world)

    assert (cycle.state, cycle.held, cycle.attention) == (State.RESELLABLE, True, {Attention(Reason.PLATFORM_CONTRADICTED, ALPHA)})
    assert sale_of(world, cycle_id) == cycle_id


def test_what_a_platform_took_back_after_the_release_is_looked_at_after_its_next_word(world: World) -> None:
    """Also of a number that was not drawn."""
    sampling(world, one_in=0)
    looking(world)
    cycle_id = resellable(world)
    people, commands = staff(world), engine(world).commands
    answer(world, ALPHA, cycle_id, Outcome.REFUSED)
    commands.lift(people.operator, cycle_id, next(iter(facts_of(world, cycle_id).holds)), "case 1")
    commands.retry(people.operator, cycle_id, "case 1")
    answer(world, ALPHA, cycle_id, Outcome.CLEAR)

    with pytest.raises(CommandRefused, match="looked at once more"):
        sale_of(world, cycle_id)
    look_all(world)

    assert owed_by(world, cycle_id)[ALPHA].status is Status.DISCHARGED
    assert sale_of(world, cycle_id) == cycle_id


def test_a_silent_platform_keeps_a_drawn_number_from_sale_and_calls_a_person(world: World) -> None:
    """`retry` looks at once, and its word lets the number go."""
    cycle_id, platform = drawn(world)
    platform.shows = lambda _: None
    world.clock.pass_by(SAMPLE_AFTER + SILENT_FOR)

    look_all(world)
    attention = facts_of(world, cycle_id).attention
    with pytest.raises(CommandRefused, match="platform-silent:alpha-pay"):
        sale_of(world, cycle_id)
    platform.shows = lambda _: Outcome.CLEAR
    engine(world).commands.retry(staff(world).operator, cycle_id, "case 1")
    look_all(world)

    assert attention == {Attention(Reason.PLATFORM_SILENT, ALPHA)}
    assert sale_of(world, cycle_id) == cycle_id


def test_a_status_query_that_is_taken_away_stops_no_sale(world: World) -> None:
    """What can't be looked at any more is not waited for."""
    cycle_id, platform = drawn(world)
    platform.looks = False

    assert [each.cycle_id for each in released(world.installation, staff(world).operator)] == [cycle_id]
    assert sale_of(world, cycle_id) == cycle_id
    assert owed_looks(world) == []


def test_no_statement_sells_a_number_that_owes_a_look(damaged: World) -> None:
    """The database itself refuses it; without the look the same statement passes."""
    cycle_id, _ = drawn(damaged)

    def forced(*before: str) -> None:
        with damaged.installation.db.begin() as tx:
            for statement in (*before, "UPDATE cycles SET state = 'REASSIGNED'"):
                tx.session.execute(text(statement))

    with pytest.raises(DBAPIError):
        forced()
    forced("DELETE FROM looks")

    assert state_of(damaged, cycle_id) is State.REASSIGNED


def test_a_demo_s_sample_is_looked_at_at_once(database_url: str, tmp_path: Path) -> None:
    """A demo shows it without ten minutes of waiting."""
    world = an_installation(tmp_path, url=database_url, rule=Rule("*", "*", "*", "*", SECOND, SECOND, demo=True, source="tests"))
    with world.installation.db.begin() as tx:
        tx.session.add(FactRow(name="demo", value="yes"))
    cycle_id, _ = drawn(world)  # released, and looked at in the same breath

    assert owed_looks(world) == []
    assert sale_of(world, cycle_id) == cycle_id
    world.installation.db.close()
