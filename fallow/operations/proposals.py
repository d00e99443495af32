"""A proposal between its two people: how long it stands, and who may decide it."""

import json
from datetime import datetime, timedelta

from fallow.domain.errors import CommandRefused, NotKnown, SecondPersonNeeded
from fallow.domain.people import Person
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, PrincipalRow, ProposalRow

#: After this a proposal must be made again: what it was decided upon may be long gone.
PROPOSAL_STANDS_FOR = timedelta(days=7)


def to_decide(tx: Tx, person: Person, proposal_id: str) -> tuple[CycleRow, ProposalRow]:
    """Lock a proposal's cycle and return both, for a second person who may decide it: independent of the first and of the enroller.

    Raises:
        NotKnown: there is no such proposal.
        CommandRefused: it was decided before.
        SecondPersonNeeded: somebody else must decide.
    """
    row = cycles.lock_one(tx, _get(tx, proposal_id).cycle_id)  # before the proposal: cycles are always locked first
    proposal = _get(tx, proposal_id)
    if proposal.decided_at is not None:
        what = f"The proposal {proposal_id} was decided before."
        raise CommandRefused(what, remedy="propose again if it is still needed.")
    if person.person_id == proposal.proposed_by:
        what = "The same person can't propose and decide."
        raise SecondPersonNeeded(what, remedy="have another approver do it, with a key of their own.")
    demand_not_the_enroller(person, row)
    demand_unrelated(tx, person, proposal.proposed_by)
    return row, proposal


def demand_not_the_enroller(person: Person, row: CycleRow) -> None:
    """Refuse who brought the number in.

    Raises:
        SecondPersonNeeded: always for them.
    """
    if person.person_id == row.enrolled_by:
        what = "Who enrolled a number can't decide over it."
        raise SecondPersonNeeded(what, remedy="two other people must propose and approve.")


def demand_standing(tx: Tx, proposal: ProposalRow) -> None:
    """Refuse a proposal that has gone stale.

    Raises:
        CommandRefused: with what to do instead.
    """
    if not stands(tx, proposal) or _moved_since(tx, proposal):
        what = f"The proposal {proposal.proposal_id} no longer stands: it is old, its proposer left, or the platform has spoken since."
        raise CommandRefused(what, remedy="look at the cycle as it is now, and propose again if it is still needed.")


def stands(tx: Tx, proposal: ProposalRow) -> bool:
    """Tell whether a proposal is young enough and its proposer still has their key."""
    return tx.now <= expires_at(proposal) and tx.session.get_one(PrincipalRow, proposal.proposed_by).revoked_at is None


def expires_at(proposal: ProposalRow) -> datetime:
    """Return the last instant at which a proposal stands."""
    return proposal.proposed_at + PROPOSAL_STANDS_FOR


def demand_unrelated(tx: Tx, person: Person, proposed_by: str) -> None:
    """Refuse a second person who was made by the first, or the other way round.

    Raises:
        SecondPersonNeeded: always for them.
    """
    proposer = tx.session.get_one(PrincipalRow, proposed_by)
    approver = tx.session.get_one(PrincipalRow, person.person_id)
    if approver.admitted_by == proposer.principal_id or proposer.admitted_by == approver.principal_id:
        what = "One of the two people was admitted by the other."
        raise SecondPersonNeeded(what, remedy="have somebody decide whose key another administrator made.")


def _moved_since(tx: Tx, proposal: ProposalRow) -> bool:
    target_id = json.loads(proposal.arguments).get("target_id")
    later = (event for event in cycles.events(tx, proposal.cycle_id) if event.at > proposal.proposed_at)
    return target_id is not None and any(event.body.get("target_id") == target_id for event in later)


def _get(tx: Tx, proposal_id: str) -> ProposalRow:
    proposal = tx.session.get(ProposalRow, proposal_id, populate_existing=True)
    if proposal is None:
        what = f"No proposal {proposal_id} is known."
        raise NotKnown(what, remedy="`fallow numbers show` lists a cycle's open proposals.")
    return proposal
