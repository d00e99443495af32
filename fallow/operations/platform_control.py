"""What an operator sets for one target: paused or not, how fast, in how many lanes. Obeyed at the next claim, without a restart."""

from typing import Any

from fallow.domain.errors import InputRefused, NotKnown
from fallow.domain.events import canonical
from fallow.domain.obligations import TargetKind
from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.platforms.platform_map import MOST_LANES
from fallow.platforms.protocol import MOST_ITEMS
from fallow.store import targets
from fallow.store.engine import Tx
from fallow.store.platform_tables import RegistryEventRow
from fallow.store.tables import TargetRow

PAUSED, RESUMED, PACE_SET = "PlatformPaused", "PlatformResumed", "PaceSet"
#: Items per second, as a registration may name them.
_LEAST_RATE, _MOST_RATE = 0.001, 10_000.0


def pause(installation: Installation, person: Person, target_id: str) -> None:
    """Have nothing more claimed for a platform or record system; what was asked may still be answered. Again: nothing changes.

    Raises:
        PersonRefused: as it says.
        NotKnown: there is no such target.
    """
    with installation.db.begin() as tx:
        row = _commanded(tx, installation, person, target_id)
        if row.paused_at is None:
            row.paused_at, row.paused_by = tx.now, person.person_id
            _record(tx, person, target_id, PAUSED)


def resume(installation: Installation, person: Person, target_id: str) -> None:
    """Have a paused target asked again. One that is not paused stays as it is.

    Raises:
        PersonRefused: as it says.
        NotKnown: there is no such target.
    """
    with installation.db.begin() as tx:
        row = _commanded(tx, installation, person, target_id)
        if row.paused_at is not None:
            row.paused_at = row.paused_by = None
            _record(tx, person, target_id, RESUMED)


def set_pace(
    installation: Installation,
    person: Person,
    target_id: str,
    *,
    rate_per_second: float | None = None,
    batch: int | None = None,
    lanes: int | None = None,
) -> None:
    """Set how a target is asked, in place of what its map or registration says; None: what that says.

    Args:
        installation: where.
        person: who sets it.
        target_id: a platform or a record system.
        rate_per_second: items per second, 0.001 to 10,000.
        batch: most items in one request, 1 to 1,000; a record system never gets more than its map says.
        lanes: most requests in flight at once, 1 to 32; platforms only.

    Raises:
        PersonRefused: as it says.
        NotKnown: there is no such target.
        InputRefused: a value out of range, or lanes for a record system.
    """
    _demand_between("rate_per_second", rate_per_second, _LEAST_RATE, _MOST_RATE)
    _demand_between("batch", batch, 1, MOST_ITEMS)
    _demand_between("lanes", lanes, 1, MOST_LANES)
    if lanes is not None and target_id in installation.record_systems:
        what = f"The record system {target_id} is wiped in one lane."
        raise InputRefused(what, remedy="leave `lanes` out; a larger batch in its map makes it faster.")
    with installation.db.begin() as tx:
        row = _commanded(tx, installation, person, target_id)
        row.rate_per_second, row.batch, row.lanes = rate_per_second, batch, lanes
        _record(tx, person, target_id, PACE_SET, rate_per_second=rate_per_second, batch=batch, lanes=lanes)


def _commanded(tx: Tx, installation: Installation, person: Person, target_id: str) -> TargetRow:
    person.demand(Action.COMMAND)
    if target_id in installation.platforms:
        return targets.lock(tx, target_id, TargetKind.PLATFORM)
    if target_id in installation.record_systems:
        return targets.lock(tx, target_id, TargetKind.RECORDS)
    row = tx.session.get(TargetRow, target_id)
    if row is None:
        what = "There is no target of that id."
        raise NotKnown(what, remedy="`fallow targets` lists them.")
    return targets.lock(tx, target_id, TargetKind(row.kind))  # it left the map, but something may be owed to it still


def _demand_between(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        what = f"The value of {name} is out of range."
        raise InputRefused(what, remedy=f"give {least:g} to {most:g}, or nothing for what the registration says.")


def _record(tx: Tx, person: Person, target_id: str, kind: str, **values: Any) -> None:
    body = canonical({"by": person.person_id, **values})
    tx.session.add(RegistryEventRow(platform_id=target_id, kind=kind, at=tx.now, body=body))
