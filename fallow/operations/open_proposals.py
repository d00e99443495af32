"""Proposals that wait for their second person, over all cycles: an approver's list of work."""

import json
from typing import Any

from sqlmodel import col, select

from fallow.domain.people import Action, Person
from fallow.operations.installation import Installation
from fallow.store.tables import ProposalRow

_MOST = 500


def open_proposals(installation: Installation, person: Person) -> list[dict[str, Any]]:
    """Return the proposals that nobody has decided yet, oldest first, at most 500.

    Raises:
        PersonRefused: as it says.
    """
    person.demand(Action.READ)
    query = select(ProposalRow).where(col(ProposalRow.decided_at).is_(None)).order_by(col(ProposalRow.proposed_at)).limit(_MOST)
    with installation.db.read() as tx:
        return [
            {
                "proposal_id": each.proposal_id,
                "cycle_id": each.cycle_id,
                "command": each.command,
                "arguments": json.loads(each.arguments),
                "proposed_by": each.proposed_by,
                "proposed_at": each.proposed_at.isoformat(),
            }
            for each in tx.session.exec(query)
        ]
