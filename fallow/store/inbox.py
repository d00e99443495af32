"""Platforms' signed messages, kept verbatim: the same delivery changes state once and is acknowledged alike every time."""

import hashlib

from sqlmodel import select

from fallow.domain.ports import SignedDelivery
from fallow.store.engine import Tx
from fallow.store.tables import DeliveryRow


def digest(platform_id: str, delivery: SignedDelivery) -> str:
    """Return the SHA-256 that names a delivery as evidence: it covers everything needed to verify it again."""
    head = f"{platform_id}.{delivery.delivery_id}.{delivery.signed_at}.{delivery.signature}."
    return hashlib.sha256(head.encode() + delivery.body).hexdigest()


def find(tx: Tx, platform_id: str, delivery_id: str) -> DeliveryRow | None:
    """Return the delivery if it came before."""
    return tx.session.get(DeliveryRow, (platform_id, delivery_id))


def keep(tx: Tx, platform_id: str, delivery: SignedDelivery, ack: str) -> DeliveryRow:
    """Keep a verified delivery, with the acknowledgement every repeat of it will get."""
    row = DeliveryRow(
        platform_id=platform_id,
        delivery_id=delivery.delivery_id,
        digest=digest(platform_id, delivery),
        signed_at=delivery.signed_at,
        signature=delivery.signature,
        body=delivery.body,
        received_at=tx.now,
        ack=ack,
    )
    tx.session.add(row)
    return row


def by_digest(tx: Tx, platform_id: str, wanted: str) -> SignedDelivery | None:
    """Return a kept delivery by digest, recomputed: None if the row was altered or belongs to another platform."""
    query = select(DeliveryRow).where(DeliveryRow.digest == wanted, DeliveryRow.platform_id == platform_id)
    row = tx.session.exec(query).first()
    if row is None:
        return None
    delivery = SignedDelivery(row.delivery_id, row.signed_at, row.signature, row.body)
    return delivery if digest(platform_id, delivery) == wanted else None
