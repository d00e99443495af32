"""A platform's sender on both databases: what a request carries, what comes first, how often is asked, and who is asked at last."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from builders import World, number
from builders_cycles import all_at, engine, facts_of, number_of, staff
from memory_ports import MemoryPlatform
from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import FallowError, TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome, TargetKind
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.domain.sent import under_way
from fallow.operations import status
from fallow.operations.installation import Pace
from fallow.operations.sending import CLAIM_FOR, Tally, backoff
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.store import exchanges, leases, obligations
from fallow.store.platform_tables import ExchangeRow
from fallow.store.tables import AttemptRow, ObligationRow
from workers.registry import chores

DAY = timedelta(days=1)
PAY = "alpha-pay"
_HOLDER = "a test"


def rounds(world: World) -> UnbindingRounds:
    """Return the rounds at the payment platform, without chance."""
    return UnbindingRounds(world.installation, PAY, chance=lambda: 1.0)


def go(world: World, *, at: UnbindingRounds | None = None, times: int = 1) -> Tally:
    """Let the platform's sender do some rounds, a tenth of a second apart: its bucket is full each time."""
    tally, asking = Tally(), at or rounds(world)
    with world.installation.db.begin() as tx:
        fence = leases.take(tx, PAY, _HOLDER)
    assert fence is not None

    async def all_of_them() -> None:
        for place in range(times):
            world.clock.pass_by(timedelta(seconds=min(place, 1) / 10))
            await asking.round(_HOLDER, fence, tally)

    asyncio.run(all_of_them())
    return tally


def pace(world: World, **changed: Any) -> None:
    """Have the platform asked in another way."""
    usual = {"batch": 50, "rate_per_second": 10_000.0, "remind_after": 3600.0, "reminders": 2, "contact": "ops@example.com"}
    world.installation.paces[PAY] = Pace(**{**usual, **changed})  # type: ignore[index]


def platform(world: World) -> MemoryPlatform:
    """Return the payment platform."""
    return world.platforms[PAY]


def failing(world: World, failure: Callable[[], FallowError]) -> list[int]:
    """Have the platform fail; return the sizes of the requests it gets from now on."""
    sizes = list[int]()

    class Failing(MemoryPlatform):
        """A platform that can't answer."""

        async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
            """Count, and fail."""
            sizes.append(len(items))
            raise failure()

    world.installation.platforms[PAY] = Failing(PAY, world.keys[PAY], world.clock)  # type: ignore[index]
    return sizes


def unavailable(retry_after: float | None = None) -> FallowError:
    """Return what a platform that is down comes to."""
    what = "It is away."
    return TargetUnavailable(what, remedy="wait.", retry_after=retry_after)


def attempts(world: World, cycle_id: str) -> list[str]:
    """Return what came of each attempt at the payment platform."""
    with world.installation.db.read() as tx:
        query = select(AttemptRow.result).where(AttemptRow.cycle_id == cycle_id, AttemptRow.target_id == PAY)
        return list(tx.session.exec(query.order_by(col(AttemptRow.attempt_id))))


def owed(world: World, cycle_id: str) -> ObligationRow:
    """Return the obligation at the payment platform."""
    with world.installation.db.read() as tx:
        return next(each for each in obligations.of_cycle(tx, cycle_id) if each.target_id == PAY)


def test_a_silent_platform_is_asked_exactly_as_often_as_its_reminders_say(world: World) -> None:
    """Two reminders are three requests, then a person is asked, and nothing more is ever sent."""
    platform(world).says = lambda _: None
    (cycle_id,) = all_at(world, 1, State.UNBINDING)

    for _ in range(6):
        go(world)
        world.clock.pass_by(timedelta(hours=2))

    assert [item.reminder for item in platform(world).asked] == [False, True, True]
    assert len({item.reference for item in platform(world).asked}) == 1
    assert attempts(world, cycle_id) == ["asked"] * 3
    assert facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_SILENT, PAY)}


def test_the_contact_stands_beside_what_waits_for_a_person(world: World) -> None:
    """Whoever sees in a list or in one cycle that a platform keeps silent sees there whom to call."""
    pace(world, reminders=0)
    platform(world).says = lambda _: None
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    go(world)
    world.clock.pass_by(DAY)
    go(world)
    reader = staff(world).auditor

    shown = [status.show(world.installation, reader, cycle_id), *status.list_cycles(world.installation, reader, attention=True)]

    assert [each["attention"][0]["contact"] for each in shown] == ["ops@example.com"] * 2


def test_every_item_names_the_deadline_that_the_first_request_set(world: World) -> None:
    """Reminders repeat the instant by which an answer is wanted."""
    pace(world, answer_within=5 * 86400.0)
    platform(world).says = lambda _: None
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    deadline = world.clock.now() + 5 * DAY

    for _ in range(2):
        go(world)
        world.clock.pass_by(DAY)

    assert [item.deadline for item in platform(world).asked] == [deadline, deadline]
    assert owed(world, cycle_id).deadline_at == deadline


