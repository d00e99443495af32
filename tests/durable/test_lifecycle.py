"""Stages and commands on a real server, with workflows kept in memory and with every task a full replay."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import running
from builders import number
from running import Engine, fresh
from stoppable import LONG, ONE_SECOND, THREE_SECONDS

from fallow.domain.gate import LineStatus
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Outcome
from fallow.domain.ports import UnbindItem

#: The budgets: the happy path, and what one operator command may add.
HAPPY_PATH, PER_COMMAND = 40, 8
DOCUMENT = hashlib.sha256(b"a document issued by the platform").hexdigest()


async def cost(engine: Engine, cycle_id: str, order: Callable[[], object]) -> int:
    """Return how many history events a command adds to a workflow at rest."""
    before = await engine.quiet(cycle_id)
    order()
    return len(await engine.quiet(cycle_id)) - len(before)


def say(engine: Engine, index: int, outcome: Outcome | None, platform: str = "alpha-pay") -> None:
    """Make a platform give this outcome for one number and clear the others; None: it keeps silent."""
    asked, before = number(index), engine.platform(platform).says

    def says(item: UnbindItem) -> Outcome | None:
        return outcome if item.number == asked else before(item)

    engine.platform(platform).says = says


async def test_quarantine_to_resellable_fits_the_event_budget(engine: Engine) -> None:
    """A number goes through every stage to RESELLABLE in at most 40 events, one timer, no search attribute and no trace of the number."""
    index = fresh()
    cycle_id = engine.enrol(index, THREE_SECONDS)
    assert await engine.ended(cycle_id) is State.RESELLABLE
    events = await engine.quiet(cycle_id)
    assert len(events) <= HAPPY_PATH
    assert running.named(events).count("TIMER_STARTED") == 1
    assert await engine.shows(cycle_id) == {}
    assert not running.numbers_in(events, index)
    settled = [kind for kind in engine.kinds(cycle_id) if kind in ("StageSettled", "TagIssued", "NumberReleased")]
    assert settled == ["StageSettled"] * 3 + ["TagIssued", "NumberReleased"]


async def test_hold_and_lift_during_quarantine(engine: Engine) -> None:
    """A hold shows in the query and the search attribute, a lift takes it back, and each costs at most 8 events."""
    cycle_id = engine.enrol(fresh(), LONG)
    await engine.until(cycle_id, State.QUARANTINED)
    holds: list[str] = []
    assert await cost(engine, cycle_id, lambda: holds.append(engine.hold(cycle_id))) <= PER_COMMAND
    assert (await engine.status(cycle_id)).held
    assert await engine.shows(cycle_id) == {"FallowHeld": True, "FallowAttention": False}
    lifted = await cost(engine, cycle_id, lambda: engine.commands.lift(engine.staff.operator, cycle_id, holds[0], "case 1 closed"))
    assert lifted <= PER_COMMAND
    assert not (await engine.status(cycle_id)).held
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": False}
    assert running.pending_timers(await engine.history(cycle_id)) == 1


async def test_a_hold_in_the_file_stops_after_quarantine_until_it_is_lifted(engine: Engine) -> None:
    """A number enrolled under a hold is never wiped before the lift, and goes all the way after it."""
    index = fresh()
    cycle_id = engine.enrol(index, ONE_SECOND, hold_reference="court 7")
    row = await engine.until(cycle_id, State.QUARANTINED, held=True)
    await running.eventually(lambda: engine.world.clock.now() > row.release_at, lambda: "the release instant")
    await engine.nudge(cycle_id)
    events = await engine.quiet(cycle_id)
    assert (await engine.status(cycle_id)).state == State.QUARANTINED
    assert cycle_id not in engine.record_system().wiped
    (hold_id,) = json.loads(engine.row(cycle_id).holds)
    engine.commands.lift(engine.staff.operator, cycle_id, hold_id, "court 7 closed")
    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + 2 * PER_COMMAND
    assert not running.numbers_in(events, index)


async def test_extend_moves_the_one_timer(engine: Engine) -> None:
    """An extension costs at most 8 events and leaves exactly one timer, at the new instant."""
    cycle_id = engine.enrol(fresh(), LONG)
    row = await engine.until(cycle_id, State.QUARANTINED)
    later = row.release_at + timedelta(days=3)
    spent = await cost(engine, cycle_id, lambda: engine.commands.extend(engine.staff.operator, cycle_id, later, "ticket 2"))
    assert spent <= PER_COMMAND
    assert (await engine.status(cycle_id)).look_at == later
    assert running.pending_timers(await engine.history(cycle_id)) == 1


@pytest.mark.parametrize(
    ("command", "end"),
    [("reclaim", State.RECLAIMED), ("retire", State.RETIRED), ("withdraw", State.WITHDRAWN)],
)
async def test_an_end_ordered_during_quarantine_closes_the_workflow(engine: Engine, command: str, end: State) -> None:
    """Reclaim, retire and withdraw end the cycle and its workflow within 8 events, with nothing wiped and nobody asked."""
    cycle_id = engine.enrol(fresh(), LONG)
    await engine.until(cycle_id, State.QUARANTINED)

    def order() -> None:
        if command == "withdraw":
            engine.commands.withdraw(engine.staff.operator, cycle_id, "ported away")
        else:
            engine.by_two(cycle_id, command)

    assert await cost(engine, cycle_id, order) <= PER_COMMAND
    assert await engine.ended(cycle_id) is end
    assert "ObligationsOpened" not in engine.kinds(cycle_id)


async def test_return_before_wiping_wipes_first(engine: Engine) -> None:
    """A return ordered during quarantine waits for it, has the records wiped, and asks no platform."""
    index = fresh()
    cycle_id = engine.enrol(index, THREE_SECONDS)
    await engine.until(cycle_id, State.QUARANTINED)
    engine.commands.hand_back(engine.staff.operator, cycle_id, "range holder wants it")
    assert await engine.ended(cycle_id) is State.RETURNED
    assert cycle_id in engine.record_system().wiped
    assert number(index) not in [item.number for item in engine.platform().asked]
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + PER_COMMAND


async def test_return_after_wiping_ends_at_once(engine: Engine) -> None:
    """A return ordered while platforms are still silent ends the cycle and its workflow within 8 events."""
    index = fresh()
    say(engine, index, None)
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING)
    spent = await cost(engine, cycle_id, lambda: engine.commands.hand_back(engine.staff.operator, cycle_id, "ticket 4"))
    assert spent <= PER_COMMAND
    assert await engine.ended(cycle_id) is State.RETURNED


async def test_another_carriers_range_ends_returned(engine: Engine) -> None:
    """A number whose range belongs to another carrier is wiped and handed back, never unbound or sold."""
    index = fresh()
    cycle_id = engine.enrol(index, range_holder="another-carrier")
    assert await engine.ended(cycle_id) is State.RETURNED
    assert cycle_id in engine.record_system().wiped
    assert number(index) not in [item.number for item in engine.platform().asked]


async def test_retire_while_unbinding(engine: Engine) -> None:
    """A number retired while a platform is silent closes within 8 events."""
    index = fresh()
    say(engine, index, None)
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING)
    assert await cost(engine, cycle_id, lambda: engine.by_two(cycle_id, "retire")) <= PER_COMMAND
    assert await engine.ended(cycle_id) is State.RETIRED


async def test_hold_and_lift_while_unbinding(engine: Engine) -> None:
    """A hold between request and answer is seen by the workflow and takes at most 8 events; so does its lift."""
    index = fresh()
    say(engine, index, None)
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING)
    holds: list[str] = []
    assert await cost(engine, cycle_id, lambda: holds.append(engine.hold(cycle_id))) <= PER_COMMAND
    assert (await engine.status(cycle_id)).held
    lifted = await cost(engine, cycle_id, lambda: engine.commands.lift(engine.staff.operator, cycle_id, holds[0], "case 1 closed"))
    assert lifted <= PER_COMMAND
    assert (await engine.status(cycle_id)).state == State.UNBINDING


async def test_retry_after_a_refusal(engine: Engine) -> None:
    """A refusal shows as ATTENTION in the query and in Temporal's lists; settled with the platform, `retry` leads to RESELLABLE."""
    index = fresh()
    say(engine, index, Outcome.REFUSED)
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING, attention="platform-refused:alpha-pay")
    before = await engine.quiet(cycle_id)
    assert (await engine.status(cycle_id)).attention == ["platform-refused:alpha-pay"]
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": True}
    say(engine, index, Outcome.UNBOUND)
    engine.commands.retry(engine.staff.operator, cycle_id, "settled")
    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": False}
    assert len(before) < len(await engine.quiet(cycle_id)) <= HAPPY_PATH + PER_COMMAND


