"""Opening what is sealed, on both databases: by two people, for a day, each reading recorded before anything is shown."""

import json
from datetime import date, timedelta

import pytest
from builders import World, a_person, enrolled, state_of
from builders_commands import resellable, sold
from builders_cycles import Staff, engine, events_of, kinds_of, row_of, staff
from builders_retention import (
    BASIS,
    DAY,
    LAST_DAY,
    PLANTED,
    a_row,
    backup,
    hold,
    keeper,
    keeping,
    restore,
    to_day,
)
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from fallow.domain.errors import CommandRefused, FallowError, InputRefused, NotKnown, PersonRefused, SecondPersonNeeded, SettingRefused
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.domain.people import Role
from fallow.operations.held_by_law import list_kept
from fallow.operations.open_proposals import open_proposals
from fallow.operations.opening import OPEN, Opening
from fallow.operations.proposals import PROPOSAL_STANDS_FOR
from fallow.operations.status import show
from fallow.store.tables import EventRow, SealedRow

CONTENT = json.dumps({"name": PLANTED}).encode()


def sealed(world: World, people: Staff, *rows: bytes) -> str:
    """Return a cycle of which rows are sealed."""
    (cycle_id,) = enrolled(world, by=people.enroller)
    keeper(world).keep("billing", [a_row(cycle_id, content=row) for row in rows or (CONTENT,)])
    return cycle_id


def opened(world: World, people: Staff, cycle_id: str) -> str:
    """Return the proposal by which an operator and an approver have opened a cycle."""
    proposal = Opening(world.installation).propose(people.operator, cycle_id, "court 12")
    engine(world).two_person.approve(people.approver, proposal)
    return proposal


def test_two_people_open_and_either_reads(world: World) -> None:
    """The events say who proposed, approved and read how many rows; the rows come with place, basis and expiry."""
    people = staff(world)
    cycle_id = sealed(world, people, b'{"a":1}', b'{"a":2}')
    proposal = opened(world, people, cycle_id)

    readings = [Opening(world.installation).read(person, proposal) for person in (people.operator, people.approver)]

    rows = sorted(readings[0].rows, key=lambda row: row["content"]["a"])
    assert rows == [
        {"target_id": "billing", "collection": "invoices", "kept_until": "2026-03-31", "basis": BASIS, "content": {"a": each}}
        for each in (1, 2)
    ]
    assert (readings[1].rows, readings[1].gone) == (readings[0].rows, [])
    told = [(each.kind, each.body) for each in events_of(world, cycle_id)][-4:]
    one, two = people.operator.person_id, people.approver.person_id
    assert told == [
        (Kind.COMMAND_PROPOSED, {"command": OPEN, "proposal_id": proposal, "by": one}),
        (Kind.RETENTION_OPENED, {"proposal_id": proposal, "by": one, "second": two, "reference": "court 12"}),
        (Kind.RETENTION_READ, {"proposal_id": proposal, "by": one, "rows": 2}),
        (Kind.RETENTION_READ, {"proposal_id": proposal, "by": two, "rows": 2}),
    ]


def test_it_is_possible_in_every_state_and_changes_none(world: World) -> None:
    """What is kept of a number on sale, sold, or held can be opened; the number stays where it is."""
    people = staff(world)
    keeping(world, seals={"invoices": [CONTENT]})
    on_sale = resellable(world)
    opened(world, people, on_sale)
    hold(world, people, on_sale)

    assert opened(world, people, on_sale)
    assert state_of(world, on_sale) is State.RESELLABLE


def test_a_sold_numbers_former_holder_can_be_looked_up(world: World) -> None:
    """After the sale, too, and no workflow is woken for it."""
    people = staff(world)
    keeping(world, seals={"invoices": [CONTENT]})
    cycle_id = sold(world)
    woken = row_of(world, cycle_id).wake_no

    assert len(Opening(world.installation).read(people.operator, opened(world, people, cycle_id)).rows) == 1
    assert (state_of(world, cycle_id), row_of(world, cycle_id).wake_no) == (State.REASSIGNED, woken)


def test_one_person_opens_nothing(world: World) -> None:
    """Neither before somebody approved, nor by approving one's own proposal, nor with one that was denied."""
    people = staff(world)
    cycle_id = sealed(world, people)
    proposal = Opening(world.installation).propose(people.approver, cycle_id, "court 12")

    with pytest.raises(CommandRefused, match="not approved"):
        Opening(world.installation).read(people.approver, proposal)
    with pytest.raises(SecondPersonNeeded):
        engine(world).two_person.approve(people.approver, proposal)
    engine(world).two_person.deny(people.other_approver, proposal, "no court")
    with pytest.raises(CommandRefused, match="not approved"):
        Opening(world.installation).read(people.approver, proposal)
    assert Kind.RETENTION_READ not in kinds_of(world, cycle_id)


