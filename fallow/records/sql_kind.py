"""The kind ``sql``: a database that SQLAlchemy reaches. Imports the domain and pydantic."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from fallow.domain.errors import MapRefused
from fallow.records.database import Database
from fallow.records.kinds import OpenContext
from fallow.records.map_schema import SystemTable
from fallow.records.sql import SqlRecordSystem


def open_sql(entry: Mapping[str, object], context: OpenContext) -> SqlRecordSystem:
    """Open a ``[[system]]`` of the kind ``sql``; the database is connected at its first use.

    Raises:
        MapRefused: its URL, or the file that holds it, can't be used.
    """
    system = SystemTable.model_validate(entry)
    return SqlRecordSystem(system, database_of(system, context.map_path))


def database_of(system: SystemTable, map_path: Path) -> Database:
    """Return the database of an entry; nothing is connected yet.

    Raises:
        MapRefused: its URL, or the file that holds it, can't be used.
    """
    return Database(system.id, _url(map_path, system), mapped_in=map_path, timeout_for=system.timeout)


def _url(path: Path, system: SystemTable) -> str:
    if system.url_file is None:
        return str(system.url)
    file = path.parent / system.url_file
    try:
        if file.stat().st_mode & 0o077:
            _refuse(path, f"system {system.id}: its url_file can be read by others", f"chmod 600 {file}")
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = f"system {system.id}: its url_file can't be read ({type(error).__name__})"
        _refuse(path, what, "check the path and its permissions.")


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise MapRefused(f"{path}: {what}.", remedy=remedy)
