"""Builders of whole installations for tests: a real database and real keys, with a world around it that lives in memory."""

import asyncio
import csv
import io
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from memory_ports import START, MappedSpeakers, MemoryLines, MemoryPlatform, MemoryRecords, SettableClock

from fallow.bootstrap import Wired
from fallow.domain.cycle import CycleRef, ref
from fallow.domain.lifecycle import State
from fallow.domain.number import E164
from fallow.domain.obligations import Category, TargetKind
from fallow.domain.people import Person, Role
from fallow.domain.policy import Policy
from fallow.domain.ports import SignedDelivery
from fallow.domain.rules import Rule
from fallow.domain.traffic import QuietRule
from fallow.intake.cancelled_file import COLUMNS, OPTIONAL
from fallow.operations.disclose import Disclosure
from fallow.operations.enrol import enrol_file
from fallow.operations.installation import Installation, Pace
from fallow.operations.looking_rounds import LookingRounds
from fallow.operations.people import admit, authenticate
from fallow.operations.registered import Registered
from fallow.operations.release import Release
from fallow.operations.retention import Retention
from fallow.operations.sending import Tally
from fallow.operations.stages import Stages
from fallow.operations.unbinding_rounds import UnbindingRounds
from fallow.operations.wiping_rounds import WipingRounds
from fallow.platforms import signing
from fallow.platforms.adapters.catalogue import Way
from fallow.platforms.endpoints import read_endpoint
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import SigningKey
from fallow.platforms.transport import Transport
from fallow.records.records_map import RecordsMap
from fallow.store import cycles, keys, leases, obligations, schema
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.registry import Bodies
from fallow.store.signer import TagSigner, seed
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys

#: The usual world: two record systems and three platforms, the least a sensible policy names.
PLATFORMS: Mapping[str, Category] = {"alpha-pay": Category.PAYMENT, "beta-chat": Category.SOCIAL, "gamma-bank": Category.BANK}
RECORD_SYSTEMS: Mapping[str, tuple[str, ...]] = {"billing": ("invoices", "calls"), "crm": ("contacts",)}
#: Ten days, all of it observed: long enough to be a real rule, and a settable clock passes it at once.
RULE = Rule("*", "*", "*", "*", timedelta(days=10), timedelta(days=5), source="tests")
_HOLDER = "test"


@dataclass
class World:
    """An installation with everything a test wants to lay hands on.

    Attributes:
        wired: as ``fallow.api.app.create_app`` takes it.
        clock: decides in the database.
        keys: each platform's signing key.
        platforms: the platforms in memory.
        record_systems: the record systems in memory.
        lines: the line register in memory.
    """

    wired: Wired
    clock: SettableClock
    keys: dict[str, SigningKey]
    platforms: dict[str, MemoryPlatform]
    record_systems: dict[str, MemoryRecords]
    lines: MemoryLines

    @property
    def installation(self) -> Installation:
        """The installation itself."""
        return self.wired.installation


