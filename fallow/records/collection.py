"""The statements of one collection, built once from the reflected table; only bound values differ.

Imports the domain and SQLAlchemy.
"""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ClauseElement

from fallow.domain.errors import MapRefused
from fallow.domain.number import E164
from fallow.domain.ports import CollectionReceipt, WipeOrder
from fallow.records.database import Database
from fallow.records.doubts import Doubt, spelling_doubts
from fallow.records.instant_column import InstantColumn, written
from fallow.records.map_schema import CollectionTable, NumberColumn, Restriction
from fallow.records.spelling import Spelled, is_kept_as_integer, known_regions, spell, spellings

#: Rows whose instants are looked at before the first wipe: enough to notice, few enough for a table without index.
_SAMPLE = 1_000


def holder_is(table: Table, number: NumberColumn) -> ColumnElement[bool]:
    """Return the condition that the row's holder has the bound number ``n`` (in one of the countries ``c``)."""
    mine = table.c[number.column] == bindparam("n")
    if number.country_column is None:
        return mine
    return and_(mine, table.c[number.country_column].in_(bindparam("c", expanding=True)))


def unplaced(table: Table, number: NumberColumn) -> ColumnElement[bool]:
    """Return the condition that the row has the bound digits ``n`` and no country that says whose they are."""
    if number.country_column is None:
        return false()
    country = table.c[number.country_column]
    return and_(table.c[number.column] == bindparam("n"), or_(country.is_(None), country.not_in(known_regions())))


def may_be_holders(table: Table, number: NumberColumn) -> ColumnElement[bool]:
    """Return the condition that the row may be the holder's, however it spells the number: what a read-back looks for.

    That is one of the bound texts ``a`` in any row, or ``h`` in a row of the countries ``c`` or of none that is known.
    """
    column = table.c[number.column]
    # An integer column may be too narrow for a whole number; to look for one must be no error.
    kind = BigInteger() if is_kept_as_integer(table, number) else column.type
    anywhere = column.in_(bindparam("a", type_=kind, expanding=True))
    if number.country_column is None:
        return anywhere
    country = table.c[number.country_column]
    at_home = or_(country.in_(bindparam("c", expanding=True)), country.is_(None), country.not_in(known_regions()))
    return or_(anywhere, and_(column.in_(bindparam("h", type_=kind, expanding=True)), at_home))


def holder_values(table: Table, number: NumberColumn, spelled: Spelled) -> dict[str, Any]:
    """Return the values that :func:`holder_is` and :func:`unplaced` want bound."""
    values: dict[str, Any] = {"n": int(spelled.text) if is_kept_as_integer(table, number) else spelled.text}
    return values if number.country_column is None else values | {"c": list(spelled.regions)}


def searched_values(table: Table, number: NumberColumn, wanted: E164) -> dict[str, Any]:
    """Return the values that :func:`may_be_holders` wants bound."""
    is_integer = is_kept_as_integer(table, number)
    ways = spellings(wanted, number, is_integer=is_integer)
    anywhere, in_country = (sorted({int(text) for text in each}) if is_integer else each for each in (ways.anywhere, ways.in_country))
    values: dict[str, Any] = {"a": anywhere}
    return values if number.country_column is None else values | {"h": in_country, "c": list(ways.regions)}