def test_the_enroller_is_neither_of_the_two(world: World) -> None:
    """Who brought the number in can't propose to open it, nor approve."""
    people, enroller = staff(world), a_person(world, Role.ADMINISTRATOR)
    (cycle_id,) = enrolled(world, by=enroller)
    keeper(world).keep("billing", [a_row(cycle_id)])

    with pytest.raises(SecondPersonNeeded):
        Opening(world.installation).propose(enroller, cycle_id, "court 12")
    proposal = Opening(world.installation).propose(people.operator, cycle_id, "court 12")
    with pytest.raises(SecondPersonNeeded):
        engine(world).two_person.approve(enroller, proposal)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SHOP])
def test_who_only_looks_opens_nothing(world: World, role: Role) -> None:
    """An auditor lists what is kept and never opens it; a shop does neither."""
    people, person = staff(world), a_person(world, role)
    cycle_id = sealed(world, people)
    proposal = opened(world, people, cycle_id)

    for attempt in (
        lambda: Opening(world.installation).propose(person, cycle_id, "court 12"),
        lambda: Opening(world.installation).read(person, proposal),
        lambda: engine(world).two_person.approve(person, proposal),
    ):
        with pytest.raises(PersonRefused):
            attempt()
    if role is Role.AUDITOR:
        assert len(list_kept(world.installation, person)) == 1
    else:
        with pytest.raises(PersonRefused):
            list_kept(world.installation, person)


def test_a_third_person_does_not_read(world: World) -> None:
    """Only the two who opened it may, whatever else a role allows."""
    people = staff(world)
    cycle_id = sealed(world, people)
    proposal = opened(world, people, cycle_id)

    with pytest.raises(PersonRefused, match="two other people"):
        Opening(world.installation).read(people.other_approver, proposal)
    assert Kind.RETENTION_READ not in kinds_of(world, cycle_id)


def test_it_can_be_read_for_a_day(world: World) -> None:
    """A reading is possible to the last second of 24 hours after the approval, not after."""
    people = staff(world)
    cycle_id = sealed(world, people)
    proposal = opened(world, people, cycle_id)
    world.clock.pass_by(timedelta(hours=24))
    assert Opening(world.installation).read(people.operator, proposal).rows

    world.clock.pass_by(timedelta(seconds=1))

    with pytest.raises(CommandRefused, match="24 hours"):
        Opening(world.installation).read(people.operator, proposal)


def test_an_old_proposal_is_not_approved(world: World) -> None:
    """It stands for seven days, as every other."""
    people = staff(world)
    proposal = Opening(world.installation).propose(people.operator, sealed(world, people), "court 12")
    world.clock.pass_by(PROPOSAL_STANDS_FOR + timedelta(seconds=1))

    with pytest.raises(CommandRefused, match="no longer stands"):
        engine(world).two_person.approve(people.approver, proposal)


def test_a_reading_is_recorded_before_it_is_shown(world: World) -> None:
    """Where the event can't be written, nothing is returned to be shown."""
    people = staff(world)
    cycle_id = sealed(world, people)
    proposal = opened(world, people, cycle_id)
    # As if the next event stood there already: the one of the reading can't be written.
    planted = EventRow(cycle_id=cycle_id, seq=row_of(world, cycle_id).events_no + 1, kind=Kind.RETRY_ORDERED, body="{}")
    planted.at = world.clock.now()
    with world.installation.db.begin() as tx:
        tx.session.add(planted)

    with pytest.raises(IntegrityError):
        Opening(world.installation).read(people.operator, proposal)
    with world.installation.db.begin() as tx:
        tx.session.delete(tx.session.get_one(EventRow, planted.event_id))
    assert Opening(world.installation).read(people.operator, proposal).rows


