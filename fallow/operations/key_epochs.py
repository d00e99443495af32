"""Rotation: a new wrapping key, every holder key rewrapped under it, then each past wrapping key destroyed that no row names.

Each step is a transaction of its own and works from what it finds, so a rotation that was cut off anywhere is finished by the
next one, and two at once do each other's work. What is destroyed last makes what was deleted before unreadable in every copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from fallow.store import epochs, holders
from fallow.store.engine import Database
from fallow.store.wrapping import WrappingKeys

#: Holder keys rewrapped in one transaction: bounded, so that enrolment never waits long.
PAGE = 500
#: Pages in one step of :func:`keep_young`, twice as many where it begins an epoch.
PAGES = 4

_log = structlog.get_logger()


@dataclass(frozen=True)
class Rotation:
    """What a rotation did.

    Attributes:
        epoch: the epoch that is present now.
        rewrapped: holder keys that were looked at and wrapped anew.
        destroyed: wrapping keys that are no more.
        unreadable: holder keys that nothing opens: damaged, or of a wrapping key that was lost.
        log_emptied: whether SQLite's write-ahead log is empty; always on PostgreSQL.
    """

    epoch: int
    rewrapped: int
    destroyed: tuple[str, ...]
    unreadable: int
    log_emptied: bool


@dataclass(frozen=True)
class EpochStanding:
    """How the present epoch stands.

    Attributes:
        epoch: its number.
        began_at: since when it is the present one.
        age: since then, by the database's clock.
        key_is_there: whether its wrapping key is in its folder.
        unreadable: as in :class:`Rotation`.
    """

    epoch: int
    began_at: datetime
    age: timedelta
    key_is_there: bool
    unreadable: int


def prepare(db: Database, wrapping: WrappingKeys) -> int:
    """Begin the first epoch where there is none; return the present one."""
    with db.begin() as tx:
        return epochs.share(tx, wrapping)


def rotate(db: Database, wrapping: WrappingKeys, *, lost: bool = False) -> Rotation:
    """Begin a new epoch and finish everything that follows from it.

    Args:
        db: the database.
        wrapping: its wrapping keys.
        lost: give up the present wrapping key, which is not in its folder, and whatever it wrapped.

    Raises:
        SettingRefused: the present wrapping key is not there, and is not given up; nothing was changed.
    """
    with db.begin() as tx:
        epochs.advance(tx, wrapping, epochs.lock(tx, wrapping), lost=lost)
    rewrapped = step = _rewrap(db, wrapping)
    while step == PAGE:
        step = _rewrap(db, wrapping)
        rewrapped += step
    destroyed = destroy_spent(db, wrapping)
    return _report(db, wrapping, rewrapped, destroyed)


def keep_young(db: Database, wrapping: WrappingKeys, epoch_for: timedelta) -> Sequence[str]:
    """Do the next bounded step of rotation: rewrap what lies under past epochs and destroy their keys, then begin one if it is time.

    It is time once the present epoch is older than ``epoch_for``; a clock that was set back counts as age. Call it again and
    again. While past epochs' keys are not all rewrapped no epoch is begun: the oldest would be rewrapped last, or never.

    Returns:
        The wrapping keys that were destroyed.

    Raises:
        SettingRefused: the present wrapping key is not in its folder.
    """
    with db.read() as tx:
        row = epochs.present(tx)
        is_old = row is not None and not timedelta(0) <= tx.now - row.began_at < epoch_for
        is_unfinished = row is not None and any(epoch < row.epoch for epoch in epochs.existing(wrapping))
    destroyed: Sequence[str] = ()
    if is_unfinished:
        finished = _finish(db, wrapping)
        if finished is None:
            if is_old:
                _warn(db, wrapping)
            return ()
        destroyed = finished
    if is_old:
        _begin_if_old(db, wrapping, epoch_for)
        destroyed = [*destroyed, *(_finish(db, wrapping) or ())]
    return tuple(destroyed)


def destroy_spent(db: Database, wrapping: WrappingKeys) -> tuple[str, ...]:
    """Destroy every wrapping key of a past epoch that no row names any more; return their names."""
    with db.read() as tx:
        spent = epochs.spent(tx, wrapping)
    for name in spent:
        wrapping.destroy(name)
    return tuple(spent)


def standing(db: Database, wrapping: WrappingKeys) -> EpochStanding | None:
    """Return how the present epoch stands; None before the first enrolment. Changes nothing."""
    with db.read() as tx:
        row = epochs.present(tx)
        if row is None:
            return None
        there = wrapping.exists(epochs.name(row.epoch))
        return EpochStanding(row.epoch, row.began_at, tx.now - row.began_at, there, holders.unreadable(tx, wrapping))


def _begin_if_old(db: Database, wrapping: WrappingKeys, epoch_for: timedelta) -> None:
    with db.begin() as tx:
        row = epochs.lock(tx, wrapping)
        if not timedelta(0) <= tx.now - row.began_at < epoch_for:  # another process may have begun it since
            epochs.advance(tx, wrapping, row)


def _finish(db: Database, wrapping: WrappingKeys) -> Sequence[str] | None:
    """Rewrap some pages; return the wrapping keys that were destroyed after the last one, or None where there is more to rewrap."""
    if all(_rewrap(db, wrapping) == PAGE for _ in range(PAGES)):
        return None
    destroyed = destroy_spent(db, wrapping)
    if destroyed:
        db.truncate_log()
    return destroyed


def _warn(db: Database, wrapping: WrappingKeys) -> None:
    with db.read() as tx:
        left = holders.behind(tx, wrapping)
    _log.warning("wrapping key is due for rotation, but holder keys of past epochs are not rewrapped yet", count=left)


def _rewrap(db: Database, wrapping: WrappingKeys) -> int:
    with db.begin() as tx:
        return holders.rewrap(tx, wrapping, PAGE)


def _report(db: Database, wrapping: WrappingKeys, rewrapped: int, destroyed: tuple[str, ...]) -> Rotation:
    emptied = db.truncate_log()
    found = standing(db, wrapping)
    epoch, unreadable = (0, 0) if found is None else (found.epoch, found.unreadable)
    return Rotation(epoch, rewrapped, destroyed, unreadable, emptied)
