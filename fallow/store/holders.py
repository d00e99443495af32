"""What is known of a former holder, under a key of its own per cycle that is destroyed once the last binding has settled.

The holder key is 256 random bits. The row holds it wrapped under the wrapping key of an epoch, and what is known (canonical JSON)
sealed under it with AES-256-GCM; both are bound to the cycle.
"""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import ColumnElement, delete
from sqlmodel import col, func, select

from fallow.domain.errors import SettingRefused
from fallow.domain.events import canonical
from fallow.store import epochs
from fallow.store.engine import Tx
from fallow.store.keeping_tables import HolderRow
from fallow.store.wrapping import WrappingKeys

#: The epoch of a row whose wrapped key was damaged: no wrapping key has this number, and none is kept for its sake.
UNREADABLE = 0
_KEY_BYTES = 32
_NONCE = 12
_PSEUDONYM = b"fallow.pseudonym.v1"
_PSEUDONYM_LETTERS = 26


@dataclass(frozen=True, slots=True)
class Holder:
    """What a wipe needs to know of a former holder.

    Attributes:
        subscription: the carrier's id of their subscription, or None where enrolment stated none.
        pseudonym: what stands for them in rewritten columns; derived from the holder key.
    """

    subscription: str | None = field(repr=False)
    pseudonym: str


def begin(tx: Tx, wrapping: WrappingKeys, cycle_id: str, subscription: str | None) -> None:
    """Give a new cycle its holder key, and seal under it what is known. A rotation waits for this transaction.

    Raises:
        SettingRefused: the present wrapping key is not in its folder.
    """
    epoch = epochs.share(tx, wrapping)
    key, nonce = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_NONCE)
    known_of = canonical({"subscription": subscription}).encode()
    sealed = nonce + AESGCM(key).encrypt(nonce, known_of, cycle_id.encode())
    wrapped = wrapping.wrap(epochs.name(epoch), key, cycle_id)
    tx.session.flush()  # the cycle's row first: one flush orders tables by the names of their classes, not by their foreign keys
    tx.session.add(HolderRow(cycle_id=cycle_id, epoch=epoch, wrapped=wrapped, sealed=sealed))


def known(tx: Tx, wrapping: WrappingKeys, cycle_ids: Iterable[str]) -> dict[str, Holder]:
    """Return what is known of the former holders of these cycles; one without a holder key that still opens is left out.

    Call it in a transaction that sees what others commit: another process may rotate between the row and its wrapping key.

    Raises:
        SettingRefused: the wrapping key of the present epoch is not in its folder, so that the folder is the wrong one or lost.
    """
    found = dict[str, Holder]()
    left = _rows(tx, cycle_ids)
    for _ in range(2):  # once more for rows that were rewrapped since they were read, their old wrapping key destroyed
        missed = list[str]()
        for row in left:
            try:
                found[row.cycle_id] = _open(wrapping, row)
            except InvalidTag:
                continue
            except SettingRefused:
                missed.append(row.cycle_id)
        if not missed:
            break
        left = _rows(tx, missed)
    else:
        _demand_past(tx, left)
    return found


def forget(tx: Tx, cycle_id: str) -> int | None:
    """Delete the holder key of a locked cycle; return the epoch it lay under, or None where the cycle has none."""
    gone = delete(HolderRow).where(col(HolderRow.cycle_id) == cycle_id).returning(col(HolderRow.epoch))
    return tx.session.execute(gone).scalar_one_or_none()


def exists(tx: Tx, cycle_id: str) -> bool:
    """Tell whether the cycle still has a holder key."""
    return tx.session.exec(select(HolderRow.epoch).where(HolderRow.cycle_id == cycle_id)).first() is not None


def rewrap(tx: Tx, wrapping: WrappingKeys, most: int) -> int:
    """Wrap up to ``most`` holder keys of past epochs under the present one; return how many rows were looked at.

    A key that was damaged is marked unreadable, so that it keeps no wrapping key alive; one whose wrapping key is gone is left.
    """
    epoch = epochs.share(tx, wrapping)
    query = select(HolderRow).where(_of_past(wrapping, epoch)).order_by(HolderRow.cycle_id).limit(most)
    rows = list(tx.session.exec(query.with_for_update().execution_options(populate_existing=True)))
    for row in rows:
        try:
            key = wrapping.unwrap(epochs.name(row.epoch), row.wrapped, row.cycle_id)
        except InvalidTag:
            row.epoch = UNREADABLE
        else:
            row.epoch, row.wrapped = epoch, wrapping.wrap(epochs.name(epoch), key, row.cycle_id)
        tx.session.add(row)
    return len(rows)


def behind(tx: Tx, wrapping: WrappingKeys) -> int:
    """Count the holder keys that :func:`rewrap` has still to look at."""
    row = epochs.present(tx)
    past = _of_past(wrapping, 0 if row is None else row.epoch)
    return tx.session.exec(select(func.count()).select_from(HolderRow).where(past)).one()


def unreadable(tx: Tx, wrapping: WrappingKeys) -> int:
    """Count the holder keys that nothing opens any more: damaged, or their wrapping key is not in its folder."""
    lost = col(HolderRow.epoch).not_in(epochs.existing(wrapping))
    return tx.session.exec(select(func.count()).select_from(HolderRow).where(lost)).one()


def _of_past(wrapping: WrappingKeys, epoch: int) -> ColumnElement[bool]:
    return col(HolderRow.epoch).in_([each for each in epochs.existing(wrapping) if each < epoch])


def _rows(tx: Tx, cycle_ids: Iterable[str]) -> list[HolderRow]:
    query = select(HolderRow).where(col(HolderRow.cycle_id).in_(list(cycle_ids)), col(HolderRow.epoch) != UNREADABLE)
    return list(tx.session.exec(query.execution_options(populate_existing=True)))


def _open(wrapping: WrappingKeys, row: HolderRow) -> Holder:
    key = wrapping.unwrap(epochs.name(row.epoch), row.wrapped, row.cycle_id)
    known_of = AESGCM(key).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], row.cycle_id.encode())
    return Holder(json.loads(known_of)["subscription"], _pseudonym(key))


def _pseudonym(key: bytes) -> str:
    derived = HKDF(hashes.SHA256(), 20, salt=None, info=_PSEUDONYM).derive(key)
    return base64.b32encode(derived).decode().lower()[:_PSEUDONYM_LETTERS]


def _demand_past(tx: Tx, rows: Iterable[HolderRow]) -> None:
    """Accept that keys of past epochs are gone for good; a missing key of the present one is a fault of the installation."""
    present = epochs.present(tx)
    if present is not None and any(row.epoch >= present.epoch for row in rows):
        what = f"The present wrapping key {epochs.name(present.epoch)} is missing: former holders can't be told from newer ones."
        raise SettingRefused(what, remedy="mount the keys' folder, or restore it; if it is gone for good, `fallow keys rotate --lost`.")
