"""One carrier's database: connections with time limits, reflection, and faults that name no value.

Imports the domain and SQLAlchemy.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Column, Connection, Dialect, MetaData, String, Table, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError

from fallow.domain.errors import FallowError, MapRefused, TargetUnavailable, WipeRefused
from fallow.domain.events import canonical
from fallow.records.engines import is_refused_by_mariadb, reading_engine, writing_engine

Result = TypeVar("Result")


class Database:
    """The carrier's database behind one record system; opened at the first use."""

    def __init__(self, system_id: str, url: str, *, mapped_in: Path, timeout_for: timedelta) -> None:
        """Take the address; nothing is connected yet.

        Args:
            system_id: whose database, for messages.
            url: SQLAlchemy URL; a relative SQLite path is relative to the folder of the map.
            mapped_in: the records map, for messages.
            timeout_for: how long to wait for a connection, a lock or a statement.

        Raises:
            MapRefused: the URL can't be understood or its driver is not installed.
        """
        self.system_id = system_id
        self._mapped_in = mapped_in
        fault: FallowError
        try:
            address, self._file = _anchored(make_url(url), mapped_in.parent)
            # Two engines: what the deleting side believes must not be what the read-back sees.
            self._writing = writing_engine(address, timeout_for)
            self._reading = reading_engine(address, timeout_for)
        except (ArgumentError, NoSuchModuleError, ImportError):
            fault = MapRefused(
                f"{mapped_in}: the url of record system {system_id} can't be used.",
                remedy="write an SQLAlchemy URL with an installed driver: sqlite:///…, postgresql+psycopg://… or mariadb+pymysql://…",
            )
        else:
            return
        raise fault

    def demand_file(self) -> None:
        """Refuse an SQLite address whose file is not there: a misspelt path is no database that is down.

        Raises:
            MapRefused: naming the file.
        """
        if self._file is not None and _is_absent(self._file):
            what = f"{self.place}: there is no such file {self._file}."
            raise MapRefused(what, remedy="correct the address; a relative path is a file beside the map.")

    @property
    def dialect(self) -> str:
        """Name of the database's kind: ``sqlite``, ``postgresql``, ``mariadb`` (``mysql`` where the URL says so) or another."""
        return self._writing.dialect.name

    @property
    def language(self) -> Dialect:
        """How SQLAlchemy writes statements for it."""
        return self._writing.dialect

    @property
    def place(self) -> str:
        """Where a fault of the map is to be looked for: the file and the system."""
        return f"{self._mapped_in}: record system {self.system_id}"

    @cached_property
    def place_digest(self) -> str:
        """First 16 hex digits of the SHA-256 of kind, host, port and name of the database; no account and no password."""
        url = self._writing.url
        return hashlib.sha256(canonical({"place": [url.get_backend_name(), url.host, url.port, url.database]}).encode()).hexdigest()[:16]

    def is_view(self, name: str, schema: str | None) -> bool:
        """Tell whether a relation is a view."""
        inspector = inspect(self._reading)
        return name in inspector.get_view_names(schema=schema)

    def is_same(self, one: Table, other: Table) -> bool:
        """Tell whether two reflected tables are one, the default schema being named or not."""
        default = inspect(self._reading).default_schema_name
        return (one.schema or default, one.name) == (other.schema or default, other.name)

    @contextmanager
    def writing(self, *, steady: bool = False) -> Iterator[Connection]:
        """Give one transaction; committed at the end.

        Args:
            steady: every statement of it sees the same rows, so that what is copied is exactly what is then deleted; a simultaneous
                change of one of them ends it, and it is tried again. SQLite, which has one writer, locks before it looks.
        """
        engine = self._writing
        if steady and self.dialect != "sqlite":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.begin() as connection:
            yield connection

    def prefer_index(self, connection: Connection, *, indexed: bool) -> None:
        """Have PostgreSQL find rows by the number's index until the transaction ends, where there is one.

        It takes a set of orders for a hundred rows, whatever there are, and a table for worth reading. Measured: 16 ms instead of 3 for
        200 numbers in 120,000 rows. Without such an index the rule would make it find rows by any other one, which is far worse.
        """
        if self.dialect == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL enable_seqscan = {'off' if indexed else 'on'}")

    def collation(self, column: Column[Any]) -> tuple[str, str] | None:
        """Return (character set, collation) of a text column where this database refuses to compare it with another's; else None."""
        if self.dialect not in ("mysql", "mariadb") or not isinstance(column.type, String):
            return None
        where = "table_schema = COALESCE(:schema, DATABASE()) AND table_name = :table AND column_name = :column"
        query = text(f"SELECT character_set_name, collation_name FROM information_schema.columns WHERE {where}")
        named = {"schema": column.table.schema, "table": column.table.name, "column": column.name}
        with self.reading() as connection:
            found = connection.execute(query, named).one()
        return str(found[0]), str(found[1])

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that has never written."""
        with self._reading.connect() as connection:
            yield connection

    def table(self, name: str, schema: str | None, columns: Iterable[str]) -> Table:
        """Reflect a table and check that it has these columns.

        Raises:
            MapRefused: no such table or column.
        """
        where = f"{self.place}, table {name}"
        try:
            found: Table | None = Table(name, MetaData(), schema=schema, autoload_with=self._reading, resolve_fks=False)
        except NoSuchTableError:
            found = None
        if found is None:
            raise MapRefused(f"{where}: there is no such table.", remedy="correct the table in the records map.")
        for column in columns:
            if column not in found.c:
                raise MapRefused(f"{where}: there is no column {column}.", remedy="correct the column in the records map.")
        return found

    def guarded(self, work: Callable[[], Result], *, changing: bool = False) -> Result:
        """Do ``work``; turn the database's errors, which quote statements and values, into ours, which don't.

        Args:
            work: what to do.
            changing: whether it changes rows, so that the database may refuse the change itself.

        Raises:
            TargetUnavailable: the database could not do it now.
            WipeRefused: a constraint, trigger or value stands against the change, and will at each repeat.
        """
        try:
            return work()
        except SQLAlchemyError as error:
            name = type(error).__name__
            refused = changing and _is_refusal(error)
        except (ValueError, TypeError, ArithmeticError) as error:  # a driver, or we, can't read a value: its message may quote it
            name, refused = type(error).__name__, changing
        # Raised out here, so that not even the context of the exception carries the statement.
        if refused:
            what = f"Record system {self.system_id} refused the change itself ({name})."
            remedy = "look there for a constraint or trigger on the mapped tables; children come before parents in the records map."
            raise WipeRefused(what, remedy=remedy)
        what = f"Record system {self.system_id} could not do its part ({name})."
        remedy = "check that it runs, is not locked, and that the account of its url may read and change the mapped tables."
        raise TargetUnavailable(what, remedy=remedy)

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        self._writing.dispose()
        self._reading.dispose()


def _is_refusal(error: SQLAlchemyError) -> bool:
    if isinstance(error, (IntegrityError, DataError)):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else None
    # PostgreSQL's drivers report what a trigger raises (class P0), or a view's check (44), as an error of programming.
    return str(getattr(cause, "sqlstate", None))[:2] in {"P0", "44"} or is_refused_by_mariadb(cause)


def _is_absent(file: Path) -> bool:
    try:
        return not file.exists()
    except OSError:  # a folder that this account may not look into: whether it is there only its owner knows
        return False


def _anchored(url: URL, folder: Path) -> tuple[URL, Path | None]:
    """Return the address to use, and the file that it is of, if it is one."""
    if url.get_backend_name() != "sqlite":
        return url, None
    if not url.database or url.database == ":memory:":
        what = "a database in memory holds nobody's records"
        raise ArgumentError(what)
    path = (folder / url.database).resolve()
    # mode=rw: a misspelt path must not become a new, empty and therefore clean database.
    return url.set(database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}), path
