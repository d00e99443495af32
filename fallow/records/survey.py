"""A look at a whole database that a records map describes: what the map leaves out, and what stands against a wipe.

Changes nothing, reads a bounded sample of each column, and never says a value. Imports the domain and SQLAlchemy.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Inspector, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import SQLAlchemyError

from fallow.records.column_sample import can_be_named, can_be_sampled, sample
from fallow.records.database import Database
from fallow.records.doubts import Doubt
from fallow.records.mapped_table import MappedTable
from fallow.records.number_names import names_numbers
from fallow.records.number_values import can_be_no_numbers, country_of, hold_numbers
from fallow.records.reflecting import is_lost, not_seen, of_tables
from fallow.records.spelling import known_regions
from fallow.records.wipe_obstacles import foreign_keys_in_the_way, missing_indexes

#: A look takes no longer than this, in seconds; what is left is named as not looked at.
_LONGEST = 60.0
#: Countries whose numbers are recognised without their code; more would recognise everything.
_COUNTRIES = 10
#: A partition's rows are those of its table, and go with them.
_PARTITIONS = text(
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relispartition AND n.nspname = :schema"
)


@dataclass(frozen=True)
class _Relation:
    """A table or view to be looked at."""

    schema: str | None
    name: str
    columns: Sequence[ReflectedColumn]
    is_view: bool

    @property
    def called(self) -> str:
        """Return it as messages call it."""
        return f"{'view' if self.is_view else 'table'} {self.name if self.schema is None else f'{self.schema}.{self.name}'}"


class Survey:
    """The look at one record system's database.

    Attributes:
        by_subscription: ids of its collections that are searched by a subscription, too.
    """

    def __init__(self, database: Database, tables: Sequence[MappedTable], beside: Sequence[MappedTable] = ()) -> None:
        """Take what the map says of ``tables``, in the order in which they are cleared, and of others' tables in the same database."""
        self.by_subscription = frozenset(each.place.removeprefix("collection ") for each in tables if each.subscription is not None)
        self._database = database
        self._tables = tables
        self._beside = beside

    def doubts(self) -> list[Doubt]:
        """Look at every table and view of the schemas that the map touches, changing nothing.

        Raises:
            TargetUnavailable: the database can't be reached, or does not tell what is in it.
        """
        return self._database.guarded(self._doubts)

    def _doubts(self) -> list[Doubt]:
        with self._database.reading() as connection:
            # So that one table that this account may not read is no end of the look at the others.
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            return list(survey(alone, self._tables, self._beside))


def survey(connection: Connection, tables: Sequence[MappedTable], beside: Sequence[MappedTable] = ()) -> Iterator[Doubt]:
    """Yield what speaks against the map; see :class:`Survey`."""
    inspector = inspect(connection)
    default = inspector.default_schema_name
    mapped = [_Placed(each, None if each.schema == default else each.schema) for each in (*tables, *beside)]
    own = mapped[: len(tables)]
    schemas = sorted({each.schema for each in own}, key=str)
    yield from foreign_keys_in_the_way(connection, schemas, [(each.schema, each.mapped) for each in own], _partitions(connection, schemas))
    yield from _unmapped(connection, inspector, schemas, mapped)
    yield from (replace(each, slows=True) for each in missing_indexes(connection, [(each.schema, each.mapped) for each in own]))


@dataclass(frozen=True)
class _Placed:
    """A mapped table in the schema that the database gives it; None for the default one."""

    mapped: MappedTable
    schema: str | None


def _unmapped(connection: Connection, inspector: Inspector, schemas: Sequence[str | None], mapped: Sequence[_Placed]) -> Iterator[Doubt]:
    named = {(each.schema, each.mapped.table, column) for each in mapped for column in each.mapped.named}
    countries = _countries(connection, mapped)
    began, left, seen = time.monotonic(), 0, set[tuple[str, str]]()
    for relation in _relations(connection, inspector, schemas):
        if isinstance(relation, Doubt):
            yield relation
            continue
        if time.monotonic() - began > _LONGEST:
            left += 1
            continue
        shown = _shown(inspector, relation, seen) if relation.is_view else set()
        columns = [each for each in relation.columns if (relation.schema, relation.name, each["name"]) not in named]
        yield from _of_columns(connection, relation, [each for each in columns if each["name"] not in shown], countries)
        if not relation.is_view:
            seen |= {(relation.name, each["name"]) for each in relation.columns}
    if left:
        what = f"{left} tables or views were not looked at: the look took longer than {_LONGEST:.0f} s."
        yield Doubt(what, "give the account of the map a database that answers faster, or look for number columns in those yourself.")


