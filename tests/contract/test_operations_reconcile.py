"""Reconciliation: every number that went on sale or to somebody without a released cycle is named, and no other."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from builders import World, advance, enrolled, number, state_of
from builders_commands import FORMER_HOLDER, by_two, resellable, sold
from builders_cycles import engine, row_of, spellings, staff
from sqlmodel import SQLModel

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import PersonRefused, RowMalformed
from fallow.domain.lifecycle import Command, State
from fallow.intake.inventory_file import COLUMNS, Status
from fallow.operations.inventory_feed import note_inventory
from fallow.operations.reconcile import NEXT, Code, Reconciliation, reconcile
from fallow.store import cycles
from fallow.store.tables import FactRow

HOUR = timedelta(hours=1)


def file_of(*lines: str) -> bytes:
    """Return a file of statements."""
    return "\n".join((",".join(COLUMNS), *lines)).encode()


def line(index: int, status: str, since: datetime) -> str:
    """Return one statement."""
    return f"{number(index).text},FR,{status},{since.isoformat()}"


def compared(world: World, *lines: str) -> Reconciliation:
    """Reconcile these lines as one file."""
    return reconcile(world.installation, staff(world).auditor, file_of(*lines))


def active(world: World) -> str:
    """Return a cycle that has just begun."""
    return enrolled(world)[0]


def tagging(world: World) -> str:
    """Return a cycle shortly before the gate."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.TAGGING)
    return cycle_id


def held(world: World) -> str:
    """Return a RESELLABLE cycle with a hold."""
    cycle_id = resellable(world)
    engine(world).commands.hold(staff(world).operator, cycle_id, "court 1")
    return cycle_id


def in_doubt(world: World) -> str:
    """Return a RESELLABLE cycle in ATTENTION."""
    cycle_id = resellable(world)
    with world.installation.db.begin() as tx:
        cycles.raise_attention(tx, cycles.lock_one(tx, cycle_id), Attention(Reason.PLATFORM_CONTRADICTED, "beta-chat"))
    return cycle_id


def retired(world: World) -> str:
    """Return a RETIRED cycle."""
    cycle_id = active(world)
    by_two(world, staff(world), cycle_id, Command.RETIRE)
    return cycle_id


def reclaimed(world: World) -> str:
    """Return a RECLAIMED cycle."""
    cycle_id = active(world)
    by_two(world, staff(world), cycle_id, Command.RECLAIM, **FORMER_HOLDER)
    return cycle_id


def withdrawn(world: World) -> str:
    """Return a WITHDRAWN cycle."""
    cycle_id = active(world)
    engine(world).commands.withdraw(staff(world).operator, cycle_id, "ported 1")
    return cycle_id


def returned(world: World) -> str:
    """Return a RETURNED cycle."""
    cycle_id = tagging(world)
    engine(world).commands.hand_back(staff(world).operator, cycle_id, "range 1")
    return cycle_id


#: Where a cycle stands -> what is wrong if inventory says assigned, in-service, on-sale.
TABLE: list[tuple[Callable[[World], str], State, tuple[str | None, str | None, str | None]]] = [
    (active, State.ENROLLED, ("in-cycle", "in-cycle", "in-cycle")),
    (tagging, State.TAGGING, ("in-cycle", "in-cycle", "in-cycle")),
    (resellable, State.RESELLABLE, ("sale-not-recorded", "sale-not-recorded", None)),
    (held, State.RESELLABLE, ("sale-not-recorded", "sale-not-recorded", "held")),
    (in_doubt, State.RESELLABLE, ("sale-not-recorded", "sale-not-recorded", "held")),
    (sold, State.REASSIGNED, (None, None, "no-cycle")),
    (retired, State.RETIRED, ("retired", "retired", "retired")),
    (reclaimed, State.RECLAIMED, (None, None, "reclaimed-on-sale")),
    (withdrawn, State.WITHDRAWN, (None, None, "withdrawn-on-sale")),
    (returned, State.RETURNED, (None, None, "returned")),
]


@pytest.mark.parametrize(("made", "state", "codes"), TABLE, ids=[made.__name__ for made, _, _ in TABLE])
def test_what_inventory_says_is_held_against_where_the_cycle_stands(
    world: World, made: Callable[[World], str], state: State, codes: tuple[str | None, ...]
) -> None:
    """Each line that should not be so is named by line, code, cycle, state and what to do; the others are clear."""
    cycle_id = made(world)
    assert state_of(world, cycle_id) is state
    now = world.clock.now()

    found = compared(world, *(line(0, status, now) for status in ("assigned", "in-service", "on-sale")))

    expected = {at: code for at, code in enumerate(codes, start=2) if code is not None}
    assert {each.line: str(each.code) for each in found.findings} == expected
    assert all((each.cycle_id, each.state, each.next) == (cycle_id, state, NEXT[each.code]) for each in found.findings)
    assert (found.rows, found.clear, found.unknown, found.rejections) == (3, 3 - len(expected), 0, ())


