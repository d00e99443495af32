"""What a survey must know of a mapped table, taken from a records map in one place. Imports its neighbours only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fallow.records.map_columns import NumberColumn
from fallow.records.map_schema import CollectionTable, LineRegisterTable, RecordsFile, SystemTable


@dataclass(frozen=True)
class MappedTable:
    """One entry of a records map as a survey of the database sees it.

    Attributes:
        place: how messages call the entry, such as ``collection calls``.
        table: its table.
        schema: the table's schema; None for the default one.
        numbers: the columns of each number it maps; several where a number is split over columns, the last the most telling.
        columns: every other column that the map names: nobody need be told of those.
        subscription: the column with the carrier's id of a subscription, by which rows are found too.
        subject: whose the numbers are; a counterparty's are never looked for.
        deletes: whether rows go from the table.
        countries: ISO 3166 codes that the map says its numbers are of.
        country_columns: columns with such codes.
    """

    place: str
    table: str
    schema: str | None
    numbers: tuple[tuple[str, ...], ...]
    columns: frozenset[str] = frozenset()
    subscription: str | None = None
    subject: Literal["holder", "counterparty"] = "holder"
    deletes: bool = False
    countries: frozenset[str] = frozenset()
    country_columns: frozenset[str] = frozenset()

    @property
    def named(self) -> frozenset[str]:
        """Every column that the map names."""
        return self.columns | self.country_columns | {column for number in self.numbers for column in number}


def tables_of(file: RecordsFile, system: SystemTable) -> tuple[MappedTable, ...]:
    """Return what the map says of a system's tables, in the order in which they are cleared; others' numbers and the line register last."""
    untouched = [each for each in system.collection if each.subject == "counterparty"]
    found = [table for each in (*system.holders, *untouched) for table in _collection(each)]
    return tuple([*found, _register(file.line_register)] if file.line_register.system == system.id else found)


def tables_beside(file: RecordsFile, system: SystemTable) -> tuple[MappedTable, ...]:
    """Return what the map says of the same database's tables under other systems: they are mapped, too."""
    address = (system.url, system.url_file)
    others = (each for each in file.system if each.id != system.id and (each.url, each.url_file) == address)
    return tuple(table for other in others for table in tables_of(file, other))


def _collection(mapped: CollectionTable) -> Iterator[MappedTable]:
    restrict, rewrite = mapped.restrict, mapped.rewrite
    marks = () if restrict is None else (*restrict.set, restrict.basis_column, restrict.expiry_column)
    written = () if rewrite is None else tuple(rewrite.columns)
    moves = restrict is not None and restrict.archive is not None
    yield MappedTable(
        f"collection {mapped.id}",
        mapped.table,
        mapped.schema_name,
        tuple(map(_read_by, mapped.numbers)),
        columns=frozenset(filter(None, [mapped.until, mapped.subscription, *marks, *written])),
        subscription=mapped.subscription,
        subject=mapped.subject,
        deletes=mapped.strategy in ("delete", "seal") or moves,
        countries=frozenset(number.country for number in mapped.numbers if number.country),
        country_columns=frozenset(number.country_column for number in mapped.numbers if number.country_column),
    )
    if restrict is not None and restrict.archive is not None:
        yield MappedTable(
            f"archive of collection {mapped.id}",
            restrict.archive.table,
            restrict.archive.schema_name,
            tuple(map(_read_by, mapped.numbers)),
            columns=frozenset(filter(None, [mapped.until, mapped.subscription, *marks])),
        )


def _register(mapped: LineRegisterTable) -> MappedTable:
    number = mapped.number
    return MappedTable(
        "the line register",
        mapped.table,
        mapped.schema_name,
        (_read_by(number),),
        columns=frozenset({mapped.status}),
        countries=frozenset(filter(None, [number.country])),
        country_columns=frozenset(filter(None, [number.country_column])),
    )


def _read_by(number: NumberColumn) -> tuple[str, ...]:
    """Return the columns by which rows are found, the most telling last; a country's column says nothing of its own."""
    return (number.column,) if number.prefix_column is None else (number.prefix_column, number.column)
