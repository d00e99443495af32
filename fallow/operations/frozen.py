"""Policies as frozen by cycles: stored once per digest, read back by digest."""

import hashlib
import json

from fallow.domain.errors import NotKnown
from fallow.domain.events import canonical
from fallow.domain.policy import Policy, from_json
from fallow.domain.rules import Choice, Traits, choose
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, PolicyRow


def freeze(tx: Tx, policy: Policy) -> str:
    """Store ``policy`` if it is new and return its digest."""
    digest = policy.digest()
    if tx.session.get(PolicyRow, digest) is None:
        tx.session.add(PolicyRow(digest=digest, body=canonical(policy.to_json())))
        tx.session.flush()
    return digest


def traits(row: CycleRow) -> Traits:
    """Return what a cycle's rule is chosen by."""
    return Traits(row.country, row.number_class, row.carrier, row.pool, row.reason)


def frozen_choice(tx: Tx, row: CycleRow) -> Choice:
    """Return the rule that a cycle's frozen policy gives it.

    Raises:
        NotKnown: as :func:`frozen_policy`.
    """
    return choose(frozen_policy(tx, row.policy).rules, traits(row))


def frozen_policy(tx: Tx, digest: str) -> Policy:
    """Return the policy frozen under ``digest``.

    Raises:
        NotKnown: there is none, or its content no longer has that digest.
    """
    row = tx.session.get(PolicyRow, digest)
    if row is None or hashlib.sha256(row.body.encode()).hexdigest() != digest:
        what = f"The frozen policy {digest[:12]} is missing or was altered."
        raise NotKnown(what, remedy="restore the policies table from backup; no cycle under it can pass the gate.")
    return from_json(json.loads(row.body))