async def test_attest_after_a_refusal(engine: Engine) -> None:
    """Two people attest the platform's own document: the number goes on and its cycle says attested."""
    index = fresh()
    say(engine, index, Outcome.REFUSED)
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING, attention="platform-refused:alpha-pay")
    await engine.quiet(cycle_id)
    engine.by_two(cycle_id, "attest", target_id="alpha-pay", document_sha256=DOCUMENT)
    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + PER_COMMAND


async def test_retry_after_an_incomplete_wipe(engine: Engine) -> None:
    """Rows that remained raise ATTENTION and stop the number before any platform is asked; mended, `retry` goes on."""
    index = fresh()
    engine.record_system().leaves[number(index)] = 2
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.WIPING, attention="wipe-incomplete:billing")
    await engine.quiet(cycle_id)
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": True}
    assert number(index) not in [item.number for item in engine.platform().asked]
    del engine.record_system().leaves[number(index)]
    engine.commands.retry(engine.staff.operator, cycle_id, "map mended")
    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + PER_COMMAND


async def test_a_line_in_service_again_stops_at_the_gate(engine: Engine) -> None:
    """A line put back into service before the gate leaves the number in TAGGING with ATTENTION; cut again, `retry` goes on."""
    index = fresh()
    say(engine, index, Outcome.REFUSED)  # keeps it in UNBINDING until the line is back
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.UNBINDING, attention="platform-refused")
    say(engine, index, Outcome.UNBOUND)
    engine.commands.retry(engine.staff.operator, cycle_id, "settled")
    engine.lines.said[number(index)] = LineStatus.IN_SERVICE
    await engine.until(cycle_id, State.TAGGING, attention="line-in-service")
    await engine.quiet(cycle_id)
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": True}
    engine.lines.said[number(index)] = LineStatus.OFF
    engine.commands.retry(engine.staff.operator, cycle_id, "line cut")
    assert await engine.ended(cycle_id) is State.RESELLABLE
    assert len(await engine.quiet(cycle_id)) <= HAPPY_PATH + 2 * PER_COMMAND


