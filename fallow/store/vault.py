"""The vault: the only place that turns an opaque number_id into a number and back."""

import base64
import contextlib
import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlmodel import select

from fallow.domain.number import E164
from fallow.store.engine import Tx
from fallow.store.keys import Keys
from fallow.store.sets import among
from fallow.store.tables import NumberRow

_NONCE = 12


def opaque(prefix: str) -> str:
    """Return a random identifier of 130 bits that can't be mistaken for a number."""
    return prefix + base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]


class Vault:
    """Seals numbers with AES-256-GCM bound to their number_id, and finds them by a keyed HMAC-SHA-256."""

    def __init__(self, keys: Keys) -> None:
        """Take the vault and lookup keys from ``keys``."""
        self._cipher = AESGCM(keys["vault"])
        self._lookup = keys["lookup"]
        self._salts = keys["evidence"]  # lives as long as what it opens is evidence

    def lookup(self, number: E164) -> str:
        """Return the index value of ``number``; useless without the key."""
        return hmac.new(self._lookup, number.text.encode(), hashlib.sha256).hexdigest()

    def new_row(self, number: E164, country: str) -> NumberRow:
        """Return a row for a number that was never here."""
        number_id = opaque("n_")
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, number.text.encode(), number_id.encode())
        return NumberRow(number_id=number_id, lookup=self.lookup(number), sealed=sealed, country=country, last_cycle_no=0)

    def open(self, row: NumberRow) -> E164:
        """Return the number of a row.

        Raises:
            cryptography.exceptions.InvalidTag: the row was altered or belongs to another installation's key.
        """
        return self._open(row.number_id, row.sealed)

    def salt(self, cycle_id: str) -> bytes:
        """Return the salt of a cycle's commitment to its number: for the auditor of that cycle, and nobody else."""
        return hmac.new(self._salts, f"commitment|{cycle_id}".encode(), hashlib.sha256).digest()

    def find(self, tx: Tx, number: E164) -> NumberRow | None:
        """Return the row of ``number``, or None."""
        return tx.session.exec(select(NumberRow).where(NumberRow.lookup == self.lookup(number))).first()

    def reveal(self, tx: Tx, number_ids: list[str]) -> dict[str, E164]:
        """Return numbers by number_id; for senders and exports only."""
        sealed = tx.session.exec(select(NumberRow.number_id, NumberRow.sealed).where(among(tx, NumberRow.number_id, number_ids)))
        return {number_id: self._open(number_id, each) for number_id, each in sealed}

    def readable(self, tx: Tx, number_ids: list[str]) -> dict[str, E164]:
        """Return those numbers that can be read, by number_id: a row that was altered must not keep the others from being sent."""
        sealed = tx.session.exec(select(NumberRow.number_id, NumberRow.sealed).where(among(tx, NumberRow.number_id, number_ids)))
        found = dict[str, E164]()
        for number_id, each in sealed:
            with contextlib.suppress(InvalidTag, ValueError):
                found[number_id] = self._open(number_id, each)
        return found

    def _open(self, number_id: str, sealed: bytes) -> E164:
        return E164(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], number_id.encode()).decode())
