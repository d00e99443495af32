"""An engine at work in the test's own process: a real Temporal server and a real worker around a world that lives in memory.

Used by the tests of durability and by the script that records the golden histories.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builders import a_file, number
from memory_ports import signed_delivery
from sqlmodel import select
from stoppable import AT_ONCE, Door, Lines, Records, StoppablePlatform, World, a_person
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from fallow.domain.cycle import CycleRef
from fallow.domain.lifecycle import ENDED, Command, State
from fallow.domain.obligations import Outcome, Status
from fallow.domain.people import Person, Role
from fallow.domain.ports import Look
from fallow.local.temporal_binary import find_server
from fallow.local.temporal_server import RunningTemporal, start
from fallow.operations.answers import accept_answer
from fallow.operations.commands import Commands
from fallow.operations.enrol import enrol_file
from fallow.operations.two_person import TwoPerson
from fallow.settings import Settings
from fallow.store import cycles, obligations
from fallow.store.tables import CycleRow
from workers import main, namespace
from workflows.dispatch import workflow_id as dispatch_id
from workflows.recycling import NumberRecyclingWorkflow

Found = TypeVar("Found")
Recycling = WorkflowHandle[NumberRecyclingWorkflow, Look]

#: How long anything that a test waits for may take before the test says what did not come.
WITHIN = 60.0
_ASK_EVERY = 0.02


@dataclass
class Staff:
    """Who orders: an operator, and two approvers for what takes two people; the enroller is another person."""

    enroller: Person
    operator: Person
    first: Person
    second: Person


@dataclass
class Engine:
    """A world with a worker at work in it.

    Attributes:
        world: the installation and what is around it.
        client: Temporal.
        staff: who orders.
    """

    world: World
    client: Client
    staff: Staff

    @property
    def commands(self) -> Commands:
        """What one person may order."""
        return Commands(self.world.installation)

    @property
    def two_person(self) -> TwoPerson:
        """What takes two people."""
        return TwoPerson(self.world.installation)

    def record_system(self, system_id: str = "billing") -> Records:
        """Return a record system of the world."""
        return self.world.record_systems[system_id]

    def platform(self, platform_id: str = "alpha-pay") -> StoppablePlatform:
        """Return a platform of the world."""
        return self.world.platforms[platform_id]

    @property
    def lines(self) -> Lines:
        """Return the line register."""
        return self.world.lines

    def enrol(self, index: int, carrier: str = AT_ONCE, **cells: str) -> str:
        """Enrol one number and return its cycle id."""
        return self.enrol_all(1, index, carrier, **cells)[0]

    def enrol_all(self, count: int, first: int, carrier: str = AT_ONCE, **cells: str) -> list[str]:
        """Enrol ``count`` numbers and return their cycle ids."""
        content = a_file(count, now=self.world.clock.now(), first=first, **{"carrier": carrier, "range_holder": carrier, **cells})
        installation = self.world.installation
        enrol_file(installation, self.staff.enroller, content)
        with installation.db.read() as tx:
            rows = [installation.vault.find(tx, number(index)) for index in range(first, first + count)]
        return [CycleRef(row.number_id, row.last_cycle_no).cycle_id for row in rows if row is not None]

    def row(self, cycle_id: str) -> CycleRow:
        """Return a cycle's row as it is now."""
        with self.world.installation.db.read() as tx:
            return cycles.get(tx, cycle_id)

    def kinds(self, cycle_id: str) -> list[str]:
        """Return the kinds of a cycle's events, in order."""
        with self.world.installation.db.read() as tx:
            return [str(event.kind) for event in cycles.events(tx, cycle_id)]

    def handle(self, cycle_id: str) -> Recycling:
        """Return the cycle's workflow."""
        return self.client.get_workflow_handle_for(NumberRecyclingWorkflow.run, f"recycling/{cycle_id}")

    async def until(self, cycle_id: str, state: State, *, attention: str = "", held: bool | None = None) -> CycleRow:
        """Wait until a cycle is in ``state``, with that reason for attention and that hold, and return its row."""

        def there() -> CycleRow | None:
            row = self.row(cycle_id)
            as_wanted = row.state == state and attention in row.attention and held in (None, row.held)
            return row if as_wanted else None

        wanted = f"{state} {attention} held={held}"
        return await eventually(there, lambda: f"{cycle_id} to be {wanted}; it is {self.row(cycle_id)!r}")

    async def ended(self, cycle_id: str) -> State:
        """Wait until the cycle's workflow closes and return the end it saw."""
        await eventually(lambda: self.row(cycle_id).state in ENDED, lambda: f"{cycle_id} to end; it is {self.row(cycle_id)!r}")
        look = await in_time(self.handle(cycle_id).result(), lambda: f"the workflow of {cycle_id} to close; {self.row(cycle_id)!r}")
        assert look.ended
        return State(look.state)

    async def quiet(self, cycle_id: str) -> list[HistoryEvent]:
        """Wait until every wake was looked at and no workflow task is pending; return the history."""

        async def idle() -> bool:
            if self.row(cycle_id).wake_at is not None:
                return False
            described = await self.handle(cycle_id).describe()
            return not described.raw_description.HasField("pending_workflow_task")

        await eventually(idle, lambda: f"the workflow of {cycle_id} to come to rest; {self.row(cycle_id)!r}")
        return await self.history(cycle_id)

    async def history(self, cycle_id: str) -> list[HistoryEvent]:
        """Return the events of the cycle's newest run."""
        return list((await self.handle(cycle_id).fetch_history()).events)

    async def status(self, cycle_id: str) -> Look:
        """Ask the running workflow."""
        return await in_time(self.handle(cycle_id).query(NumberRecyclingWorkflow.status), lambda: f"{cycle_id} to answer the query")

    async def shows(self, cycle_id: str) -> dict[str, object]:
        """Return the search attributes that Temporal shows of the cycle's workflow."""
        described = await self.handle(cycle_id).describe()
        return {pair.key.name: pair.value for pair in described.typed_search_attributes if pair.key.name.startswith("Fallow")}

    async def nudge(self, cycle_id: str) -> None:
        """Tell the workflow to look."""
        await self.handle(cycle_id).signal(NumberRecyclingWorkflow.nudge)

    def answer(self, cycle_id: str, platform_id: str = "alpha-pay") -> None:
        """Let a platform that kept silent call back."""
        db = self.world.installation.db
        with db.read() as tx:
            (reference,) = [owed.reference for owed in obligations.of_cycle(tx, cycle_id) if owed.target_id == platform_id]
        delivery = signed_delivery(self.platform(platform_id).key, {reference: Outcome.UNBOUND}, self.world.clock.now())
        accept_answer(self.world.installation, platform_id, delivery, [(reference, Outcome.UNBOUND)])

    def still_open(self, cycle_id: str) -> set[str]:
        """Return the targets whose obligations are open."""
        with self.world.installation.db.read() as tx:
            return {owed.target_id for owed in obligations.of_cycle(tx, cycle_id) if owed.status == Status.OPEN}

    def hold(self, cycle_id: str) -> str:
        """Place a hold and return its id."""
        return self.commands.hold(self.staff.operator, cycle_id, "case 1")

    def by_two(self, cycle_id: str, command: str, **arguments: str) -> None:
        """Propose and approve."""
        if command == Command.RECLAIM:
            arguments = {"ground": "former-holder", **arguments}
        proposal = self.two_person.propose(self.staff.first, cycle_id, Command(command), "ref 1", arguments)
        self.two_person.approve(self.staff.second, proposal)


