"""The kind ``sql``: a database that SQLAlchemy reaches. Imports the domain and pydantic."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from fallow.domain.errors import MapRefused
from fallow.records.database import Database
from fallow.records.kinds import OpenContext
from fallow.records.map_schema import SystemTable
from fallow.records.sql import SqlRecordSystem

#: Stands for an address that is not known: a file that can't be, so that using it is an error that says so.
_NOT_GIVEN = "sqlite:////dev/null/no-address"


def open_sql(entry: Mapping[str, object], context: OpenContext) -> SqlRecordSystem:
    """Open a ``[[system]]`` of the kind ``sql``; the database is connected at its first use.

    Raises:
        MapRefused: its URL, or the file that holds it, can't be used.
    """
    system = SystemTable.model_validate(entry)
    return SqlRecordSystem(system, database_of(system, context.map_path, context.urls))


def database_of(system: SystemTable, map_path: Path, urls: Mapping[str, str] | None = None) -> Database:
    """Return the database of an entry, at the address of ``urls`` where those are given; nothing is connected yet.

    Raises:
        MapRefused: its URL, or the file that holds it, can't be used.
    """
    url = _url(map_path, system) if urls is None else urls.get(system.id, _NOT_GIVEN)
    return Database(system.id, url, mapped_in=map_path, timeout_for=system.timeout)


def _url(path: Path, system: SystemTable) -> str:
    if system.url_file is None:
        return str(system.url)
    return read_url_file(path.parent / system.url_file, path, f"system {system.id}: its url_file")


def read_url_file(file: Path, path: Path, called: str) -> str:
    """Return the address in a file that nobody but its owner can read; faults call it ``called``, of the map at ``path``.

    Raises:
        MapRefused: it can be read by others, or not at all.
    """
    try:
        if file.stat().st_mode & 0o077:
            _refuse(path, f"{called} can be read by others", f"chmod 600 {file}")
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, f"{called} can't be read ({type(error).__name__})", "check the path and its permissions.")


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise MapRefused(f"{path}: {what}.", remedy=remedy)
