"""Proposals that wait for their second person, over all cycles: an approver's list of work, the urgent first."""

import json
from typing import Any

from sqlmodel import col, select

from fallow.domain.claims import Ground, due_by
from fallow.domain.events import canonical
from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.operations.proposals import PROPOSAL_STANDS_FOR, expires_at
from fallow.store.engine import Tx
from fallow.store.tables import ProposalRow

_MOST = 500
#: As it stands in the canonical arguments, where nothing else can hold quotation marks.
_WRONGFUL = canonical({"ground": Ground.WRONGFUL}).strip("{}")


def open_proposals(installation: Installation, person: Person) -> list[dict[str, Any]]:
    """Return the proposals that nobody has decided yet, at most 500: claims of a line cut off wrongly first, then the oldest.

    ``due_by`` says by when such a claim must be decided. One that has ``expired`` comes after those that have not: it can only be
    denied, and proposed again.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    with installation.db.read() as tx:
        wrongful = col(ProposalRow.arguments).contains(_WRONGFUL, autoescape=True)
        expired = col(ProposalRow.proposed_at) < tx.now - PROPOSAL_STANDS_FOR
        query = select(ProposalRow).where(col(ProposalRow.decided_at).is_(None))
        query = query.order_by(wrongful.desc(), expired, col(ProposalRow.proposed_at)).limit(_MOST)
        return [_shown(tx, each) for each in tx.session.exec(query)]


def _shown(tx: Tx, row: ProposalRow) -> dict[str, Any]:
    arguments = json.loads(row.arguments)
    return {
        "proposal_id": row.proposal_id,
        "cycle_id": row.cycle_id,
        "command": row.command,
        "arguments": arguments,
        "proposed_by": row.proposed_by,
        "proposed_at": row.proposed_at.isoformat(),
        "due_by": due_by(row.proposed_at).isoformat() if arguments.get("ground") == Ground.WRONGFUL else None,
        "expires_at": expires_at(row).isoformat(),
        "expired": tx.now > expires_at(row),
    }
