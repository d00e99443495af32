"""A world that can be stopped and made to misbehave, number by number: what an engine at work in a test meets.

Used by ``running``. Everything behind a port is a small honest implementation, never a mock.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builders import PLATFORMS, RECORD_SYSTEMS, an_entry, platform_keys
from memory_ports import MappedSpeakers, MemoryLines, MemoryPlatform, MemoryRecords, SettableClock

from fallow.domain.gate import LineStatus
from fallow.domain.number import E164
from fallow.domain.obligations import Category
from fallow.domain.people import Person, Role
from fallow.domain.policy import Policy
from fallow.domain.ports import CollectionReceipt, Keeper, SignedDelivery, UnbindItem, WipeOrder, WipeReceipt
from fallow.domain.rules import Rule
from fallow.operations import people
from fallow.operations.installation import Installation, Pace
from fallow.operations.registered import Registered
from fallow.platforms.adapters.catalogue import Way
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport
from fallow.store import keys, schema
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.registry import Bodies
from fallow.store.signer import TagSigner, seed
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys

#: How long an effect waits at a door for the test.
_WAITS_FOR = 30.0
#: Carriers of the test's numbers, each with a quarantine of its own: none at all, one second, three, and longer than any test.
AT_ONCE, ONE_SECOND, THREE_SECONDS, LONG = "hexagone", "tictac", "valse", "lente"
_SPANS = {AT_ONCE: timedelta(0), ONE_SECOND: timedelta(seconds=1), THREE_SECONDS: timedelta(seconds=3), LONG: timedelta(hours=6)}
RULES = tuple(Rule("*", "*", carrier, "*", span, span, demo=True) for carrier, span in _SPANS.items())


class RunningClock(SettableClock):
    """The host's clock, which a test can also move on."""

    def __init__(self) -> None:
        """Begin at the host's time."""
        super().__init__()
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the host's time plus all it was moved on by."""
        return datetime.now(UTC) + self._ahead

    def pass_by(self, span: timedelta) -> None:
        """Move on by ``span``."""
        self._ahead += span

    def pass_to(self, instant: datetime) -> None:
        """Move on to ``instant``; never back."""
        self._ahead += max(timedelta(0), instant - self.now())


@dataclass
class Door:
    """Where an effect stops until the test lets it go on: it tells that it has come, then waits.

    Attributes:
        reached: set when the effect has come to the door.
        opened: set by the test.
    """

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Come to the door; wait, but never for ever."""
        self.reached.set()
        self.opened.wait(_WAITS_FOR)

    def open(self) -> None:
        """Let everybody through."""
        self.opened.set()


@dataclass
class Records(MemoryRecords):
    """A record system whose rows can remain for single numbers, and that can be stopped before it reports.

    Attributes:
        leaves: rows that the read-back finds for a number.
        doors: where a wipe stops after its effect.
    """

    leaves: dict[E164, int] = field(default_factory=dict)
    doors: dict[E164, Door] = field(default_factory=dict)

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Carry out the orders, then stop at the doors."""
        receipts = super().wipe(orders, keeper)
        for order in orders:
            if order.number in self.doors:
                self.doors[order.number].wait()
        return [self._with_rest(receipt, order.number) for receipt, order in zip(receipts, orders, strict=True)]

    def _with_rest(self, receipt: WipeReceipt, of: E164) -> WipeReceipt:
        rest: tuple[CollectionReceipt, ...] = tuple(replace(each, remaining=self.leaves.get(of, 0)) for each in receipt.collections)
        return replace(receipt, collections=rest)


@dataclass
class StoppablePlatform(MemoryPlatform):
    """A platform that can be stopped before it answers.

    Attributes:
        doors: where an answer stops after its effect.
    """

    doors: dict[E164, Door] = field(default_factory=dict)

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Take a request, stop at the doors, answer."""
        answer = await super().ask(items)
        for item in items:
            if item.number in self.doors:
                await asyncio.to_thread(self.doors[item.number].wait)
        return answer


@dataclass
class Lines(MemoryLines):
    """A line register that can be stopped before it answers.

    Attributes:
        doors: where an answer stops; armed after enrolment, so that it is the gate that stops.
    """

    doors: dict[E164, Door] = field(default_factory=dict)

    def statuses(self, numbers: Sequence[E164]) -> list[LineStatus]:
        """Look, stop at the doors, say it."""
        said = super().statuses(numbers)
        for each in numbers:
            if each in self.doors:
                self.doors[each].wait()
        return said


@dataclass
class World:
    """An installation, and what is around it.

    Attributes:
        installation: the database and what the engine reaches through ports.
        clock: decides in the database.
        record_systems, platforms, lines: what is behind the ports.
    """

    installation: Installation
    clock: SettableClock
    record_systems: dict[str, Records]
    platforms: dict[str, StoppablePlatform]
    lines: Lines

    def doors(self) -> Iterator[Door]:
        """Return every door there is."""
        for each in (*self.record_systems.values(), *self.platforms.values(), self.lines):
            yield from each.doors.values()


def a_world(
    folder: Path,
    *,
    platforms: Mapping[str, Category] = PLATFORMS,
    rules: tuple[Rule, ...] = RULES,
    clock: SettableClock | None = None,
    url: str | None = None,
) -> World:
    """Return an installation with a new database, whose surroundings can be stopped and made to misbehave number by number."""
    clock = clock or RunningClock()
    folder.mkdir(parents=True, exist_ok=True)
    db = Database(url or f"sqlite:///{folder / 'fallow.db'}", clock)
    schema.upgrade(db.engine)
    keys.create(folder / "keys")
    ring = keys.Keys(folder / "keys")
    tags, signing_keys = TagSigner(ring), platform_keys(platforms)
    systems = {system_id: Records(system_id, collections, clock=clock) for system_id, collections in RECORD_SYSTEMS.items()}
    asked = {platform_id: StoppablePlatform(platform_id, signing_keys[platform_id], clock) for platform_id in platforms}
    lines = Lines()
    installation = Installation(
        db=db,
        keys=ring,
        vault=Vault(ring),
        wrapping=WrappingKeys(folder / "keys" / "wrapping"),
        policy=Policy("test", 1, rules, RECORD_SYSTEMS, platforms, next(iter(RECORD_SYSTEMS))),
        record_systems=systems,
        line_register=lines,
        platforms=asked,
        paces=dict.fromkeys(platforms, Pace(batch=50, rate_per_second=10_000.0, remind_after=3600.0, reminders=2)),
        speakers=MappedSpeakers({each: an_entry(each, category, signing_keys[each]) for each, category in platforms.items()}),
        inbox=Inbox(ring),
        sign_tag=tags.sign,
        tag_signed=tags.signed,
        registered=Registered(db, Bodies(ring), Way(Transport(), SigningKey(seed(ring, "request")), clock)),
    )
    return World(installation, clock, systems, asked, lines)


def a_person(world: World, role: Role) -> Person:
    """Admit somebody and return them, authenticated."""
    installation = world.installation
    with installation.db.begin() as tx:
        api_key = people.admit(tx, installation.keys, f"a {role}", role)
    with installation.db.read() as tx:
        return people.authenticate(tx, installation.keys, api_key)
