"""What stands against a wipe in a database's own structure: missing indexes and foreign keys. Imports its neighbours and SQLAlchemy."""

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, Inspector, inspect, text
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint, ReflectedIndex
from sqlalchemy.exc import SQLAlchemyError

from fallow.records.doubts import Doubt
from fallow.records.mapped_table import MappedTable
from fallow.records.reflecting import not_seen, of_tables

#: What a database does by itself with rows that refer to a deleted one, so that they don't stand in its way.
_GIVES_WAY = {"CASCADE", "SET NULL", "SET DEFAULT"}

#: SQLAlchemy's reading of SQLite's own words does not find the action of a key that stands beside its column.
_SQLITE_ACTIONS = text('SELECT "from", on_delete FROM pragma_foreign_key_list(:name)')

#: A mapped table with the schema that the database gives it; None for the default one.
Placed = tuple[str | None, MappedTable]


def missing_indexes(connection: Connection, tables: Sequence[Placed]) -> Iterator[Doubt]:
    """Yield a doubt for each column by which rows are looked for and that no index of its table begins with."""
    inspector = inspect(connection)
    names: dict[str | None, set[str]] = {schema: set(inspector.get_table_names(schema)) for schema, _ in tables}
    for schema, mapped in tables:
        if mapped.subject == "counterparty" or mapped.table not in names[schema]:
            continue  # never looked for; or a view, which has no index
        try:
            beginnings = _beginnings(inspector, schema, mapped.table)
        except SQLAlchemyError as error:
            yield not_seen(f"the indexes of table {mapped.table}", error)
            continue
        searched = [*mapped.numbers, *([(mapped.subscription,)] if mapped.subscription else [])]
        for columns in dict.fromkeys(searched):
            if not any(_begins(index, columns) for index in beginnings):
                listed = " and ".join(columns)
                what = f"{mapped.place}: no index of table {mapped.table} begins with {listed}; each look for a number reads all of it."
                yield Doubt(what, f"make an index on {listed} in table {mapped.table}.")


def foreign_keys_in_the_way(
    connection: Connection, schemas: Sequence[str | None], tables: Sequence[Placed], partitions: Collection[tuple[str | None, str]]
) -> Iterator[Doubt]:
    """Yield a doubt for each table whose rows refer to rows that a wipe deletes, and are not deleted before them."""
    inspector = inspect(connection)
    deleted = dict[tuple[str | None, str], tuple[int, str]]()
    for place, (schema, mapped) in enumerate(tables):
        if mapped.deletes and mapped.subject == "holder":
            deleted.setdefault((schema, mapped.table), (place, mapped.place))
    named = {(schema, mapped.table) for schema, mapped in tables}
    for schema in schemas:
        for child, keys in of_tables(inspector, schema, Inspector.get_multi_foreign_keys):
            if isinstance(keys, SQLAlchemyError):
                yield not_seen(f"the foreign keys of table {child}", keys)
                continue
            for key in keys if (schema, child) not in partitions else ():
                parent = (_parent_schema(inspector, key, schema), key["referred_table"])
                if parent in deleted and parent != (schema, child):
                    is_named = (schema, child) in named
                    if _gives_way(connection, child, key):
                        why = _taken_along(is_kept=is_named) if (schema, child) not in deleted else ""
                    else:
                        why = _why(deleted.get((schema, child)), deleted[parent], mapped=is_named)
                    if why:
                        yield _in_the_way(child, key, deleted[parent][1], why)


def _in_the_way(child: str, key: ReflectedForeignKeyConstraint, parent: str, why: str) -> Doubt:
    what = f"{parent}: rows of table {child} refer to table {key['referred_table']} by {', '.join(key['constrained_columns'])}, and {why}."
    remedy = f"have those of {child} cleared before: map them, with erase_after at {parent}; or change what the foreign key does."
    return Doubt(what, remedy, grave=True)


def _taken_along(*, is_kept: bool) -> str:
    """Say what the database does by itself with rows that refer to a deleted one; no receipt speaks of it."""
    what = "they are to be kept" if is_kept else "their table is not in the map"
    return f"{what}, and the database deletes or changes them with it, which no receipt counts"


def _why(child: tuple[int, str] | None, parent: tuple[int, str], *, mapped: bool) -> str:
    if child is None:
        return "their table is mapped, but they are kept" if mapped else "their table is not in the map"
    return f"they are deleted later, as {child[1]}" if child[0] > parent[0] else ""


def _parent_schema(inspector: Inspector, key: ReflectedForeignKeyConstraint, child: str | None) -> str | None:
    schema = key["referred_schema"] or child
    return None if schema == inspector.default_schema_name else schema


def _gives_way(connection: Connection, child: str, key: ReflectedForeignKeyConstraint) -> bool:
    action = str(key.get("options", {}).get("ondelete", ""))
    if connection.dialect.name == "sqlite":
        found = connection.execute(_SQLITE_ACTIONS, {"name": child}).all()
        action = next((on_delete for column, on_delete in found if column == key["constrained_columns"][0]), action)
    return action.upper() in _GIVES_WAY


def _beginnings(inspector: Inspector, schema: str | None, table: str) -> list[Sequence[str | None]]:
    """Return the columns of each index, key and unique constraint that finds rows by equal values in any row."""
    keys = [each["column_names"] for each in inspector.get_unique_constraints(table, schema)]
    usable = (each for each in inspector.get_indexes(table, schema) if not _is_partial(each))
    return [inspector.get_pk_constraint(table, schema)["constrained_columns"], *keys, *(each["column_names"] for each in usable)]


def _is_partial(index: ReflectedIndex) -> bool:
    """Tell whether it covers some rows only, or finds them otherwise than by equal values."""
    options = index.get("dialect_options", {})
    where = any(str(name).endswith("_where") and value is not None for name, value in options.items())
    words = {options.get("mariadb_prefix"), options.get("mysql_prefix")} & {"FULLTEXT", "SPATIAL"}
    return where or bool(words) or options.get("postgresql_using", "btree") not in {"btree", "hash"}


def _begins(index: Sequence[str | None], columns: Sequence[str]) -> bool:
    """Tell whether an index finds a number: by its columns in either order, or by the most telling of them."""
    return set(index[: len(columns)]) == set(columns) or list(index[:1]) == [columns[-1]]
