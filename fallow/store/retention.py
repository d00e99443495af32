"""What the law keeps: rows sealed under a retention key per cycle and expiry, and the register of what is kept where until when.

A retention key is 256 random bits, wrapped under the wrapping key of the month in which it expires (decision 0015), so that
a month's keys go together and no backup of the database opens what they opened. Lock order: cycles, then the epoch row of
the kind ``retention``, then the rows of this module.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete, func, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from fallow.domain.errors import SettingRefused
from fallow.domain.events import Kind
from fallow.domain.ports import CollectionReceipt, KeptRow
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.keeping_tables import EpochRow, RetentionKeyRow, RetentionRow, SealedRow
from fallow.store.tables import CycleRow
from fallow.store.wrapping import WrappingKeys

KIND = "retention"
RESTRICT, SEAL = "restrict", "seal"
#: Under which a key lies that was altered: no wrapping key has this name, and none is kept for its sake.
UNREADABLE = "retention-0000-00"
_BYTES = 32
_NONCE = 12
_MONTHLY = re.compile(r"retention-[0-9]{4}-[0-9]{2}")
#: Rows in one INSERT: seven values each stay far below SQLite's 32,766 parameters of a statement.
_MOST_AT_ONCE = 500


def month_of(day: date) -> str:
    """Return the name of the wrapping key under which what expires on ``day`` lies."""
    return f"retention-{day.year:04d}-{day.month:02d}"


class RetentionKey:
    """One retention key in the clear: what it seals is bound to cycle, target, collection and expiry (AES-256-GCM, NIST SP 800-38D)."""

    def __init__(self, secret: bytes) -> None:
        """Take the 256 bits."""
        self._cipher = AESGCM(secret)
        # A key of its own for marks (HKDF, RFC 5869): a mark says nothing to anybody once the retention key is gone.
        self._marks = HKDF(SHA256(), _BYTES, None, b"fallow retention mark").derive(secret)

    def seal(self, target_id: str, row: KeptRow) -> SealedRow:
        """Return the row sealed, with its mark."""
        nonce = secrets.token_bytes(_NONCE)
        bound_to = _bound_to(row.cycle_id, target_id, row.collection, row.kept_until)
        said = f"{len(target_id)}:{target_id}|{len(row.collection)}:{row.collection}|".encode() + row.content
        return SealedRow(
            mark=hmac.new(self._marks, said, hashlib.sha256).hexdigest(),
            cycle_id=row.cycle_id,
            target_id=target_id,
            collection=row.collection,
            kept_until=row.kept_until,
            sealed=nonce + self._cipher.encrypt(nonce, row.content, bound_to),
        )

    def open(self, row: SealedRow) -> bytes:
        """Return the row's content.

        Raises:
            cryptography.exceptions.InvalidTag: it was altered, or belongs elsewhere.
        """
        bound_to = _bound_to(row.cycle_id, row.target_id, row.collection, row.kept_until)
        return self._cipher.decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], bound_to)


@dataclass(frozen=True)
class Opened:
    """What is sealed of a cycle, opened.

    Attributes:
        rows: each sealed row with its content.
        unreadable: expiries whose key can't be had any more.
    """

    rows: list[tuple[SealedRow, bytes]] = field(repr=False)
    unreadable: list[date]


def seal_all(tx: Tx, wrapping: WrappingKeys, target_id: str, rows: Sequence[KeptRow]) -> None:
    """Seal rows of locked cycles; one that is sealed already is left as it is.

    Raises:
        SettingRefused: a key that is needed can't be had.
    """
    _lock_epoch(tx, alone=False)
    keys = {pair: _key(tx, wrapping, *pair) for pair in sorted({(row.cycle_id, row.kept_until) for row in rows})}
    sealed = [keys[row.cycle_id, row.kept_until].seal(target_id, row).model_dump() for row in rows]
    kind = sqlite if tx.session.connection().dialect.name == "sqlite" else postgresql
    for first in range(0, len(sealed), _MOST_AT_ONCE):
        tx.session.connection().execute(
            kind.insert(SealedRow).values(sealed[first : first + _MOST_AT_ONCE]).on_conflict_do_nothing(index_elements=["mark"])
        )


def count_sealed(tx: Tx, cycle_id: str, target_id: str, collection: str, kept_until: date) -> int:
    """Return how many rows of a collection are sealed for a cycle until that day."""
    query = select(func.count()).where(*_sealed_of(cycle_id, target_id, collection, kept_until))
    return tx.session.exec(query).one()


def note(tx: Tx, cycle: CycleRow, kept: RetentionRow) -> None:
    """Register what is kept of a locked cycle; the event is written when it begins, and not again when only its count changes."""
    key = (kept.cycle_id, kept.target_id, kept.collection, kept.kept_until)
    row = tx.session.get(RetentionRow, key, populate_existing=True)
    if row is not None and row.destroyed_at is None:
        row.rows, row.basis = kept.rows, kept.basis
        return
    if row is None:
        tx.session.add(kept)
    else:
        tx.session.merge(kept)  # destroyed once and kept anew: then without its tries
    cycles.record(
        tx,
        cycle,
        Kind.RETENTION_BEGAN,
        target_id=kept.target_id,
        collection=kept.collection,
        kept_until=kept.kept_until.isoformat(),
        how=kept.how,
        rows=kept.rows,
    )


def note_restricted(tx: Tx, cycle: CycleRow, target_id: str, receipt: CollectionReceipt) -> None:
    """Register the rows that a wipe restricted at the record system itself; ``receipt`` of a collection that keeps none is passed over."""
    if receipt.strategy != RESTRICT or not receipt.kept or receipt.kept_until is None:
        return
    kept_until = date.fromisoformat(receipt.kept_until)
    note(
        tx,
        cycle,
        RetentionRow(
            cycle_id=cycle.cycle_id,
            target_id=target_id,
            collection=receipt.collection,
            kept_until=kept_until,
            how=RESTRICT,
            basis=receipt.legal_basis or "",
            rows=receipt.kept,
        ),
    )


def expired(tx: Tx, cycle: CycleRow, row: RetentionRow) -> None:
    """Write down that what ``row`` registers of a locked cycle is destroyed, with its event."""
    row.destroyed_at, row.due_at = tx.now, None
    body = {"target_id": row.target_id, "collection": row.collection, "kept_until": row.kept_until.isoformat(), "how": row.how}
    cycles.record(tx, cycle, Kind.RETENTION_EXPIRED, **body)


def due_sealed(tx: Tx, most: int) -> list[str]:
    """Return cycles of which something sealed has had its last day, the longest due first; held ones are left out."""
    query = (
        select(RetentionRow.cycle_id)
        .join(CycleRow, col(CycleRow.cycle_id) == col(RetentionRow.cycle_id))
        .where(RetentionRow.how == SEAL, col(RetentionRow.destroyed_at).is_(None), col(RetentionRow.kept_until) < tx.now.date())
        .where(col(CycleRow.held).is_(False))
        .group_by(RetentionRow.cycle_id)
        .order_by(func.min(RetentionRow.kept_until), RetentionRow.cycle_id)
        .limit(most)
    )
    return list(tx.session.exec(query))


def destroy_sealed(tx: Tx, cycle: CycleRow) -> int:
    """Destroy the rows and retention keys of a locked cycle whose last day has passed; return how many entries expired by it.

    No key is needed for it: what was sealed under a wrapping key that is gone can be expired all the same.
    """
    due = (RetentionRow.cycle_id == cycle.cycle_id, RetentionRow.how == SEAL, col(RetentionRow.kept_until) < tx.now.date())
    rows = tx.session.exec(select(RetentionRow).where(*due, col(RetentionRow.destroyed_at).is_(None))).all()
    for table in (SealedRow, RetentionKeyRow):
        passed = (col(table.cycle_id) == cycle.cycle_id, col(table.kept_until) < tx.now.date())
        tx.session.connection().execute(delete(table).where(*passed))
    for row in rows:
        expired(tx, cycle, row)
    return len(rows)


def rewrap_held(tx: Tx, wrapping: WrappingKeys) -> list[str]:
    """Move the retention keys that a hold keeps beyond their month under the present month's wrapping key.

    A key that was altered is marked unreadable, so that it keeps no wrapping key alive; return the cycles of which one was.
    """
    _lock_epoch(tx, alone=True)
    now = month_of(tx.now.date())
    query = select(RetentionKeyRow).join(CycleRow, col(CycleRow.cycle_id) == col(RetentionKeyRow.cycle_id))
    query = query.where(col(RetentionKeyRow.wrapped_by).in_(_past(wrapping, now)), col(CycleRow.held).is_(True))
    unreadable = list[str]()
    for row in tx.session.exec(query):
        bound_to = _of_key(row.cycle_id, row.kept_until)
        try:
            secret = wrapping.unwrap(row.wrapped_by, row.wrapped, bound_to)
        except InvalidTag:
            row.wrapped_by = UNREADABLE
            unreadable.append(row.cycle_id)
            continue
        wrapping.make(now)
        row.wrapped_by, row.wrapped = now, wrapping.wrap(now, secret, bound_to)
    return unreadable


def destroy_months(tx: Tx, wrapping: WrappingKeys) -> list[str]:
    """Destroy the wrapping keys of past months under which nothing lies any more; return their names.

    In a transaction after the one that moved the last key away: were it the same one and did it fail, both wrappings would be lost.
    """
    _lock_epoch(tx, alone=True)
    in_use = set(tx.session.exec(select(RetentionKeyRow.wrapped_by).distinct()))
    gone = [name for name in _past(wrapping, month_of(tx.now.date())) if name not in in_use]
    for name in gone:
        wrapping.destroy(name)
    return gone


def open_sealed(tx: Tx, wrapping: WrappingKeys, cycle_id: str, expiries: Iterable[date]) -> Opened:
    """Return what is sealed of a locked cycle until these days.

    Raises:
        cryptography.exceptions.InvalidTag: something was altered.
    """
    _lock_epoch(tx, alone=False)
    wanted = [(cycle_id, day) for day in sorted(set(expiries))]
    keys, unreadable = dict[date, RetentionKey](), list[date]()
    for _, day in wanted:
        row = tx.session.get(RetentionKeyRow, (cycle_id, day))
        if row is None or not wrapping.exists(row.wrapped_by):
            unreadable.append(day)
        else:
            keys[day] = _unwrapped(wrapping, row)
    query = select(SealedRow).where(tuple_(col(SealedRow.cycle_id), col(SealedRow.kept_until)).in_(wanted))
    sealed = tx.session.exec(query.order_by(SealedRow.target_id, SealedRow.collection, SealedRow.mark))
    return Opened([(row, keys[row.kept_until].open(row)) for row in sealed if row.kept_until in keys], unreadable)


def _key(tx: Tx, wrapping: WrappingKeys, cycle_id: str, kept_until: date) -> RetentionKey:
    """Return a locked cycle's key of an expiry, made at first need; what expired in an earlier month lies under the present one."""
    row = tx.session.get(RetentionKeyRow, (cycle_id, kept_until), populate_existing=True)
    if row is not None:
        return _unwrapped(wrapping, row)
    name, secret = month_of(max(kept_until, tx.now.date())), secrets.token_bytes(_BYTES)
    wrapping.make(name)
    wrapped = wrapping.wrap(name, secret, _of_key(cycle_id, kept_until))
    tx.session.add(RetentionKeyRow(cycle_id=cycle_id, kept_until=kept_until, wrapped_by=name, wrapped=wrapped))
    tx.session.flush()
    return RetentionKey(secret)