@pytest.mark.parametrize(("made", "state", "codes"), TABLE, ids=[made.__name__ for made, _, _ in TABLE])
def test_a_number_ported_out_is_nobodys_resale(
    world: World, made: Callable[[World], str], state: State, codes: tuple[str | None, ...]
) -> None:
    """Wherever its cycle stands, a port is no sale; and what was so until the disconnect speaks of the former holder."""
    cycle_id = made(world)
    disconnected_at = row_of(world, cycle_id).disconnected_at
    lines = (line(0, "ported", world.clock.now()), line(0, "assigned", disconnected_at), line(0, "in-service", disconnected_at))

    assert compared(world, *lines).findings == ()


def test_a_demo_number_is_for_sale_in_a_demo_only(world: World) -> None:
    """A cycle that went through a demo quarantine is on sale wrongly, unless the database is a demo's."""
    cycle_id = resellable(world)
    with world.installation.db.begin() as tx:
        cycles.lock_one(tx, cycle_id).demo = True
    wrong = compared(world, line(0, "on-sale", world.clock.now()))
    with world.installation.db.begin() as tx:
        tx.session.add(FactRow(name="demo", value="yes"))
    right = compared(world, line(0, "on-sale", world.clock.now()))
    with world.installation.db.begin() as tx:
        cycles.lock_one(tx, cycle_id).demo = False

    assert ([each.code for each in wrong.findings], right.findings) == ([Code.HELD], ())


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (("assigned", 5), ("assigned", 3), "no-cycle"),
        (("assigned", 5), ("on-sale", 3), "no-cycle"),
        (("in-service", 5), ("on-sale", 3), "no-cycle"),
        (("in-service", 5), ("in-service", 3), "no-cycle"),
        (("in-service", 5), ("assigned", 3), "no-cycle"),
        (("assigned", 5), ("in-service", 3), None),
        (("assigned", 5), ("ported", 3), None),
        (("assigned", 5), ("assigned", 5), None),
        (("assigned", 3), ("on-sale", 5), None),
        (("on-sale", 5), ("assigned", 3), None),
        (("ported", 5), ("assigned", 3), None),
    ],
)
def test_a_number_that_changed_hands_unseen_is_named(
    world: World, before: tuple[str, int], after: tuple[str, int], code: str | None
) -> None:
    """Never enrolled here, with somebody by an earlier file, and now with somebody else or on sale: it left without a cycle."""
    now = world.clock.now()
    note_inventory(world.installation, staff(world).operator, file_of(line(0, before[0], now - before[1] * HOUR)))

    found = compared(world, line(0, after[0], now - after[1] * HOUR))

    assert [each.code for each in found.findings] == ([code] if code else [])
    assert all((each.cycle_id, each.state) == (None, None) for each in found.findings)
    assert found.unknown == 0


@pytest.mark.parametrize("status", Status)
def test_of_a_number_never_seen_nothing_is_claimed(world: World, status: Status) -> None:
    """It is counted as unknown, so that silence is not taken for an all-clear."""
    found = compared(world, line(0, status, world.clock.now()))

    assert (found.rows, found.clear, found.unknown, found.findings) == (1, 0, 1, ())


def test_the_latest_cycle_is_the_one_that_counts(world: World) -> None:
    """A number sold and cancelled again may not be with anybody now."""
    sold(world)
    world.clock.pass_by(timedelta(days=30))
    (second,) = enrolled(world)

    (found,) = compared(world, line(0, "in-service", world.clock.now())).findings

    assert (found.code, found.cycle_id) == (Code.IN_CYCLE, second)


def test_reconciling_changes_nothing(world: World) -> None:
    """Neither what is known of numbers nor any cycle is other than before."""
    active(world)
    now = world.clock.now()
    note_inventory(world.installation, staff(world).operator, file_of(line(7, "assigned", now - HOUR)))
    auditor = staff(world).auditor
    before = rows(world)

    found = reconcile(world.installation, auditor, file_of(line(0, "on-sale", now), line(7, "on-sale", now), line(8, "ported", now)))

    assert len(found.findings) == 2
    assert rows(world) == before


def rows(world: World) -> list[list[str]]:
    """Return every row of the database."""
    with world.installation.db.read() as tx:
        connection = tx.session.connection()
        return [sorted(map(repr, connection.execute(table.select()))) for table in SQLModel.metadata.sorted_tables]


def test_no_number_is_repeated(world: World) -> None:
    """Findings and refused lines are named by line and cycle only."""
    active(world)
    now = world.clock.now()
    found = compared(world, line(0, "on-sale", now), line(0, "sold", now), line(0, "on-sale", now + HOUR), "x")

    assert [(each.line, each.code) for each in found.rejections] == [(3, "row-malformed"), (4, "instant-malformed"), (5, "row-malformed")]
    assert (found.rows, len(found.findings)) == (4, 1)
    assert not any(spelling in repr(found) for spelling in spellings(0))
    with pytest.raises(RowMalformed, match="header"):
        reconcile(world.installation, staff(world).auditor, b"number\n")


def test_readers_may_reconcile_and_others_not(world: World) -> None:
    """It tells where numbers stand, which is for whoever may read that."""
    people = staff(world)
    for person in (people.operator, people.approver, people.auditor):
        assert reconcile(world.installation, person, file_of()).rows == 0
    with pytest.raises(PersonRefused):
        reconcile(world.installation, people.shop, file_of())
