"""API keys: ``flw_<id>_<secret>``; only a keyed HMAC of the secret is stored, so a stolen database opens nothing."""

import hashlib
import hmac
import secrets

from sqlmodel import select

from fallow.domain.errors import PersonRefused
from fallow.domain.people import Person, Role
from fallow.store.engine import Tx
from fallow.store.keys import Keys
from fallow.store.tables import PrincipalRow
from fallow.store.vault import opaque


def admit(tx: Tx, keys: Keys, name: str, role: Role, platform_id: str | None = None, by: Person | None = None) -> str:
    """Create a principal and return its API key: the only time the key is seen. ``by``: who admits it; None at installation."""
    principal_id, secret = opaque("p"), secrets.token_urlsafe(32)
    row = PrincipalRow(principal_id=principal_id, name=name, role=role, platform_id=platform_id, secret=_mac(keys, secret))
    row.created_at, row.admitted_by = tx.now, None if by is None else by.person_id
    tx.session.add(row)
    return f"flw_{principal_id}_{secret}"


def authenticate(tx: Tx, keys: Keys, api_key: str) -> Person:
    """Return whose key it is.

    Raises:
        PersonRefused: unknown, malformed or revoked; the message is the same for all three.
    """
    prefix, _, rest = api_key.strip().partition("_")
    principal_id, _, secret = rest.partition("_")
    row = tx.session.get(PrincipalRow, principal_id)
    stored = row.secret if row is not None else "0" * 64
    right = hmac.compare_digest(stored, _mac(keys, secret))  # always computed: an unknown id takes as long as a wrong secret
    if prefix != "flw" or row is None or not right or row.revoked_at is not None:
        what = "The API key is not valid."
        raise PersonRefused(what, remedy="ask an administrator for a key (`fallow keys admit`).")
    return Person(row.principal_id, Role(row.role), row.platform_id)


def revoke(tx: Tx, principal_id: str) -> bool:
    """Revoke a key at once; tell whether there was one."""
    row = tx.session.get(PrincipalRow, principal_id)
    if row is None:
        return False
    row.revoked_at = tx.now
    return True


def everyone(tx: Tx) -> list[PrincipalRow]:
    """Return all principals, oldest first."""
    return list(tx.session.exec(select(PrincipalRow).order_by(PrincipalRow.created_at)))  # type: ignore[arg-type]


def _mac(keys: Keys, secret: str) -> str:
    return hmac.new(keys["access"], secret.encode(), hashlib.sha256).hexdigest()
