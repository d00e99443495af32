"""``records.toml`` into record systems and the line register. Imports the domain and pydantic."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from fallow.domain.errors import MapRefused
from fallow.records.database import Database
from fallow.records.line_register import SqlLineRegister
from fallow.records.map_schema import RecordsFile, SystemTable
from fallow.records.sql import SqlRecordSystem


@dataclass(frozen=True)
class RecordsMap:
    """Every record system of this installation.

    Attributes:
        systems: by id.
        line_register: the carrier's word on whether a line is in service.
        line_register_id: id of the system that holds the line register.
    """

    systems: dict[str, SqlRecordSystem]
    line_register: SqlLineRegister
    line_register_id: str

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


def load_records_map(path: Path) -> RecordsMap:
    """Read and check a records map; no database is opened yet.

    Raises:
        MapRefused: unreadable, an unknown or missing key, a value outside its list, or a URL that can't be used; names the
            file, the key and the remedy, never a value.
    """
    mapped = _checked(path)
    databases = {system.id: _database(path, system) for system in mapped.system}
    register_id = mapped.line_register.system
    return RecordsMap(
        {system.id: SqlRecordSystem(system, databases[system.id]) for system in mapped.system},
        SqlLineRegister(mapped.line_register, databases[register_id]),
        register_id,
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


def _database(path: Path, system: SystemTable) -> Database:
    return Database(system.id, _url(path, system), mapped_in=path, timeout_for=system.timeout)


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
