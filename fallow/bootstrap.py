"""The composition root: settings in, an installation out. The only place that knows every implementation."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from fallow.domain.errors import MapRefused
from fallow.domain.ports import Clock
from fallow.intake.policy_file import load_policy
from fallow.operations.installation import Installation, Pace
from fallow.operations.register import GuardedRegister
from fallow.platforms import signing
from fallow.platforms.adapters.catalogue import Way, make_platform
from fallow.platforms.platform_map import PlatformEntry, load_platform_map
from fallow.platforms.signed_exchange import SignedExchanges
from fallow.platforms.speakers import MappedSpeakers
from fallow.platforms.transport import Transport
from fallow.records.records_map import RecordsMap, load_records_map
from fallow.settings import Settings
from fallow.store import keys, schema
from fallow.store.engine import Database
from fallow.store.inbox import Inbox
from fallow.store.signer import TagSigner, seed
from fallow.store.vault import Vault
from fallow.store.wrapping import WrappingKeys


@dataclass
class Wired:
    """An installation with what must be closed at the end."""

    installation: Installation
    transport: Transport
    records: RecordsMap
    entries: dict[str, PlatformEntry]

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


def wire(settings: Settings, clock: Clock | None = None) -> Wired:
    """Put an installation together.

    Raises:
        SettingRefused, PolicyRefused, MapRefused: naming the file, the key and the remedy.
    """
    db = open_database(settings, clock)
    ring = keys.Keys(settings.file("keys"))
    records = open_records(settings, clock)
    entries = load_platform_map(settings.file("platforms"))
    demand_apart(records.systems, entries)
    policy = load_policy(
        settings.file("policy"),
        record_systems={system_id: system.collections for system_id, system in records.systems.items()},
        line_register=records.line_register_id,
        platforms={platform_id: entry.category for platform_id, entry in entries.items()},
    )
    transport = Transport()
    way = Way(transport, _request_key(ring), clock or _HostClock())
    tags = TagSigner(ring)
    installation = Installation(
        db=db,
        keys=ring,
        vault=Vault(ring),
        wrapping=WrappingKeys(settings.wrapping),
        policy=policy,
        record_systems=records.systems,
        line_register=GuardedRegister(records.line_register),
        platforms={platform_id: make_platform(entry, entries, way) for platform_id, entry in entries.items() if entry.adapter != "hub"},
        paces={platform_id: _pace(entry) for platform_id, entry in entries.items()},
        speakers=MappedSpeakers(entries),
        inbox=Inbox(ring),
        sign_tag=tags.sign,
        tag_signed=tags.signed,
    )
    return Wired(installation, transport, records, entries)


def demand_apart(record_systems: Collection[str], platforms: Collection[str]) -> None:
    """Refuse maps that use one id for a record system and a platform: what is owed and sent is kept under that id.

    Raises:
        MapRefused: naming the ids.
    """
    shared = sorted(set(record_systems) & set(platforms))
    if shared:
        what = f"The maps name {', '.join(shared)} both as a record system and as a platform."
        raise MapRefused(what, remedy="give each an id of its own in records.toml and platforms.toml.")


def _request_key(ring: keys.Keys) -> signing.SigningKey:
    return signing.SigningKey(seed(ring, "request"))


def _pace(entry: PlatformEntry) -> Pace:
    return Pace(entry.batch, entry.rate_per_second, entry.remind_after, entry.reminders, entry.answer_within, entry.lanes, entry.contact)


class _HostClock:
    """Dates our signatures; nothing is decided by it."""

    def now(self) -> datetime:
        """Return the host's time."""
        return datetime.now(UTC)
