"""Rows of cycles on both databases: written by events only, and woken until somebody looks."""

from datetime import timedelta

import pytest
from builders import World, advance, enrolled
from builders_cycles import assert_folds, engine, facts_of, row_of, staff
from sqlalchemy import text

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.errors import NotKnown
from fallow.domain.events import Kind
from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import TargetKind
from fallow.store import cycles
from fallow.store.cycles import STALLED_FOR

SECOND = timedelta(seconds=1)


def due(world: World) -> list[tuple[str, int, State]]:
    """Return the wakes that are due now, without how often they were told."""
    with world.installation.db.read() as tx:
        return [(cycle_id, wake_no, state) for cycle_id, wake_no, state, _ in cycles.due_wakes(tx, 100)]


def tell(world: World, *deliveries: tuple[str, int]) -> None:
    """Note that these wakes were delivered."""
    with world.installation.db.begin() as tx:
        cycles.told(tx, deliveries)


def wake(world: World, cycle_id: str) -> None:
    """Wake one cycle."""
    with world.installation.db.begin() as tx:
        cycles.wake(tx, cycles.lock_one(tx, cycle_id))


def stalled(world: World) -> int:
    """Let the sweep wake what is stalled; return how many."""
    with world.installation.db.begin() as tx:
        return cycles.wake_stalled(tx, cycles.stalled(tx, 100))


def quiet(world: World, cycle_id: str) -> None:
    """Take the cycle's wake back, as a look does."""
    with world.installation.db.begin() as tx:
        cycles.awake(tx, cycles.lock_one(tx, cycle_id))


def test_an_unknown_cycle_is_not_known(world: World) -> None:
    """Locking or showing what is not there says so."""
    with pytest.raises(NotKnown), world.installation.db.begin() as tx:
        cycles.lock_one(tx, "n_nobody/1")
    with pytest.raises(NotKnown), world.installation.db.read() as tx:
        cycles.get(tx, "n_nobody/1")


def test_locks_are_given_in_the_order_of_ids(world: World) -> None:
    """Whatever order is asked for, and twice asked is locked once: two transactions never wait for one another."""
    ids = enrolled(world, 4)

    with world.installation.db.begin() as tx:
        locked = [row.cycle_id for row in cycles.lock(tx, [*reversed(ids), ids[0]])]

    assert locked == sorted(ids)


def test_a_transaction_that_fails_leaves_neither_row_nor_event(world: World) -> None:
    """Row and event are written together or not at all."""
    cycle_id = enrolled(world)[0]
    before = facts_of(world, cycle_id)

    def fail() -> None:
        with world.installation.db.begin() as tx:
            cycles.record(tx, cycles.lock_one(tx, cycle_id), Kind.TAG_ISSUED, tag="t")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert facts_of(world, cycle_id) == before


def test_a_read_writes_nothing(world: World) -> None:
    """What is changed in a read-only transaction is gone after it."""
    cycle_id = enrolled(world)[0]

    with world.installation.db.read() as tx:
        cycles.get(tx, cycle_id).explanation = "forged"

    assert row_of(world, cycle_id).explanation != "forged"


def test_attention_is_raised_once_and_cleared_once(world: World) -> None:
    """The same reason twice is one entry, and clearing what is not there writes no event."""
    cycle_id = enrolled(world)[0]
    silent = Attention(Reason.PLATFORM_SILENT, "alpha-pay")

    for _ in range(2):
        with world.installation.db.begin() as tx:
            cycles.raise_attention(tx, cycles.lock_one(tx, cycle_id), silent)
    raised = row_of(world, cycle_id)
    for _ in range(2):
        with world.installation.db.begin() as tx:
            cycles.clear_attention(tx, cycles.lock_one(tx, cycle_id), {silent, Attention(Reason.CRIME)})

    assert facts_of(world, cycle_id).attention == frozenset()
    assert row_of(world, cycle_id).events_no == raised.events_no + 1


def test_state_at_moves_only_with_the_state(world: World) -> None:
    """How long a cycle has been in its state is not blurred by other events."""
    cycle_id = enrolled(world)[0]
    entered = row_of(world, cycle_id).state_at

    world.clock.pass_by(SECOND)
    engine(world).commands.hold(staff(world).operator, cycle_id, "case 1")
    held = row_of(world, cycle_id).state_at
    engine(world).stages.begin_quarantine(ref(cycle_id))

    assert (held, row_of(world, cycle_id).state_at) == (entered, entered + SECOND)


def test_enrolment_wakes(world: World) -> None:
    """A new cycle's workflow is to be started at once."""
    cycle_id = enrolled(world)[0]

    assert due(world) == [(cycle_id, 1, State.ENROLLED)]


def test_a_look_takes_the_wake_back(world: World) -> None:
    """Whoever looks has been woken, however the wake was told."""
    cycle_id = enrolled(world)[0]

    engine(world).stages.begin_quarantine(ref(cycle_id))

    assert due(world) == []


def test_a_second_wake_before_a_look_is_the_same_wake(world: World) -> None:
    """Two changes are one signal; after a look, the next change is another."""
    cycle_id = enrolled(world)[0]
    wake(world, cycle_id)
    once = row_of(world, cycle_id).wake_no
    quiet(world, cycle_id)
    wake(world, cycle_id)

    assert (once, row_of(world, cycle_id).wake_no) == (1, 2)


