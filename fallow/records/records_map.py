"""``records.toml`` into record systems and the line register. Imports the domain and pydantic."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from fallow.domain.errors import MapRefused
from fallow.domain.ports import RecordSystem
from fallow.records.kinds import ID, Connect, OpenContext, demand_kind, no_way_out, open_system
from fallow.records.line_register import SqlLineRegister
from fallow.records.map_schema import RecordsFile
from fallow.records.mapped_table import tables_beside, tables_of
from fallow.records.sql import SqlRecordSystem
from fallow.records.survey import Survey

_SQL = "sql"


@dataclass(frozen=True)
class RecordsMap:
    """Every record system of this installation.

    Attributes:
        systems: by id.
        line_register: the carrier's word on whether a line is in service.
        line_register_id: id of the system that holds the line register.
        surveys: looks at the databases of systems that are databases, by id.
    """

    systems: dict[str, RecordSystem]
    line_register: SqlLineRegister
    line_register_id: str
    surveys: Mapping[str, Survey] = field(default_factory=dict)

    @property
    def collections(self) -> dict[str, tuple[str, ...]]:
        """System id -> ids of its collections, as a policy wants them."""
        return {system_id: system.collections for system_id, system in self.systems.items()}

    @property
    def meanings(self) -> dict[str, dict[str, str]]:
        """System id -> collection id -> digest of what the map says of it; nothing of a system that has no ``meanings``."""
        return {system_id: dict(getattr(system, "meanings", {})) for system_id, system in self.systems.items()}

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        for system in self.systems.values():
            system.close()
        self.line_register.close()


def load_records_map(path: Path, connect: Connect = no_way_out, *, urls: Mapping[str, str] | None = None) -> RecordsMap:
    """Read and check a records map; no system is connected yet.

    Args:
        path: the file.
        connect: makes the way to systems that are reached over HTTP; without it they can be read about, not asked.
        urls: addresses by system, to use instead of the map's own, which are not read then; other systems can't be reached.

    Raises:
        MapRefused: unreadable, an unknown or missing key, a value outside its list, a kind that nobody brings, systems that wait for
            each other, or a URL that can't be used; names the file, the key and the remedy, never a value.
    """
    document = _document(path)
    entries = _entries(path, document)
    for kind, entry in entries:
        demand_kind(f"{path}: record system {entry['id']}", kind)
    mapped = _checked(path, document, entries)
    context = OpenContext(path, connect, urls)
    systems = {str(entry["id"]): open_system(kind, entry, context) for kind, entry in entries}
    demand_order(path, {system_id: system.after for system_id, system in systems.items()})
    demand_collections(path, mapped, systems)
    databases = {system_id: system.database for system_id, system in systems.items() if isinstance(system, SqlRecordSystem)}
    surveys = {each.id: Survey(databases[each.id], tables_of(mapped, each), tables_beside(mapped, each)) for each in mapped.system}
    register = mapped.line_register
    return RecordsMap(systems, SqlLineRegister(register, databases[register.system]), register.system, surveys)


def demand_collections(path: Path, mapped: RecordsFile, systems: Mapping[str, RecordSystem]) -> None:
    """Refuse an ``erase_after`` that names a collection which its system does not have: nothing would wait for it.

    Raises:
        MapRefused: naming it.
    """
    for system in mapped.system:
        for edge in (edge for collection in system.collection for edge in collection.erase_after if "." in edge):
            home, _, collection_id = edge.partition(".")
            if collection_id not in systems[home].collections:
                _refuse(path, f"system {system.id}: erase_after names {edge}, which is not there", "correct erase_after.")


def demand_order(path: Path, after: Mapping[str, frozenset[str]]) -> None:
    """Refuse systems that wait for each other, or for one that is not there: the numbers would wait for ever.

    Args:
        path: the records map, for messages.
        after: system id -> ids of the systems that must be cleared before it.

    Raises:
        MapRefused: naming the systems, for a circle in the order in which each waits for the one before.
    """
    for system_id, earlier in after.items():
        if unknown := sorted(earlier - after.keys()):
            _refuse(
                path,
                f"system {system_id} comes after {', '.join(unknown)}, which is not a [[system]]",
                "correct after; a database's is what its erase_after names.",
            )
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
    else:
        return
    _refuse(path, f"these systems wait for each other: {circle}", "take one of them out of the other's after.")


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        _refuse(path, f"can't be read ({type(error).__name__})", "check the path and its permissions.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        _refuse(path, f"is not TOML: {error}", "mend the syntax at that place.")


def _entries(path: Path, document: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return kind and keys of each ``[[system]]``; what is no list of tables is left to the schema."""
    listed = document.get("system")
    tables = listed if isinstance(listed, list) and all(isinstance(each, dict) for each in listed) else []
    for place, table in enumerate(tables):
        if not isinstance(table.get("kind", _SQL), str):
            _refuse(path, f"key system.{place}.kind is no text", "write the name of a kind, such as sql or http.")
        if not isinstance(table.get("id"), str) or not ID.match(table["id"]):
            _refuse(path, f"key system.{place}.id is missing or not of a-z 0-9 -", "write 1 to 40 of a-z 0-9 -, beginning with a letter.")
    counted = Counter(str(table["id"]) for table in tables)
    if twice := [each for each, times in counted.items() if times > 1]:
        _refuse(path, f"two systems have the same id: {', '.join(twice)}", "give each system an id of its own.")
    return [(table.get("kind", _SQL), {key: value for key, value in table.items() if key != "kind"}) for table in tables]


def _checked(path: Path, document: Mapping[str, Any], entries: list[tuple[str, dict[str, Any]]]) -> RecordsFile:
    """Check the line register and the systems that are SQL databases: it is one of theirs."""
    places = [place for place, (kind, _) in enumerate(entries) if kind == _SQL]
    ours = {**document, "system": [entries[place][1] for place in places]} if entries else document
    try:
        return RecordsFile.model_validate(ours)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        unknown = fault["type"] == "extra_forbidden"
        what = f"{_place(document, _located(fault['loc'], places))}: {fault['msg'].removeprefix('Value error, ')}"
        remedy = "remove the key, which is not known, or correct its name" if unknown else "correct it"
        _refuse(path, what, f"{remedy}; docs/records-map.md has every key.")


def _place(document: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """Return a place as a person finds it: ``system main, collection optin: key number.0.spelling``; by position where there is no id."""
    there: Any = document
    named, rest = list[str](), list(loc)
    while len(rest) > 1 and rest[0] in ("system", "collection") and isinstance(rest[1], int):
        listed = there.get(rest[0]) if isinstance(there, dict) else None
        there = listed[rest[1]] if isinstance(listed, list) and rest[1] < len(listed) else None
        given = there.get("id") if isinstance(there, dict) else None
        name = given if isinstance(given, str) and ID.match(given) else f"no. {rest[1] + 1}"
        named, rest = [*named, f"{rest[0]} {name}"], rest[2:]
    key = "key " + ".".join(map(str, rest)) if rest else ""
    return ": ".join(filter(None, (", ".join(named), key))) or "the whole file"


def _located(loc: tuple[int | str, ...], places: list[int]) -> tuple[int | str, ...]:
    """Return where a fault is in the file, which holds other systems between the SQL ones."""
    if len(loc) > 1 and loc[0] == "system" and isinstance(loc[1], int) and loc[1] < len(places):
        return ("system", places[loc[1]], *loc[2:])
    return loc


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise MapRefused(f"{path}: {what}.", remedy=remedy)
