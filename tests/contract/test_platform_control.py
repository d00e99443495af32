"""What an operator sets for a target, on both databases: obeyed at the next claim, recorded, shown, and by nobody else."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from builders import World, ask_all, wipe_all
from builders_cycles import all_at, owed_by, staff
from sqlmodel import col, select

from fallow.domain.errors import InputRefused, NotKnown, PersonRefused
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status, TargetKind
from fallow.operations import platform_control, sending, status
from fallow.operations.sending import Bell, Tally, TargetSender
from fallow.store import obligations, targets
from fallow.store.platform_tables import RegistryEventRow

PAY = "alpha-pay"
#: Bounds what would hang if the code were wrong.
_WITHIN = 20.0


def set_pace(world: World, target_id: str = PAY, **values: Any) -> None:
    """Set a pace as an operator."""
    platform_control.set_pace(world.installation, staff(world).operator, target_id, **values)


def due(world: World, target_id: str) -> bool:
    """Tell whether the bell would ring for the target."""
    with world.installation.db.read() as tx:
        return obligations.due_targets(tx, {target_id: ()}) == {target_id}


def shown(world: World, target_id: str = PAY) -> dict[str, Any]:
    """Return what readers see of a target."""
    return next(each for each in status.targets(world.installation, staff(world).auditor) if each["target_id"] == target_id)


def recorded(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the registry's events in order."""
    with world.installation.db.read() as tx:
        rows = tx.session.exec(select(RegistryEventRow).order_by(col(RegistryEventRow.event_id)))
        return [(row.platform_id, row.kind, json.loads(row.body)) for row in rows]


def test_a_paused_platform_is_asked_nothing_until_it_is_resumed(world: World) -> None:
    """Nothing is claimed and no bell rings for it; the others go on; then it gets what waited."""
    (cycle_id,) = all_at(world, 1, State.UNBINDING)
    operator = staff(world).operator

    platform_control.pause(world.installation, operator, PAY)
    ask_all(world)
    paused = len(world.platforms[PAY].asked), len(world.platforms["beta-chat"].asked), due(world, PAY)
    platform_control.resume(world.installation, operator, PAY)
    rings = due(world, PAY)
    ask_all(world)

    assert paused == (0, 1, False)
    assert rings
    assert owed_by(world, cycle_id)[PAY].status is Status.DISCHARGED


def test_a_paused_record_system_is_wiped_no_more(world: World) -> None:
    """A pause holds for either kind of target."""
    (cycle_id,) = all_at(world, 1, State.WIPING)
    operator = staff(world).operator

    platform_control.pause(world.installation, operator, "crm")
    wipe_all(world)
    before = owed_by(world, cycle_id)["crm"].status
    platform_control.resume(world.installation, operator, "crm")
    wipe_all(world)

    assert (before, owed_by(world, cycle_id)["crm"].status) == (Status.OPEN, Status.DISCHARGED)


def test_who_paused_and_resumed_is_recorded_once_each(world: World) -> None:
    """Again changes nothing and writes nothing."""
    operator = staff(world).operator

    for command in (platform_control.pause, platform_control.pause, platform_control.resume, platform_control.resume):
        command(world.installation, operator, PAY)
    platform_control.set_pace(world.installation, operator, PAY, batch=7)

    by = {"by": operator.person_id}
    assert recorded(world) == [
        (PAY, "PlatformPaused", by),
        (PAY, "PlatformResumed", by),
        (PAY, "PaceSet", {**by, "batch": 7, "lanes": None, "rate_per_second": None}),
    ]


def test_a_batch_is_as_small_as_an_operator_set_it_from_the_next_claim_on(world: World) -> None:
    """No restart; and without it what the registration says counts again."""
    all_at(world, 6, State.UNBINDING)
    asked, sizes = world.platforms[PAY].asked, []

    for batch in (2, None):
        set_pace(world, batch=batch)
        world.clock.pass_by(timedelta(seconds=1))
        before = len(asked)
        ask_all(world)
        sizes.append(len(asked) - before)

    assert sizes == [2, 4]


def test_a_record_system_never_gets_more_than_it_takes(world: World) -> None:
    """A smaller batch is obeyed, a larger one is not."""
    with world.installation.db.begin() as tx:
        row = targets.lock(tx, "crm", TargetKind.RECORDS)
        sizes = []
        for row.batch in (3, 900):
            row.tokens_at = None
            sizes.append(targets.allowance(tx, row, 1000.0, 50))

    assert sizes == [3, 50]


def test_a_rate_set_by_an_operator_counts(world: World) -> None:
    """One item every ten seconds, though the registration allows ten thousand a second."""
    set_pace(world, rate_per_second=0.1)
    all_at(world, 3, State.UNBINDING)
    asked = []
    for _ in range(3):
        ask_all(world)
        asked.append(len(world.platforms[PAY].asked))
        world.clock.pass_by(timedelta(seconds=10))

    assert asked == [0, 1, 2]