async def test_a_line_in_service_at_enrolment_waits_for_a_person(engine: Engine) -> None:
    """A number whose line is in service is never wiped, though its quarantine is over; withdrawn, its workflow closes."""
    index = fresh()
    engine.lines.said[number(index)] = LineStatus.IN_SERVICE
    cycle_id = engine.enrol(index)
    await engine.until(cycle_id, State.QUARANTINED, attention="line-in-service")
    await engine.quiet(cycle_id)
    assert await engine.shows(cycle_id) == {"FallowHeld": False, "FallowAttention": True}
    engine.commands.withdraw(engine.staff.operator, cycle_id, "enrolled by mistake")
    assert await engine.ended(cycle_id) is State.WITHDRAWN
    assert cycle_id not in engine.record_system().wiped


async def test_a_register_that_is_down_delays_wiping_only(engine: Engine) -> None:
    """While the line register can't be asked nothing is wiped; once it answers, the number goes on without anybody's order."""
    cycle_id = engine.enrol(fresh(), THREE_SECONDS)
    await engine.until(cycle_id, State.QUARANTINED)
    await go_on_after_an_outage(engine, cycle_id, State.QUARANTINED)
    assert await engine.ended(cycle_id) is State.RESELLABLE


async def test_a_register_that_is_down_delays_the_gate_only(engine: Engine) -> None:
    """While the line register can't be asked the gate stays shut; once it answers, it opens without anybody's order."""
    index = fresh()
    say(engine, index, None)
    cycle_id = engine.enrol(index)
    await running.eventually(lambda: engine.still_open(cycle_id) == {"alpha-pay"}, lambda: "the others to answer")
    engine.lines.down = True
    engine.answer(cycle_id)
    await go_on_after_an_outage(engine, cycle_id, State.TAGGING)
    assert await engine.ended(cycle_id) is State.RESELLABLE


async def go_on_after_an_outage(engine: Engine, cycle_id: str, state: State) -> None:
    """Let the register be down until the step has become a regular activity, and see that the cycle has not moved."""
    engine.lines.down = True
    try:
        await running.eventually(lambda: _tried_regularly(engine, cycle_id), lambda: f"the step of {cycle_id} to become a regular activity")
        assert engine.row(cycle_id).state == state
    finally:
        engine.lines.down = False


async def _tried_regularly(engine: Engine, cycle_id: str) -> bool:
    return "ACTIVITY_TASK_SCHEDULED" in running.named(await engine.history(cycle_id))
