"""A sender's turn and its bell on both databases: who holds the lease until when, and how often a backlog is looked through."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from builders import World
from sqlalchemy import event

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


@dataclass
class Scans:
    """The due-scans of a database, on a clock of their own.

    Attributes:
        seconds: what the clock shows.
        take: how long a scan takes.
        statements: one for each scan.
    """

    seconds: float = 1000.0
    take: float = 0.0
    statements: list[str] = field(default_factory=list)

    def note(self, *seen: Any) -> None:
        """Count a scan, and let its time pass."""
        if "FROM obligations" in seen[2]:
            self.statements.append(seen[2])
            self.seconds += self.take


@pytest.fixture
def scans(world: World) -> Iterator[Scans]:
    """Give the due-scans of ``world``."""
    found = Scans()
    event.listen(world.installation.db.engine, "after_cursor_execute", found.note)
    yield found
    event.remove(world.installation.db.engine, "after_cursor_execute", found.note)


async def scanned(world: World, scans: Scans, *pauses: float) -> list[int]:
    """Scan at once and after each of the pauses; return how many scans there were by then."""
    bell = Bell(world.installation.db, seconds=lambda: scans.seconds)
    await bell.wait("crm", 0)  # from now on somebody waits for it
    counted = list[int]()
    for pause in (0.0, *pauses):
        scans.seconds += pause
        await bell.scan()
        counted.append(len(scans.statements))
    return counted


def test_a_target_rests_twenty_times_as_long_as_its_scan_took(world: World, scans: Scans) -> None:
    """A backlog that takes half a second to look through is looked through six times a minute at most, not twice a second."""
    scans.take = 0.5

    assert asyncio.run(scanned(world, scans, 0.5, 9.25, 0.5, 9.5, 0.75)) == [1, 1, 1, 2, 2, 3]


def test_a_scan_that_was_held_up_silences_its_target_for_ten_seconds_at_most(world: World, scans: Scans) -> None:
    """A machine that stood still for a minute does not keep what is due from its sender for twenty."""
    scans.take = 60.0

    assert asyncio.run(scanned(world, scans, 9.75, 0.5)) == [1, 1, 2]


def test_a_target_whose_scan_is_quick_is_scanned_every_time(world: World, scans: Scans) -> None:
    """Its senders hear of what is due within half a second."""
    scans.take = 0.001

    assert asyncio.run(scanned(world, scans, 0.5, 0.5, 0.5)) == [1, 2, 3, 4]


def test_the_scan_begins_with_what_was_due_first(world: World, scans: Scans) -> None:
    """The database goes by the index on due instants and stops at the first row, whatever it believes about the tables."""
    asyncio.run(scanned(world, scans))

    assert "ORDER BY obligations.due_at" in " ".join(scans.statements[0].split())
