"""Residual traffic as it is fed: what is kept, what stands where two files disagree, and which waiting number it moves."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from builders import World, an_installation, enrolled, number, state_of
from builders_cycles import assert_folds, engine, facts_of, race, row_of, staff
from sqlmodel import func, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import PersonRefused, RowMalformed
from fallow.domain.lifecycle import State
from fallow.domain.traffic import QuietRule
from fallow.intake.traffic_file import COLUMNS
from fallow.operations.traffic import PAGE, TrafficReport, note_traffic
from fallow.store.tables import InventoryRow, NumberRow, TrafficRow

DAY = timedelta(days=1)
QUIET = QuietRule(window_days=7, attempts_below=3, otp_like_below=1, lag_days=2, patience_for=30 * DAY)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world on each database whose policy says what quiet is."""
    made = an_installation(tmp_path, url=database_url, quiet=QUIET)
    yield made
    assert_folds(made.installation.db)
    made.installation.db.close()


def line(world: World, index: int, back: int, *counts: int) -> str:
    """Return the line of a number and a day ``back`` days ago."""
    attempts, messages, otp_like = counts or (0, 0, 0)
    return f"{number(index).text},FR,{world.clock.now().date() - back * DAY},{attempts},{messages},{otp_like}"


def feed(world: World, *lines: str) -> TrafficReport:
    """Feed these lines as one file."""
    return note_traffic(world.installation, staff(world).operator, "\n".join((",".join(COLUMNS), *lines)).encode())


def window(world: World, index: int = 0, *, attempts: int = 0) -> list[str]:
    """Return the lines of a whole window; its oldest day has the attempts."""
    return [line(world, index, back, attempts if back == QUIET.window_days else 0, 0, 0) for back in range(1, QUIET.window_days + 1)]


def kept(world: World) -> dict[date, tuple[int, int, int]]:
    """Return every counter that is kept, by day."""
    with world.installation.db.read() as tx:
        return {row.on_date: (row.attempts, row.messages, row.otp_like) for row in tx.session.exec(select(TrafficRow))}


def waiting(world: World, count: int = 1) -> list[str]:
    """Return quarantined cycles whose release date has come, judged and found to wait for counters."""
    ids = ripe(world, count)
    for cycle_id in ids:
        look(world, cycle_id)
        assert (row_of(world, cycle_id).traffic, row_of(world, cycle_id).wake_at) == ("unknown", None)
    return ids


def ripe(world: World, count: int = 1) -> list[str]:
    """Return quarantined cycles whose release date has come, not judged yet."""
    ids = enrolled(world, count)
    for cycle_id in ids:
        engine(world).stages.begin_quarantine(ref(cycle_id))
        world.clock.pass_to(row_of(world, cycle_id).release_at)
    return ids


def look(world: World, cycle_id: str) -> None:
    """Take the step at the end of quarantine."""
    engine(world).stages.end_quarantine(ref(cycle_id), world.clock.now())


def test_counters_are_kept_by_number_and_day(world: World) -> None:
    """Each line becomes one day's counters; the report counts them."""
    enrolled(world)
    report = feed(world, line(world, 0, 2, 5, 4, 3), line(world, 0, 1))

    today = world.clock.now().date()
    assert kept(world) == {today - 2 * DAY: (5, 4, 3), today - DAY: (0, 0, 0)}
    assert report == TrafficReport(rows=2, noted=2, not_here=0, rejections=())


def test_numbers_never_enrolled_here_are_not_kept(world: World) -> None:
    """A carrier may feed all its numbers: those of strangers are counted and forgotten."""
    enrolled(world)
    report = feed(world, line(world, 7, 1, 9, 9, 9), line(world, 0, 1, 1, 0, 0), line(world, 8, 1))

    assert (report.rows, report.noted, report.not_here) == (3, 1, 2)
    with world.installation.db.read() as tx:
        found = [tx.session.exec(select(func.count()).select_from(table)).one() for table in (TrafficRow, NumberRow, InventoryRow)]
    assert found == [1, 1, 0]


def test_of_a_day_stated_twice_the_larger_of_each_counter_stands(world: World) -> None:
    """Whichever comes first, in one file or in two: a later statement can't quiet a noisy day."""
    enrolled(world)
    feed(world, line(world, 0, 1, 9, 1, 1), line(world, 0, 1, 2, 5, 0))
    feed(world, line(world, 0, 1), line(world, 0, 2))
    feed(world, line(world, 0, 1, 0, 7, 0), line(world, 0, 2, 1, 0, 0))

    today = world.clock.now().date()
    assert kept(world) == {today - DAY: (9, 7, 1), today - 2 * DAY: (1, 0, 0)}


def test_the_same_file_again_changes_nothing(world: World) -> None:
    """It is noted again, and neither counters nor cycles move."""
    (cycle_id,) = waiting(world)
    first = feed(world, *window(world, attempts=5))
    look(world, cycle_id)
    before = (kept(world), row_of(world, cycle_id))

    assert feed(world, *window(world, attempts=5)) == first
    assert (kept(world), row_of(world, cycle_id)) == before


