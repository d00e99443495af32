"""A platform's refusal on both databases: it waits for a person for as long as it takes, and nothing but a person moves it."""

from datetime import timedelta

import pytest
from builders import World, ask_all, state_of
from builders_cycles import all_at, engine, facts_of, owed_by, row_of, staff

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused
from fallow.domain.lifecycle import Command, State
from fallow.domain.obligations import Outcome, Status, TargetKind

DAY = timedelta(days=1)
PAY = "alpha-pay"


def test_a_refused_number_waits_past_its_maximum_and_is_never_released(world: World) -> None:
    """However long it waits and however often everybody looks: refused stays refused, and only a person's word moves it."""
    world.platforms[PAY].says = lambda _: Outcome.REFUSED
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    ask_all(world)

    world.clock.pass_by(3650 * DAY)
    for _ in range(3):
        ask_all(world)
        engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
        engine(world).release.release(ref(cycle_id))
    people = staff(world)
    with pytest.raises(CommandRefused):
        engine(world).commands.withdraw(people.operator, cycle_id, "case 1")

    assert owed_by(world, cycle_id)[PAY].status is Status.REFUSED
    assert facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_REFUSED, PAY)}
    assert state_of(world, cycle_id) is State.UNBINDING
    assert row_of(world, cycle_id).released_at is None
    assert len(world.platforms[PAY].asked) == 1


@pytest.mark.parametrize("way", ["retry", "attest", "retire", "return"])
def test_what_a_person_can_do_about_a_refusal(world: World, way: str) -> None:
    """Ask again, attest a document, retire the number or hand it back: each moves what was refused, after its maximum as before."""
    world.platforms[PAY].says = lambda _: Outcome.REFUSED
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    ask_all(world)
    world.clock.pass_by(3650 * DAY)
    people, operations = staff(world), engine(world)

    if way == "retry":
        operations.commands.retry(people.operator, cycle_id, "case 1")
        assert owed_by(world, cycle_id)[PAY].status is Status.OPEN
    elif way == "return":
        operations.commands.hand_back(people.operator, cycle_id, "case 1")
        assert state_of(world, cycle_id) is State.RETURNED
    else:
        arguments = {"target_id": PAY, "document_sha256": "d" * 64} if way == "attest" else {}
        proposal = operations.two_person.propose(people.operator, cycle_id, Command(way), "case 1", arguments)
        operations.two_person.approve(people.approver, proposal)
        moved = owed_by(world, cycle_id)[PAY].status, state_of(world, cycle_id)
        assert moved == ((Status.DISCHARGED, State.UNBINDING) if way == "attest" else (Status.REFUSED, State.RETIRED))