async def eventually(
    look: Callable[[], Found | Awaitable[Found | None] | None], awaited: Callable[[], str], within: float = WITHIN
) -> Found:
    """Look again and again until it is true and return what was found; fail with what did not come."""

    async def until_true() -> Found:
        while True:
            found = look()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(_ASK_EVERY)

    return await in_time(until_true(), awaited, within)


async def in_time(work: Awaitable[Found], awaited: Callable[[], str], within: float = WITHIN) -> Found:
    """Await something; fail with what did not come."""
    try:
        async with asyncio.timeout(within):
            return await work
    except TimeoutError:
        message = f"waited {within:.0f} s in vain for {awaited()}"
        raise AssertionError(message) from None


async def reached(door: Door) -> None:
    """Wait until an effect has come to the door."""
    await asyncio.to_thread(door.reached.wait, WITHIN)
    assert door.reached.is_set(), "no effect came to the door"


@contextlib.asynccontextmanager
async def at_work(
    world: World, client: Client, *, cached: int = 1000, turn_for: float = 120.0, started: bool = True
) -> AsyncIterator[Engine]:
    """Run a worker for the world (unless the test starts it); at the end stop it and terminate what is left in Temporal."""
    staff = Staff(*(a_person(world, role) for role in (Role.OPERATOR, Role.OPERATOR, Role.APPROVER, Role.APPROVER)))
    engine = Engine(world, client, staff)
    try:
        async with one_worker(world, client, cached=cached, turn_for=turn_for) if started else contextlib.nullcontext():
            yield engine
    finally:
        await clear_away(world, client)
        world.installation.db.close()


