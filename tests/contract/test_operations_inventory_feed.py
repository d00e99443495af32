"""What inventory says of numbers: the newest statement stands, and one that contradicts a cycle stops it."""

from datetime import datetime, timedelta

import pytest
from builders import World, advance, enrolled, number, state_of
from builders_commands import by_two, resellable, sold
from builders_cycles import engine, events_of, facts_of, row_of, spellings, staff
from sqlmodel import func, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import PersonRefused, RowMalformed
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.intake.inventory_file import COLUMNS
from fallow.operations.inventory import released
from fallow.operations.inventory_feed import PAGE, InventoryReport, note_inventory
from fallow.store.tables import InventoryRow, NumberRow

HOUR = timedelta(hours=1)
IN_SERVICE, PORTED = Attention(Reason.LINE_IN_SERVICE), Attention(Reason.LINE_PORTED)


def line(index: int, status: str, since: datetime) -> str:
    """Return one statement."""
    return f"{number(index).text},FR,{status},{since.isoformat()}"


def feed(world: World, *lines: str) -> InventoryReport:
    """Feed these lines as one file."""
    return note_inventory(world.installation, staff(world).operator, "\n".join((",".join(COLUMNS), *lines)).encode())


def stands(world: World, index: int = 0) -> tuple[str, datetime]:
    """Return what inventory said of a number last."""
    with world.installation.db.read() as tx:
        row = tx.session.get_one(InventoryRow, world.installation.vault.lookup(number(index)))
        return row.status, row.since


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        (("assigned", 5), ("ported", 3), ("ported", 3)),
        (("ported", 3), ("assigned", 5), ("ported", 3)),
        (("assigned", 3), ("in-service", 3), ("in-service", 3)),
    ],
)
def test_the_newest_statement_stands(
    world: World, files: int, first: tuple[str, int], second: tuple[str, int], standing: tuple[str, int]
) -> None:
    """By its instant, whichever is read first; of two equally old ones the later said, in one file or in two."""
    now = world.clock.now()
    lines = [line(0, status, now - hours * HOUR) for status, hours in (first, second)]
    reports = [feed(world, *lines)] if files == 1 else [feed(world, each) for each in lines]

    assert stands(world) == (standing[0], now - standing[1] * HOUR)
    assert sum(report.rows for report in reports) == 2
    assert sum(report.noted + report.outdated for report in reports) == 2


def test_of_a_number_never_enrolled_only_a_keyed_lookup_is_kept(world: World) -> None:
    """It does not become a number of ours, and nothing that is kept spells it."""
    feed(world, line(7, "in-service", world.clock.now()))

    with world.installation.db.read() as tx:
        assert tx.session.exec(select(func.count()).select_from(NumberRow)).one() == 0
        (row,) = tx.session.exec(select(InventoryRow))
    assert row.status == "in-service"
    assert not any(spelling in repr(row) for spelling in spellings(7))


@pytest.mark.parametrize(
    ("status", "attention"), [("assigned", IN_SERVICE), ("in-service", IN_SERVICE), ("ported", PORTED), ("on-sale", None)]
)
def test_a_number_that_somebody_has_is_stopped(world: World, status: str, attention: Attention | None) -> None:
    """While its cycle is active it goes into ATTENTION with inventory's word as the reason, and is woken to stop."""
    (cycle_id,) = enrolled(world)
    engine(world).stages.begin_quarantine(ref(cycle_id))
    report = feed(world, line(0, status, world.clock.now() - HOUR))

    assert facts_of(world, cycle_id).attention == ({attention} if attention else set())
    assert report.attention == ((cycle_id,) if attention else ())
    assert (row_of(world, cycle_id).wake_at is not None) == (attention is not None)
    if attention is not None:
        said = events_of(world, cycle_id)[-1].body
        assert (said["source"], said["status"]) == ("inventory", status)
        advance(world, cycle_id, State.WIPING)
        assert state_of(world, cycle_id) is State.QUARANTINED


