"""The delivery log: one row for each request to a platform and each callback from one; never a body, never a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

from sqlalchemy import Insert, delete, func, insert
from sqlmodel import col, select

from fallow.store.engine import Database, Tx
from fallow.store.given import bound, dialect_of, given
from fallow.store.platform_tables import ExchangeRow

#: How long the log is kept: it serves operation, evidence is kept elsewhere.
KEPT_FOR = timedelta(days=30)
#: Most rows deleted in one transaction.
_PAGE = 5_000
#: Lengths are kept rounded up to a multiple of this: a body of one answer tells by its very length which of the clearances was said.
ROUNDED_TO = 1024


class Direction(StrEnum):
    """Who spoke first."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange.

    Attributes:
        platform_id: with which platform or hub.
        direction: a request of ours (out) or a callback (in).
        delivery_id: the message's ``webhook-id``, or what its scheme has in its place; "" where none was sent.
        items: numbers asked about, or answers brought.
        octets: length of the body that came in, or of the answer; kept rounded up, see :data:`ROUNDED_TO`.
        status: HTTP status; None where there was none.
        result: a short code: "answered", "accepted", or an error's code; never free text.
        took_ms: milliseconds from begin to end.
    """

    platform_id: str
    direction: Direction
    delivery_id: str
    items: int
    octets: int
    status: int | None
    result: str
    took_ms: int


def note(tx: Tx, exchanges: Sequence[Exchange]) -> None:
    """Write exchanges into the log, in one statement."""
    rows = [
        {
            "platform_id": each.platform_id,
            "direction": str(each.direction),
            "at": tx.now,
            "delivery_id": each.delivery_id,
            "items": each.items,
            "octets": -(-each.octets // ROUNDED_TO) * ROUNDED_TO,
            "status": each.status,
            "result": each.result,
            "took_ms": each.took_ms,
        }
        for each in exchanges
    ]
    if rows:
        tx.session.connection().execute(_inserting(dialect_of(tx)), bound(tx, rows))


@cache
def _inserting(dialect: str) -> Insert:
    columns = {"platform_id": str, "direction": str, "at": datetime, "delivery_id": str, "result": str}
    relation = given(dialect, **columns, **dict.fromkeys(("items", "octets", "status", "took_ms"), int))
    return insert(ExchangeRow).from_select(relation.c.keys(), relation.select())


def latest(tx: Tx, platform_id: str, most: int, before: int | None = None) -> list[ExchangeRow]:
    """Return a platform's exchanges, latest first; ``before``: the last exchange_id of the page before."""
    query = select(ExchangeRow).where(ExchangeRow.platform_id == platform_id)
    if before is not None:
        query = query.where(col(ExchangeRow.exchange_id) < before)
    return list(tx.session.exec(query.order_by(col(ExchangeRow.exchange_id).desc()).limit(most)))


def answered_since(tx: Tx, since: datetime) -> dict[str, int]:
    """Return how many answers each platform gave since an instant, in responses and by callback."""
    count = select(ExchangeRow.platform_id, func.sum(ExchangeRow.items)).where(col(ExchangeRow.at) >= since)
    rows = tx.session.exec(count.where(col(ExchangeRow.result).in_(["answered", "accepted"])).group_by(ExchangeRow.platform_id))
    return {platform_id: int(items) for platform_id, items in rows}


def forget_old(db: Database, most_pages: int) -> int:
    """Delete what is older than :data:`KEPT_FOR`, at most so many pages, each in its own transaction; return how many rows went."""
    gone = 0
    for _ in range(most_pages):
        with db.begin() as tx:
            page = _forget_page(tx)
        gone += page
        if page < _PAGE:
            break
    return gone


def _forget_page(tx: Tx) -> int:
    old = select(ExchangeRow.exchange_id).where(col(ExchangeRow.at) < tx.now - KEPT_FOR).order_by(col(ExchangeRow.at)).limit(_PAGE)
    ids = list(tx.session.exec(old))
    if ids:
        tx.session.exec(delete(ExchangeRow).where(col(ExchangeRow.exchange_id).in_(ids)))
    return len(ids)
