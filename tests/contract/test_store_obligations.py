"""Obligations on both databases: claimed once, by their target's sender only, and moved with their event."""

from datetime import timedelta

import pytest
from builders import World, advance, enrolled, number
from builders_cycles import engine, facts_of, owed_by, row_of, staff

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Obligation, Outcome, Status, TargetKind
from fallow.store import cycles, obligations
from fallow.store.obligations import Due

MINUTE = timedelta(minutes=1)


def unbinding(world: World, count: int = 1) -> list[str]:
    """Return cycles whose platforms have not been asked yet."""
    ids = enrolled(world, count)
    for cycle_id in ids:
        advance(world, cycle_id, State.UNBINDING)
        engine(world).stages.clear(ref(cycle_id), TargetKind.PLATFORM)
    return ids


def claim(world: World, target_id: str = "alpha-pay", *, most: int = 100) -> list[Due]:
    """Claim as the target's sender would."""
    kind = TargetKind.RECORDS if target_id in world.record_systems else TargetKind.PLATFORM
    with world.installation.db.begin() as tx:
        return obligations.claim(tx, target_id, kind, most=most, for_=MINUTE)


def postpone(world: World, cycle_id: str, *, failed: bool, alone: bool = False) -> None:
    """Put an obligation off by a minute."""
    with world.installation.db.begin() as tx:
        obligations.postpone(tx, "alpha-pay", {cycle_id: tx.now + MINUTE}, failed=failed, alone=alone)


def test_a_claim_tells_what_the_sender_needs(world: World) -> None:
    """Whose it is, the reference, the instant up to which rows count; nothing that a claim should not know."""
    cycle_id = unbinding(world)[0]
    row = row_of(world, cycle_id)

    due = claim(world)

    assert [(each.cycle_id, each.number_id, each.disconnected_at, each.asked, each.alone) for each in due] == [
        (cycle_id, row.number_id, row.disconnected_at, 0, False)
    ]
    assert number(0).text not in str(due)


def test_a_claimed_obligation_is_out_of_sight_until_its_time_is_over(world: World) -> None:
    """A lost sender's claims come back; nobody else sends them before."""
    cycle_id = unbinding(world)[0]

    first, second = claim(world), claim(world)
    world.clock.pass_by(MINUTE)
    third = claim(world)

    assert [len(first), len(second), len(third)] == [1, 0, 1]
    assert owed_by(world, cycle_id)["alpha-pay"].status is Status.OPEN


def test_claims_are_bounded_and_never_overlap(world: World) -> None:
    """Two batches share no obligation, and together they are all."""
    ids = unbinding(world, 5)

    batches = [[each.cycle_id for each in claim(world, most=3)] for _ in range(3)]

    assert [len(each) for each in batches] == [3, 2, 0]
    assert sorted(batches[0] + batches[1]) == sorted(ids)


def test_only_the_target_s_own_obligations_are_claimed(world: World) -> None:
    """One platform's sender leaves the others' alone."""
    unbinding(world)

    claim(world)

    assert len(claim(world, "beta-chat")) == 1


def test_a_held_cycle_is_not_claimed_until_the_hold_is_lifted(world: World) -> None:
    """A hold preserves what is there: nothing is sent while it is open."""
    kept, held = unbinding(world, 2)
    people = staff(world)
    hold_id = engine(world).commands.hold(people.operator, held, "case 1")

    while_held = [each.cycle_id for each in claim(world)]
    engine(world).commands.lift(people.operator, held, hold_id, "case 1")
    after = [each.cycle_id for each in claim(world)]

    assert (while_held, after) == ([kept], [held])


