"""One platform hangs for ever: the numbers of the others are all cleared, and its own are not forgotten."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import running
from builders import PLATFORMS, an_entry, an_installation
from builders_cycles import all_at, assert_folds
from rude_server import serving, transport_to
from sqlmodel import col, func, select
from stoppable import RunningClock

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status
from fallow.operations.sending import Bell, TargetSender
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.platforms.http_platform import HttpPlatform
from fallow.platforms.signing import SigningKey
from fallow.store.tables import ObligationRow

HUNG = "alpha-pay"
_NUMBERS = 100


async def test_one_hung_platform_holds_up_no_number_of_the_others(tmp_path: Path) -> None:
    """While every request to it hangs, the senders beside it in the same process clear all their numbers; its own stay owed."""
    world = an_installation(tmp_path, clock=RunningClock())
    all_at(world, _NUMBERS, State.UNBINDING)

    def owed(target_id: str, status: Status) -> int:
        query = select(func.count()).where(ObligationRow.target_id == target_id, col(ObligationRow.status) == status)
        with world.installation.db.read() as tx:
            return tx.session.exec(query).one()

    others = sorted(PLATFORMS.keys() - {HUNG})
    over = asyncio.Event()

    async def hangs(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await over.wait()
        raise ConnectionError

    async with serving(hangs) as server, transport_to() as transport:
        entry = replace(an_entry(HUNG, PLATFORMS[HUNG], world.keys[HUNG]), endpoint=server.endpoint(), timeout=60.0)
        world.platforms[HUNG] = HttpPlatform(entry, transport, SigningKey.generate(), world.clock)  # type: ignore[assignment]
        bell = Bell(world.installation.db)
        rounds = [UnbindingRounds(world.installation, platform_id) for platform_id in (HUNG, *others)]
        sender = TargetSender(world.installation.db, bell, rounds, "one")
        turns = [asyncio.create_task(sender.turn(each, turn_for=60.0, beat=lambda: None, stopping=over.is_set)) for each in (HUNG, *others)]
        await asyncio.wait_for(server.asked.wait(), 30)

        async def cleared() -> bool:
            await bell.scan()
            return [owed(each, Status.DISCHARGED) for each in others] == [_NUMBERS] * len(others)

        await running.eventually(cleared, lambda: "the others' numbers")
        hung = (owed(HUNG, Status.OPEN), owed(HUNG, Status.DISCHARGED), len(server.requests))
        over.set()
        await asyncio.gather(*turns)
    world.clock.pass_by(timedelta(minutes=20))

    assert hung[:2] == (_NUMBERS, 0)
    assert 0 < hung[2] <= 32
    assert_folds(world.installation.db)
    with world.installation.db.read() as tx:
        due = tx.session.exec(select(ObligationRow.due_at).where(ObligationRow.target_id == HUNG)).all()
    assert all(each is not None and each <= world.clock.now() for each in due)
    world.installation.db.close()
