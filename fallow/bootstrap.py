"""The composition root: settings in, an installation out. The only place that knows every implementation."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import structlog

from fallow.domain.ports import Clock
from fallow.intake.policy_file import load_policy
from fallow.operations.installation import Installation, Pace
from fallow.operations.register import GuardedRegister
from fallow.operations.registered import Live, Registered
from fallow.operations.registration_rules import demand_apart
from fallow.operations.registry_founding import found_or_compare
from fallow.platforms import signing
from fallow.platforms.adapters.catalogue import Way, make_platform
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signed_exchange import SignedExchanges
from fallow.platforms.transport import Transport
from fallow.records.records_map import RecordsMap, load_records_map
from fallow.settings import Settings
from fallow.store import keys, schema
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.registry import Bodies
from fallow.store.signer import TagSigner, seed
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys

_log = structlog.get_logger()


@dataclass
class Wired:
    """An installation with what must be closed at the end."""

    installation: Installation
    transport: Transport
    records: RecordsMap
    entries: Mapping[str, PlatformEntry]
    #: In which keys platforms.toml and the registry differ, by platform; the registry stands.
    differences: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def warn_of_differences(self) -> None:
        """Log what a start must not pass over in silence: the file says one thing of a platform, the registry, which stands, another."""
        for platform_id, differing in self.differences.items():
            _log.warning("platforms.toml and the registry differ; the registry stands", platform_id=platform_id, keys=list(differing))

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database and every record system."""
        self.installation.db.close()
        self.records.close()


def open_database(settings: Settings, clock: Clock | None = None) -> Database:
    """Return the database, refused unless its schema is this code's.

    Raises:
        SettingRefused: it can't be reached or has another version.
    """
    db = Database(settings.url(), clock)
    schema.check(db.engine)
    return db


def open_records(settings: Settings, clock: Clock | None = None) -> RecordsMap:
    """Open the records map with a way to the systems that are reached over HTTP; nothing is connected yet.

    Raises:
        MapRefused: naming the file, the key and the remedy.
    """
    path = settings.file("records")
    return load_records_map(path, SignedExchanges(path, lambda: _request_key(keys.Keys(settings.file("keys"))), clock or _HostClock()))


def open_registry(settings: Settings, db: Database, clock: Clock | None = None) -> Registered:
    """Open the registry of platforms, with a way to them; nothing is connected yet.

    Raises:
        SettingRefused: a key is missing.
    """
    ring = keys.Keys(settings.file("keys"))
    return Registered(db, Bodies(ring), Way(Transport(), _request_key(ring), clock or _HostClock()))


def wire(settings: Settings, clock: Clock | None = None) -> Wired:
    """Put an installation together.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: naming the file, the key and the remedy.
    """
    with ExitStack() as opened:
        db = open_database(settings, clock)
        opened.callback(db.close)
        records = open_records(settings, clock)
        opened.callback(records.close)
        wired = _wire(settings, clock, db, records)
        opened.pop_all()
        return wired


def _wire(settings: Settings, clock: Clock | None, db: Database, records: RecordsMap) -> Wired:
    ring = keys.Keys(settings.file("keys"))
    registered = open_registry(settings, db, clock)
    way = registered.way
    differences = found_or_compare(db, registered, settings.file("platforms"), records.systems)
    present = registered.present
    demand_apart(records.systems, {*present.entries, *present.decommissioned})
    policy = load_policy(
        settings.file("policy"),
        record_systems={system_id: system.collections for system_id, system in records.systems.items()},
        line_register=records.line_register_id,
        platforms=Live(registered, lambda entry, _: entry.category),
        decommissioned=present.decommissioned,
    )
    tags = TagSigner(ring)
    installation = Installation(
        db=db,
        keys=ring,
        vault=Vault(ring),
        wrapping=WrappingKeys(settings.wrapping),
        policy=policy,
        record_systems=records.systems,
        line_register=GuardedRegister(records.line_register),
        platforms=Live(registered, lambda entry, entries: make_platform(entry, entries, way)),
        paces=Live(registered, lambda entry, _: _pace(entry)),
        speakers=registered,
        inbox=Inbox(ring),
        sign_tag=tags.sign,
        tag_signed=tags.signed,
        registered=registered,
        unread_at_start=present.unread,
    )
    return Wired(installation, way.transport, records, Live(registered, lambda entry, _: entry, hubs=True), differences)


def _request_key(ring: keys.Keys) -> signing.SigningKey:
    return signing.SigningKey(seed(ring, "request"))


def _pace(entry: PlatformEntry) -> Pace:
    return Pace(entry.batch, entry.rate_per_second, entry.remind_after, entry.reminders, entry.answer_within, entry.lanes, entry.contact)


class _HostClock:
    """Dates our signatures; nothing is decided by it."""

    def now(self) -> datetime:
        """Return the host's time."""
        return datetime.now(UTC)
