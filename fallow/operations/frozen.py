"""Policies as frozen by cycles: stored once per digest, read back by digest."""

import json

from fallow.domain.errors import NotKnown
from fallow.domain.events import canonical
from fallow.domain.policy import Policy, from_json
from fallow.store.engine import Tx
from fallow.store.tables import PolicyRow


def freeze(tx: Tx, policy: Policy) -> str:
    """Store ``policy`` if it is new and return its digest."""
    digest = policy.digest()
    if tx.session.get(PolicyRow, digest) is None:
        tx.session.add(PolicyRow(digest=digest, body=canonical(policy.to_json())))
        tx.session.flush()
    return digest


def frozen_policy(tx: Tx, digest: str) -> Policy:
    """Return the policy frozen under ``digest``.

    Raises:
        NotKnown: there is none, or its content no longer has that digest.
    """
    row = tx.session.get(PolicyRow, digest)
    policy = None if row is None else from_json(json.loads(row.body))
    if policy is None or policy.digest() != digest:
        what = f"The frozen policy {digest[:12]} is missing or was altered."
        raise NotKnown(what, remedy="restore the policies table from backup; no cycle under it can pass the gate.")
    return policy
