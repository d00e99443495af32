"""Registering platforms: one person proposes, the endpoint proves its key, another person approves; then it counts, without a restart."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fallow.domain.errors import CommandRefused, FallowError, InputRefused, MapRefused, NotKnown, SecondPersonNeeded
from fallow.domain.events import canonical
from fallow.domain.people import Action, Person
from fallow.domain.reference import read_reference
from fallow.domain.registration import TERMS, RegistryKind
from fallow.operations.installation import Installation
from fallow.operations.proposals import PROPOSAL_STANDS_FOR, demand_unrelated
from fallow.operations.registration_rules import (
    Standing,
    changes,
    demand_sound,
    demand_unneeded,
    entries_of,
    key_changes,
    read_table,
    standings,
)
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.verification_ping import demand_writable, is_pinged, ping
from fallow.platforms.verifying import VerifyingKey
from fallow.store import registry
from fallow.store.engine import Tx
from fallow.store.platform_tables import PlatformProposalRow
from fallow.store.registry import Bodies, Registration, Table
from fallow.store.tables import PrincipalRow
from fallow.store.vault import opaque

#: How old a ping may be when a registration is approved.
PING_COUNTS_FOR = timedelta(days=1)


@dataclass(frozen=True)
class Proposed:
    """What a proposal holds.

    Attributes:
        base: the number of the revision that it follows.
        registration: what it would make of the platform.
        reference: why, for a decommission; else "".
    """

    base: int
    registration: Registration
    reference: str

    @property
    def entry(self) -> PlatformEntry:
        """The registration, read."""
        return read_table(self.registration.table)


class Registering:
    """Propose, ping, approve, deny; set terms. Every method raises PersonRefused, NotKnown, CommandRefused and InputRefused."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation
        self._registered = installation.registered
        self._bodies = installation.registered.bodies

    def propose(self, person: Person, table: Mapping[str, Any]) -> str:
        """Propose a platform or hub, or a change of one: its whole table, the keys of ``platforms.toml``; return the proposal's id."""
        person.demand(Action.PROPOSE)
        entry, kept = read_table(table), dict(table)
        entry.tls.demand_readable()  # before the transaction: a file on a slow disk keeps nobody waiting
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            _demand_nothing_open(tx, entry.platform_id)
            before = demand_sound(tx, self._registered, entry, kept, self._installation.record_systems)
            changed = changes(before.registration, kept)
            if not changed:
                what = f"The proposal changes nothing of {entry.platform_id}."
                raise CommandRefused(what, remedy="compare it with the registration as it is shown.")
            proposed = Proposed(before.revision, Registration(kept), "")
            return self._keep(tx, person, entry.platform_id, proposed, changes=changed, decommission=False)

    def propose_decommission(self, person: Person, platform_id: str, reference: str) -> str:
        """Propose that a platform is asked no more, and may answer no more; return the proposal's id. What it answered stays evidence."""
        person.demand(Action.PROPOSE)
        why = read_reference(reference)
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            found = standings(tx, self._bodies)
            mine = _in_use(found, platform_id)
            _demand_nothing_open(tx, platform_id)
            demand_unneeded(platform_id, found)
            proposed = Proposed(mine.revision, Registration(_table_of(mine), decommissioned=True), why)
            return self._keep(tx, person, platform_id, proposed, changes=["decommissioned"], decommission=True, reference=why)

    async def ping(self, person: Person, proposal_id: str) -> None:
        """Have the proposed endpoint prove that it holds the proposed key; a file drop's folder is tried instead.

        Where keys are added, one of the added ones must sign: the others have proved themselves before. A platform behind a hub is
        vouched for by the hub's endpoint and keys. What went wrong is kept with the proposal and raised.

        Raises:
            TargetUnavailable, RequestRejected, SignatureRefused, AnswerMalformed, MapRefused: as :func:`verification_ping.ping` says.
        """
        person.demand(Action.PROPOSE)
        proposed, served_by, keys = await asyncio.to_thread(self._to_ping, proposal_id)
        try:
            if not is_pinged(proposed.entry):
                signed_by = await asyncio.to_thread(_try_folder, proposed.entry)
            else:
                signed_by = (await ping(served_by, keys, self._registered.way, opaque("ch_"))).fingerprint
        except FallowError as failed:
            await asyncio.to_thread(self._note_ping, person, proposal_id, trouble=failed.what)
            raise
        await asyncio.to_thread(self._note_ping, person, proposal_id, fingerprint=signed_by)

    def approve(self, person: Person, proposal_id: str) -> str:
        """Enter a proposal into the registry, as its second person; return the platform's id. It counts at once."""
        person.demand(Action.APPROVE)
        self._demand_files(proposal_id)
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            row = registry.proposal(tx, proposal_id)
            _demand_second(tx, person, row)
            self._demand_standing(tx, row)
            proposed = _read(self._bodies, row)
            before = self._demand_still_sound(tx, proposed)
            if not proposed.registration.decommissioned:
                _demand_pinged(tx, row, proposed.entry)
            entered = registry.append(tx, self._bodies, proposed.registration, proposed_by=row.proposed_by, approved_by=person.person_id)
            row.decided_by, row.decided_at, row.approved = person.person_id, tx.now, True
            who = {"revision": entered.revision, "proposal_id": proposal_id, "by": row.proposed_by, "second": person.person_id}
            note_revision(tx, before.registration, proposed, who)
        self._registered.refresh()
        return row.platform_id

    def deny(self, person: Person, proposal_id: str, reference: str) -> str:
        """Close a proposal for good, an expired one too; who made it may take it back. Return the platform's id."""
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            row = registry.proposal(tx, proposal_id)
            person.demand(Action.PROPOSE if person.person_id == row.proposed_by else Action.APPROVE)
            _demand_undecided(row)
            row.decided_by, row.decided_at = person.person_id, tx.now
            who = {"by": row.proposed_by, "second": person.person_id, "reference": read_reference(reference)}
            registry.record(tx, row.platform_id, RegistryKind.PROPOSAL_DENIED, proposal_id=proposal_id, **who)
            return row.platform_id

    def set_terms(self, person: Person, platform_id: str, terms: Mapping[str, Any]) -> None:
        """Change how fast and how often a platform is asked, or whom to call there: what one operator may decide."""
        person.demand(Action.COMMAND)
        others = sorted(terms.keys() - TERMS)
        if others or not terms:
            what = f"Other keys than terms were given: {', '.join(others) or 'none at all'}."
            raise InputRefused(what, remedy=f"give some of {', '.join(sorted(TERMS))}; propose what takes two people.")
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            mine = _in_use(standings(tx, self._bodies), platform_id)
            _demand_nothing_open(tx, platform_id)  # one person's terms must not void what takes two
            table = {**_table_of(mine), **terms}
            _demand_readable(table)
            changed = changes(mine.registration, table)
            if not changed:
                return
            by = person.person_id
            entered = registry.append(tx, self._bodies, Registration(table), proposed_by=by, approved_by=by)
            registry.record(
                tx, platform_id, RegistryKind.TERMS_SET, revision=entered.revision, by=by, changes=changed, **_contacts(mine, table)
            )
        self._registered.refresh()

    def _keep(self, tx: Tx, person: Person, platform_id: str, proposed: Proposed, **said: Any) -> str:
        held = {
            "base": proposed.base,
            "registration": self._bodies.sealed(proposed.registration),
            "reference": proposed.reference,
        }
        row = registry.propose(tx, platform_id, canonical(held), person.person_id)
        registry.record(tx, platform_id, RegistryKind.PLATFORM_PROPOSED, proposal_id=row.proposal_id, by=person.person_id, **said)
        return row.proposal_id

    def _demand_files(self, proposal_id: str) -> None:
        """Refuse a proposal that names files which no connection can be made with from here; one that is decided is refused elsewhere."""
        with self._installation.db.read() as tx:
            row = registry.proposal(tx, proposal_id)
            proposed = _read(self._bodies, row) if row.decided_at is None else None
        if proposed is not None and not proposed.registration.decommissioned:
            proposed.entry.tls.demand_readable()

    def _to_ping(self, proposal_id: str) -> tuple[Proposed, PlatformEntry, Sequence[VerifyingKey]]:
        with self._installation.db.read() as tx:
            row = registry.proposal(tx, proposal_id)
            _demand_undecided(row)
            self._demand_standing(tx, row)
            proposed = _read(self._bodies, row)
            found = standings(tx, self._bodies)
        entry, entries = proposed.entry, entries_of(found)
        if proposed.registration.decommissioned:
            what = f"The proposal {proposal_id} takes {entry.platform_id} out of use: there is nothing to ping."
            raise CommandRefused(what, remedy="have another person approve it.")
        if entry.via:
            hub = entries.get(entry.via, entry)  # a hub that has left meanwhile is found missing by the approval
            return proposed, hub, hub.keys
        mine = entries.get(entry.platform_id)
        added = [key for key in entry.keys if mine is None or key not in mine.keys]
        return proposed, entry, added or entry.keys

    def _note_ping(self, person: Person, proposal_id: str, *, fingerprint: str = "", trouble: str | None = None) -> None:
        with self._installation.db.begin() as tx:
            registry.lock(tx)
            row = registry.proposal(tx, proposal_id)
            _demand_undecided(row)
            row.trouble = trouble
            if trouble is None:
                row.pinged_at = tx.now
                said = {"proposal_id": proposal_id, "by": person.person_id, "fingerprint": fingerprint}
                registry.record(tx, row.platform_id, RegistryKind.PLATFORM_PINGED, **said)

    def _demand_standing(self, tx: Tx, row: PlatformProposalRow) -> None:
        proposer = tx.session.get_one(PrincipalRow, row.proposed_by)
        if expired(tx, row) or proposer.revoked_at is not None:
            what = f"The proposal {row.proposal_id} no longer stands: it is old, or its proposer left."
            raise CommandRefused(what, remedy="deny it, and propose again if it is still needed.")

    def _demand_still_sound(self, tx: Tx, proposed: Proposed) -> Standing:
        """Judge once more: much may have happened since it was proposed."""
        platform_id = str(proposed.registration.table["id"])
        found = standings(tx, self._bodies)
        mine = found.get(platform_id, Standing())
        if mine.revision != proposed.base:
            what = f"The registration of {platform_id} has changed since this was proposed."
            raise CommandRefused(what, remedy="deny it, and propose again from how the registration is now.")
        if proposed.registration.decommissioned:
            demand_unneeded(platform_id, found)
            return mine
        return demand_sound(tx, self._registered, proposed.entry, proposed.registration.table, self._installation.record_systems)


