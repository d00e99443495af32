"""The carrier's line register: is the line off, in service, ported? Imports the domain and SQLAlchemy."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, Table, and_, bindparam, case, false, or_, select

from fallow.domain.gate import LineStatus
from fallow.domain.number import E164
from fallow.records.database import Database
from fallow.records.doubts import Doubt, spelling_doubts, status_doubts
from fallow.records.map_columns import NumberColumn
from fallow.records.map_schema import LineRegisterTable
from fallow.records.spelling import Spelled, is_kept_as_integer, known_places, spell


def holder_is(table: Table, number: NumberColumn) -> ColumnElement[bool]:
    """Return the condition that the row's number is the bound ``n`` (in one of the places ``c``)."""
    mine = table.c[number.column] == bindparam("n")
    if number.place_column is None:
        return mine
    return and_(mine, table.c[number.place_column].in_(bindparam("c", expanding=True)))


def unplaced(table: Table, number: NumberColumn) -> ColumnElement[bool]:
    """Return the condition that the row has the bound digits ``n`` and no place that says whose they are."""
    if number.place_column is None:
        return false()
    place = table.c[number.place_column]
    return and_(table.c[number.column] == bindparam("n"), or_(place.is_(None), place.not_in(_typed(table, number, known_places(number)))))


def holder_values(table: Table, number: NumberColumn, spelled: Spelled) -> dict[str, Any]:
    """Return the values that :func:`holder_is` and :func:`unplaced` want bound."""
    values: dict[str, Any] = {"n": int(spelled.text) if is_kept_as_integer(table, number) else spelled.text}
    return values if number.place_column is None else values | {"c": _typed(table, number, spelled.places)}


def _typed(table: Table, number: NumberColumn, places: Sequence[str]) -> list[Any]:
    is_integer = number.place_column is not None and isinstance(table.c[number.place_column].type, Integer)
    return sorted({int(place) for place in places}) if is_integer else list(places)


class SqlLineRegister:
    """The :class:`fallow.domain.ports.LineRegister` of a records map."""

    def __init__(self, mapped: LineRegisterTable, database: Database) -> None:
        """Take the map; the table is reflected at the first use."""
        self._mapped = mapped
        self._database = database
        self._reflected: Table | None = None
        self._meanings = {
            **dict.fromkeys(mapped.off, LineStatus.OFF),
            **dict.fromkeys(mapped.in_service, LineStatus.IN_SERVICE),
            **dict.fromkeys(mapped.ported, LineStatus.PORTED),
        }

    def check(self) -> None:
        """Connect and compare the map with the table.

        Raises:
            MapRefused: table or column missing.
            TargetUnavailable: the database can't be reached.
        """
        self._reflected = None
        self._database.demand_file()
        self._database.guarded(self._table)

    def doubts(self) -> list[Doubt]:
        """Look at a sample of the register's numbers and status values, changing nothing, and say what speaks against the map.

        Raises:
            MapRefused: table or column missing.
            TargetUnavailable: the database can't be reached, or the look took longer than its timeout.
        """
        return self._database.guarded(self._doubts)

    def statuses(self, numbers: Sequence[E164]) -> list[LineStatus]:
        """Return one status per number, in order.

        No row, a value in no list of the map, or a row without a known country where one is mapped, is UNKNOWN. Of several
        rows any in service wins, then any unknown, then any ported: the answer that lets the least through.

        Raises:
            TargetUnavailable: the register can't be asked.
            MapRefused: table or column missing.
        """
        try:
            return self._database.guarded(lambda: self._ask(numbers))
        except Exception:
            self._reflected = None
            raise

    def close(self) -> None:
        """Close every connection. Safe to call again."""
        self._database.close()

    def _ask(self, numbers: Sequence[E164]) -> list[LineStatus]:
        table = self._table()
        mine, maybe_mine = holder_is(table, self._mapped.number), unplaced(table, self._mapped.number)
        # A row without a country has no status to go by, and its line may be this one.
        query = select(case((mine, table.c[self._mapped.status]))).where(or_(mine, maybe_mine))
        with self._database.reading() as connection:
            return [self._status(connection, table, query, number) for number in numbers]

    def _status(self, connection: Connection, table: Table, query: Select[tuple[object]], number: E164) -> LineStatus:
        spelled = spell(number, self._mapped.number)
        if spelled is None:
            return LineStatus.UNKNOWN
        found = connection.execute(query, holder_values(table, self._mapped.number, spelled)).scalars().all()
        statuses = {self._meanings.get(str(value), LineStatus.UNKNOWN) for value in found}
        for status in (LineStatus.IN_SERVICE, LineStatus.UNKNOWN, LineStatus.PORTED, LineStatus.OFF):
            if status in statuses:
                return status
        return LineStatus.UNKNOWN

    def _doubts(self) -> list[Doubt]:
        table = self._table()
        with self._database.reading() as connection:
            return [
                *spelling_doubts(connection, table, self._mapped.number, "the line register"),
                *status_doubts(connection, table.c[self._mapped.status], set(self._meanings), self._mapped.off),
            ]

    def _table(self) -> Table:
        if self._reflected is None:
            number = self._mapped.number
            columns = [*number.columns, self._mapped.status]
            self._reflected = self._database.table(self._mapped.table, self._mapped.schema_name, columns)
        return self._reflected
