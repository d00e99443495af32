"""A sender's turn and its bell on both databases: who holds the lease until when, and how often a backlog is looked through."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from builders import World

from fallow.domain.ports import TurnOver
from fallow.operations import sending
from fallow.operations.sending import Bell, Tally, TargetSender
from fallow.store import leases

#: Bounds what would hang if the code were wrong.
_WITHIN = 20.0


@dataclass
class LongRound:
    """Rounds whose one round takes until the test lets it end.

    Attributes:
        begun: set when the round has begun.
        opened: set by the test.
    """

    target_id: str = "crm"
    lanes: int = 1
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Begin, wait, and have discharged one."""
        del holder, fence
        self.begun.set()
        await self.opened.wait()
        tally.discharged += 1
        return True


def taken_by_another(world: World) -> int | None:
    """Try to take the lease as another process would."""
    with world.installation.db.begin() as tx:
        return leases.take(tx, "crm", "another")


def test_a_turn_keeps_its_lease_until_what_it_began_is_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wipe that outlasts the turn is done once: the turn goes on beating, nobody else gets the lease, and then it is free at once."""
    monkeypatch.setattr(sending, "_BEAT_EVERY", 0.01)
    monkeypatch.setattr(sending, "_RENEW_EVERY", 0.0)
    rounds, tries = LongRound(), list[int | None]()

    def beat() -> None:
        world.clock.pass_by(leases.LEASE_FOR - timedelta(seconds=1))
        if rounds.begun.is_set():
            tries.append(taken_by_another(world))
        if len(tries) == 5:
            rounds.opened.set()

    async def turn() -> object:
        sender = TargetSender(world.installation.db, Bell(world.installation.db), [rounds], "one")
        async with asyncio.timeout(_WITHIN):
            return await sender.turn("crm", turn_for=_WITHIN, beat=beat, stopping=rounds.begun.is_set)

    over = asyncio.run(turn())

    assert over == TurnOver(1, 0, "stopping")
    assert set(tries) == {None}
    assert taken_by_another(world) == 2
