"""``records.toml`` into record systems and the line register. Imports the domain and pydantic."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from fallow.domain.errors import MapRefused
from fallow.records.database import Database
from fallow.records.line_register import SqlLineRegister
from fallow.records.map_schema import RecordsFile, SystemTable
from fallow.records.mapped_table import tables_beside, tables_of
from fallow.records.sql import SqlRecordSystem
from fallow.records.survey import Survey

#: Stands for an address that is not known: a file that can't be, so that using it is an error that says so.
_NOT_GIVEN = "sqlite:////dev/null/no-address"


@dataclass(frozen=True)
class RecordsMap:
    """Every record system of this installation.

    Attributes:
        systems: by id.
        line_register: the carrier's word on whether a line is in service.
        line_register_id: id of the system that holds the line register.
        surveys: looks at the databases of systems that are databases, by id.
    """

    systems: dict[str, SqlRecordSystem]
    line_register: SqlLineRegister
    line_register_id: str
    surveys: Mapping[str, Survey] = field(default_factory=dict)

    @property
    def collections(self) -> dict[str, tuple[str, ...]]:
        """System id -> ids of its collections, as a policy wants them."""
        return {system_id: system.collections for system_id, system in self.systems.items()}

    @property
    def meanings(self) -> dict[str, dict[str, str]]:
        """System id -> collection id -> digest of what the map says of it."""
        return {system_id: system.meanings for system_id, system in self.systems.items()}

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        for system in self.systems.values():
            system.close()
        self.line_register.close()


def load_records_map(path: Path, *, urls: Mapping[str, str] | None = None) -> RecordsMap:
    """Read and check a records map; no database is opened yet.

    Args:
        path: the file.
        urls: addresses by system, to use instead of the map's own, which are not read then; other systems can't be reached.

    Raises:
        MapRefused: unreadable, an unknown or missing key, a value outside its list, or a URL that can't be used; names the
            file, the key and the remedy, never a value.
    """
    mapped = _checked(path)
    databases = {system.id: _database(path, system, urls) for system in mapped.system}
    register_id = mapped.line_register.system
    return RecordsMap(
        {system.id: SqlRecordSystem(system, databases[system.id]) for system in mapped.system},
        SqlLineRegister(mapped.line_register, databases[register_id]),
        register_id,
        {each.id: Survey(databases[each.id], tables_of(mapped, each), tables_beside(mapped, each)) for each in mapped.system},
    )


def _checked(path: Path) -> RecordsFile:
    try:
        return RecordsFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        _refuse(path, f"can't be read ({type(error).__name__})", "check the path and its permissions.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        _refuse(path, f"is not TOML: {error}", "mend the syntax at that place.")
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        unknown = fault["type"] == "extra_forbidden"
        remedy = "remove the key; it is not known." if unknown else "compare with examples/records.toml."
        _refuse(path, f"key {where}: {fault['msg']}", remedy)


def _database(path: Path, system: SystemTable, urls: Mapping[str, str] | None) -> Database:
    url = _url(path, system) if urls is None else urls.get(system.id, _NOT_GIVEN)
    return Database(system.id, url, mapped_in=path, timeout_for=system.timeout)


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
