"""The 37 behaviours of a platform x {the first request, the first five, all}: 111 cases on real sockets (reliability.md 2.3 C).

In every case the sender's own rounds ask a platform behind a real socket, two numbers owe nothing but its answer, and the clock is
stepped from one due instant to the next. Checked on rows: the gate stays shut while it has not answered (I1), opens for exactly the
platforms that were asked (I2) and stays as it is afterwards (I3); nothing unproved moves anything (I6); every fault ends in another
try, in words for the operator, or in the ATTENTION queue with what to do next (I11).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path

import pytest
from behaviours import BEHAVIOURS, Behaviour, Fault, Reading, Way
from builders import PLATFORMS, World, an_installation, references, state_of
from builders_cycles import all_at, assert_folds, engine, events_of, facts_of, owed_by, staff
from certificates import Authority
from rude_platform import PLATFORM, RudePlatform, demand_little, rude_platform, use
from rude_server import says
from sqlmodel import col, func, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.cycle import ref
from fallow.domain.events import Kind
from fallow.domain.lifecycle import State
from fallow.domain.obligations import Status, TargetKind
from fallow.operations.installation import Pace
from fallow.operations.sending import Tally
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport
from fallow.store import leases
from fallow.store.tables import AttemptRow, DeliveryRow, ObligationRow, TargetRow

ENGINE_KEY = SigningKey.generate()
REMINDERS = 6
_LONGEST_REST = timedelta(days=1)
_A_MONTH, _A_TICK = timedelta(days=30), timedelta(milliseconds=1)
_MOST_ROUNDS = 40
#: The longest that a breaker stays open, in seconds, jitter included.
_BREAKER = 1200.0


class Times(IntEnum):
    """How often a platform misbehaves before it is as it should be; ``ALWAYS`` ends with the test."""

    ONCE = 1
    FIVE_TIMES = 5
    ALWAYS = 6


@dataclass
class Case:
    """One case at work.

    Attributes:
        world: the installation.
        behaviour: how the platform behaves.
        times: how often.
        platform: the platform on its socket.
        transport: the way to it.
        cycle_ids: the two numbers; a third is held and never asked.
        played: requests that the fault was played to.
    """

    world: World
    behaviour: Behaviour
    times: Times
    platform: RudePlatform
    transport: Transport
    cycle_ids: list[str]
    played: int = 0

    @property
    def mine(self) -> list[str]:
        """The references of the two numbers at this platform."""
        return [references(self.world, cycle_id)[PLATFORM] for cycle_id in self.cycle_ids]

    def owed(self) -> dict[str, ObligationRow]:
        """Return the rows of what this platform owes, by reference."""
        query = select(ObligationRow).where(ObligationRow.target_id == PLATFORM, col(ObligationRow.cycle_id).in_(self.cycle_ids))
        with self.world.installation.db.read() as tx:
            return {row.reference: row for row in tx.session.exec(query)}

    def target(self) -> TargetRow:
        """Return the platform's row, as the operator sees it."""
        with self.world.installation.db.read() as tx:
            return tx.session.exec(select(TargetRow).where(TargetRow.target_id == PLATFORM)).one()

    def kept(self) -> int:
        """Return how many of its messages were kept."""
        with self.world.installation.db.read() as tx:
            return tx.session.exec(select(func.count()).select_from(DeliveryRow).where(DeliveryRow.platform_id == PLATFORM)).one()

    def attempts(self) -> list[str]:
        """Return what came of each attempt for a number, in order."""
        query = select(AttemptRow.result).where(AttemptRow.target_id == PLATFORM, col(AttemptRow.cycle_id).in_(self.cycle_ids))
        with self.world.installation.db.read() as tx:
            return list(tx.session.exec(query.order_by(col(AttemptRow.attempt_id))))

    def next_at(self) -> datetime | None:
        """Return when it may next be asked; None: never by itself."""
        due = [row.due_at for row in self.owed().values() if row.status == Status.OPEN and row.due_at is not None]
        if not due:
            return None
        closed_until = self.target().closed_until if self.attempts() else None
        return min(due) if closed_until is None else max(min(due), closed_until)

    def everywhere(self) -> list[State]:
        """Return where the two numbers stand."""
        return [state_of(self.world, cycle_id) for cycle_id in self.cycle_ids]


