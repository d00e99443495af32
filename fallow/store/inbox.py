"""Platforms' signed messages, kept verbatim under the evidence key: the same delivery changes state once and is acknowledged alike."""

import base64
import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Insert, func, insert
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from fallow.domain.ports import SignedDelivery
from fallow.store.engine import Tx
from fallow.store.given import bound, dialect_of, given
from fallow.store.keys import Keys
from fallow.store.tables import DeliveryRow

_NONCE = 12
#: A kept body is this, the scheme, this again, nonce and ciphertext; one of before bodies were sealed begins with its own first byte.
_SEALED = b"\0"
#: What is sealed is the length in 4 bytes, the body, and zeros up to a multiple of this: the ciphertext's length must not tell the answer.
_PADDED_TO = 256
_LENGTH = 4


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
        rows = [{"platform_id": speaker_id, "delivery_id": delivery_id} for speaker_id, delivery_id in wanted]
        found = tx.session.exec(_finding(dialect_of(tx)), params=bound(tx, rows))
        return {(row.platform_id, row.delivery_id): row for row in found}

    def keep(self, tx: Tx, speaker_id: str, delivery: SignedDelivery, ack: str) -> DeliveryRow:
        """Keep a verified delivery, with the acknowledgement that every repeat of it will get."""
        row = DeliveryRow(**self._columns(tx, speaker_id, delivery, ack))
        tx.session.add(row)
        return row

    def keep_all(self, tx: Tx, deliveries: Sequence[tuple[str, SignedDelivery, str]]) -> None:
        """Keep verified (speaker, delivery, acknowledgement)s in one statement."""
        rows = [self._columns(tx, *each) for each in deliveries]
        if len(rows) > 1 and dialect_of(tx) == "postgresql":
            written = [{**row, "body": base64.b64encode(row["body"]).decode()} for row in rows]
            tx.session.connection().execute(_inserting("postgresql"), bound(tx, written))
        elif rows:
            tx.session.exec(insert(DeliveryRow), params=rows)

    def open(self, row: DeliveryRow) -> SignedDelivery | None:
        """Return what a row keeps; None where it was altered."""
        scheme, body = "webhook", row.body
        if body.startswith(_SEALED):
            try:
                name, sealed = body[1:].split(_SEALED, 1)
                scheme = name.decode()
                bound_to = _bound_to(row.platform_id, row.delivery_id, scheme)
                body = _unpadded(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to))
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
        return _SEALED + delivery.scheme.encode() + _SEALED + nonce + self._cipher.encrypt(nonce, _padded(delivery.body), bound_to)


@cache
def _finding(dialect: str) -> SelectOfScalar[DeliveryRow]:
    relation = given(dialect, platform_id=str, delivery_id=str)
    same = (col(DeliveryRow.platform_id) == relation.c.platform_id) & (col(DeliveryRow.delivery_id) == relation.c.delivery_id)
    return select(DeliveryRow).join(relation, same)


@cache
def _inserting(dialect: str) -> Insert:
    texts = dict.fromkeys(("platform_id", "delivery_id", "digest", "signature", "body", "ack"), str)
    relation = given(dialect, **texts, signed_at=int, received_at=datetime)
    columns = {**relation.c, "body": func.decode(relation.c.body, "base64")}
    return insert(DeliveryRow).from_select(list(columns), select(*columns.values()))


def _padded(body: bytes) -> bytes:
    whole = len(body).to_bytes(_LENGTH, "big") + body
    return whole + bytes(-len(whole) % _PADDED_TO)


def _unpadded(padded: bytes) -> bytes:
    return padded[_LENGTH : _LENGTH + int.from_bytes(padded[:_LENGTH], "big")]


def _bound_to(speaker_id: str, delivery_id: str, scheme: str) -> bytes:
    return f"answer|{scheme}|{speaker_id}|{delivery_id}".encode()