def an_installation(
    folder: Path,
    *,
    platforms: Mapping[str, Category] = PLATFORMS,
    record_systems: Mapping[str, tuple[str, ...]] = RECORD_SYSTEMS,
    rule: Rule = RULE,
    quiet: QuietRule | None = None,
    clock: SettableClock | None = None,
    url: str | None = None,
) -> World:
    """Return a working installation with an empty database in ``folder`` (SQLite unless ``url`` says otherwise)."""
    clock = clock or SettableClock()
    db = Database(url or f"sqlite:///{folder / 'fallow.db'}", clock)
    schema.upgrade(db.engine)
    keys.create(folder / "keys")
    ring = keys.Keys(folder / "keys")
    signing_keys = platform_keys(platforms)
    systems = {system_id: MemoryRecords(system_id, collections, clock=clock) for system_id, collections in record_systems.items()}
    asked = {platform_id: MemoryPlatform(platform_id, signing_keys[platform_id], clock) for platform_id in platforms}
    entries = {platform_id: an_entry(platform_id, category, signing_keys[platform_id]) for platform_id, category in platforms.items()}
    tags, lines = TagSigner(ring), MemoryLines()
    installation = Installation(
        db=db,
        keys=ring,
        vault=Vault(ring),
        wrapping=WrappingKeys(folder / "keys" / "wrapping"),
        policy=Policy("test", 1, (rule,), record_systems, platforms, next(iter(record_systems)), quiet=quiet),
        record_systems=systems,
        line_register=lines,
        platforms=asked,
        paces=dict.fromkeys(platforms, Pace(batch=50, rate_per_second=10_000.0, remind_after=3600.0, reminders=2)),
        speakers=MappedSpeakers(entries),
        inbox=Inbox(ring),
        sign_tag=tags.sign,
        tag_signed=tags.signed,
        registered=Registered(db, Bodies(ring), Way(Transport(), SigningKey(seed(ring, "request")), clock)),
    )
    records = RecordsMap(systems, lines, installation.policy.line_register)  # type: ignore[arg-type]
    return World(Wired(installation, Transport(), records, entries), clock, signing_keys, asked, systems, lines)


def platform_keys(platforms: Mapping[str, object]) -> dict[str, SigningKey]:
    """Return a fresh signing key for each platform."""
    return {platform_id: SigningKey.generate() for platform_id in platforms}


def an_entry(platform_id: str, category: Category, key: SigningKey) -> PlatformEntry:
    """Return a platform's entry of the map, as the API wants it."""
    return PlatformEntry(
        platform_id=platform_id,
        category=category,
        endpoint=read_endpoint(f"https://{platform_id}.example.com/unbind", allow_loopback=False),
        public_keys=(key.public,),
        batch=50,
        rate_per_second=10_000.0,
        remind_after=3600.0,
        reminders=2,
        timeout=5.0,
        contact="ops@example.com",
    )


def headers_of(delivery: SignedDelivery) -> dict[str, str]:
    """Return the three HTTP headers of a delivery."""
    return {
        signing.ID_HEADER: delivery.delivery_id,
        signing.TIMESTAMP_HEADER: str(delivery.signed_at),
        signing.SIGNATURE_HEADER: delivery.signature,
    }


def an_api_key(world: World, role: Role, platform_id: str | None = None) -> str:
    """Admit somebody and return their API key."""
    with world.installation.db.begin() as tx:
        return admit(tx, world.installation.keys, f"a {role}", role, platform_id)


def a_person(world: World, role: Role, platform_id: str | None = None) -> Person:
    """Admit somebody and return them, authenticated."""
    api_key = an_api_key(world, role, platform_id)
    with world.installation.db.read() as tx:
        return authenticate(tx, world.installation.keys, api_key)


def number(index: int) -> E164:
    """Return the ``index``-th of the 10,000 test numbers: the range 01 99 00 that France keeps for fiction."""
    return E164(f"+3319900{index:04d}")


def a_file(count: int, *, now: datetime = START, first: int = 0, **cells: str) -> bytes:
    """Return a CSV file of ``count`` cancelled numbers, one day disconnected; ``cells`` overrides columns of every line."""
    written = io.StringIO()
    lines = csv.DictWriter(written, (*COLUMNS, *(name for name in OPTIONAL if name in cells)), lineterminator="\n")
    lines.writeheader()
    for index in range(first, first + count):
        usual = {
            "number": number(index).text,
            "country": "FR",
            "carrier": "hexagone",
            "range_holder": "hexagone",
            "class": "fixed",
            "disconnected_at": (now - timedelta(days=1)).isoformat(),
            "reason": "ordinary",
            "prior_holders": "1",
            "hold_reference": "",
            "source_ref": f"row {index}",
        }
        lines.writerow({**usual, **cells})
    return written.getvalue().encode()