def note_revision(tx: Tx, before: Registration | None, proposed: Proposed, who: Mapping[str, Any]) -> None:
    """Write the events of a revision that was just entered."""
    platform_id, registration = str(proposed.registration.table["id"]), proposed.registration
    if registration.decommissioned:
        registry.record(tx, platform_id, RegistryKind.PLATFORM_DECOMMISSIONED, **who, reference=proposed.reference)
        return
    registry.record(tx, platform_id, RegistryKind.PLATFORM_REGISTERED, **who, changes=changes(before, registration.table))
    keys = key_changes(before, proposed.entry)
    if keys is not None:
        registry.record(tx, platform_id, RegistryKind.KEYS_CHANGED, revision=who["revision"], **keys)


def expired(tx: Tx, row: PlatformProposalRow) -> bool:
    """Tell whether a proposal is too old to be decided other than by denying it."""
    return tx.now > row.proposed_at + PROPOSAL_STANDS_FOR


def _read(bodies: Bodies, row: PlatformProposalRow) -> Proposed:
    held = json.loads(row.body)
    return Proposed(held["base"], bodies.opened(held["registration"]), held["reference"])


def _contacts(before: Standing, after: Table) -> dict[str, dict[str, Any]]:
    was, now = _table_of(before).get("contact"), after.get("contact")
    return {} if was == now else {"contact": {"before": was, "after": now}}