@pytest.mark.parametrize("status", ["assigned", "in-service"])
def test_what_was_so_before_the_disconnect_stops_nothing(world: World, status: str) -> None:
    """Until its line ended the number was rightly its former holder's, to the very instant."""
    (cycle_id,) = enrolled(world)
    disconnected_at = row_of(world, cycle_id).disconnected_at

    assert feed(world, line(0, status, disconnected_at)).attention == ()
    assert feed(world, line(0, status, disconnected_at + timedelta(seconds=1))).attention == (cycle_id,)


@pytest.mark.parametrize("status", ["assigned", "ported"])
def test_a_released_number_is_taken_off_sale(world: World, status: str) -> None:
    """RESELLABLE and yet with somebody: it is not offered any more until a person has looked."""
    cycle_id = resellable(world)
    operator = staff(world).operator
    assert [each.cycle_id for each in released(world.installation, operator)] == [cycle_id]

    assert feed(world, line(0, status, world.clock.now())).attention == (cycle_id,)
    assert released(world.installation, operator) == []


@pytest.mark.parametrize("status", ["assigned", "in-service", "ported", "on-sale"])
@pytest.mark.parametrize("end", [State.REASSIGNED, State.RETIRED])
def test_an_ended_cycle_is_left_alone(world: World, end: State, status: str) -> None:
    """Whoever has the number after the end is no contradiction here; `reconcile` judges that."""
    if end is State.REASSIGNED:
        cycle_id = sold(world)
    else:
        (cycle_id,) = enrolled(world)
        by_two(world, staff(world), cycle_id, Command.RETIRE)

    assert feed(world, line(0, status, world.clock.now())).attention == ()
    assert facts_of(world, cycle_id).attention == set()


def test_an_outdated_statement_stops_nothing(world: World) -> None:
    """What inventory has since corrected is not held against the number."""
    (cycle_id,) = enrolled(world)
    now = world.clock.now()
    feed(world, line(0, "on-sale", now))

    report = feed(world, line(0, "in-service", now - HOUR))

    assert (report.noted, report.outdated, report.attention) == (0, 1, ())
    assert facts_of(world, cycle_id).attention == set()


def test_the_same_file_again_raises_nothing_twice(world: World) -> None:
    """It is noted again; the cycle keeps its one ATTENTION and is not named again."""
    (cycle_id,) = enrolled(world)
    said = line(0, "assigned", world.clock.now())
    first, again = feed(world, said), feed(world, said)

    assert (first.attention, again.attention) == ((cycle_id,), ())
    assert first.noted == again.noted == 1
    assert [event.kind for event in events_of(world, cycle_id)].count(Kind.ATTENTION_RAISED) == 1


def test_a_later_cycle_is_the_one_that_counts(world: World) -> None:
    """Of a number that was here before, the statement meets its latest cycle and leaves the earlier ones as they ended."""
    first = sold(world)
    world.clock.pass_by(timedelta(days=30))
    (second,) = enrolled(world)

    assert feed(world, line(0, "in-service", world.clock.now())).attention == (second,)
    assert facts_of(world, first).attention == set()


def test_bad_lines_are_named_without_their_content(world: World) -> None:
    """Wherever they are in the file, and the good lines of every page are kept."""
    now = world.clock.now()
    lines = [line(index, "on-sale", now) for index in range(PAGE + 20)]
    lines[PAGE + 3] = line(9_999, "sold", now)
    lines[PAGE + 4] = line(9_999, "on-sale", now + HOUR)
    report = feed(world, *lines)

    assert (report.rows, report.noted) == (PAGE + 20, PAGE + 18)
    assert [(each.line, each.code) for each in report.rejections] == [(PAGE + 5, "row-malformed"), (PAGE + 6, "instant-malformed")]
    assert number(9_999).text[3:] not in repr(report)
    with pytest.raises(RowMalformed, match="header"):
        note_inventory(world.installation, staff(world).operator, b"")


def test_only_who_may_enrol_may_feed(world: World) -> None:
    """A statement can stop a number, so not everybody may make one."""
    for person in (staff(world).auditor, staff(world).approver, staff(world).shop):
        with pytest.raises(PersonRefused):
            note_inventory(world.installation, person, b"")
