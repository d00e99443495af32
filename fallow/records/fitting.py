"""Whether the columns of a table can take what the map wants written into them. Imports the domain and SQLAlchemy."""

from sqlalchemy import Column, Integer, Numeric, String, Table

from fallow.domain.errors import MapRefused
from fallow.records.clearing import MASK
from fallow.records.database import Database
from fallow.records.map_schema import CollectionTable

#: Letters of a pseudonym: 130 bits in base32.
PSEUDONYM = 26


def demand_fitting(mapped: CollectionTable, table: Table, archive: Table | None, database: Database) -> None:
    """Refuse number columns whose values can't be looked for, a rewriting that the table can't take, and an archive that is none.

    Raises:
        MapRefused: naming the collection and the column or table.
    """
    where = f"{database.place}, collection {mapped.id}"
    for name in (name for number in mapped.numbers for name in number.columns):
        if not isinstance(table.c[name].type, (String, Integer, Numeric)):
            what = f"{where}: column {name} is declared neither as text nor as a number, so a value may be missed that looks the same."
            raise MapRefused(what, remedy="declare its type, or offer the table by a view that casts it.")
    if archive is not None and (database.is_same(archive, table) or database.is_view(archive.name, archive.schema)):
        what = f"{where}: the archive is the collection's own table or a view, so nothing would be out of reach."
        raise MapRefused(what, remedy="name a table of its own that service systems can't read.")
    for name, how in (mapped.rewrite.columns if mapped.rewrite else {}).items():
        fault = _fault(table.c[name], how)
        if fault:
            what = f"{where}: column {name} can't be rewritten as {how}: {fault}."
            raise MapRefused(what, remedy="choose another rewriting for it, or have the column changed.")


def _fault(column: Column[object], how: str) -> str:
    if how == "null":
        return "" if column.nullable else "it takes no NULL"
    if not isinstance(column.type, String):
        return "it holds no text"
    needed = len(MASK) if how == "mask" else PSEUDONYM
    length = getattr(column.type, "length", None)
    return f"it holds {length} letters, and {needed} are needed" if length is not None and length < needed else ""
