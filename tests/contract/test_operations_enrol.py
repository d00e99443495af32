"""Enrolment on both databases: each line has one end, and no file starts anything twice."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from builders import World, a_file, a_person, advance, enrolled, number, state_of
from builders_cycles import engine, events_of, facts_of, owed_by, row_of, staff
from sqlmodel import func, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.commitment import commit, opens
from fallow.domain.cycle import ref
from fallow.domain.errors import PersonRefused, RowMalformed, TargetUnavailable
from fallow.domain.events import Kind
from fallow.domain.gate import LineStatus
from fallow.domain.lifecycle import State
from fallow.domain.obligations import TargetKind
from fallow.domain.people import Role
from fallow.operations import enrol
from fallow.operations.enrol import enrol_file
from fallow.operations.sale import sell
from fallow.store.tables import CycleRow

HEADER, _, _ = a_file(0).partition(b"\n")


def cycles_there_are(world: World) -> int:
    """Count every cycle."""
    with world.installation.db.read() as tx:
        return tx.session.exec(select(func.count()).select_from(CycleRow)).one()


def test_a_good_line_becomes_a_cycle(world: World) -> None:
    """What the file states is in the row, what follows from the rule beside it."""
    cycle_id = enrolled(world, prior_holders="3", source_ref="ticket 7")[0]

    row = row_of(world, cycle_id)

    assert (row.country, row.number_class, row.carrier, row.reason) == ("FR", "fixed", "hexagone", "ordinary")
    assert (row.prior_holders, row.source_ref, row.recalled, row.handback) == (3, "ticket 7", False, False)
    assert row.explanation.endswith("; one rule matches FR, fixed, hexagone, ordinary.")
    assert row.release_at == world.clock.now() + timedelta(days=9)
    assert [event.kind for event in events_of(world, cycle_id)] == [Kind.CYCLE_ENROLLED, Kind.LINE_CHECKED]


def test_a_cycle_is_bound_to_its_number_by_a_commitment_of_its_own(world: World) -> None:
    """With the cycle's salt it opens for that number and no other; nobody without the salt learns a thing, not even of the same number."""
    one, other = enrolled(world, 2)
    vault = world.installation.vault
    commitments = {cycle_id: events_of(world, cycle_id)[0].body["commitment"] for cycle_id in (one, other)}

    assert opens(commitments[one], number(0), vault.salt(one))
    assert not opens(commitments[one], number(1), vault.salt(one))
    assert not opens(commitments[one], number(0), vault.salt(other))
    assert commitments[one] != commit(number(0), vault.salt(other))
    assert hashlib.sha256(number(0).text.encode()).hexdigest() not in commitments.values()


def test_rows_in_are_accepted_duplicate_or_rejected(world: World) -> None:
    """Every line is counted once, each bad one named by line and reason, and the good ones go on (I9)."""
    good = a_file(3).decode().splitlines()
    bad = [good[1].replace("+33199000000", "=1+1"), good[2], good[3].replace("ordinary", "bored").replace("0002", "0003")]
    content = "\n".join([*good, *bad]).encode()

    report = enrol_file(world.installation, staff(world).enroller, content)

    assert (report.rows, report.accepted, report.again) == (6, 3, False)
    assert [(line, code) for line, code, _ in report.rejections] == [
        (5, "number-malformed"),
        (6, "duplicate-in-file"),
        (7, "row-malformed"),
    ]
    assert not any(number(index).text[3:] in why for _, _, why in report.rejections for index in range(4))


def test_the_same_file_again_starts_nothing(world: World) -> None:
    """Neither a cycle nor an event more, whoever sends it."""
    content = a_file(3)
    first = enrol_file(world.installation, staff(world).enroller, content)

    second = enrol_file(world.installation, staff(world).enroller, content)

    assert (first.again, second.again) == (False, True)
    assert (second.batch_id, second.rows, second.accepted) == (first.batch_id, 3, 3)
    assert cycles_there_are(world) == 3


def test_a_number_already_in_a_cycle_is_rejected_by_line(world: World) -> None:
    """Another file with one known and one new number starts the new one only."""
    enrolled(world, 1)

    report = enrol_file(world.installation, staff(world).enroller, a_file(2, source_ref="other"))

    assert (report.accepted, [(line, code) for line, code, _ in report.rejections]) == (1, [(2, "already-enrolled")])


class _CutOff(Exception):
    """The process ended here."""


