"""The engine and the one commit: application code opens :meth:`Database.begin` and never commits by itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from fallow.domain.errors import SettingRefused
from fallow.domain.ports import Clock

SQLITE_BUSY_MS = 30_000
_TRUNCATE_MS = 2_000
_MOST_LOST_RACES = 5
#: PostgreSQL's codes of a transaction that it ended for another's sake: a deadlock, a serialization failure.
_LOST = frozenset({"40P01", "40001"})
#: Seconds for which a reading of the database's clock is moved on by this process's own.
_RECENT = 5.0

#: A worker that is paused inside a transaction must not keep its locks from the one that takes over (PostgreSQL ends it).
_PATIENCE = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=10000 -c lock_timeout=30000",
}

Result = TypeVar("Result")


class _Cursor(Protocol):
    def execute(self, sql: str) -> object: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Tx:
    """One transaction: its session and the instant it began, by the clock that decides."""

    session: Session
    now: datetime


class Database:
    """A SQLite or PostgreSQL database. One transaction per activity or request."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Open ``url`` (``sqlite:///…`` or ``postgresql+psycopg://…``); without ``clock`` the database's own decides."""
        self.engine = open_engine(url)
        self._clock = clock
        # SQLite has one writer: a fair queue inside the process beats its busy-wait between threads.
        self._writer = threading.Lock() if self.sqlite else None
        self._read: tuple[datetime, float] | None = None

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """Yield a read-write transaction; commit at the end, roll back on any exception."""
        if self._writer is None:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield Tx(session, self._now(session))
            return
        with self._writer, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield Tx(session, self._now(session))

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Yield a read-only transaction: a consistent snapshot that takes no write lock."""
        options = {"fallow_read": True} if self.sqlite else {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
            yield Tx(session, self._now(session))
            session.expunge_all()  # what was read stays readable after the snapshot has ended
            session.rollback()

    def recent(self) -> datetime | None:
        """Return what the deciding clock shows, as this process read it last and moved on since; None where that is too long ago.

        For windows of minutes: it saves a transaction, and is wrong by milliseconds.
        """
        if self._clock is not None or self.sqlite:
            return datetime.now(UTC) if self._clock is None else self._clock.now()
        if self._read is None or time.monotonic() - self._read[1] > _RECENT:
            return None
        return self._read[0] + timedelta(seconds=time.monotonic() - self._read[1])

    def once_more(self, work: Callable[[Tx], Result]) -> Result:
        """Run ``work`` in a transaction of its own; once more each time it lost a race to a simultaneous one.

        PostgreSQL lets two transactions look for a row, miss it and insert it; the loser then finds the winner's. Of several
        that insert several rows, one may lose more than once. Of two that wait for each other it ends one.
        """
        for _ in range(_MOST_LOST_RACES):
            try:
                with self.begin() as tx:
                    return work(tx)
            except (IntegrityError, OperationalError) as error:
                if isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) not in _LOST:
                    raise
        with self.begin() as tx:
            return work(tx)

    def truncate_log(self) -> bool:
        """Empty SQLite's write-ahead log, which holds former contents of pages; tell whether it is empty now.

        Somebody who reads at that moment prevents it; it waits for them only shortly, since it keeps writers waiting. PostgreSQL
        has no such log for us: True.
        """
        if self._writer is None:
            return True
        connection = self.engine.raw_connection()
        with self._writer:
            try:
                cursor: Any = connection.cursor()
                cursor.execute(f"PRAGMA busy_timeout={_TRUNCATE_MS}")
                busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
                cursor.close()
            finally:
                connection.close()
        return not busy

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _now(self, session: Session) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        if self.sqlite:
            return datetime.now(UTC)  # an embedded database has no clock but its host's
        now: datetime = session.connection().execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
        self._read = now, time.monotonic()
        return now


def is_away(error: BaseException) -> bool:
    """Tell whether the database as a whole did not answer, so that nothing else would have fared better."""
    if isinstance(error, OperationalError):
        # A deadlock or a lock that was waited for too long has a code, and is one statement's own trouble.
        code = getattr(error.orig, "sqlstate", None)
        return code is None or code.startswith(("08", "53", "57"))
    return isinstance(error, InterfaceError | PoolExhausted)


def open_engine(url: str) -> Engine:
    """Return an engine with the settings that durable use of each database needs.

    Raises:
        SettingRefused: the URL is of neither kind, or can't be read; it is not repeated, since it may hold a password.
    """
    if not url.startswith(("sqlite:", "postgresql+psycopg:")):
        raise _url_refused()
    try:
        return _engine(url)
    except (ArgumentError, ModuleNotFoundError):
        raise _url_refused() from None


def _engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(url, pool_size=8, max_overflow=4, pool_pre_ping=True, connect_args=_PATIENCE)


def _url_refused() -> SettingRefused:
    what = "The database's URL can't be used."
    return SettingRefused(what, remedy="write sqlite:///FILE or postgresql+psycopg://USER@HOST:PORT/NAME into FALLOW_DATABASE_URL.")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin by itself; see _begin_sqlite
    cursor: _Cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", f"busy_timeout={SQLITE_BUSY_MS}", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a read that turns into a write fails at once under a second writer, whatever busy_timeout says.
    deferred = connection.get_execution_options().get("fallow_read", False)
    connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")
