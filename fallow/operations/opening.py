"""Opening what is sealed of a cycle: two people, neither the enroller; for a day either of them may read, each time with an event.

Possible in every state and changing none, it is no command of the lifecycle; proposing, approving and denying follow the same
rules (:mod:`fallow.operations.proposals`).
"""

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlmodel import col, select

from fallow.domain.errors import CommandRefused, NotKnown, PersonRefused, SettingRefused
from fallow.domain.events import Kind, canonical
from fallow.domain.people import Action, Person
from fallow.domain.reference import read_reference
from fallow.operations import proposals
from fallow.operations.installation import Installation
from fallow.store import cycles, retention
from fallow.store.engine import Tx
from fallow.store.keeping_tables import RetentionRow
from fallow.store.retention import Opened
from fallow.store.tables import CycleRow, ProposalRow
from fallow.store.vault import opaque

#: What stands in a proposal's ``command`` for it.
OPEN = "open-retained"
#: How long after the approval it may be read.
READABLE_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Reading:
    """What a reader is shown.

    Attributes:
        rows: one JSON object a sealed row: target_id, collection, kept_until, basis, content.
        gone: what can't be shown any more, and why.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    gone: list[str]


class Opening:
    """Propose and read; ``TwoPerson`` approves and denies. Every method raises PersonRefused, NotKnown and CommandRefused."""

    def __init__(self, installation: Installation) -> None:
        """Work on ``installation``."""
        self._installation = installation

    def propose(self, person: Person, cycle_id: str, reference: str) -> str:
        """Propose to open what is sealed of a cycle; return the proposal's id for the second person.

        Raises:
            InputRefused: no reference.
        """
        person.demand(Action.PROPOSE)
        with self._installation.db.begin() as tx:
            row = cycles.lock_one(tx, cycle_id)
            proposals.demand_not_the_enroller(person, row)
            demand_sealed(tx, row)
            body = canonical({"reference": read_reference(reference)})
            proposal = ProposalRow(proposal_id=opaque("pr_"), cycle_id=cycle_id, command=OPEN, arguments=body, proposed_by=person.person_id)
            proposal.proposed_at = tx.now
            tx.session.add(proposal)
            cycles.record(tx, row, Kind.COMMAND_PROPOSED, command=OPEN, proposal_id=proposal.proposal_id, by=person.person_id)
            return proposal.proposal_id

    def is_one(self, proposal_id: str) -> bool:
        """Tell whether a proposal is one to open what is sealed."""
        with self._installation.db.read() as tx:
            found = tx.session.get(ProposalRow, proposal_id)
            return found is not None and found.command == OPEN

    def read(self, person: Person, proposal_id: str) -> Reading:
        """Return what is sealed of the proposal's cycle; that it was read is committed before this returns.

        Raises:
            SettingRefused: what is sealed was altered.
        """
        person.demand(Action.PROPOSE)
        try:
            return self._installation.db.once_more(lambda tx: self._read(tx, person, proposal_id))
        except InvalidTag:
            what = f"What is sealed of the proposal {proposal_id}'s cycle does not open: a row of the database was altered."
            raise SettingRefused(what, remedy="restore it from a backup of the engine's database, and find out who altered it.") from None

    def _read(self, tx: Tx, person: Person, proposal_id: str) -> Reading:
        found = tx.session.get(ProposalRow, proposal_id)
        if found is None or found.command != OPEN:
            what = f"No proposal {proposal_id} to open what is sealed is known."
            raise NotKnown(what, remedy="propose it with `fallow records held-by-law open`.")
        row = cycles.lock_one(tx, found.cycle_id)
        proposal = tx.session.get_one(ProposalRow, proposal_id, populate_existing=True)
        _demand_readable(tx, person, proposal)
        entries = _sealed(tx, row)
        live = {each.kept_until for each in entries if not _why_gone(tx, row, each)}
        opened = retention.open_sealed(tx, self._installation.wrapping, row.cycle_id, live)
        reading = Reading(_shown(entries, opened), _gone(tx, row, entries, opened))
        if not reading.rows:
            what = f"Nothing that was sealed of the cycle {row.cycle_id} can be read any more: {' '.join(reading.gone)}"
            raise CommandRefused(what, remedy="none: what is destroyed is gone for everybody.")
        cycles.record(tx, row, Kind.RETENTION_READ, proposal_id=proposal_id, by=person.person_id, rows=len(reading.rows))
        return reading


def demand_sealed(tx: Tx, row: CycleRow) -> None:
    """Refuse where nothing is sealed of a locked cycle.

    Raises:
        CommandRefused: saying whether there ever was.
    """
    entries = _sealed(tx, row)
    if not entries:
        what = f"Nothing of the cycle {row.cycle_id} is sealed here."
        raise CommandRefused(what, remedy="`fallow records held-by-law list` says what is kept where; restricted rows are at their system.")
    gone = [_why_gone(tx, row, each) for each in entries]
    if all(gone):
        what = f"Nothing that was sealed of the cycle {row.cycle_id} is left: {' '.join(gone)}"
        raise CommandRefused(what, remedy="none: what is destroyed is gone for everybody.")


def record_opened(tx: Tx, row: CycleRow, proposal: ProposalRow, second: Person) -> None:
    """Record that a second person approved the opening.

    Raises:
        CommandRefused: there is nothing left to open.
    """
    demand_sealed(tx, row)
    reference = json.loads(proposal.arguments)["reference"]
    who = {"by": proposal.proposed_by, "second": second.person_id, "reference": reference}
    cycles.record(tx, row, Kind.RETENTION_OPENED, proposal_id=proposal.proposal_id, **who)


def _demand_readable(tx: Tx, person: Person, proposal: ProposalRow) -> None:
    if person.person_id not in (proposal.proposed_by, proposal.decided_by):
        what = f"The proposal {proposal.proposal_id} is of two other people."
        raise PersonRefused(what, remedy="one of the two who opened it reads it; or propose to open it yourself.")
    opened_at = _opened_at(tx, proposal)
    if opened_at is None:
        what = f"The proposal {proposal.proposal_id} was not approved."
        raise CommandRefused(what, remedy="a second person runs `fallow approve`; a denied one must be proposed again.")
    if tx.now > opened_at + READABLE_FOR:
        what = f"The proposal {proposal.proposal_id} was approved more than 24 hours ago."
        raise CommandRefused(what, remedy="propose again what must be read again.")


def _opened_at(tx: Tx, proposal: ProposalRow) -> datetime | None:
    """Return when it was approved: a denied proposal is decided too, but has no such event."""
    opened = (each for each in cycles.events(tx, proposal.cycle_id) if each.kind is Kind.RETENTION_OPENED)
    return next((each.at for each in opened if each.body["proposal_id"] == proposal.proposal_id), None)


def _sealed(tx: Tx, row: CycleRow) -> list[RetentionRow]:
    query = select(RetentionRow).where(RetentionRow.cycle_id == row.cycle_id, RetentionRow.how == retention.SEAL)
    return list(tx.session.exec(query.order_by(RetentionRow.target_id, RetentionRow.collection, col(RetentionRow.kept_until))))


def _why_gone(tx: Tx, row: CycleRow, kept: RetentionRow) -> str:
    """Return why an entry can't be opened; "" where it can. A hold keeps it beyond its last day."""
    if kept.destroyed_at is not None:
        return f"{kept.target_id} {kept.collection} was destroyed on {kept.destroyed_at.date()}."
    return f"{kept.target_id} {kept.collection} expired with {kept.kept_until}." if kept.kept_until < tx.now.date() and not row.held else ""


def _gone(tx: Tx, row: CycleRow, entries: list[RetentionRow], opened: Opened) -> list[str]:
    lost = [f"{each.target_id} {each.collection}: its key is destroyed." for each in entries if each.kept_until in opened.unreadable]
    return [*filter(None, (_why_gone(tx, row, each) for each in entries)), *lost]


def _shown(entries: list[RetentionRow], opened: Opened) -> list[dict[str, Any]]:
    bases: dict[tuple[str, str, date], str] = {(each.target_id, each.collection, each.kept_until): each.basis for each in entries}
    return [
        {
            "target_id": row.target_id,
            "collection": row.collection,
            "kept_until": row.kept_until.isoformat(),
            "basis": bases.get((row.target_id, row.collection, row.kept_until), ""),
            "content": json.loads(content),
        }
        for row, content in opened.rows
    ]