@dataclass
class Counted:
    """Rounds that wait, and count how many of them are under way."""

    target_id: str = PAY
    lanes: int = 2
    running: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def round(self, holder: str, fence: int, tally: Tally) -> bool:
        """Wait for a moment."""
        del holder, fence, tally
        self.running += 1
        try:
            async with asyncio.timeout(0.01):
                await self.ended.wait()
        except TimeoutError:
            pass
        finally:
            self.running -= 1
        return True


def test_lanes_come_and_go_while_a_turn_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two by registration, five and then one by an operator, two again: in the same turn."""
    monkeypatch.setattr(sending, "_BEAT_EVERY", 0.01)
    monkeypatch.setattr(sending, "_RENEW_EVERY", 0.0)
    orders, seen, rounds = iter((5, 1, None)), list[int](), Counted()
    wanted: dict[int | None, int] = {5: 5, 1: 1, None: 2}
    awaited, since = [2], [0]

    def beat() -> None:
        since[0] = since[0] + 1 if rounds.running == awaited[0] else 0
        if since[0] < 5 or len(seen) == 4:
            return
        seen.append(rounds.running)
        since[0] = 0
        if len(seen) < 4:
            lanes = next(orders)
            awaited[0] = wanted[lanes]
            set_pace(world, lanes=lanes)

    async def turn() -> None:
        sender = TargetSender(world.installation.db, Bell(world.installation.db), [rounds], "one")
        async with asyncio.timeout(_WITHIN):
            await sender.turn(PAY, turn_for=_WITHIN, beat=beat, stopping=lambda: len(seen) == 4)

    asyncio.run(turn())

    assert seen == [2, 5, 1, 2]


def test_readers_see_how_a_target_is_asked_and_what_it_owes(world: World) -> None:
    """Pace, who set it, pause, backlog, reminders, breaker: one line for a target."""
    world.platforms[PAY].says = lambda _: None
    all_at(world, 2, State.UNBINDING)
    ask_all(world)
    opened = shown(world)
    set_pace(world, rate_per_second=5.0)
    platform_control.pause(world.installation, staff(world).operator, PAY)
    world.clock.pass_by(timedelta(days=6))
    later = shown(world)

    assert (opened["open"], opened["due_now"], opened["past_deadline"], opened["breaker"], opened["lanes"]) == (2, 0, 0, "closed", 3)
    assert (later["due_now"], later["past_deadline"], later["rate_per_second"], later["set_by_operator"]) == (
        2,
        2,
        5.0,
        ["rate_per_second"],
    )
    assert later["paused_at"] is not None
    assert later["oldest_open_at"] is not None
    assert shown(world, "crm")["lanes"] == 1


def test_the_breaker_is_shown_open_then_half_open(world: World) -> None:
    """Three failures open it; once its pause is over one probe is due."""
    with world.installation.db.begin() as tx:
        for _ in range(targets.OPENS_AFTER):
            targets.failed(tx, targets.lock(tx, PAY, TargetKind.PLATFORM), "It is away.", None)
    first = shown(world)["breaker"]
    world.clock.pass_by(timedelta(seconds=2))

    assert (first, shown(world)["breaker"]) == ("open", "half-open")


def test_answers_of_the_last_hour_are_counted(world: World) -> None:
    """What came in responses counts by its items, and for an hour."""
    all_at(world, 3, State.UNBINDING)
    ask_all(world)
    counted = shown(world)["answers_last_hour"]
    world.clock.pass_by(timedelta(hours=2))

    assert (counted, shown(world)["answers_last_hour"]) == (3, 0)


@pytest.mark.parametrize(
    "values", [{"rate_per_second": 0.0}, {"rate_per_second": 1e9}, {"batch": 0}, {"batch": 1001}, {"lanes": 0}, {"lanes": 33}]
)
def test_what_no_registration_could_say_is_refused(world: World, values: dict[str, Any]) -> None:
    """An operator's values have the same bounds."""
    with pytest.raises(InputRefused, match=next(iter(values))):
        set_pace(world, **values)
    assert recorded(world) == []


def test_record_systems_have_one_lane(world: World) -> None:
    """More would delete side by side in the same tables."""
    with pytest.raises(InputRefused, match="crm"):
        set_pace(world, "crm", lanes=2)


def test_only_staff_may_and_only_what_is_there(world: World) -> None:
    """An auditor is refused, and so is a target that nobody knows."""
    people = staff(world)

    with pytest.raises(PersonRefused):
        platform_control.pause(world.installation, people.auditor, PAY)
    with pytest.raises(NotKnown):
        platform_control.pause(world.installation, people.operator, "nobody")
    assert recorded(world) == []
