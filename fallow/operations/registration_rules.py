"""What a registration must satisfy beside its form, judged in the transaction that proposes it and again in the one that enters it.

A public key or a shared secret belongs to one platform or hub for ever: an answer is bound to its platform by the key alone, so a key
that two have had would let one speak for the other. And a key that a platform gave up does not come back: it may have been given up
because it got lost. Both are judged over all revisions there ever were.
"""

import base64
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fallow.domain.errors import CommandRefused, MapRefused, SettingRefused
from fallow.domain.registration import SECRETS
from fallow.operations.registered import Registered
from fallow.operations.sale import is_demo
from fallow.platforms.adapters.catalogue import adapter_of, make_platform
from fallow.platforms.platform_map import PlatformEntry, differing, read_registration
from fallow.store import registry
from fallow.store.engine import Tx
from fallow.store.registry import Bodies, Registration, Table

HUB = "hub"


@dataclass(frozen=True)
class Standing:
    """A platform's newest revision.

    Attributes:
        revision: its number; 0: there is none.
        registration: what it says; None: there is none, or it can't be read.
    """

    revision: int = 0
    registration: Registration | None = None

    @property
    def in_use(self) -> bool:
        """Whether it is asked, or a hub."""
        return self.registration is not None and not self.registration.decommissioned


def standings(tx: Tx, bodies: Bodies) -> dict[str, Standing]:
    """Return every platform's newest revision."""
    rows = {row.platform_id: row for row in registry.revisions(tx)}
    return {platform_id: Standing(row.revision, _readable(bodies, row.body)) for platform_id, row in rows.items()}


def read_table(table: Mapping[str, Any]) -> PlatformEntry:
    """Read a proposed table.

    Raises:
        MapRefused: naming the key and the remedy.
    """
    return read_registration(f"the registration of {table.get('id', 'a platform') if isinstance(table, Mapping) else 'a platform'}", table)


def entries_of(standing: Mapping[str, Standing]) -> dict[str, PlatformEntry]:
    """Return the entries of those in use."""
    return {each: read_table(found.registration.table) for each, found in standing.items() if found.in_use and found.registration}


def demand_sound(tx: Tx, registered: Registered, entry: PlatformEntry, table: Table, record_systems: Collection[str]) -> Standing:
    """Refuse what would not work or would let one speak for another; return what stands now of that id.

    Raises:
        MapRefused: the id is a record system's, the adapter or hub is not there, or a key or secret is not this platform's alone.
        CommandRefused: it would turn a platform into a hub or back, or have the engine talk to its own machine.
    """
    platform_id = entry.platform_id
    demand_apart(record_systems, [platform_id])
    standing = standings(tx, registered.bodies)
    mine = standing.get(platform_id, Standing())
    if mine.registration is not None and (mine.registration.table.get("adapter") == HUB) != (entry.adapter == HUB):
        what = f"{platform_id} can't become a hub or stop being one: what is owed is kept under its id."
        raise CommandRefused(what, remedy="register it under another id.")
    _demand_elsewhere(tx, mine, entry, table)
    others = {each: found for each, found in entries_of(standing).items() if each != platform_id}
    demand_reachable(registered, entry, others)
    demand_own_keys(tx, registered, entry, table)
    return mine


def demand_unneeded(platform_id: str, standing: Mapping[str, Standing]) -> None:
    """Refuse to decommission a hub that platforms are still reached through.

    Raises:
        CommandRefused: naming them.
    """
    members = sorted(each for each, entry in entries_of(standing).items() if entry.via == platform_id)
    if members:
        what = f"The hub {platform_id} still speaks for {', '.join(members)}."
        raise CommandRefused(what, remedy="decommission them first, or register another way to them.")


def demand_apart(record_systems: Collection[str], platforms: Collection[str]) -> None:
    """Refuse maps that use one id for a record system and a platform: what is owed and sent is kept under that id.

    Raises:
        MapRefused: naming the ids.
    """
    shared = sorted(set(record_systems) & set(platforms))
    if shared:
        what = f"The maps name {', '.join(shared)} both as a record system and as a platform."
        raise MapRefused(what, remedy="give each an id of its own in records.toml and platforms.toml.")


def changes(before: Registration | None, after: Table) -> list[str]:
    """Return the keys that a registration changes, sorted; all that it names where there is none before."""
    if before is None:
        return sorted(after)
    return differing(before.table, after) + (["decommissioned"] if before.decommissioned else [])


def key_changes(before: Registration | None, after: PlatformEntry) -> dict[str, Any] | None:
    """Return the fingerprints of keys that come and go, a shared secret's too, and the kind of each; None where none does."""
    old = {} if before is None else {key.fingerprint: key.kind for key in read_table(before.table).keys}
    new = {key.fingerprint: key.kind for key in after.keys}
    if old.keys() == new.keys():
        return None
    kinds = {fingerprint: kind for fingerprint, kind in (old | new).items() if (fingerprint in old) != (fingerprint in new)}
    return {"added": sorted(new.keys() - old.keys()), "removed": sorted(old.keys() - new.keys()), "kinds": kinds}


