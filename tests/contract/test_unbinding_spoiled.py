"""One number that can't be asked about, at a platform that answers for all the others. On both databases."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from builders import World
from builders_cycles import all_at, facts_of, number_of
from memory_ports import MemoryPlatform
from sqlalchemy import text
from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.errors import TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status
from fallow.domain.ports import SignedDelivery, UnbindItem
from fallow.operations.sending import Tally
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.store import leases, obligations
from fallow.store.tables import AttemptRow, ObligationRow

PAY = "alpha-pay"
_HOLDER = "a test"


def go(world: World, *, times: int = 1) -> None:
    """Let the platform's sender do some rounds, a tenth of a second apart: its bucket is full each time."""
    tally, asking = Tally(), UnbindingRounds(world.installation, PAY, chance=lambda: 1.0)
    with world.installation.db.begin() as tx:
        fence = leases.take(tx, PAY, _HOLDER)
    assert fence is not None

    async def all_of_them() -> None:
        for place in range(times):
            world.clock.pass_by(timedelta(seconds=min(place, 1) / 10))
            await asking.round(_HOLDER, fence, tally)

    asyncio.run(all_of_them())


def attempts(world: World, cycle_id: str) -> list[str]:
    """Return what came of each attempt at the payment platform."""
    with world.installation.db.read() as tx:
        query = select(AttemptRow.result).where(AttemptRow.cycle_id == cycle_id, AttemptRow.target_id == PAY)
        return list(tx.session.exec(query.order_by(col(AttemptRow.attempt_id))))


def owed(world: World, cycle_id: str) -> ObligationRow:
    """Return the obligation at the payment platform."""
    with world.installation.db.read() as tx:
        return next(each for each in obligations.of_cycle(tx, cycle_id) if each.target_id == PAY)


def test_a_number_that_no_request_comes_through_with_waits_for_a_person(world: World) -> None:
    """Where a platform fails at one number alone, a person hears of it after the time of all reminders, and an answer ends that."""
    healthy = world.platforms[PAY]
    stuck, *others = all_at(world, 3, State.UNBINDING)
    spoils = number_of(world, stuck)

    class Spoiled(MemoryPlatform):
        """A platform with a fault of its own at one number."""

        async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
            """Fail wherever that number is."""
            what = "It is away."
            if any(item.number == spoils for item in items):
                raise TargetUnavailable(what, remedy="wait.")
            return await super().ask(items)

    world.installation.platforms[PAY] = Spoiled(PAY, world.keys[PAY], world.clock)  # type: ignore[index]
    called = list[bool]()
    for _ in range(24):
        go(world, times=3)
        world.clock.pass_by(timedelta(minutes=10))
        called.append(facts_of(world, stuck).attention == {Attention(Reason.PLATFORM_SILENT, PAY)})
    failures = owed(world, stuck).failures
    world.installation.platforms[PAY] = healthy  # type: ignore[index]
    go(world, times=3)

    assert (called.index(True), called[-1], failures > 20) == (18, True, True)
    assert [facts_of(world, each).attention for each in (stuck, *others)] == [frozenset()] * 3
    assert {owed(world, each).status for each in (stuck, *others)} == {Status.DISCHARGED}


def test_a_number_that_can_not_be_read_keeps_no_other_from_being_asked(damaged: World) -> None:
    """A row that was altered is set aside, tried again and at last given to a person; the rest of its batch goes on at once."""
    world = damaged
    lost, *others = all_at(world, 3, State.UNBINDING)
    with world.installation.db.begin() as tx:
        altered = text("UPDATE numbers SET sealed = :sealed WHERE number_id = :id")
        tx.session.execute(altered, {"sealed": b"x" * 40, "id": lost.partition("/")[0]})
    go(world, times=2)

    assert [owed(world, each).status for each in (lost, *others)] == [Status.OPEN, Status.DISCHARGED, Status.DISCHARGED]
    assert len(world.platforms[PAY].asked) == 2
    for _ in range(30):
        world.clock.pass_by(timedelta(minutes=10))
        go(world)
    assert set(attempts(world, lost)) == {"number-unreadable"}
    assert facts_of(world, lost).attention == {Attention(Reason.PLATFORM_SILENT, PAY)}