def _demand_readable(table: Table) -> None:
    """Refuse terms out of range as what they are: somebody's input, and no map of the installation."""
    try:
        read_table(table)
    except MapRefused as refused:
        what, remedy = refused.what, refused.remedy
        raise InputRefused(what, remedy=remedy) from None


def _demand_nothing_open(tx: Tx, platform_id: str) -> None:
    waiting = [row for row in registry.undecided(tx, platform_id) if not expired(tx, row)]
    if waiting:
        what = f"A proposal about {platform_id} waits already: {waiting[0].proposal_id}."
        raise CommandRefused(what, remedy="have it approved or denied first; who made it may take it back by denying it.")


def _demand_undecided(row: PlatformProposalRow) -> None:
    if row.decided_at is not None:
        what = f"The proposal {row.proposal_id} was decided before."
        raise CommandRefused(what, remedy="propose again if it is still needed.")


def _demand_second(tx: Tx, person: Person, row: PlatformProposalRow) -> None:
    _demand_undecided(row)
    if person.person_id == row.proposed_by:
        what = "The same person can't propose and approve."
        raise SecondPersonNeeded(what, remedy="have another approver do it, with a key of their own.")
    demand_unrelated(tx, person, row.proposed_by)


def _demand_pinged(tx: Tx, row: PlatformProposalRow, entry: PlatformEntry) -> None:
    if not is_pinged(entry):
        _try_folder(entry)
    elif row.pinged_at is None or tx.now - row.pinged_at > PING_COUNTS_FOR:
        what = f"The endpoint of {entry.platform_id} has not proved its key within the last day."
        raise CommandRefused(what, remedy=f"ping the proposal {row.proposal_id} first, and let the platform answer it.")


def _try_folder(entry: PlatformEntry) -> str:
    if entry.folder:
        demand_writable(entry)
    return ""


def _in_use(found: Mapping[str, Standing], platform_id: str) -> Standing:
    mine = found.get(platform_id, Standing())
    if not mine.in_use:
        what = f"No platform or hub {platform_id} is in use."
        raise NotKnown(what, remedy="look at the list of platforms.")
    return mine


def _table_of(standing: Standing) -> Table:
    return {} if standing.registration is None else standing.registration.table
