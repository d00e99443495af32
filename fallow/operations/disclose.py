"""Disclosure tagging: the tag follows from the facts, is signed, and is recomputed by the gate."""

from fallow.domain import disclosure
from fallow.domain.cycle import CycleRef, ref
from fallow.domain.events import Kind, canonical
from fallow.domain.lifecycle import State
from fallow.domain.ports import Look
from fallow.operations.frozen import frozen_policy
from fallow.operations.installation import Installation
from fallow.operations.stages import look_at, seen
from fallow.store import cycles, obligations
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, TagRow


class Disclosure:
    """Issues the tag of a cycle in TAGGING."""

    def __init__(self, installation: Installation) -> None:
        """Sign with the installation's key."""
        self._installation = installation

    def issue_tag(self, cycle: CycleRef) -> Look:
        """Issue the tag, or again where the facts have changed since (a platform attested meanwhile, say)."""
        with self._installation.db.begin() as tx:
            row = look_at(tx, cycle)
            if row.state != State.TAGGING:
                return seen(row, done=True)
            refresh_tag(tx, self._installation, row)
            return seen(row, done=True)


def refresh_tag(tx: Tx, installation: Installation, row: CycleRow) -> None:
    """Issue the tag that follows from the facts now, unless that very tag is issued already."""
    issued = tag_of(tx, row)
    if row.tag == issued.digest():
        return
    signature, public_key = installation.sign_tag(issued.digest())
    body = canonical(issued.to_json())
    tag = TagRow(digest=issued.digest(), cycle_id=row.cycle_id, body=body, signature=signature, public_key=public_key)
    tag.issued_at = tx.now
    tx.session.merge(tag)
    cycles.record(tx, row, Kind.TAG_ISSUED, tag=issued.digest())


def tag_of(tx: Tx, row: CycleRow) -> disclosure.Tag:
    """Return the tag that follows from a cycle's rows, whether or not it was issued."""
    past = disclosure.Past(row.former_holders, row.prior_holders is not None, row.recalled)
    owed = [obligations.facts(each) for each in obligations.of_cycle(tx, row.cycle_id)]
    return disclosure.tag(ref(row.cycle_id), cycles.facts(row), past, frozen_policy(tx, row.policy), owed)