def _of_columns(
    connection: Connection, relation: _Relation, columns: Sequence[ReflectedColumn], countries: Sequence[str]
) -> Iterator[Doubt]:
    """Yield a doubt for each column that looks like one of numbers; where values may not be read, names alone count, and that is told."""
    shows_values = True
    for column in columns:
        values: list[object] = []
        if shows_values and can_be_sampled(column["type"]):
            try:
                values = sample(connection, relation.schema, relation.name, column["name"], column["type"])
            except SQLAlchemyError as error:
                shows_values = False
                yield not_seen(relation.called, error)
        yield from _number_doubts(relation, column, values, countries)


def _number_doubts(relation: _Relation, column: ReflectedColumn, values: list[object], countries: Sequence[str]) -> Iterator[Doubt]:
    name = column["name"]
    by_name = can_be_named(column["type"]) and names_numbers(name) and not can_be_no_numbers(values)
    by_values = hold_numbers(values, countries)
    if not (by_name or by_values):
        return
    says = " and ".join(word for word, so in (("its name", by_name), ("its values", by_values)) if so)
    what = f"{relation.called}: column {name} is not in the map and looks by {says} like a column of phone numbers."
    yield Doubt(what, "map it as a collection of its own: of the holder, or of the counterparty where it is the other party's number.")


def _relations(connection: Connection, inspector: Inspector, schemas: Sequence[str | None]) -> Iterator[_Relation | Doubt]:
    """Yield every table, then every view; a view that the database can't describe is a doubt."""
    partitions = _partitions(connection, schemas)
    for schema in schemas:
        for name, columns in of_tables(inspector, schema, Inspector.get_multi_columns):
            if isinstance(columns, SQLAlchemyError):
                yield not_seen(f"table {name}", columns)
            elif (schema, name) not in partitions:
                yield _Relation(schema, name, columns, is_view=False)
    for schema in schemas:
        for name in inspector.get_materialized_view_names(schema) if inspector.dialect.name == "postgresql" else ():
            yield _Relation(schema, name, inspector.get_columns(name, schema), is_view=False)
        for name in inspector.get_view_names(schema):
            try:
                relation: _Relation | Doubt = _Relation(schema, name, inspector.get_columns(name, schema), is_view=True)
            except SQLAlchemyError as error:
                relation = not_seen(f"view {name}", error)
            yield relation


def _shown(inspector: Inspector, relation: _Relation, seen: set[tuple[str, str]]) -> set[str]:
    """Return a view's columns that it only passes on from tables that are looked at themselves."""
    definition = inspector.get_view_definition(relation.name, relation.schema) or ""
    words = set("".join(each if each.isalnum() or each in "_$" else " " for each in definition).split())
    return {column for table, column in seen if table in words}


def _partitions(connection: Connection, schemas: Sequence[str | None]) -> set[tuple[str | None, str]]:
    if connection.dialect.name != "postgresql":
        return set()
    default = connection.dialect.default_schema_name
    return {(schema, name) for schema in schemas for name in connection.execute(_PARTITIONS, {"schema": schema or default}).scalars()}


def _countries(connection: Connection, mapped: Sequence[_Placed]) -> list[str]:
    """Return the countries whose numbers are in use: those the map says, then those that its columns hold, the most frequent first."""
    said = Counter[str](country for each in mapped for country in each.mapped.countries)
    for each in mapped:
        try:
            said.update(_found(connection, each))
        except SQLAlchemyError as error:
            if is_lost(error):
                raise
    return [country for country, _ in said.most_common(_COUNTRIES)]


def _found(connection: Connection, placed: _Placed) -> Iterator[str]:
    table, regions = placed.mapped, set(known_regions())
    for column in table.country_columns:
        yield from (str(value) for value in sample(connection, placed.schema, table.table, column) if str(value) in regions)
    if table.countries or table.country_columns:
        return
    for number in table.numbers:
        if len(number) == 1:
            values = sample(connection, placed.schema, table.table, number[0])
            yield from filter(None, (country_of(str(value)) for value in values))