@asynccontextmanager
async def at_work(folder: Path, behaviour: Behaviour, times: Times) -> AsyncIterator[Case]:
    """Give a case whose two numbers owe nothing but this platform's answer, and a third, held, that is never asked about."""
    world = an_installation(folder)
    try:
        async with _started(world, folder, behaviour, times) as case:
            yield case
            assert [case.platform.times(reference) for reference in case.platform.strangers] == [0, 0]
            demand_little(case.platform)
        assert_folds(world.installation.db)
    finally:
        world.installation.db.close()


@asynccontextmanager
async def _started(world: World, folder: Path, behaviour: Behaviour, times: Times) -> AsyncIterator[Case]:
    world.installation.paces[PLATFORM] = Pace(batch=50, rate_per_second=10_000.0, remind_after=3600.0, reminders=REMINDERS)  # type: ignore[index]
    ids = all_at(world, 3, State.UNBINDING)
    engine(world).commands.hold(staff(world).operator, ids[2], "CASE-7")
    authority = Authority(folder) if any(fault.certificate for fault in behaviour.faults) else None
    async with rude_platform(world, authority) as (platform, transport):
        case = Case(world, behaviour, times, platform, transport, ids[:2])
        platform.strangers = (references(world, ids[2])[PLATFORM], references(world, ids[0])["beta-chat"])
        for platform_id in PLATFORMS.keys() - {PLATFORM}:
            await one_round(case, platform_id)
        yield case
        assert owed_by(world, ids[2])[PLATFORM].status is Status.OPEN


async def one_round(case: Case, target_id: str = PLATFORM) -> bool:
    """Let the platform's sender do one round; tell whether there was anything to do."""

    def lease() -> int:
        with case.world.installation.db.begin() as tx:
            fence = leases.take(tx, target_id, "test")
        assert fence is not None
        return fence

    fence = await asyncio.to_thread(lease)
    return await UnbindingRounds(case.world.installation, target_id).round("test", fence, Tally())


async def ask(case: Case, fault: Fault | None) -> tuple[str, ...] | None:
    """Step to the next due instant and do a round; return the references asked. None: nothing is due any more.

    Before that instant nothing is sent; at it, exactly one request, whatever becomes of it: what the sender repeats, the transport
    does not repeat as well. Only connecting is tried three times at once.
    """
    at = case.next_at()
    if at is None:
        return None
    server, platform = case.platform.server, case.platform
    platform.fault = fault
    use(platform, case.transport, ENGINE_KEY)
    requests, connections, looked_up = len(server.requests), server.connections, len(platform.looked_up)
    if at > case.world.clock.now():
        case.world.clock.pass_to(at - _A_TICK)
        await one_round(case)
        assert (len(server.requests), len(platform.looked_up)) == (requests, looked_up)
    case.world.clock.pass_to(at)
    assert await one_round(case)

    arrives = fault is None or (fault.way is Way.THROUGH and not fault.certificate)
    assert len(platform.looked_up) == looked_up + 1
    assert len(server.requests) == requests + arrives
    assert server.connections - connections in ((0, 1) if not fault or not fault.certificate else (3,))
    case.played += fault is not None
    return platform.asked[-1] if arrives else ()


async def demand_shut(case: Case) -> None:
    """Let the workflow try every stage that is left for what is still owed: the gate must stay shut (I1)."""
    operations = engine(case.world)
    owing = [row.cycle_id for row in case.owed().values() if row.status != Status.DISCHARGED]
    for cycle_id in owing:
        await asyncio.to_thread(operations.stages.clear, ref(cycle_id), TargetKind.PLATFORM)
        await asyncio.to_thread(operations.release.release, ref(cycle_id))
    assert {state_of(case.world, cycle_id) for cycle_id in owing} <= {State.UNBINDING}


