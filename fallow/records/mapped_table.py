"""What a survey must know of a mapped table, taken from a records map in one place. Imports its neighbours only."""

from dataclasses import dataclass
from typing import Literal

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
    """Return what the map says of a system's tables, in the order in which they are cleared; the line register's last."""
    found = [_collection(each) for each in system.collection]
    return tuple([*found, _register(file.line_register)] if file.line_register.system == system.id else found)


def tables_beside(file: RecordsFile, system: SystemTable) -> tuple[MappedTable, ...]:
    """Return what the map says of the same database's tables under other systems: they are mapped, too."""
    address = (system.url, system.url_file)
    others = (each for each in file.system if each.id != system.id and (each.url, each.url_file) == address)
    return tuple(table for other in others for table in tables_of(file, other))


def _collection(mapped: CollectionTable) -> MappedTable:
    restrict, number = mapped.restrict, mapped.number
    marks = () if restrict is None else (*restrict.set, restrict.basis_column, restrict.expiry_column)
    return MappedTable(
        f"collection {mapped.id}",
        mapped.table,
        mapped.schema_name,
        ((number.column,),),
        columns=frozenset({mapped.until, *marks}),
        deletes=mapped.strategy == "delete",
        countries=frozenset(filter(None, [number.country])),
        country_columns=frozenset(filter(None, [number.country_column])),
    )


def _register(mapped: LineRegisterTable) -> MappedTable:
    number = mapped.number
    return MappedTable(
        "the line register",
        mapped.table,
        mapped.schema_name,
        ((number.column,),),
        columns=frozenset({mapped.status}),
        countries=frozenset(filter(None, [number.country])),
        country_columns=frozenset(filter(None, [number.country_column])),
    )