def demand_reachable(registered: Registered, entry: PlatformEntry, others: Mapping[str, PlatformEntry]) -> None:
    """Refuse an adapter or a hub that is not there, or a folder that another has.

    Raises:
        MapRefused: naming it.
    """
    _demand_own_folder(entry, others)
    if entry.via and (entry.adapter == HUB or others.get(entry.via) is None or others[entry.via].adapter != HUB):
        what = f"{entry.platform_id} names {entry.via} as its hub, which is none, or is a hub itself."
        raise MapRefused(what, remedy="register the hub first, with the adapter `hub`, or leave `via` out.")
    if entry.adapter == HUB:
        adapter_of(entry)
    else:
        make_platform(entry, others, registered.way)


def _demand_elsewhere(tx: Tx, before: Standing, entry: PlatformEntry, table: Table) -> None:
    """Refuse an endpoint on this machine, which one person could have pinged: whatever listens here trusts whoever is here already.

    A demo database may have them; and who came with the file at the founding keeps the addresses it has.
    """
    had = {} if before.registration is None else before.registration.table
    same = all(had.get(key) == table.get(key) for key in ("allow_loopback", "url", "status_url"))
    if table.get("allow_loopback") and not same and not is_demo(tx):
        what = f"{entry.platform_id} names an endpoint on this machine (`allow_loopback`), and this is no demo database."
        raise CommandRefused(what, remedy="register its public https address; try endpoints of this machine out in a demo database.")


def _demand_own_folder(entry: PlatformEntry, others: Mapping[str, PlatformEntry]) -> None:
    """Refuse a folder in which another would read whom we ask about; as written, since links are the operator's own."""
    mine = _folder(entry)
    for other in others.values():
        theirs = _folder(other)
        if mine and theirs and (mine.is_relative_to(theirs) or theirs.is_relative_to(mine)):
            what = f"{entry.platform_id} and {other.platform_id} would share a folder, or one would have the other's within its own."
            raise MapRefused(what, remedy="give each platform a folder of its own, beside the others.")


def _folder(entry: PlatformEntry) -> PurePosixPath | None:
    return PurePosixPath(posixpath.normpath(entry.folder).replace("//", "/")) if entry.folder else None


def demand_own_keys(tx: Tx, registered: Registered, entry: PlatformEntry, table: Table, *, may_return: bool = False) -> None:
    """Refuse a key or secret that another has or had, that it gave up before (unless it ``may_return``), or that is the engine's.

    All of a decommissioned platform's count as given up: it may have been decommissioned because they got lost.

    Raises:
        MapRefused: naming whose it is.
    """
    wanted = set(keys_of(table))
    if registered.way.signing_key.public in entry.public_keys:
        what = f"{entry.platform_id} names the engine's own key, so that our requests would pass for its answers."
        raise MapRefused(what, remedy="name the platform's public key.")
    had, has = set[str](), set[str]()
    for row in registry.revisions(tx):
        keys = set(keys_of(_opened(registered.bodies, row.body)))
        if row.platform_id != entry.platform_id and keys & wanted:
            what = f"{entry.platform_id} names a key or secret that {row.platform_id} has or had."
            raise MapRefused(what, remedy="let each platform and hub make its own, and use it nowhere else.")
        if row.platform_id == entry.platform_id:
            had, has = had | keys, set[str]() if registered.bodies.raw(row.body).get("decommissioned") else keys
    if not may_return and (had - has) & wanted:
        what = f"{entry.platform_id} names a key or secret that it gave up before."
        raise MapRefused(what, remedy="let it make a new one: one that was given up may have been lost to somebody.")


def keys_of(table: Table) -> list[str]:
    """Return a registration's public keys and secrets, each such that what works as the same key is equal.

    HMAC fills a key up with zeros (RFC 2104), so a secret with zeros behind it is no other secret; nor is it one with another prefix.
    """
    secrets = (str(table[name]).partition("_")[2] for name in SECRETS if table.get(name))
    return [*map(str, table.get("public_keys", [])), *(base64.b64decode(each).rstrip(b"\0").hex() for each in secrets)]


def _readable(bodies: Bodies, body: str) -> Registration | None:
    try:
        registration = bodies.read(body)
        read_table(registration.table)
    except (SettingRefused, MapRefused):
        return None
    return registration


def _opened(bodies: Bodies, body: str) -> Table:
    """Return a body's table; where a secret can't be opened, without secrets: its public keys count all the same."""
    try:
        return bodies.read(body).table
    except SettingRefused:
        return {key: value for key, value in bodies.raw(body).items() if key not in SECRETS}
