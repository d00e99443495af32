"""``platforms.toml`` and the registry: imported whole where the registry is empty; from then on the file is only compared.

Two exceptions, both for platforms over which no person has decided yet: as long as no number was ever enrolled, they follow the
file, which is still being written; and so that a trial on one machine can be laid out again, in a demo database test endpoints on this
machine (``allow_loopback = true`` in the file, and in the registration where there is one) follow it for ever. Nobody else's key or url
is taken from the file again.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import select

from fallow.domain.errors import MapRefused
from fallow.domain.registration import FILE, FOUNDING
from fallow.operations.registered import Registered
from fallow.operations.registering import Proposed, note_revision
from fallow.operations.registration_rules import (
    Standing,
    changes,
    demand_apart,
    demand_own_keys,
    demand_reachable,
    demand_unneeded,
    keys_of,
    read_table,
    standings,
)
from fallow.operations.sale import is_demo
from fallow.platforms.platform_map import PlatformEntry, differing, load_registrations
from fallow.store import registry
from fallow.store.engine import Database, Tx
from fallow.store.registry import Registration, Table
from fallow.store.tables import CycleRow

#: Keys of the first revisions count for everything that was received before there was a registry.
EVER = datetime(1970, 1, 1, tzinfo=UTC)
MISSING, UNREGISTERED, DECOMMISSIONED = "not in the file", "not registered", "decommissioned"
_GONE = "left platforms.toml"

Read = Mapping[str, tuple[PlatformEntry, dict[str, Any]]]


def found_or_compare(db: Database, registered: Registered, path: Path, record_systems: Collection[str]) -> dict[str, list[str]]:
    """Import the file where the registry is empty; else return in what the two differ, by platform, after demo endpoints followed it.

    Raises:
        MapRefused: the file can't be used, names a key that another has or had, or there is none and the registry is empty.
        CommandRefused: a hub left it that platforms outside the file are still reached through.
    """
    with db.read() as tx:
        empty = registry.stamp(tx) == 0
    if not empty:
        registered.refresh()  # a process that starts with this one may have founded it since this one looked
        if not path.exists():
            return {}
    read = load_registrations(path)
    demand_importable(path, registered, read, record_systems)
    for entry, _ in read.values() if empty else ():
        entry.tls.demand_readable()  # once: later a missing file is trouble of its own platform, and keeps no process from starting
    with db.read() as tx:
        settled = not empty and not _to_follow(tx, registered, read)
        found = differences(tx, registered, read)
    if settled:
        return found
    with db.begin() as tx:
        registry.lock(tx)
        if registry.stamp(tx) == 0:
            _enter(tx, registered, {each: Registration(table) for each, (_, table) in read.items()}, FOUNDING)
        else:
            _enter(tx, registered, _to_follow(tx, registered, read), FILE)
        found = differences(tx, registered, read)
    registered.refresh()
    return found


def differences(tx: Tx, registered: Registered, read: Read) -> dict[str, list[str]]:
    """Return in which keys file and registry differ, by platform; a platform that people registered need not be in the file."""
    rows = {(row.platform_id, row.revision): row for row in registry.revisions(tx)}
    found = dict[str, list[str]]()
    for platform_id, standing in standings(tx, registered.bodies).items():
        if platform_id in read:
            found[platform_id] = _differing(standing, read[platform_id][1])
        elif standing.in_use and rows[platform_id, 1].approved_by in (FOUNDING, FILE):
            found[platform_id] = [MISSING]
    found |= {platform_id: [UNREGISTERED] for platform_id in read if (platform_id, 1) not in rows}
    return {platform_id: keys for platform_id, keys in sorted(found.items()) if keys}


def _differing(standing: Standing, table: Table) -> list[str]:
    if standing.registration is None:
        return [UNREGISTERED]
    return [DECOMMISSIONED] if standing.registration.decommissioned else differing(standing.registration.table, table)


def _to_follow(tx: Tx, registered: Registered, read: Read) -> dict[str, Registration]:
    """Return what the platforms become that follow the file."""
    unused = tx.session.exec(select(CycleRow.cycle_id).limit(1)).first() is None
    if not unused and not is_demo(tx):
        return {}

    def follows(*tables: Table) -> bool:
        return unused or all(table.get("allow_loopback") is True for table in tables)

    found = standings(tx, registered.bodies)
    by_people = {row.platform_id for row in registry.revisions(tx) if row.approved_by not in (FOUNDING, FILE)}
    following = dict[str, Registration]()
    for platform_id, (_, table) in read.items():
        before = found.get(platform_id, Standing()).registration
        mine = [table] if before is None else [table, before.table]
        if platform_id not in by_people and changes(before, table) and follows(*mine):
            following[platform_id] = Registration(table)
    for platform_id, standing in found.items():
        left = standing.registration if standing.in_use and platform_id not in read else None
        if left is not None and platform_id not in by_people and follows(left.table):
            following[platform_id] = Registration(left.table, decommissioned=True)
    return following


def _enter(tx: Tx, registered: Registered, wanted: Mapping[str, Registration], by: str) -> None:
    found = standings(tx, registered.bodies)
    after = {**found, **{each: Standing(1, registration) for each, registration in wanted.items()}}
    for platform_id, registration in wanted.items():
        before = found.get(platform_id, Standing())
        if registration.decommissioned:
            demand_unneeded(platform_id, after)
        else:  # a test endpoint that is laid out again has the key that it had
            demand_own_keys(tx, registered, read_table(registration.table), registration.table, may_return=True)
        since = EVER if by == FOUNDING else None
        entered = registry.append(tx, registered.bodies, registration, proposed_by=by, approved_by=by, since=since)
        proposed = Proposed(before.revision, registration, _GONE if registration.decommissioned else "")
        note_revision(tx, before.registration, proposed, {"revision": entered.revision, "by": by, "second": by})


def demand_importable(path: Path, registered: Registered, read: Read, record_systems: Collection[str]) -> None:
    """Refuse a file in which two share an id, a key or a secret, or that names an adapter or hub that is not there.

    Raises:
        MapRefused: naming the platforms and the remedy.
    """
    demand_apart(record_systems, read)
    entries = {platform_id: entry for platform_id, (entry, _) in read.items()}
    for platform_id, entry in entries.items():
        demand_reachable(registered, entry, {each: other for each, other in entries.items() if each != platform_id})
    demand_keys_apart(path, read)


def demand_keys_apart(path: Path, read: Read) -> None:
    """Refuse a file in which two share a key or a secret.

    Raises:
        MapRefused: naming the two.
    """
    owners = dict[str, str]()
    for platform_id, (_, table) in read.items():
        for key in keys_of(table):
            if owners.setdefault(key, platform_id) != platform_id:
                what = f"{path}: {platform_id} and {owners[key]} have a key or secret in common."
                raise MapRefused(what, remedy="let each platform and hub make its own: an answer is bound to its platform by the key.")
