"""Connections to a carrier's database, on each kind: what no wait exceeds, which clock and which rules a session has.

Imports SQLAlchemy, and its neighbour for PostgreSQL where that is used.
"""

from datetime import timedelta
from sqlite3 import Connection as SqliteConnection

from sqlalchemy import URL, Connection, Engine, create_engine, event

#: Seconds after which the server ends a transaction whose client it no longer hears, and gives its locks back: as long as a claim.
_IDLE = 60
_MARIADB = frozenset({"mariadb", "mysql"})
#: Error numbers with which MariaDB refuses the change itself, beside those that its driver calls errors of integrity or data:
#: a view's rows (1288, 1369), an unreadable value (1292), a trigger that changes its own table (1442) or raises a
#: SIGNAL (1644), a CHECK (4025, on MySQL 3819).
_REFUSED = frozenset({1288, 1292, 1369, 1442, 1644, 3819, 4025})
#: No error of the server has so many digits: a trigger that raises one chose its number itself.
_NUMBERED_BY_A_TRIGGER = 10_000


def reading_engine(url: URL, timeout_for: timedelta) -> Engine:
    """Return an engine for statements that change nothing.

    Args:
        url: the database, with a driver.
        timeout_for: what a connection, a lock or a statement waits at most.

    Raises:
        NoSuchModuleError: SQLAlchemy knows no such kind of database or driver.
        ImportError: its driver is not installed.
    """
    backend, seconds = url.get_backend_name(), timeout_for.total_seconds()
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=backend != "sqlite",
        pool_size=2,
        max_overflow=2,
        pool_timeout=seconds,
        connect_args=_limits(backend, seconds),
        # Each statement sees what is committed, and a deletion locks no row but its own, whatever the server's rule.
        **({"isolation_level": "READ COMMITTED"} if backend == "postgresql" or backend in _MARIADB else {}),
    )
    if backend == "postgresql" and engine.dialect.driver == "psycopg":
        from fallow.records.bounded_psycopg import connect_bounded  # noqa: PLC0415 - only where that driver is used

        connect_bounded(engine, timeout_for)
    return engine


def writing_engine(url: URL, timeout_for: timedelta) -> Engine:
    """Return an engine for transactions that change rows; arguments and errors are those of :func:`reading_engine`."""
    engine = reading_engine(url, timeout_for)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_to_write)
        event.listen(engine, "begin", _begin_to_write)
    return engine


def is_refused_by_mariadb(error: BaseException | None) -> bool:
    """Tell whether an error of MariaDB's driver says that the change itself is refused, now and at each repeat."""
    if not type(error).__module__.startswith("pymysql"):
        return False
    number = error.args[0] if error is not None and error.args else None
    return isinstance(number, int) and (number in _REFUSED or number >= _NUMBERED_BY_A_TRIGGER)


def _limits(backend: str, seconds: float) -> dict[str, object]:
    if backend == "sqlite":
        return {"timeout": seconds}
    if backend == "postgresql":
        limit = max(1, int(seconds * 1000))
        settings = {
            "row_security": "off",  # rows that a policy hides from this account are an error, not a clean table
            "timezone": "UTC",  # a timestamp without offset is read as UTC everywhere, whatever the server's own zone
            "statement_timeout": limit,
            "lock_timeout": limit,
            "idle_in_transaction_session_timeout": _IDLE * 1000,
            "jit": "off",  # no statement here gets quicker by being compiled
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {"connect_timeout": max(2, int(seconds)), "options": options}
    return _mariadb_limits(seconds) if backend in _MARIADB else {}


def _mariadb_limits(seconds: float) -> dict[str, object]:
    whole = max(1, int(seconds))
    settings = (
        "time_zone = '+00:00'",
        # Strict: a value that does not fit is an error, not cut off. Nothing that would change what a quote or a backslash means.
        "sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
        f"innodb_lock_wait_timeout = {whole}",
        f"lock_wait_timeout = {whole}",  # for a table that is being altered
    )
    # MySQL passes over what stands between /*M! and */.
    init = f"SET {', '.join(settings)} /*M! , max_statement_time = {seconds:.3f}, idle_transaction_timeout = {_IDLE} */"
    # The server's own limits come first: its answer says more than silence.
    silence = whole + 2
    return {"connect_timeout": whole + 1, "read_timeout": silence, "write_timeout": silence, "charset": "utf8mb4", "init_command": init}


def _prepare_to_write(connection: SqliteConnection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin by itself; see _begin_to_write
    # As every other kind of database does by itself: a row that another needs does not go. And what is deleted is overwritten.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _begin_to_write(connection: Connection) -> None:
    # A transaction that read first could not become a writing one while another writes, however long it waited.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