def enrolled(world: World, count: int = 1, *, by: Person | None = None, first: int = 0, **cells: str) -> list[str]:
    """Enrol ``count`` numbers by a file and return their cycle ids, in the file's order."""
    person = by or a_person(world, Role.OPERATOR)
    enrol_file(world.installation, person, a_file(count, now=world.clock.now(), first=first, **cells))
    with world.installation.db.read() as tx:
        rows = [world.installation.vault.find(tx, number(index)) for index in range(first, first + count)]
    return [CycleRef(row.number_id, row.last_cycle_no).cycle_id for row in rows if row is not None]


def state_of(world: World, cycle_id: str) -> State:
    """Return where a cycle stands."""
    with world.installation.db.read() as tx:
        return State(cycles.get(tx, cycle_id).state)


def references(world: World, cycle_id: str) -> dict[str, str]:
    """Return the reference of each of a cycle's obligations, by target."""
    with world.installation.db.read() as tx:
        return {row.target_id: row.reference for row in obligations.of_cycle(tx, cycle_id)}


def advance(world: World, cycle_id: str, until: State) -> None:
    """Take a cycle to ``until`` step by step, as its workflow and the senders would, moving the clock over quarantine.

    Stops early where nothing moves any more: a hold, ATTENTION, a platform that keeps silent.
    """
    before = _progress(world, cycle_id)
    while before[0] is not until:
        _step(world, cycle_id, before[0])
        after = _progress(world, cycle_id)
        if after == before:
            return
        before = after


def _progress(world: World, cycle_id: str) -> tuple[State, int]:
    with world.installation.db.read() as tx:
        row = cycles.get(tx, cycle_id)
        return State(row.state), row.events_no


def _step(world: World, cycle_id: str, state: State) -> None:
    stages, cycle = Stages(world.installation), ref(cycle_id)
    match state:
        case State.ENROLLED:
            stages.begin_quarantine(cycle)
        case State.QUARANTINED:
            with world.installation.db.read() as tx:
                world.clock.pass_to(cycles.get(tx, cycle_id).release_at)
            stages.end_quarantine(cycle, world.clock.now())
        case State.WIPING:
            stages.clear(cycle, TargetKind.RECORDS)
            wipe_all(world)
            stages.clear(cycle, TargetKind.RECORDS)
        case State.UNBINDING:
            stages.clear(cycle, TargetKind.PLATFORM)
            ask_all(world)
            stages.clear(cycle, TargetKind.PLATFORM)
            if look_all(world):
                stages.clear(cycle, TargetKind.PLATFORM)
        case State.TAGGING:
            Disclosure(world.installation).issue_tag(cycle)
            Release(world.installation).release(cycle)
            if look_all(world):
                Release(world.installation).release(cycle)
        case _:
            return


def wipe_all(world: World) -> None:
    """Let every record system's sender do one round."""
    installation = world.installation
    for system in installation.record_systems.values():
        rounds = WipingRounds(installation, system, Retention(installation))
        _run(rounds.round(_HOLDER, _lease(world, rounds.target_id), Tally()))


def ask_all(world: World) -> None:
    """Let every platform's sender do one round."""
    installation = world.installation
    for platform_id in installation.platforms:
        rounds = UnbindingRounds(installation, platform_id)
        _run(rounds.round(_HOLDER, _lease(world, platform_id), Tally()))


def look_all(world: World) -> bool:
    """Let the sender of every platform with a status query do one round of looking; tell whether any had something to look at."""
    looked = [look_at(world, platform_id) for platform_id, platform in world.platforms.items() if platform.looks]
    return any(looked)


def look_at(world: World, platform_id: str) -> bool:
    """Let one platform's sender do one round of looking; tell whether it had something to look at."""
    rounds = LookingRounds(world.installation, platform_id)
    return _run(rounds.round(_HOLDER, _lease(world, platform_id), Tally()))


def _run(work: Coroutine[Any, Any, bool]) -> bool:
    # In a thread of its own, so that tests with and without a running loop can call it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def _lease(world: World, target_id: str) -> int:
    with world.installation.db.begin() as tx:
        fence = leases.take(tx, target_id, _HOLDER)
    assert fence is not None, "another sender holds the lease"
    return fence
