"""Whether the columns of a table can take what the map wants written into them. Imports the domain and SQLAlchemy."""

from sqlalchemy import Column, String, Table

from fallow.domain.errors import MapRefused
from fallow.records.clearing import MASK
from fallow.records.map_schema import CollectionTable

#: Letters of a pseudonym: 130 bits in base32.
PSEUDONYM = 26


def demand_fitting(mapped: CollectionTable, table: Table, archive: Table | None, where: str) -> None:
    """Refuse a rewriting that the table can't take, and an archive that is the table itself.

    Raises:
        MapRefused: a column that can't be NULL, is no text, or is too short for what is to stand there.
    """
    if archive is not None and archive.fullname == table.fullname:
        what = f"{where}: the archive is the collection's own table, so nothing would be out of reach."
        raise MapRefused(what, remedy="name a table that service systems can't read.")
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
