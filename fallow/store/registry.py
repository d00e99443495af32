"""The registry of platforms: revisions that are never changed, the proposals that wait for a second person, and events.

A revision's body is the canonical JSON of the registration's table, the keys of ``platforms.toml``; secrets in it are sealed with
AES-256-GCM under the key ``platforms``, bound to the platform and to the secret's name. A decommission is a revision as well.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import text
from sqlmodel import col, func, select

from fallow.domain.errors import NotKnown, SettingRefused
from fallow.domain.events import canonical
from fallow.domain.registration import SECRETS, RegistryKind
from fallow.store.engine import Tx
from fallow.store.keys import Keys
from fallow.store.platform_tables import PlatformProposalRow, PlatformRow, RegistryEventRow
from fallow.store.vault import opaque

Table = Mapping[str, Any]

_NONCE = 12
_SEALED = "sealed:"
_DECOMMISSIONED = "decommissioned"


@dataclass(frozen=True)
class Registration:
    """What one revision says.

    Attributes:
        table: the registration's keys, secrets in the clear. It does not print.
        decommissioned: whether the platform is asked no more; the table is the last one before.
    """

    table: Table
    decommissioned: bool = False

    def __repr__(self) -> str:
        """Keep secrets out of logs and tracebacks."""
        return f"<registration of {self.table.get('id')}>"


class Bodies:
    """Writes and reads the bodies of revisions and proposals."""

    def __init__(self, keys: Keys) -> None:
        """Take the key ``platforms`` from ``keys``."""
        self._cipher = AESGCM(keys["platforms"])

    def write(self, registration: Registration) -> str:
        """Return the body of a revision."""
        return canonical(self.sealed(registration))

    def sealed(self, registration: Registration) -> dict[str, Any]:
        """Return what a body holds, as a table whose secrets are sealed."""
        table = dict(registration.table)
        for name in SECRETS:
            if table.get(name):
                table[name] = self._seal(str(table["id"]), name, str(table[name]))
        return {**table, _DECOMMISSIONED: True} if registration.decommissioned else table

    def read(self, body: str) -> Registration:
        """Return what a body says, its secrets opened.

        Raises:
            SettingRefused: a secret was sealed under another key ``platforms``, or was altered.
        """
        return self.opened(json.loads(body))

    def raw(self, body: str) -> Table:
        """Return what a body holds, its secrets as they are kept: what may be shown, once they are left out."""
        table: Table = json.loads(body)
        return table

    def opened(self, table: Table) -> Registration:
        """Return what :meth:`sealed` made, opened.

        Raises:
            SettingRefused: see :meth:`read`.
        """
        plain = {key: value for key, value in table.items() if key != _DECOMMISSIONED}
        for name in SECRETS:
            if str(plain.get(name, "")).startswith(_SEALED):
                plain[name] = self._open(str(plain["id"]), name, str(plain[name]))
        return Registration(plain, bool(table.get(_DECOMMISSIONED, False)))

    def _seal(self, platform_id: str, name: str, secret: str) -> str:
        nonce = secrets.token_bytes(_NONCE)
        return _SEALED + base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), _bound_to(platform_id, name))).decode()

    def _open(self, platform_id: str, name: str, sealed: str) -> str:
        try:
            raw = base64.b64decode(sealed.removeprefix(_SEALED), validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _bound_to(platform_id, name)).decode()
        except (InvalidTag, ValueError):
            what = f"The {name} of the platform {platform_id} can't be opened."
        raise SettingRefused(what, remedy="restore the key file `platforms.key` from the keys' own backup, or register the secret again.")


def lock(tx: Tx) -> None:
    """Let nobody else change the registry until the transaction ends; readers go on. On SQLite there is one writer anyhow."""
    if tx.session.get_bind().dialect.name == "postgresql":
        tx.session.connection().execute(text("LOCK TABLE platforms IN SHARE ROW EXCLUSIVE MODE"))


def stamp(tx: Tx) -> int:
    """Return a number that grows with every revision of any platform: rows are only ever added."""
    return tx.session.exec(select(func.count()).select_from(PlatformRow)).one()


def revisions(tx: Tx, platform_id: str | None = None) -> list[PlatformRow]:
    """Return every revision, or one platform's, oldest first."""
    query = select(PlatformRow).order_by(PlatformRow.platform_id, col(PlatformRow.revision))
    return list(tx.session.exec(query if platform_id is None else query.where(PlatformRow.platform_id == platform_id)))


def append(
    tx: Tx, bodies: Bodies, registration: Registration, *, proposed_by: str, approved_by: str, since: datetime | None = None
) -> PlatformRow:
    """Add the next revision of a platform to the locked registry; it counts from now on, or a first one ``since`` an earlier instant."""
    platform_id = str(registration.table["id"])
    before = revisions(tx, platform_id)
    row = PlatformRow(
        platform_id=platform_id,
        revision=len(before) + 1,
        body=bodies.write(registration),
        proposed_by=proposed_by,
        approved_by=approved_by,
    )
    # A clock that was set back must not put a revision before the one that it replaces.
    row.active_from = max([since or tx.now, *(each.active_from for each in before)])
    tx.session.add(row)
    tx.session.flush()
    return row


def record(tx: Tx, platform_id: str, kind: RegistryKind, **body: Any) -> None:
    """Write an event, in the transaction of what it tells."""
    row = RegistryEventRow(platform_id=platform_id, kind=str(kind), body=canonical(body))
    row.at = tx.now
    tx.session.add(row)


def events(tx: Tx, platform_id: str) -> list[RegistryEventRow]:
    """Return a platform's events, oldest first."""
    query = select(RegistryEventRow).where(RegistryEventRow.platform_id == platform_id).order_by(col(RegistryEventRow.event_id))
    return list(tx.session.exec(query))


def propose(tx: Tx, platform_id: str, body: str, proposed_by: str) -> PlatformProposalRow:
    """Keep a proposal."""
    row = PlatformProposalRow(proposal_id=opaque("pp_"), platform_id=platform_id, body=body, proposed_by=proposed_by)
    row.proposed_at = tx.now
    tx.session.add(row)
    return row


def proposal(tx: Tx, proposal_id: str) -> PlatformProposalRow:
    """Return a proposal as it is now.

    Raises:
        NotKnown: there is none of that id.
    """
    row = tx.session.get(PlatformProposalRow, proposal_id, populate_existing=True)
    if row is None:
        what = f"No proposal {proposal_id} about a platform is known."
        raise NotKnown(what, remedy="list the open ones; they are shown with their ids.")
    return row


def undecided(tx: Tx, platform_id: str | None = None) -> list[PlatformProposalRow]:
    """Return the proposals that nobody has decided, oldest first; expired ones too."""
    query = select(PlatformProposalRow).where(col(PlatformProposalRow.decided_at).is_(None)).order_by(col(PlatformProposalRow.proposed_at))
    return list(tx.session.exec(query if platform_id is None else query.where(PlatformProposalRow.platform_id == platform_id)))


def _bound_to(platform_id: str, name: str) -> bytes:
    return f"platform|{platform_id}|{name}".encode()