def test_a_request_that_was_not_taken_sets_no_deadline(world: World) -> None:
    """After an outage of a week the platform has its full time."""
    pace(world, answer_within=5 * 86400.0)
    healthy = platform(world)
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    failing(world, unavailable)
    go(world)
    world.clock.pass_by(7 * DAY)
    healthy.says = lambda _: None
    world.installation.platforms[PAY] = healthy  # type: ignore[index]

    go(world)

    assert healthy.asked[0].deadline == world.clock.now() + 5 * DAY == owed(world, cycle_id).deadline_at


def test_whatever_a_request_brings_it_was_asked_once_more(world: World) -> None:
    """What the response settles and what it leaves open both count as asked, and no longer as failing; tallied is what it settled."""
    settled, left = all_at(world, 2, State.UNBINDING)
    healthy = platform(world)
    failing(world, unavailable)
    go(world)
    world.clock.pass_by(DAY)
    world.installation.platforms[PAY] = healthy  # type: ignore[index]
    healthy.says = lambda item: Outcome.CLEAR if item.reference == owed(world, settled).reference else None

    tally = go(world)

    assert [(each.asked, each.failures) for each in (owed(world, settled), owed(world, left))] == [(1, 0), (1, 0)]
    assert tally.discharged == 1


def test_what_fails_is_tried_once_for_each_backoff(world: World) -> None:
    """No attempt before its time, one at it; each is a row, and each is a request to the platform."""
    sizes = failing(world, unavailable)
    (cycle_id,) = all_at(world, 1, State.UNBINDING)

    for failures in range(4):
        go(world, times=2)
        assert len(sizes) == failures + 1
        world.clock.pass_by(timedelta(minutes=10))

    assert attempts(world, cycle_id) == ["target-unavailable"] * 4
    assert owed(world, cycle_id).failures == 4


def test_backoff_is_spread_over_its_upper_half() -> None:
    """What failed at one instant is tried again at many, none sooner than half of the usual time, none later than all of it."""
    chances = iter((0.0, 0.5, 1.0))

    assert [backoff(2, lambda: next(chances)) for _ in range(3)] == [timedelta(seconds=each) for each in (2, 3, 4)]
    assert backoff(40, lambda: 1.0) == timedelta(minutes=10)
    assert len({backoff(3) for _ in range(20)}) > 1


def test_what_failed_together_is_due_again_together(world: World) -> None:
    """Chance spreads requests, not the numbers of one: they halve together until the one that spoils them is alone."""
    failing(world, unavailable)
    ids = all_at(world, 4, State.UNBINDING)

    go(world, at=UnbindingRounds(world.installation, PAY))

    assert len({owed(world, cycle_id).due_at for cycle_id in ids}) == 1


def test_retry_after_is_kept_though_another_request_succeeds_meanwhile(world: World) -> None:
    """A platform that asks for a minute of rest has it, whatever was still under way."""
    pace(world, batch=1)
    healthy, begun, answering = platform(world), asyncio.Event(), asyncio.Event()
    all_at(world, 3, State.UNBINDING)

    class Crowded(MemoryPlatform):
        """A platform that turns every further request away while the first is under way."""

        async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
            """Answer the first."""
            if begun.is_set():
                raise unavailable(60.0)
            begun.set()
            await answering.wait()
            return await healthy.ask(items)

    async def both() -> None:
        with world.installation.db.begin() as tx:
            fence = leases.take(tx, PAY, _HOLDER) or 0
        asking = rounds(world)
        first = asyncio.create_task(asking.round(_HOLDER, fence, Tally()))
        async with asyncio.timeout(20):
            await begun.wait()
            world.clock.pass_by(timedelta(seconds=1))
            await asking.round(_HOLDER, fence, Tally())
            answering.set()
            await first

    world.installation.platforms[PAY] = Crowded(PAY, world.keys[PAY], world.clock)  # type: ignore[index]
    asyncio.run(both())
    world.installation.platforms[PAY] = healthy  # type: ignore[index]
    asked = [len(healthy.asked)]
    for seconds in (59, 1):
        world.clock.pass_by(timedelta(seconds=seconds))
        go(world)
        asked.append(len(healthy.asked))

    assert asked == [1, 1, 2]


@pytest.mark.parametrize("never_asked", [1, 30])
def test_a_backlog_does_not_keep_what_is_new_behind_it(world: World, never_asked: int) -> None:
    """With all that is overdue many batches long, new numbers go out within two requests, and the old ones go on in between."""
    pace(world, batch=10, reminders=100)
    platform(world).says = lambda _: None
    old = all_at(world, 60, State.UNBINDING)
    go(world, times=6)
    world.clock.pass_by(DAY)
    new = all_at(world, never_asked, State.UNBINDING, first=100)
    platform(world).asked.clear()
    asking = rounds(world)
    fresh = {number_of(world, cycle_id) for cycle_id in new}

    go(world, at=asking, times=2)
    early = [item.number in fresh for item in platform(world).asked]
    go(world, at=asking, times=9)

    assert [len(early), sum(early[:10]), sum(early[10:])] == [20, min(10, never_asked), 0]
    assert {item.number for item in platform(world).asked} >= fresh | {number_of(world, cycle_id) for cycle_id in old}