@pytest.mark.parametrize("target_id", ["billing", "crm"])
def test_a_wipe_is_claimed_only_while_wiping(world: World, target_id: str) -> None:
    """A retired number's records are no longer wiped."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.WIPING)
    engine(world).stages.clear(ref(cycle_id), TargetKind.RECORDS)
    people = staff(world)
    proposal = engine(world).two_person.propose(people.operator, cycle_id, "retire", "court 1", {})
    engine(world).two_person.approve(people.approver, proposal)

    assert claim(world, target_id) == []


def test_one_that_must_go_alone_is_claimed_alone(world: World) -> None:
    """A batch that was rejected is taken apart, one request each, and the others go together."""
    ids = unbinding(world, 4)
    claim(world)
    postpone(world, ids[0], failed=True, alone=True)
    world.clock.pass_by(MINUTE)

    sizes = []
    while batch := claim(world):
        sizes.append((len(batch), any(each.alone for each in batch)))

    assert sorted(sizes) == [(1, True), (3, False)]


def test_what_failed_goes_only_with_what_failed_as_often_and_in_smaller_batches(world: World) -> None:
    """Of batches of up to eight, what failed twice goes in twos, and thrice alone; what never failed is not dragged along."""
    ids = unbinding(world, 8)
    claim(world)
    for cycle_id in [ids[0]] * 3 + ids[1:4] * 2 + ids[4:6]:
        postpone(world, cycle_id, failed=True)
    world.clock.pass_by(MINUTE)

    sizes = []
    while batch := claim(world, most=8):
        assert len({each.failures for each in batch}) == 1
        sizes.append((batch[0].failures, len(batch)))

    assert sorted(sizes) == [(0, 2), (1, 2), (2, 1), (2, 2), (3, 1)]


def test_failures_count_up_and_a_success_starts_again(world: World) -> None:
    """The sender sees how often in a row it failed, and how often it has asked."""
    cycle_id = unbinding(world)[0]

    seen = []
    for failed in (True, True, False, True):
        seen += [(each.failures, each.asked) for each in claim(world)]
        postpone(world, cycle_id, failed=failed)
        world.clock.pass_by(MINUTE)

    assert seen == [(0, 0), (1, 0), (2, 0), (0, 1)]


def test_what_is_settled_stays_settled_however_late_it_is_postponed(world: World) -> None:
    """A sender that comes back after an answer does not make it due again."""
    cycle_id = unbinding(world)[0]
    claim(world)
    with world.installation.db.begin() as tx:
        row = cycles.lock_one(tx, cycle_id)
        owed = next(each for each in obligations.of_cycle(tx, cycle_id) if each.target_id == "alpha-pay")
        obligations.shift(tx, row, owed, Status.DISCHARGED, Outcome.UNBOUND, "e" * 64)

    postpone(world, cycle_id, failed=False)
    world.clock.pass_by(2 * MINUTE)

    assert claim(world) == []
    assert owed_by(world, cycle_id)["alpha-pay"] == Obligation(
        "alpha-pay", TargetKind.PLATFORM, Status.DISCHARGED, Outcome.UNBOUND, "e" * 64
    )


def test_discharging_takes_the_target_s_attention_off_the_queue(world: World) -> None:
    """Only its own: another platform's stays."""
    cycle_id = unbinding(world)[0]
    with world.installation.db.begin() as tx:
        row = cycles.lock_one(tx, cycle_id)
        owed = {each.target_id: each for each in obligations.of_cycle(tx, cycle_id)}
        for target_id in ("alpha-pay", "beta-chat"):
            obligations.shift(tx, row, owed[target_id], Status.REFUSED, Outcome.REFUSED, "e", Reason.PLATFORM_REFUSED)
        obligations.shift(tx, row, owed["alpha-pay"], Status.DISCHARGED, Outcome.CLEAR, "f")

    assert facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_REFUSED, "beta-chat")}


def test_the_last_discharge_wakes_and_no_earlier_one(world: World) -> None:
    """A stage with something open has nothing to look at."""
    cycle_id = unbinding(world)[0]

    woken = []
    for target_id in ("gamma-bank", "alpha-pay", "beta-chat"):
        with world.installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            owed = next(each for each in obligations.of_cycle(tx, cycle_id) if each.target_id == target_id)
            obligations.shift(tx, row, owed, Status.DISCHARGED, Outcome.CLEAR, "e")
            obligations.wake_completed(tx, [row])
        woken.append(row_of(world, cycle_id).wake_at is not None)

    assert woken == [False, False, True]


def test_the_due_scan_names_targets_with_something_due(world: World) -> None:
    """One look serves all senders."""
    unbinding(world)
    claim(world, "alpha-pay")

    with world.installation.db.read() as tx:
        assert obligations.due_targets(tx, dict.fromkeys(["alpha-pay", "beta-chat", "gamma-bank"], ())) == {"beta-chat", "gamma-bank"}


def test_what_a_hold_took_from_a_sender_is_due_as_soon_as_it_is_wanted_again(world: World) -> None:
    """Claimed, then not sent because of a hold: it does not wait until the claim runs out; what was answered meanwhile stays at rest."""
    mine, answered = unbinding(world, 2)
    claimed = claim(world)
    with world.installation.db.begin() as tx:
        row = obligations.at_target(tx, "alpha-pay", [answered])[answered]
        obligations.shift(tx, cycles.lock_one(tx, answered), row, Status.DISCHARGED, Outcome.CLEAR, "e" * 64)
    with world.installation.db.begin() as tx:
        obligations.unclaim(tx, "alpha-pay", [mine, answered])

    assert {each.cycle_id for each in claimed} == {mine, answered}
    assert [each.cycle_id for each in claim(world)] == [mine]