@pytest.mark.parametrize("pages", range(3))
def test_a_file_cut_off_after_any_page_goes_on_where_it_stopped(world: World, pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent again it is completed, counted as one file, and nothing is enrolled twice."""
    monkeypatch.setattr(enrol, "PAGE", 2)
    content = a_file(5).rstrip() + b"\nbroken line\n"
    person = staff(world).enroller
    _cut_off_after(world, pages, lambda: enrol_file(world.installation, person, content))
    begun = cycles_there_are(world)

    report = enrol_file(world.installation, person, content)

    assert begun == min(2 * pages, 5)
    assert (report.rows, report.accepted, len(report.rejections), report.again) == (6, 5, 1, False)
    assert cycles_there_are(world) == 5
    assert enrol_file(world.installation, person, content).again


def _cut_off_after(world: World, pages: int, work: Callable[[], object]) -> None:
    """Cut ``work`` off when the line register is asked for the page after so many pages."""
    asked = [0]
    ask = world.lines.statuses

    def cut(numbers: object) -> list[LineStatus]:
        asked[0] += 1
        if asked[0] > pages:
            raise _CutOff
        return ask(numbers)

    world.lines.statuses = cut
    with pytest.raises(_CutOff):
        work()
    world.lines.statuses = ask


def test_a_register_that_cannot_be_asked_leaves_the_file_for_later(world: World) -> None:
    """Nothing is enrolled unasked; the same file goes on once the register answers."""
    world.lines.down = True
    person = staff(world).enroller
    with pytest.raises(TargetUnavailable):
        enrol_file(world.installation, person, a_file(2))
    before = cycles_there_are(world)

    world.lines.down = False

    assert (before, enrol_file(world.installation, person, a_file(2)).accepted) == (0, 2)


@pytest.mark.parametrize("content", [b"", b"\n", b"number,country\n", b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_enrols_nothing(world: World, content: bytes) -> None:
    """Without the header no line means anything."""
    with pytest.raises(RowMalformed):
        enrol_file(world.installation, staff(world).enroller, content)
    assert cycles_there_are(world) == 0


def test_a_header_alone_is_an_empty_file(world: World) -> None:
    """No rows, nothing accepted, nothing refused."""
    report = enrol_file(world.installation, staff(world).enroller, HEADER + b"\n")

    assert (report.rows, report.accepted, report.rejections) == (0, 0, ())


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.OPERATOR, Role.ADMINISTRATOR)])
def test_others_may_not_enrol(sqlite_world: World, role: Role) -> None:
    """Default deny, before a byte is read."""
    with pytest.raises(PersonRefused):
        enrol_file(sqlite_world.installation, a_person(sqlite_world, role), b"\xff")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (LineStatus.IN_SERVICE, Reason.LINE_IN_SERVICE),
        (LineStatus.PORTED, Reason.LINE_PORTED),
        (LineStatus.UNKNOWN, Reason.LINE_UNKNOWN),
    ],
)
def test_a_line_that_is_not_off_waits_for_a_person(world: World, status: LineStatus, reason: Reason) -> None:
    """It goes into quarantine and no further, until the line is cut and somebody retries."""
    world.lines.said[number(0)] = status
    cycle_id = enrolled(world)[0]

    advance(world, cycle_id, State.RESELLABLE)
    stopped = (state_of(world, cycle_id), facts_of(world, cycle_id).attention)
    world.lines.said.clear()
    engine(world).commands.retry(staff(world).operator, cycle_id, "line cut")
    advance(world, cycle_id, State.RESELLABLE)

    assert stopped == (State.QUARANTINED, {Attention(reason)})
    assert state_of(world, cycle_id) is State.RESELLABLE


@pytest.mark.parametrize("reason", ["crime", "fraud"])
def test_a_number_tied_to_crime_is_held_and_waits_for_two_people(world: World, reason: str) -> None:
    """The engine itself places the hold."""
    cycle = facts_of(world, enrolled(world, reason=reason)[0])

    assert cycle.held
    assert cycle.attention == {Attention(Reason.CRIME)}


def test_a_legal_hold_in_the_file_is_placed_with_the_cycle(world: World) -> None:
    """There is no moment without it."""
    cycle_id = enrolled(world, hold_reference="court 12")[0]

    kinds = [event.kind for event in events_of(world, cycle_id)]

    assert facts_of(world, cycle_id).held
    assert kinds == [Kind.CYCLE_ENROLLED, Kind.LINE_CHECKED, Kind.HOLD_PLACED]


def with_columns(content: bytes, **more: str) -> bytes:
    """Return a file with further columns, the same on each line."""
    header, *lines = content.decode().splitlines()
    return "\n".join([",".join([header, *more]), *(",".join([line, *more.values()]) for line in lines)]).encode()


def test_a_reminder_in_the_file_is_recorded_with_the_cycle(world: World) -> None:
    """As the command records it: when, how, by whom, under the row's own reference; the pool is kept beside it."""
    reminded_at, person = world.clock.now() - timedelta(days=2), staff(world).enroller
    more = {"holder_reminded_at": reminded_at.isoformat(), "reminder_channel": "sms", "pool": "prepaid"}

    enrol_file(world.installation, person, with_columns(a_file(1), **more))

    with world.installation.db.read() as tx:
        cycle_id = tx.session.exec(select(CycleRow.cycle_id)).one()
    event = events_of(world, cycle_id)[-1]
    said = {"at": reminded_at.isoformat(), "channel": "sms", "by": person.person_id, "reference": "row 0"}
    assert (event.kind, event.body) == (Kind.HOLDER_REMINDED, said)
    assert (facts_of(world, cycle_id).reminded_at, row_of(world, cycle_id).pool) == (reminded_at, "prepaid")


@pytest.mark.parametrize("reminded_at", ["2026-03-03T08:00:01Z", "2025-02-27T07:59:59Z"])
def test_a_reminder_in_the_file_that_can_t_be_one_rejects_its_line_only(world: World, reminded_at: str) -> None:
    """In the future, or more than a year before the line ended: the line is named, and the next one goes on."""
    header, good, bad = with_columns(a_file(2), holder_reminded_at="", reminder_channel="").splitlines()
    bad = bad.removesuffix(b",,") + f",{reminded_at},sms".encode()

    report = enrol_file(world.installation, staff(world).enroller, b"\n".join([header, good, bad]))

    assert (report.accepted, [line for line, _, _ in report.rejections]) == (1, [3])


def test_a_line_cut_off_by_mistake_waits_for_its_holder(world: World) -> None:
    """From its first moment, so that no release date wipes it."""
    cycle_id = enrolled(world, reason="wrongful")[0]

    advance(world, cycle_id, State.RESELLABLE)

    assert facts_of(world, cycle_id).attention == {Attention(Reason.WRONGFUL_DISCONNECT)}
    assert state_of(world, cycle_id) is State.QUARANTINED


def test_a_range_of_another_carrier_is_wiped_and_handed_back(world: World) -> None:
    """It is never unbound, tagged or sold here."""
    cycle_id = enrolled(world, range_holder="other-carrier")[0]

    advance(world, cycle_id, State.RESELLABLE)

    assert state_of(world, cycle_id) is State.RETURNED
    assert {owed.kind for owed in owed_by(world, cycle_id).values()} == {TargetKind.RECORDS}


def test_a_retired_number_is_never_enrolled_again(world: World) -> None:
    """The rejection says so."""
    people = staff(world)
    cycle_id = enrolled(world)[0]
    engine(world).two_person.approve(people.approver, engine(world).two_person.propose(people.operator, cycle_id, "retire", "court 1", {}))

    report = enrol_file(world.installation, people.enroller, a_file(1, source_ref="again"))

    assert (report.accepted, [code for _, code, _ in report.rejections]) == (0, ["retired"])


def test_a_number_sold_and_cancelled_again_begins_its_next_cycle(world: World) -> None:
    """The same asset, a cycle of its own, with obligations and tag of its own."""
    first = enrolled(world)[0]
    advance(world, first, State.RESELLABLE)
    sell(world.installation, staff(world).shop, number(0), str(facts_of(world, first).tag), "form 1")
    world.clock.pass_by(timedelta(days=400))

    second = enrolled(world, source_ref="again")[0]
    advance(world, second, State.RESELLABLE)

    assert ref(second) == type(ref(second))(ref(first).number_id, 2)
    assert (state_of(world, first), state_of(world, second)) == (State.REASSIGNED, State.RESELLABLE)
    assert facts_of(world, first).tag != facts_of(world, second).tag


@pytest.mark.parametrize("end", ["withdraw", "return"])
def test_a_number_that_left_can_come_back(world: World, end: str) -> None:
    """Withdrawn or returned, a later cancellation begins a new cycle."""
    people, commands = staff(world), engine(world).commands
    cycle_id = enrolled(world)[0]
    if end == "withdraw":
        commands.withdraw(people.operator, cycle_id, "mistake")
    else:
        commands.hand_back(people.operator, cycle_id, "range")
        advance(world, cycle_id, State.RETURNED)

    assert enrolled(world, source_ref="again")[0].endswith("/2")