def test_a_slow_pace_serves_both_in_turns(world: World) -> None:
    """Where one item goes at a time, every second one is new, so that neither waits for the last of the other."""
    pace(world, batch=1, reminders=100)
    platform(world).says = lambda _: None
    all_at(world, 5, State.UNBINDING)
    go(world, times=5)
    world.clock.pass_by(DAY)
    all_at(world, 5, State.UNBINDING, first=100)
    platform(world).asked.clear()
    asking = rounds(world)

    go(world, at=asking, times=6)

    assert [item.reminder for item in platform(world).asked] == [False, True] * 3


def test_what_failed_is_not_mixed_with_what_is_new(world: World) -> None:
    """A number that spoils its batch does not spoil the batch of those that were never asked."""
    sizes = failing(world, unavailable)
    all_at(world, 4, State.UNBINDING)
    go(world)
    world.clock.pass_by(timedelta(minutes=1))
    all_at(world, 3, State.UNBINDING, first=100)

    go(world, at=rounds(world), times=2)

    assert sizes == [4, 3, 4]


def test_a_platform_that_is_asked_by_hand_is_never_sent_anything(world: World) -> None:
    """Its numbers wait for a person, also after a retry; an attestation settles them."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    platform(world).by_hand = True  # type: ignore[attr-defined]

    go(world, times=2)
    before = facts_of(world, cycle_id).attention
    engine(world).commands.retry(staff(world).operator, cycle_id, "case 1")
    go(world, times=2)

    assert before == facts_of(world, cycle_id).attention == {Attention(Reason.PLATFORM_BY_HAND, PAY)}
    assert platform(world).asked == []
    assert owed(world, cycle_id).asked == 0
    assert attempts(world, cycle_id) == []


def test_each_request_is_a_row_of_the_delivery_log(world: World) -> None:
    """What went out, under which id, with what result; a failure is a row like a success."""

    class Telling(MemoryPlatform):
        """A platform whose adapter tells of its requests."""

        async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
            """Tell, and answer."""
            sent = under_way()
            sent.delivery_id, sent.status, sent.octets = "msg_a", 200, 77
            return await super().ask(items)

    world.installation.platforms[PAY] = Telling(PAY, world.keys[PAY], world.clock)  # type: ignore[index]
    all_at(world, 2, State.UNBINDING)
    go(world)
    failing(world, unavailable)
    all_at(world, 1, State.UNBINDING, first=100)
    go(world)

    with world.installation.db.read() as tx:
        rows = exchanges.latest(tx, PAY, 10)
    assert [(row.direction, row.delivery_id, row.items, row.octets, row.status, row.result) for row in rows] == [
        ("out", "", 1, 0, None, "target-unavailable"),
        ("out", "msg_a", 2, 1024, 200, "answered"),
    ]
    assert all(number(0).text not in str(row) for row in rows)


def test_a_request_that_failed_in_its_notes_leaves_no_row(world: World) -> None:
    """The log says what was noted and nothing else: its row is in the same transaction."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    platform(world).says = lambda _: None

    go(world)

    with world.installation.db.read() as tx:
        assert len(tx.session.exec(select(ExchangeRow)).all()) == len(attempts(world, cycle_id)) == 1


def test_claims_come_back_after_a_sender_died_with_new_ones_in_its_hands(world: World) -> None:
    """What was claimed for the first time and never sent is sent by the next one, although it is new no more."""
    ids = all_at(world, 3, State.UNBINDING)
    with world.installation.db.begin() as tx:
        lost = obligations.claim(tx, PAY, TargetKind.PLATFORM, most=10, for_=CLAIM_FOR, new_first=True)

    world.clock.pass_by(CLAIM_FOR)
    go(world)

    assert {each.cycle_id for each in lost} == set(ids)
    assert len(platform(world).asked) == 3


def test_old_rows_of_the_delivery_log_go_with_the_sweep(world: World) -> None:
    """After thirty days a chore of the worker deletes them, and no sooner."""
    all_at(world, 1, State.UNBINDING)
    go(world)
    left = []

    async def sweep() -> None:
        for chore in chores(world.installation, timedelta(days=36500)):
            await chore()

    for days in (29, 2):
        world.clock.pass_by(days * DAY)
        asyncio.run(sweep())
        with world.installation.db.read() as tx:
            left.append(len(exchanges.latest(tx, PAY, 10)))

    assert left == [1, 0]