async def demand_open(case: Case) -> None:
    """Let the workflow go on to the end: the numbers are released, with evidence of every platform that was asked (I1, I2, I3)."""
    operations = engine(case.world)
    for cycle_id in case.cycle_ids:
        owed = {each.target_id: each for each in owed_by(case.world, cycle_id).values() if each.kind is TargetKind.PLATFORM}
        assert owed.keys() == PLATFORMS.keys()
        for target_id, each in owed.items():
            assert references(case.world, cycle_id)[target_id] in evidence(case.world, target_id, each.evidence)
        for step in (
            lambda it: operations.stages.clear(it, TargetKind.PLATFORM),
            operations.disclosure.issue_tag,
            operations.release.release,
        ):
            await asyncio.to_thread(step, ref(cycle_id))
        moved = [event.body["target_id"] for event in events_of(case.world, cycle_id) if event.kind is Kind.OBLIGATION_MOVED]
        assert set(moved) >= PLATFORMS.keys()
        assert events_of(case.world, cycle_id)[-1].kind is Kind.NUMBER_RELEASED
    assert (await case.platform.call_back(dict.fromkeys(case.mine, "accepted"))).status_code == 200
    assert case.everywhere() == [State.RESELLABLE] * 2
    asked = len(case.platform.server.requests)
    case.world.clock.pass_by(_A_MONTH)
    assert not await one_round(case)
    assert len(case.platform.server.requests) == asked


def evidence(world: World, target_id: str, digest: str | None) -> list[str]:
    """Return the references in the kept message of that digest, which must be the target's."""
    with world.installation.db.read() as tx:
        kept = world.installation.inbox.by_digest(tx, digest or "")
    assert kept is not None
    assert kept.speaker_id == target_id
    return [each["reference"] for each in json.loads(kept.delivery.body)["answers"]]


def fault_of(case: Case) -> Fault:
    """Return what happens to the next request."""
    return case.behaviour.faults[case.played % len(case.behaviour.faults)]


async def healed(case: Case) -> None:
    """The platform is as it should be: each number that is still owed is asked exactly once more, and both are released."""
    owed = [reference for reference, row in case.owed().items() if row.status == Status.OPEN]
    before = {reference: case.platform.times(reference) for reference in owed}
    while await ask(case, None) is not None:
        assert len(case.platform.server.requests) < _MOST_ROUNDS
    assert {reference: case.platform.times(reference) - before[reference] for reference in owed} == dict.fromkeys(owed, 1)
    assert {row.status for row in case.owed().values()} == {Status.DISCHARGED}
    await demand_open(case)


async def answers(case: Case) -> None:
    """An answer counts however it comes; ``accepted`` is none; what is answered one by one is reminded of what is left."""
    later = case.behaviour.calls_back
    for turn in range(case.times):
        left = [reference for reference, row in case.owed().items() if row.status == Status.OPEN]
        if not left:
            break
        final = case.times is not Times.FIVE_TIMES or turn == case.times - 1
        outcomes = dict.fromkeys(left[:1] if case.times is Times.ALWAYS else left, "unbound" if final else "accepted")
        case.platform.calls_back = outcomes if later == "before" else {}
        said = fault_of(case) if later else Fault(lambda asked, said=outcomes: says(asked.answer(said)))
        assert set(await ask(case, said) or ()) == set(left)
        if later == "after":
            assert (await case.platform.call_back(outcomes)).status_code == 200
        await demand_shut(case)
    case.platform.calls_back = {}
    assert case.next_at() is None
    assert len(case.platform.server.requests) == {Times.ONCE: 1, Times.FIVE_TIMES: 5, Times.ALWAYS: 2}[case.times]
    await demand_open(case)


async def later(case: Case) -> None:
    """Silence is reminded of as often as registered, then a person is asked, who has the platform asked again."""
    for _ in range(case.times if case.times is not Times.ALWAYS else REMINDERS + 1):
        assert set(await ask(case, fault_of(case)) or ()) == set(case.mine)
        await demand_shut(case)
    if case.times is Times.ALWAYS:
        while (at := case.next_at()) is not None:
            case.world.clock.pass_to(at)
            await one_round(case)
        await demand_person(case)
        retry(case)
    await healed(case)