def test_new_counters_move_a_waiting_number(world: World) -> None:
    """They wake it in the same transaction, and its next looks let it go on."""
    moved, still = waiting(world, 2)
    feed(world, *window(world, 0))

    assert row_of(world, moved).wake_at == world.clock.now()
    assert row_of(world, still).wake_at is None
    for _ in range(2):
        look(world, moved)
    assert state_of(world, moved) is State.WIPING


def test_a_noisy_number_is_looked_at_with_each_new_day(world: World) -> None:
    """Noise is no end: what comes later wakes it too."""
    (cycle_id,) = waiting(world)
    feed(world, *window(world, attempts=40))
    look(world, cycle_id)
    assert (row_of(world, cycle_id).traffic, row_of(world, cycle_id).wake_at) == ("noisy", None)

    world.clock.pass_by(DAY)
    feed(world, line(world, 0, 1))

    assert row_of(world, cycle_id).wake_at is not None


def test_counters_end_the_attention_they_were_missing_for(world: World) -> None:
    """A number whose patience is over is looked at again as well, and its ATTENTION clears by itself."""
    (cycle_id,) = ripe(world)
    world.clock.pass_by(QUIET.patience_for)
    look(world, cycle_id)
    assert facts_of(world, cycle_id).attention == {Attention(Reason.TRAFFIC_UNKNOWN)}

    feed(world, *window(world))
    assert row_of(world, cycle_id).wake_at is not None
    for _ in range(2):
        look(world, cycle_id)
    assert state_of(world, cycle_id) is State.WIPING


def test_a_number_that_does_not_wait_for_counters_sleeps_on(world: World) -> None:
    """Before its release date, and once it was found quiet, counters wake nobody."""
    young, quiet = enrolled(world, 2)
    for cycle_id in (young, quiet):
        engine(world).stages.begin_quarantine(ref(cycle_id))
    feed(world, *window(world, 0), *window(world, 1))
    assert row_of(world, young).wake_at is None

    world.clock.pass_to(row_of(world, quiet).release_at)
    feed(world, *window(world, 1))
    look(world, quiet)
    assert state_of(world, quiet) is State.WIPING
    feed(world, line(world, 1, 1, 9, 0, 0))
    assert row_of(world, quiet).wake_at is None


def test_counters_that_come_during_a_judgement_are_not_missed(world: World) -> None:
    """Fed at the instant at which the number is judged, it has seen them or is woken to see them."""
    ids = ripe(world, 25)
    content = ["\n".join((",".join(COLUMNS), *window(world, index))).encode() for index in range(25)]
    operator = staff(world).operator
    now = world.clock.now()

    outcomes = race(
        [lambda cycle_id=cycle_id: engine(world).stages.end_quarantine(ref(cycle_id), now) for cycle_id in ids],
        [lambda file=file: note_traffic(world.installation, operator, file) for file in content],
    )

    assert [each for pair in outcomes for each in pair if isinstance(each, Exception)] == []
    rows = [row_of(world, cycle_id) for cycle_id in ids]
    assert [row.cycle_id for row in rows if row.state != State.WIPING and row.wake_at is None] == []


def test_a_file_longer_than_a_page_is_taken_whole(world: World) -> None:
    """Bad lines are named wherever they are, the good ones of every page are kept."""
    enrolled(world, 2)
    days = range(1, PAGE // 2 + 100)
    lines = [line(world, index, back, 1, 0, 0) for back in days for index in (0, 1)]
    lines[PAGE + 3] = "elsewhere"

    report = feed(world, *lines)

    assert (report.rows, report.noted) == (len(lines), len(lines) - 1)
    assert [each.line for each in report.rejections] == [PAGE + 5]
    assert kept(world).keys() == {world.clock.now().date() - back * DAY for back in days}


def test_bad_lines_are_named_without_their_content(world: World) -> None:
    """The others of the file are kept; a file without the header is refused whole."""
    enrolled(world)
    good = line(world, 0, 1, 2, 0, 0)
    report = feed(world, good.replace(",2,0,0", ",-2,0,0"), good, line(world, 0, -1))

    assert [(each.line, each.code) for each in report.rejections] == [(2, "row-malformed"), (4, "instant-malformed")]
    assert number(0).text[3:] not in repr(report)
    assert len(kept(world)) == 1
    with pytest.raises(RowMalformed, match="header"):
        note_traffic(world.installation, staff(world).operator, b"number,calls\n")


def test_only_who_may_enrol_may_feed(world: World) -> None:
    """Nobody quiets or wakes numbers who may not bring them in."""
    for person in (staff(world).auditor, staff(world).approver, staff(world).shop):
        with pytest.raises(PersonRefused):
            note_traffic(world.installation, person, b"")