def test_what_is_destroyed_says_so(world: World) -> None:
    """Expired rows are not shown even before they are destroyed; afterwards it is said when they were; what is left is shown."""
    people = staff(world)
    cycle_id = sealed(world, people)
    keeper(world).keep("crm", [a_row(cycle_id, "contacts", b"{}", date(2026, 4, 30))])
    to_day(world, LAST_DAY + DAY)
    proposal = opened(world, people, cycle_id)

    reading = Opening(world.installation).read(people.operator, proposal)
    assert ([row["target_id"] for row in reading.rows], reading.gone) == (["crm"], ["billing invoices expired with 2026-03-31."])
    keeper(world).upkeep()
    assert Opening(world.installation).read(people.operator, proposal).gone == ["billing invoices was destroyed on 2026-04-01."]

    to_day(world, date(2026, 5, 1))
    keeper(world).upkeep()
    with pytest.raises(CommandRefused, match="crm contacts was destroyed on 2026-05-01"):
        Opening(world.installation).propose(people.operator, cycle_id, "court 12")


def test_what_a_hold_keeps_beyond_its_last_day_can_be_read(world: World) -> None:
    """Its end is suspended, so it is still there for the two."""
    people = staff(world)
    cycle_id = sealed(world, people)
    hold(world, people, cycle_id)
    to_day(world, date(2026, 5, 1))
    keeper(world).upkeep()

    assert len(Opening(world.installation).read(people.operator, opened(world, people, cycle_id)).rows) == 1


def test_an_opening_that_comes_too_late_is_refused(world: World) -> None:
    """Approved or read after the destruction it names the day."""
    people = staff(world)
    cycle_id = sealed(world, people)
    late = Opening(world.installation).propose(people.operator, cycle_id, "court 12")
    world.clock.pass_to(world.clock.now().replace(day=31))
    proposal = opened(world, people, cycle_id)
    to_day(world, LAST_DAY + DAY)
    keeper(world).upkeep()

    with pytest.raises(CommandRefused, match="destroyed on 2026-04-01"):
        Opening(world.installation).read(people.operator, proposal)
    with pytest.raises(CommandRefused):
        engine(world).two_person.approve(people.approver, late)
    assert Kind.RETENTION_READ not in kinds_of(world, cycle_id)


def test_a_backup_of_a_month_that_is_over_opens_to_nobody(world: World) -> None:
    """Restored, it has the wrapped keys; two people open it, and nothing can be read."""
    people = staff(world)
    cycle_id = sealed(world, people)
    hold(world, people, cycle_id)
    yesterday = backup(world.installation.db)
    world.installation.wrapping.destroy("retention-2026-03")
    restore(world.installation.db, yesterday)
    proposal = opened(world, people, cycle_id)

    with pytest.raises(CommandRefused, match="its key is destroyed"):
        Opening(world.installation).read(people.operator, proposal)


def test_an_altered_row_is_told(damaged: World) -> None:
    """A sealed row that was moved to another collection is refused as altered, and nothing is shown."""
    people = staff(damaged)
    cycle_id = sealed(damaged, people)
    proposal = opened(damaged, people, cycle_id)
    with damaged.installation.db.begin() as tx:
        tx.session.exec(select(SealedRow)).one().collection = "calls"

    with pytest.raises(SettingRefused, match="altered"):
        Opening(damaged.installation).read(people.operator, proposal)


def test_what_cannot_be_opened_is_refused_with_words(world: World) -> None:
    """Nothing sealed, no such cycle, no reference, no such proposal, or one of another kind."""
    people = staff(world)
    (nothing,) = enrolled(world, by=people.enroller, first=5)
    cycle_id, opening = sealed(world, people), Opening(world.installation)
    refusals: list[tuple[type[FallowError], tuple[str, str]]] = [
        (CommandRefused, (nothing, "court 12")),
        (NotKnown, ("n_none/1", "court 12")),
        (InputRefused, (cycle_id, "")),
    ]
    for error, (of, reference) in refusals:
        with pytest.raises(error):
            opening.propose(people.operator, of, reference)
    for proposal in ("pr_none", engine(world).two_person.propose(people.operator, cycle_id, Command.RETIRE, "court 1", {})):
        with pytest.raises(NotKnown):
            opening.read(people.operator, proposal)


def test_an_open_proposal_is_listed(world: World) -> None:
    """The approver finds it among the proposals and in the cycle's own page."""
    people = staff(world)
    cycle_id = sealed(world, people)
    proposal = Opening(world.installation).propose(people.operator, cycle_id, "court 12")

    (listed,) = open_proposals(world.installation, people.approver)
    assert (listed["proposal_id"], listed["command"], listed["arguments"]) == (proposal, OPEN, {"reference": "court 12"})
    assert [each["proposal_id"] for each in show(world.installation, people.auditor, cycle_id)["proposals"]] == [proposal]
