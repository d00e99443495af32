"""Platforms' signed messages, kept verbatim under the evidence key: the same delivery changes state once and is acknowledged alike."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import insert
from sqlmodel import col, select

from fallow.domain.ports import SignedDelivery
from fallow.store.engine import Tx
from fallow.store.given import bound, given
from fallow.store.keys import Keys
from fallow.store.tables import DeliveryRow

_NONCE = 12
#: A kept body is this, the scheme, this again, nonce and ciphertext; one of before bodies were sealed begins with its own first byte.
_SEALED = b"\0"


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept delivery, opened.

    Attributes:
        speaker_id: whose key signed it: a platform's, or a hub's.
        delivery: as it came.
        received_at: when, by the database's clock.
    """

    speaker_id: str
    delivery: SignedDelivery
    received_at: datetime


def digest(speaker_id: str, delivery: SignedDelivery) -> str:
    """Return the SHA-256 that names a delivery as evidence: it covers everything needed to verify it again."""
    scheme = "" if delivery.scheme == "webhook" else f"{delivery.scheme}."
    head = f"{scheme}{speaker_id}.{delivery.delivery_id}.{delivery.signed_at}.{delivery.signature}."
    return hashlib.sha256(head.encode() + delivery.body).hexdigest()


class Inbox:
    """Keeps deliveries, bodies sealed with AES-256-GCM and bound to speaker and delivery."""

    def __init__(self, keys: Keys) -> None:
        """Take the evidence key from ``keys``."""
        self._cipher = AESGCM(keys["evidence"])

    def find(self, tx: Tx, speaker_id: str, delivery_id: str) -> DeliveryRow | None:
        """Return the delivery's row if it came before."""
        return tx.session.get(DeliveryRow, (speaker_id, delivery_id))

    def find_all(self, tx: Tx, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], DeliveryRow]:
        """Return those of the (speaker, delivery id) pairs that came before, in one statement."""
        relation = given(tx, platform_id=str, delivery_id=str)
        same = (col(DeliveryRow.platform_id) == relation.c.platform_id) & (col(DeliveryRow.delivery_id) == relation.c.delivery_id)
        rows = [{"platform_id": speaker_id, "delivery_id": delivery_id} for speaker_id, delivery_id in wanted]
        found = tx.session.exec(select(DeliveryRow).join(relation, same), params=bound(tx, rows))
        return {(row.platform_id, row.delivery_id): row for row in found}

    def keep(self, tx: Tx, speaker_id: str, delivery: SignedDelivery, ack: str) -> DeliveryRow:
        """Keep a verified delivery, with the acknowledgement that every repeat of it will get."""
        row = DeliveryRow(**self._columns(tx, speaker_id, delivery, ack))
        tx.session.add(row)
        return row

    def keep_all(self, tx: Tx, deliveries: Sequence[tuple[str, SignedDelivery, str]]) -> None:
        """Keep verified (speaker, delivery, acknowledgement)s in one statement."""
        rows = [self._columns(tx, *each) for each in deliveries]
        if rows:
            tx.session.exec(insert(DeliveryRow), params=rows)

    def open(self, row: DeliveryRow) -> SignedDelivery | None:
        """Return what a row keeps; None where it was altered."""
        scheme, body = "webhook", row.body
        if body.startswith(_SEALED):
            try:
                name, sealed = body[1:].split(_SEALED, 1)
                scheme = name.decode()
                body = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound_to(row.platform_id, row.delivery_id, scheme))
            except (InvalidTag, ValueError):
                return None
        return SignedDelivery(row.delivery_id, row.signed_at, row.signature, body, scheme)

    def by_digest(self, tx: Tx, wanted: str) -> Kept | None:
        """Return a kept delivery by its digest, recomputed: None where there is none or the row was altered."""
        row = tx.session.exec(select(DeliveryRow).where(DeliveryRow.digest == wanted)).first()
        delivery = None if row is None else self.open(row)
        if row is None or delivery is None or digest(row.platform_id, delivery) != wanted:
            return None
        return Kept(row.platform_id, delivery, row.received_at)

    def _columns(self, tx: Tx, speaker_id: str, delivery: SignedDelivery, ack: str) -> dict[str, Any]:
        return {
            "platform_id": speaker_id,
            "delivery_id": delivery.delivery_id,
            "digest": digest(speaker_id, delivery),
            "signed_at": delivery.signed_at,
            "signature": delivery.signature,
            "body": self._seal(speaker_id, delivery),
            "received_at": tx.now,
            "ack": ack,
        }

    def _seal(self, speaker_id: str, delivery: SignedDelivery) -> bytes:
        nonce, bound_to = secrets.token_bytes(_NONCE), _bound_to(speaker_id, delivery.delivery_id, delivery.scheme)
        return _SEALED + delivery.scheme.encode() + _SEALED + nonce + self._cipher.encrypt(nonce, delivery.body, bound_to)


def _bound_to(speaker_id: str, delivery_id: str, scheme: str) -> bytes:
    return f"answer|{scheme}|{speaker_id}|{delivery_id}".encode()
