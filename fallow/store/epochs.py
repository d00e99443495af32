"""Epochs of the wrapping key under which holder keys lie: who wraps keeps a rotation waiting, and a rotation keeps them."""

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from fallow.domain.errors import SettingRefused
from fallow.store.engine import Tx
from fallow.store.keeping_tables import EpochRow, HolderRow
from fallow.store.wrapping import WrappingKeys

_KIND = "holder"


def name(epoch: int) -> str:
    """Return the name of an epoch's wrapping key."""
    return f"{_KIND}-{epoch}"


def existing(wrapping: WrappingKeys) -> list[int]:
    """Return the epochs whose wrapping keys exist, oldest first."""
    return sorted(int(each.removeprefix(f"{_KIND}-")) for each in wrapping.names() if each.startswith(f"{_KIND}-"))


def present(tx: Tx) -> EpochRow | None:
    """Return the present epoch without locking it; None before the first enrolment."""
    return tx.session.exec(_row()).first()


def share(tx: Tx, wrapping: WrappingKeys) -> int:
    """Return the epoch to wrap under; it stays the present one until the transaction ends. The first one is made here."""
    if _KIND in tx.session.info:  # locked by this transaction before: a page of enrolments asks for each of its rows
        return int(tx.session.info[_KIND])
    query = _row().with_for_update(read=True)
    row = tx.session.exec(query).first()
    if row is None:
        _begin_first(tx, wrapping)
        row = tx.session.exec(query).one()
    tx.session.info[_KIND] = row.epoch
    return row.epoch


def lock(tx: Tx, wrapping: WrappingKeys) -> EpochRow:
    """Return the present epoch, locked: nobody wraps until the transaction ends."""
    query = _row().with_for_update()
    row = tx.session.exec(query).first()
    if row is None:
        _begin_first(tx, wrapping)
        row = tx.session.exec(query).one()
    return row


def advance(tx: Tx, wrapping: WrappingKeys, row: EpochRow, *, lost: bool = False) -> None:
    """Begin the next epoch, with a new wrapping key, on the locked ``row``. Its number is above that of every key there is.

    Args:
        tx: the transaction that locked ``row``.
        wrapping: where the new key is made.
        row: the present epoch.
        lost: begin it although the present wrapping key is gone, and with it whatever lies under it.

    Raises:
        SettingRefused: the present wrapping key is not there and is not given up for lost.
    """
    if not lost and not wrapping.exists(name(row.epoch)):
        what = f"The present wrapping key {name(row.epoch)} is missing: nothing that it wrapped can be rewrapped."
        raise SettingRefused(what, remedy="mount the keys' folder, or restore it; if it is gone for good, `fallow keys rotate --lost`.")
    epoch = max([row.epoch, *existing(wrapping)]) + 1
    wrapping.make(name(epoch))
    row.epoch, row.began_at = epoch, tx.now
    tx.session.add(row)


def spent(tx: Tx, wrapping: WrappingKeys) -> list[str]:
    """Return the wrapping keys of past epochs that no row names any more, those that a crash left over among them.

    None of them can be named again: who wraps holds the epoch's row, so all that was wrapped in a past epoch is committed.
    """
    row = present(tx)
    if row is None:
        return []
    needed = set(tx.session.exec(select(HolderRow.epoch).distinct()))
    return [name(epoch) for epoch in existing(wrapping) if epoch < row.epoch and epoch not in needed]


def _row() -> SelectOfScalar[EpochRow]:
    return select(EpochRow).where(col(EpochRow.kind) == _KIND).execution_options(populate_existing=True)


def _begin_first(tx: Tx, wrapping: WrappingKeys) -> None:
    epoch = max(existing(wrapping), default=0) + 1
    wrapping.make(name(epoch))
    insert = sqlite.insert if tx.session.get_bind().dialect.name == "sqlite" else postgresql.insert
    first = insert(EpochRow).values(kind=_KIND, epoch=epoch, began_at=tx.now).on_conflict_do_nothing()
    tx.session.execute(first)  # of two processes that begin at once, the later waits here, and reads the earlier's row
