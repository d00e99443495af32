"""A platform with a status query, on a real server: the number goes on by itself once the platform has confirmed."""

from running import Engine, eventually, fresh

from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.store import looks

#: What a look adds to a history: one nudge more, the workflow task that it brings, and the step that settles.
HAPPY_PATH, A_LOOK = 27, 5


async def test_a_number_goes_on_when_a_platform_confirms(engine: Engine) -> None:
    """Its sender looks without being told, the last look wakes the workflow, and no history grows by more than one nudge."""
    platform = engine.platform("beta-chat")
    platform.looks, platform.shows = True, lambda _: None
    cycle_id = engine.enrol(fresh())

    def waits() -> bool:
        with engine.world.installation.db.read() as tx:
            return looks.of_cycle(tx, cycle_id) == ["beta-chat"] and bool(platform.looked)

    await eventually(waits, lambda: f"{cycle_id} to be looked at; it is {engine.row(cycle_id)!r}")
    before = State(engine.row(cycle_id).state)
    platform.shows = lambda _: Outcome.CLEAR

    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert before is State.UNBINDING
    assert engine.kinds(cycle_id).count("ObligationConfirmed") == 1
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + A_LOOK
    platform.looks = False
