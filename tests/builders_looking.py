"""Platforms with a status query, for tests of looking: what they show, and what became of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from builders import World, advance, enrolled
from memory_ports import MemoryPlatform
from sqlmodel import select

from fallow.domain.errors import TargetUnavailable
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.ports import SignedDelivery
from fallow.operations.sending import Bell
from fallow.store.tables import AttemptRow, LookRow

#: As long as all the reminders of a request take, in the usual world: an hour before each, and after the last.
SILENT_FOR = timedelta(hours=3)


def looking(world: World, platform_id: str = "alpha-pay", shows: Outcome | None = Outcome.CLEAR) -> MemoryPlatform:
    """Let a platform offer a status query that shows this of every reference."""
    platform = world.platforms[platform_id]
    platform.looks, platform.shows = True, lambda _: shows
    return platform


def unconfirmed(world: World, count: int = 1) -> list[str]:
    """Return cycles in UNBINDING whose answers are in, while the platform with the status query says nothing of them yet."""
    ids = enrolled(world, count)
    for cycle_id in ids:
        advance(world, cycle_id, State.RESELLABLE)
    return ids


def sampling(world: World, one_in: int = 1) -> None:
    """Let new cycles freeze a policy that draws one in so many."""
    policy = replace(world.installation.policy, sample_one_in=one_in)
    world.wired.installation = replace(world.installation, policy=policy)


def owed_looks(world: World) -> list[tuple[str, str]]:
    """Return (cycle, platform) of every look that is owed."""
    with world.installation.db.read() as tx:
        return sorted((row.cycle_id, row.target_id) for row in tx.session.exec(select(LookRow)))


def attempts_of(world: World, cycle_id: str, platform_id: str = "alpha-pay") -> list[str]:
    """Return what came of each attempt at a platform, in order."""
    query = select(AttemptRow.result).where(AttemptRow.cycle_id == cycle_id, AttemptRow.target_id == platform_id)
    with world.installation.db.read() as tx:
        return list(tx.session.exec(query.order_by(AttemptRow.attempt_id)))  # type: ignore[arg-type]


class OddPlatform(MemoryPlatform):
    """A platform whose answers to a status query are the test's."""

    #: Answers a status query in place of the platform; None: the platform does not answer.
    answers: Callable[[Sequence[str]], SignedDelivery | None] | None = None

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Answer as the test wants."""
        self.looked += references
        if self.answers is None:
            what = f"The platform {self.platform_id} can't be reached."
            raise TargetUnavailable(what, remedy="wait.")
        return self.answers(references)


def odd(world: World, answers: Callable[[Sequence[str]], Any] | None, platform_id: str = "alpha-pay") -> OddPlatform:
    """Put a platform whose status query answers so into a usual one's place."""
    usual = world.platforms[platform_id]
    platform = OddPlatform(platform_id, usual.key, usual.clock, looks=True)
    platform.answers = answers
    world.platforms[platform_id] = platform
    return platform


def rung(world: World, platform_id: str = "alpha-pay") -> bool:
    """Tell whether the due-scan rings for the platform that looks."""

    async def heard() -> bool:
        bell = Bell(world.installation.db)
        await bell.wait(platform_id, 0)
        await bell.scan()
        return bell._rung[platform_id].is_set()

    return asyncio.run(heard())