async def trouble(case: Case) -> None:
    """A target in trouble is asked again by itself, later and later but within a day, and nothing that it says is believed."""
    for _ in range(case.times):
        fault, began = fault_of(case), len(case.attempts())
        await ask(case, fault)
        target, now = case.target(), case.world.clock.now()
        assert re.search(fault.says, target.trouble or ""), target.trouble
        assert {row.status for row in case.owed().values()} == {Status.OPEN}
        assert {row.evidence for row in case.owed().values()} == {None}
        assert case.kept() == 0
        assert set(case.attempts()[began:]) <= {"target-unavailable", "signature-refused", "answer-malformed"}
        assert len(case.attempts()) > began
        rests = (case.next_at() or datetime.max.replace(tzinfo=now.tzinfo)) - now
        assert timedelta(0) < rests <= _LONGEST_REST
        if fault.wait[1]:
            # From the third failure in a row on the breaker may ask for more than the platform does.
            most = max(fault.wait[1], _BREAKER if target.failures >= 3 else 0.0)
            assert fault.wait[0] <= ((target.closed_until or now) - now).total_seconds() <= most
        elif target.failures < 3:
            assert target.closed_until is None or target.closed_until <= now
        await demand_shut(case)
    assert case.target().failures == case.times
    if case.times is not Times.ALWAYS:
        await healed(case)


async def person(case: Case) -> None:
    """What repeating can't mend goes to a person and rests there; each of their retries asks each number once."""
    for turn in range(case.times):
        before = {reference: case.platform.times(reference) for reference in case.mine}
        while (asked := await ask(case, fault_of(case))) is not None:
            if case.behaviour.reason is Reason.PLATFORM_CONTRADICTED:
                assert {row.status for row in case.owed().values()} == {Status.DISCHARGED}
                assert (await case.platform.call_back(dict.fromkeys(asked, case.behaviour.calls_back))).status_code == 200
            assert len(case.platform.server.requests) < _MOST_ROUNDS
        # A rejected batch is sent once more, each number alone, to find the one that is meant.
        often = 2 if case.behaviour.reason is Reason.PLATFORM_REJECTED and turn == 0 else 1
        assert {case.platform.times(each) - before[each] for each in case.mine} == {often}
        await demand_person(case)
        if turn < case.times - 1 or case.times is not Times.ALWAYS:
            retry(case)
    if case.times is not Times.ALWAYS:
        await healed(case)


async def demand_person(case: Case) -> None:
    """The numbers are in the ATTENTION queue with what to do next, and for a month nothing is sent (I11)."""
    assert case.behaviour.reason is not None
    wanted = Attention(case.behaviour.reason, PLATFORM)
    asked = len(case.platform.server.requests)
    for cycle_id in case.cycle_ids:
        assert wanted in facts_of(case.world, cycle_id).attention
    assert "`retry`" in wanted.next
    await demand_shut(case)
    case.world.clock.pass_by(_A_MONTH)
    await one_round(case)
    assert len(case.platform.server.requests) == asked
    await demand_shut(case)


def retry(case: Case) -> None:
    """A person has mended the cause and has it tried again."""
    for cycle_id in case.cycle_ids:
        engine(case.world).commands.retry(staff(case.world).operator, cycle_id, "CASE-8")


PLAYED = {Reading.ANSWER: answers, Reading.LATER: later, Reading.TROUBLE: trouble, Reading.PERSON: person}


@pytest.mark.parametrize("times", Times, ids=[each.name.lower() for each in Times])
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=[each.words for each in BEHAVIOURS])
async def test_no_behaviour_of_a_platform_opens_the_gate_or_ends_in_silence(tmp_path: Path, behaviour: Behaviour, times: Times) -> None:
    """Whatever a platform does, and however often, the policy is kept to the request and every number ends where it must."""
    async with at_work(tmp_path, behaviour, times) as case:
        await PLAYED[behaviour.reading](case)


def test_there_are_as_many_behaviours_as_the_matrix_names() -> None:
    """Thirty-seven, each in words of its own."""
    assert len({each.words for each in BEHAVIOURS}) == len(BEHAVIOURS) == 37
