"""Read models of the registry: platforms, their revisions and events, proposals that wait. Plain JSON values; never a secret.

API and command line show the same answers because both ask here.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlmodel import col, select

from fallow.domain.errors import MapRefused, NotKnown, SettingRefused
from fallow.domain.people import Action, Person
from fallow.domain.registration import SECRETS, RegistryKind
from fallow.operations import status
from fallow.operations.installation import Installation
from fallow.operations.proposals import PROPOSAL_STANDS_FOR
from fallow.operations.registering import expired
from fallow.platforms.platform_map import read_registration
from fallow.store import registry
from fallow.store.engine import Tx
from fallow.store.platform_tables import PlatformProposalRow, PlatformRow, RegistryEventRow
from fallow.store.registry import Bodies, Table
from fallow.store.tables import TargetRow

#: What is shown in a secret's place.
SET = "set"


def list_platforms(installation: Installation, person: Person) -> list[dict[str, Any]]:
    """Return every platform and hub with its newest revision and state, by id; ``proposal`` is the one that waits, if any.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    bodies = installation.registered.bodies
    with installation.db.read() as tx:
        newest = {row.platform_id: row for row in registry.revisions(tx)}
        waiting = {row.platform_id: row.proposal_id for row in registry.undecided(tx) if not expired(tx, row)}
        paused = set(tx.session.exec(select(TargetRow.target_id).where(col(TargetRow.paused_at).is_not(None))))
    shown = {platform_id: _revision(bodies, row) for platform_id, row in sorted(newest.items())}
    return [{**each, "state": _state(each, paused), "proposal": waiting.get(platform_id)} for platform_id, each in shown.items()]


def show_platform(installation: Installation, person: Person, platform_id: str) -> dict[str, Any]:
    """Return what is known of one platform: its registration, how it is asked, all revisions and events, the proposals that wait.

    ``target`` is as :func:`fallow.operations.status.targets` says; None for a hub, and for what was never asked and is asked no more.

    Raises:
        PersonRefused, NotKnown: as they say.
    """
    person.demand(Action.READ)
    bodies = installation.registered.bodies
    with installation.db.read() as tx:
        rows, told = registry.revisions(tx, platform_id), registry.events(tx, platform_id)
        proposals = [_proposal(tx, bodies, row) for row in registry.undecided(tx, platform_id)]
    if not rows and not proposals:
        what = f"No platform {platform_id} is registered or proposed."
        raise NotKnown(what, remedy="look at the list of platforms.")
    newest = _revision(bodies, rows[-1]) if rows else None
    target = next((each for each in status.targets(installation, person) if each["target_id"] == platform_id), None)
    return {
        "platform_id": platform_id,
        "state": _state(newest, {platform_id} if target is not None and target["paused_at"] else ()),
        "registration": newest,
        "target": target,
        "revisions": [_revision(bodies, row) for row in rows],
        "events": [_event(row) for row in told],
        "proposals": proposals,
    }


def open_platform_proposals(installation: Installation, person: Person) -> list[dict[str, Any]]:
    """Return the proposals that nobody has decided, oldest first; one that has ``expired`` can only be denied.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        return [_proposal(tx, installation.registered.bodies, row) for row in registry.undecided(tx)]


def show_platform_proposal(installation: Installation, person: Person, proposal_id: str) -> dict[str, Any]:
    """Return one proposal about a platform, decided or not: what it changes, which keys come and go, where requests went and would go.

    Raises:
        PersonRefused, NotKnown: as they say.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        return _proposal(tx, installation.registered.bodies, registry.proposal(tx, proposal_id))


def _state(revision: dict[str, Any] | None, paused: Collection[str]) -> str:
    if revision is None:
        return "proposed"
    if revision["decommissioned"]:
        return "decommissioned"
    return "paused" if revision["platform_id"] in paused else "in-use"


def _revision(bodies: Bodies, row: PlatformRow) -> dict[str, Any]:
    table = bodies.raw(row.body)
    return {
        "platform_id": row.platform_id,
        "revision": row.revision,
        "active_from": row.active_from.isoformat(),
        "proposed_by": row.proposed_by,
        "approved_by": row.approved_by,
        "decommissioned": bool(table.get("decommissioned", False)),
        "table": _shown(table),
        "fingerprints": _fingerprints(bodies, row.platform_id, table),
    }


def _proposal(tx: Tx, bodies: Bodies, row: PlatformProposalRow) -> dict[str, Any]:
    held = bodies.raw(row.body)
    table = held["registration"]
    rows = registry.revisions(tx, row.platform_id)
    before = next((bodies.raw(each.body) for each in rows if each.revision == held["base"]), {})
    had, has = (set(_fingerprints(bodies, row.platform_id, each)) for each in (before, table))
    return {
        "proposal_id": row.proposal_id,
        "platform_id": row.platform_id,
        "proposed_by": row.proposed_by,
        "proposed_at": row.proposed_at.isoformat(),
        "expires_at": (row.proposed_at + PROPOSAL_STANDS_FOR).isoformat(),
        "expired": expired(tx, row),
        "follows_revision": held["base"],
        "decommission": bool(table.get("decommissioned", False)),
        "reference": held["reference"],
        "pinged_at": None if row.pinged_at is None else row.pinged_at.isoformat(),
        "trouble": row.trouble,
        "changes": _changes(tx, row),
        "keys": {"added": sorted(has - had), "removed": sorted(had - has)},
        "url": {"before": before.get("url") or None, "after": table.get("url") or None},
        "table": _shown(table),
        "fingerprints": _fingerprints(bodies, row.platform_id, table),
    }


def _changes(tx: Tx, row: PlatformProposalRow) -> list[str]:
    """Return the keys that a proposal changes, as recorded when it was made: what is sealed can't be compared without opening it."""
    told = [json.loads(each.body) for each in registry.events(tx, row.platform_id) if each.kind == RegistryKind.PLATFORM_PROPOSED]
    return next((list(body["changes"]) for body in told if body["proposal_id"] == row.proposal_id), [])


def _event(row: RegistryEventRow) -> dict[str, Any]:
    return {"kind": row.kind, "at": row.at.isoformat(), "body": json.loads(row.body)}


def _shown(table: Table) -> dict[str, Any]:
    """Leave out what nobody may see; that a secret is set is no secret."""
    return {key: SET if key in SECRETS and value else value for key, value in table.items() if key != "decommissioned"}


def _fingerprints(bodies: Bodies, platform_id: str, table: Table) -> list[str]:
    """Return those of every key that may sign, a shared secret's last; where it can't be opened, of the public keys."""
    if not table:
        return []
    try:
        plain = bodies.opened(table).table
    except SettingRefused:
        plain = {key: value for key, value in table.items() if key not in (*SECRETS, "decommissioned", "number_form")}
    try:
        return [key.fingerprint for key in read_registration(f"the registration of {platform_id}", plain).keys]
    except MapRefused:  # written by other code: it is shown as it is
        return []