def _unwrapped(wrapping: WrappingKeys, row: RetentionKeyRow) -> RetentionKey:
    try:
        return RetentionKey(wrapping.unwrap(row.wrapped_by, row.wrapped, _of_key(row.cycle_id, row.kept_until)))
    except InvalidTag:
        what = f"The retention key of cycle {row.cycle_id} until {row.kept_until} does not open under {row.wrapped_by}."
        raise SettingRefused(what, remedy="restore the keys' own backup of the same time as the database; was a row altered?") from None


def _lock_epoch(tx: Tx, *, alone: bool) -> None:
    """Keep wrapping and destroying apart: who wraps shares the row, who destroys has it alone. SQLite has one writer anyway."""
    query = select(EpochRow).where(EpochRow.kind == KIND).with_for_update(read=not alone)
    if tx.session.exec(query).first() is None:
        tx.session.add(EpochRow(kind=KIND, epoch=0, began_at=tx.now))
        tx.session.flush()


def _past(wrapping: WrappingKeys, now: str) -> list[str]:
    return [name for name in wrapping.names() if _MONTHLY.fullmatch(name) and name < now]


def _sealed_of(cycle_id: str, target_id: str, collection: str, kept_until: date) -> tuple[bool, bool, bool, bool]:
    return (
        SealedRow.cycle_id == cycle_id,
        SealedRow.target_id == target_id,
        SealedRow.collection == collection,
        SealedRow.kept_until == kept_until,
    )


def _bound_to(cycle_id: str, target_id: str, collection: str, kept_until: date) -> bytes:
    return f"{cycle_id}|{target_id}|{collection}|{kept_until.isoformat()}".encode()


def _of_key(cycle_id: str, kept_until: date) -> str:
    return f"retention|{cycle_id}|{kept_until.isoformat()}"