def test_a_told_wake_is_repeated_ever_more_rarely_until_somebody_looks(world: World) -> None:
    """A lost nudge heals: 20 s, 40 s, 80 s, at most one hour apart."""
    cycle_id = enrolled(world)[0]
    waits = []

    for _ in range(12):
        tell(world, (cycle_id, 1))
        waits.append(row_of(world, cycle_id).wake_at - world.clock.now())
        world.clock.pass_by(waits[-1] - SECOND)
        assert due(world) == []
        world.clock.pass_by(SECOND)
        assert due(world) == [(cycle_id, 1, State.ENROLLED)]

    assert waits[:3] == [20 * SECOND, 40 * SECOND, 80 * SECOND]
    assert waits[-1] == timedelta(hours=1)


def test_an_old_delivery_does_not_quiet_a_new_wake(world: World) -> None:
    """What was told before the last look says nothing of what has changed since."""
    cycle_id = enrolled(world)[0]
    quiet(world, cycle_id)
    wake(world, cycle_id)

    tell(world, (cycle_id, 1))

    assert due(world) == [(cycle_id, 2, State.ENROLLED)]


def test_telling_after_the_look_wakes_nobody(world: World) -> None:
    """A delivery noted late does not bring a wake back."""
    cycle_id = enrolled(world)[0]
    quiet(world, cycle_id)

    tell(world, (cycle_id, 1))

    assert row_of(world, cycle_id).wake_at is None


def test_the_longest_waiting_are_told_first(world: World) -> None:
    """No cycle starves behind later ones."""
    first = enrolled(world)[0]
    world.clock.pass_by(SECOND)
    second = enrolled(world, first=1)[0]

    assert [cycle_id for cycle_id, _, _ in due(world)] == [first, second]
    with world.installation.db.read() as tx:
        assert [cycle_id for cycle_id, *_ in cycles.due_wakes(tx, 1)] == [first]


def one_in_each_stage(world: World) -> list[str]:
    """Return a cycle in each stage that could go on and whose wake was lost."""
    ids = enrolled(world, len(ACTIVE))
    for cycle_id, state in zip(ids, ACTIVE, strict=True):
        advance(world, cycle_id, state)
    world.clock.pass_to(max(row_of(world, cycle_id).release_at for cycle_id in ids))
    for cycle_id in ids:
        with world.installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            row.wake_at = None
            row.state_at = tx.now
    return ids


def test_cycles_that_could_go_on_are_woken_by_the_sweep(world: World) -> None:
    """In every stage, one whose nudge was lost is found after a while, not before, and once."""
    ids = one_in_each_stage(world)

    world.clock.pass_by(STALLED_FOR)
    early = stalled(world)
    world.clock.pass_by(SECOND)

    assert (early, stalled(world), stalled(world)) == (0, len(ids), 0)
    assert sorted(found for found, _, _ in due(world)) == sorted(ids)


@pytest.mark.parametrize("overlay", ["held", "attention"])
def test_the_sweep_leaves_alone_what_waits_for_a_person(world: World, overlay: str) -> None:
    """In no stage is HELD or ATTENTION stalled."""
    for cycle_id in one_in_each_stage(world):
        with world.installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            if overlay == "held":
                cycles.record(tx, row, Kind.HOLD_PLACED, hold_id="h_1", by="p_1", reference="case")
            else:
                cycles.raise_attention(tx, row, Attention(Reason.CRIME))
    world.clock.pass_by(2 * STALLED_FOR)

    assert stalled(world) == 0


def test_the_sweep_leaves_alone_what_waits_for_time_or_an_answer(world: World) -> None:
    """Quarantine that is not over, and stages with something open, are not stalled."""
    quarantined, wiping = enrolled(world, 2)
    for cycle_id in (quarantined, wiping):
        advance(world, cycle_id, State.QUARANTINED)
    world.clock.pass_to(row_of(world, wiping).release_at)
    engine(world).stages.end_quarantine(ref(wiping), world.clock.now())
    engine(world).stages.clear(ref(wiping), TargetKind.RECORDS)
    engine(world).commands.extend(staff(world).operator, quarantined, world.clock.now() + timedelta(days=30), "case 1")
    quiet(world, quarantined)
    world.clock.pass_by(2 * STALLED_FOR)

    assert stalled(world) == 0


@pytest.mark.parametrize("kind", ["tampered", "lost"])
def test_a_damaged_event_no_longer_folds(damaged: World, kind: str) -> None:
    """The check that every other test ends with finds an altered row and a missing event."""
    cycle_id = enrolled(damaged)[0]
    engine(damaged).stages.begin_quarantine(ref(cycle_id))
    assert_folds(damaged.installation.db)
    statement = "UPDATE cycles SET demo = true" if kind == "tampered" else "DELETE FROM events WHERE seq = 1"
    with damaged.installation.db.begin() as tx:
        tx.session.execute(text(statement))

    with pytest.raises((AssertionError, ValueError)):
        assert_folds(damaged.installation.db)
