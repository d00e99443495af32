"""Claims at one instant with what decides over them, on both databases: each ends in one of two ways, never in both."""

from collections.abc import Sequence
from typing import Any

from builders import World, state_of, wipe_all
from builders_commands import claim
from builders_cycles import all_at, engine, facts_of, kinds_of, race, row_of, staff

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import CommandRefused, FallowError
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import TargetKind

WAITS, LOCKED = Attention(Reason.RECLAIM_WAITS), Attention(Reason.RECLAIM_LOCKED)


def pairs(world: World) -> int:
    """Return how many pairs to race: many on PostgreSQL, where transactions really overlap."""
    return 4 if world.installation.db.sqlite else 40


def unexpected(results: Sequence[tuple[Any, ...]]) -> list[BaseException]:
    """Return exceptions that are not refusals of ours."""
    return [each for pair in results for each in pair if isinstance(each, BaseException) and not isinstance(each, FallowError)]


def test_an_approval_and_a_denial_at_one_instant(world: World) -> None:
    """One of them decides, the other is told so: never given back and denied."""
    people, two = staff(world), engine(world).two_person
    ids = all_at(world, pairs(world), State.ENROLLED)
    made = [claim(world, people.operator, cycle_id) for cycle_id in ids]

    results = race(
        [lambda proposal=proposal: two.approve(people.approver, proposal) for proposal in made],
        [lambda proposal=proposal: two.deny(people.other_approver, proposal, "photo differs") for proposal in made],
    )

    assert unexpected(results) == []
    for cycle_id, (approved, denied) in zip(ids, results, strict=True):
        reclaimed = state_of(world, cycle_id) is State.RECLAIMED
        assert (isinstance(approved, CommandRefused), isinstance(denied, CommandRefused)) == (not reclaimed, reclaimed)
        assert (kinds_of(world, cycle_id).count(Kind.RECLAIM_DENIED), facts_of(world, cycle_id).denials) == (
            (0, 0) if reclaimed else (1, 1)
        )


def test_the_last_denial_and_an_approval_of_another_claim_at_one_instant(world: World) -> None:
    """Given back before the lock, or locked before it is given back: no claim slips through a door that is closing."""
    people, two = staff(world), engine(world).two_person
    ids = all_at(world, pairs(world), State.ENROLLED)
    made = [[claim(world, person, cycle_id) for person in (people.operator, people.operator, people.enroller)] for cycle_id in ids]
    for first, _, _ in made:
        two.deny(people.approver, first, "photo differs")

    results = race(
        [lambda proposal=proposals[1]: two.deny(people.approver, proposal, "photo differs") for proposals in made],
        [lambda proposal=proposals[2]: two.approve(people.other_approver, proposal) for proposals in made],
    )

    assert unexpected(results) == []
    for cycle_id in ids:
        kinds = kinds_of(world, cycle_id)
        reclaimed = state_of(world, cycle_id) is State.RECLAIMED
        assert kinds.count(Kind.RECLAIM_DENIED) == (1 if reclaimed else 2)
        assert (LOCKED in facts_of(world, cycle_id).attention) is not reclaimed


def test_a_claim_and_the_end_of_quarantine_at_one_instant(world: World) -> None:
    """Either the claim is taken and nothing is wiped, or wiping has begun and the claim is refused."""
    people, operations = staff(world), engine(world)
    ids = all_at(world, pairs(world), State.QUARANTINED)
    world.clock.pass_to(max(row_of(world, cycle_id).release_at for cycle_id in ids))

    def go_on(cycle_id: str) -> None:
        operations.stages.end_quarantine(ref(cycle_id), world.clock.now())
        operations.stages.clear(ref(cycle_id), TargetKind.RECORDS)

    results = race(
        [lambda cycle_id=cycle_id: claim(world, people.operator, cycle_id) for cycle_id in ids],
        [lambda cycle_id=cycle_id: go_on(cycle_id) for cycle_id in ids],
    )
    wipe_all(world)

    assert unexpected(results) == []
    wiped = {cycle_id for system in world.record_systems.values() for cycle_id in system.wiped}
    for cycle_id, (claimed, _) in zip(ids, results, strict=True):
        assert isinstance(claimed, CommandRefused) is (cycle_id in wiped)
        assert (facts_of(world, cycle_id).attention == {WAITS}) is (cycle_id not in wiped)