class Collection:
    """One mapped table: clears a former holder's rows, and counts what is left of them."""

    def __init__(self, mapped: CollectionTable, database: Database) -> None:
        """Reflect the table and build its two statements.

        Raises:
            MapRefused: table or column missing, a column whose type can't be used, or no ``offset`` for values without one.
        """
        self.mapped = mapped
        self._table = database.table(mapped.table, mapped.schema_name, _columns(mapped))
        self._until = InstantColumn(self._table.c[mapped.until], database.dialect, mapped.offset)
        if mapped.offset is None:
            self._refuse_without_offset(database)
        mine = holder_is(self._table, mapped.number)
        maybe_mine = may_be_holders(self._table, mapped.number)
        ended = self._until.not_after("u")
        dateless = ended.is_(None)
        settled = _restricted(self._table, mapped.restrict)
        self._clearing = self._clear(and_(mine, ended), settled)
        # A row whose instant or country can't be read, or whose number is spelt otherwise than the map says, may be the former
        # holder's: it is not touched, and does not pass either.
        self._counting = select(func.count()).select_from(self._table).where(maybe_mine, or_(ended, dateless), ~settled)

    def clear(self, connection: Connection, order: WipeOrder) -> int:
        """Delete or restrict the former holder's rows; return how many changed. A repeat changes none."""
        values = self._values(order)
        return 0 if values is None else connection.execute(self._clearing, values | self._kept(order)).rowcount

    def receipt(self, connection: Connection, order: WipeOrder, affected: int) -> CollectionReceipt:
        """Look again, on a connection that did not clear anything, and write down what was found."""
        remaining = connection.execute(self._counting, self._searched(order)).scalar_one()
        restrict = self.mapped.restrict
        return CollectionReceipt(
            collection=self.mapped.id,
            strategy=self.mapped.strategy,
            affected=affected,
            remaining=remaining,
            statement=self._digest(self._clearing, connection),
            query=self._digest(self._counting, connection),
            meaning=self.mapped.meaning,
            read_back_at=datetime.now(UTC),
            legal_basis=None if restrict is None else restrict.basis,
            kept_until=None if restrict is None else _kept_until(order, restrict).isoformat(),
        )

    def doubts(self, connection: Connection) -> list[Doubt]:
        """Compare a sample of the number column with its mapped spelling."""
        return list(spelling_doubts(connection, self._table, self.mapped.number, f"collection {self.mapped.id}"))

    def _clear(self, scope: ColumnElement[bool], settled: ColumnElement[bool]) -> Any:
        restrict = self.mapped.restrict
        if restrict is None:
            return delete(self._table).where(scope)
        return update(self._table).where(scope, ~settled).values(_marks(restrict))

    def _values(self, order: WipeOrder) -> dict[str, Any] | None:
        spelled = spell(order.number, self.mapped.number)
        if spelled is None:
            return None
        return holder_values(self._table, self.mapped.number, spelled) | {"u": self._until.bound(order.disconnected_at)}

    def _searched(self, order: WipeOrder) -> dict[str, Any]:
        """Return the values for the read-back. A table of another country's numbers is searched too: the map may be wrong in that."""
        return searched_values(self._table, self.mapped.number, order.number) | {"u": self._until.bound(order.disconnected_at)}

    def _kept(self, order: WipeOrder) -> dict[str, Any]:
        restrict = self.mapped.restrict
        if restrict is None:
            return {}
        return {"kept_until": written(_kept_until(order, restrict), self._table.c[restrict.expiry_column])}

    def _refuse_without_offset(self, database: Database) -> None:
        """Refuse values that say no offset. Of text a sample is looked at; what comes later fails the read-back."""
        sample = select(self._table.c[self.mapped.until]).limit(_SAMPLE).subquery()
        naive = self._until.type_says_no_offset
        if not naive:
            with database.reading() as connection:
                found = select(func.count()).select_from(sample).where(self._until.says_no_offset(sample.c[0]))
                naive = connection.execute(found).scalar_one() > 0
        if naive:
            where = f"{database.place}, collection {self.mapped.id}"
            what = f"{where}: column {self.mapped.until} holds times or days without an offset from UTC, and the map does not say theirs."
            raise MapRefused(what, remedy='write the offset they were written in beside until, for instance offset = "+08:00".')

    def _digest(self, statement: ClauseElement, connection: Connection) -> str:
        return hashlib.sha256(str(statement.compile(dialect=connection.dialect)).encode()).hexdigest()


def _columns(mapped: CollectionTable) -> list[str]:
    columns = [mapped.number.column, mapped.until]
    if mapped.number.country_column is not None:
        columns.append(mapped.number.country_column)
    if mapped.restrict is not None:
        columns += [*mapped.restrict.set, mapped.restrict.basis_column, mapped.restrict.expiry_column]
    return columns


def _marks(restrict: Restriction) -> dict[str, Any]:
    return {**restrict.set, restrict.basis_column: restrict.basis, restrict.expiry_column: bindparam("kept_until")}


def _restricted(table: Table, restrict: Restriction | None) -> ColumnElement[bool]:
    """Return the condition that the row carries flag, basis and an expiry; NULL counts as not carrying.

    Whichever expiry: what an earlier holder's cycle restricted must not be kept longer because the number was used again.
    """
    if restrict is None:
        return false()
    marks = {**restrict.set, restrict.basis_column: restrict.basis}
    carried = (table.c[column].is_not_distinct_from(value) for column, value in marks.items())
    return and_(*carried, table.c[restrict.expiry_column].is_not(None))


def _kept_until(order: WipeOrder, restrict: Restriction) -> date:
    return (order.disconnected_at.astimezone(UTC) + restrict.keep_for).date()