@contextlib.asynccontextmanager
async def one_worker(world: World, client: Client, *, cached: int = 1000, turn_for: float = 120.0) -> AsyncIterator[None]:
    """Run a worker, and stop it in good order."""
    stop = asyncio.Event()
    worker = asyncio.create_task(main.run(world.installation, client, stop, turn_for=turn_for, cached_workflows=cached))
    try:
        yield
    finally:
        for door in world.doors():
            door.open()
        stop.set()
        await worker


async def clear_away(world: World, client: Client) -> None:
    """Terminate every workflow of the world that still runs."""
    with world.installation.db.read() as tx:
        left = [f"recycling/{row.cycle_id}" for row in tx.session.exec(select(CycleRow))]
    targets = [*world.installation.record_systems, *world.installation.platforms]
    for workflow_id in [*left, *map(dispatch_id, targets)]:
        try:
            await client.get_workflow_handle(workflow_id).terminate("the test is over")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


def a_temporal(folder: Path, port: int = 0) -> RunningTemporal:
    """Start a Temporal server that can skip time, on any free port or on one that it had before."""
    return start(find_server(lambda _: None, need_time_skipping=True), folder, frontend_port=port)


async def a_namespace(address: str, folder: Path) -> Settings:
    """Prepare a namespace that nobody else uses and return the settings that name it."""
    settings = Settings(state=folder, temporal_address=address, temporal_namespace=f"test-{secrets.token_hex(4)}")
    await namespace.prepare(settings)
    return settings


def named(events: Sequence[HistoryEvent]) -> list[str]:
    """Return the types of history events, without their common prefix."""
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]


def steps_taken(events: Sequence[HistoryEvent]) -> list[str]:
    """Return the names of the local activities that a history records, in order."""
    markers = [event.marker_recorded_event_attributes for event in events if event.HasField("marker_recorded_event_attributes")]
    return [json.loads(marker.details["data"].payloads[0].data)["activity_type"] for marker in markers]


def pending_timers(events: Sequence[HistoryEvent]) -> int:
    """Count the timers that were started and have neither fired nor been cancelled."""
    names = named(events)
    return names.count("TIMER_STARTED") - names.count("TIMER_FIRED") - names.count("TIMER_CANCELED")


#: Indexes of test numbers, so that no two tests of one world share a number.
indexes = itertools.count()


def fresh() -> int:
    """Return the index of a number that no other test uses."""
    return next(indexes)


def numbers_in(events: Sequence[HistoryEvent], index: int) -> bool:
    """Tell whether a history holds a test number, as E.164 or as its national digits, in any payload or field."""
    digits = number(index).text.removeprefix("+")
    raw = b"".join(event.SerializeToString() for event in events)
    return digits.encode() in raw or digits[2:].encode() in raw


async def closed(handle: Recycling) -> bool:
    """Tell whether a workflow has closed."""
    return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING
