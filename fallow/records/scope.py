"""Which rows of a table are a former holder's, which a newer holder's, and which nobody can tell. Imports the domain and SQLAlchemy.

Two relations of orders per number column: one to clear by, with the number exactly as the map spells it, and one to search by, with
every spelling that could be the same number. What is cleared and what is looked for are thus never the same statement.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    cast,
    false,
    func,
    or_,
    true,
)

from fallow.domain.ports import WipeOrder
from fallow.records.instant_column import DAY_OF_TEXT, InstantColumn, is_day, written
from fallow.records.map_columns import NumberColumn
from fallow.records.map_schema import CollectionTable
from fallow.records.order_set import Field, order_set
from fallow.records.spelling import is_kept_as_integer, known_places, spell, spellings

#: Gives the (character set, collation) of a column where the database would refuse to compare it with another's; else None.
Collations = Callable[[Column[Any]], tuple[str, str] | None]


@dataclass(frozen=True)
class Ground:
    """What a collection's conditions stand on.

    Attributes:
        mapped: what the map says.
        table: as reflected.
        archive: where restricted rows are moved to, or None.
        until: when rows began; None where only the subscription tells.
        dialect: the kind of database.
        collation_of: see :data:`Collations`.
    """

    mapped: CollectionTable
    table: Table
    archive: Table | None
    until: InstantColumn | None
    dialect: str
    collation_of: Collations

    @property
    def kept_in(self) -> Table:
        """The table in which restricted rows are: the archive, or the collection's own."""
        return self.table if self.archive is None else self.archive

    @property
    def expiry_column(self) -> Column[Any]:
        """The column that restricted rows carry their expiry in."""
        if self.mapped.restrict is None:
            what = "only what is restricted has an expiry at the system"
            raise ValueError(what)
        return self.kept_in.c[self.mapped.restrict.expiry_column]

    def in_scope(self, o: FromClause) -> ColumnElement[bool]:
        """Return the condition that a row whose number is the order's is the former holder's; NULL where it can't be told.

        It is, if it began until the disconnect, or if it belongs to the former holder's own subscription.
        """
        said = [] if self.until is None else [self.until.not_after(o.c.u)]
        return or_(*said, *self._of_subscription(o))

    def is_newer(self, o: FromClause) -> ColumnElement[bool]:
        """Return the condition that a row out of scope is a newer holder's; NULL or false where it can't be told."""
        if self.until is not None:
            return ~self.until.not_after(o.c.u)
        return and_(*(~same for same in self._of_subscription(o)))

    def is_marked(self) -> ColumnElement[bool]:
        """Return the condition that a row of the collection's own table carries flag, basis and an expiry; NULL counts as not carrying."""
        restrict = self.mapped.restrict
        if restrict is None or restrict.archive is not None:
            return false()
        marks = {**restrict.set, restrict.basis_column: restrict.basis}
        carried = (self.table.c[name].is_not_distinct_from(value) for name, value in marks.items())
        return and_(*carried, self.table.c[restrict.expiry_column].is_not(None))

    def expires_in_time(self, o: FromClause) -> ColumnElement[bool]:
        """Return the condition that a kept row's expiry is a day, and not after the order's own.

        An earlier one is that of an earlier holder's cycle, which must not be pushed forward. A later one, or what is no day, was not
        given by a wipe of this number: such a row is not taken for settled, or whoever writes it could hide rows for ever.
        """
        expiry: ColumnElement[Any] = self.expiry_column
        if self.dialect == "sqlite":
            return and_(is_day(expiry), func.substr(expiry, 1, 10) <= func.substr(o.c.e, 1, 10))
        if isinstance(self.expiry_column.type, String):
            return and_(expiry.regexp_match(DAY_OF_TEXT), expiry <= o.c.e)
        return and_(expiry <= o.c.e, expiry >= written(date(1970, 1, 1), self.expiry_column))

    def fields(self) -> Iterator[Field]:
        """Yield what the conditions want to know of an order besides its number."""
        yield Field("k", Integer())
        if self.until is not None:
            yield Field("u", self.until.bound_type)
        if self.mapped.subscription is not None:
            yield Field("s", String())
        if self.mapped.restrict is not None:
            yield Field("e", String() if self.dialect == "sqlite" else self.expiry_column.type)
        if self.mapped.rewrite is not None:
            yield Field("p", String())

    def said_of(self, place: int, order: WipeOrder, kept_until: date | None) -> dict[str, object]:
        """Return the values of :meth:`fields` for the order at ``place``."""
        values: dict[str, object] = {"k": place}
        if self.until is not None:
            values["u"] = self.until.bound(order.disconnected_at)
        if self.mapped.subscription is not None:
            values["s"] = order.subscription
        if self.mapped.restrict is not None and kept_until is not None:
            values["e"] = self._stored(kept_until)
        if self.mapped.rewrite is not None:
            values["p"] = order.pseudonym or None
        return values

    def _of_subscription(self, o: FromClause) -> list[ColumnElement[bool]]:
        if self.mapped.subscription is None:
            return []
        column = self.table.c[self.mapped.subscription]
        if self.dialect in ("mysql", "mariadb"):
            # Ids are compared byte by byte: to a collation, Ab and aB would be one subscription.
            return [cast(column, LargeBinary()) == cast(o.c.s, LargeBinary())]
        return [(column if isinstance(column.type, String) else cast(column, String())) == o.c.s]

    def _stored(self, day: date) -> object:
        """Return an expiry as the column keeps it, SQLite's text included."""
        value = written(day, self.expiry_column)
        return value.strftime("%Y-%m-%d %H:%M:%S.%f") if self.dialect == "sqlite" and isinstance(value, datetime) else value


class Path:
    """One way to a former holder's rows: a number column of the table, and the orders as it would write them.

    Attributes:
        number: what the map says of the column.
        column: the column.
        clearing: the relation of orders to clear by.
        searching: the relation of orders to search by.
    """

    def __init__(self, ground: Ground, number: NumberColumn) -> None:
        """Build both relations."""
        self._ground, self.number = ground, number
        self.column: Column[Any] = ground.table.c[number.column]
        self._place: Column[Any] | None = None if number.place_column is None else ground.table.c[number.place_column]
        self._is_integer = is_kept_as_integer(ground.table, number)
        self._last: tuple[Sequence[WipeOrder], list[dict[str, object]]] | None = None
        shared = [self._field("n", self.column), *ground.fields()]
        placed = [] if self._place is None else [self._field("c", self._place)]
        self.clearing = order_set(ground.dialect, [*shared, *placed])
        searched = [Field("m", Integer()), *([] if self._place is None else [Field("f", Integer())])]
        self.searching = order_set(ground.dialect, [*shared, *placed, *searched])

    def is_holders(self) -> ColumnElement[bool]:
        """Return the condition that a row has an order's number as the map spells it."""
        return self.is_holders_in(self._ground.table)

    def is_holders_in(self, table: Table) -> ColumnElement[bool]:
        """Return the same condition for a table with the same columns, such as an archive."""
        o = self.clearing.relation
        mine = table.c[self.number.column] == o.c.n
        return mine if self._place is None else and_(mine, table.c[self._place.name] == o.c.c)

    def may_be_holders(self) -> ColumnElement[bool]:
        """Return the condition that a row may have an order's number, however it spells it: what a read-back looks for.

        Where rows name their place, digits without a country's code are the order's in a row of its own place or of none that is
        known; with the country's code they are so anywhere.
        """
        return self.may_be_holders_in(self._ground.table)

    def may_be_holders_in(self, table: Table) -> ColumnElement[bool]:
        """Return the same condition for a table with the same columns, such as an archive."""
        o = self.searching.relation
        mine = table.c[self.number.column] == o.c.n
        if self._place is None:
            return mine
        place = table.c[self._place.name]
        nowhere = or_(place.is_(None), place.not_in(self._typed(known_places(self.number), self._place)))
        return and_(mine, or_(o.c.c.is_(None), place == o.c.c, and_(o.c.f == 1, nowhere)))

    def as_mapped(self) -> ColumnElement[bool]:
        """Return the condition that the row was found under the mapped spelling, in its own place."""
        o = self.searching.relation
        return and_(o.c.m == 1, true() if self._place is None else self._place == o.c.c)

    def cleared_by(self, orders: Sequence[WipeOrder], kept_until: Sequence[date | None]) -> dict[str, object]:
        """Return what the clearing relation wants bound."""
        said = zip(orders, self._said(orders, kept_until), strict=True)
        return self.clearing.bound([row for order, told in said for row in self._cleared(order, told)])

    def searched_by(self, orders: Sequence[WipeOrder], kept_until: Sequence[date | None]) -> dict[str, object]:
        """Return what the searching relation wants bound."""
        said = zip(orders, self._said(orders, kept_until), strict=True)
        return self.searching.bound([row for order, told in said for row in self._searched(order, told)])

    def _said(self, orders: Sequence[WipeOrder], kept_until: Sequence[date | None]) -> list[dict[str, object]]:
        """Return what both relations say of the orders besides their numbers; made once for the clearing and the look after it."""
        last = self._last
        if last is None or last[0] is not orders:
            told = self.clearing.told  # both relations are of one kind
            said = [told(self._ground.said_of(place, *each)) for place, each in enumerate(zip(orders, kept_until, strict=True))]
            self._last = last = (orders, said)
        return last[1]

    def _cleared(self, order: WipeOrder, said: dict[str, object]) -> Iterator[dict[str, object]]:
        """Yield a row for each place the number may be kept under; none where the table holds other countries' numbers only."""
        spelled = spell(order.number, self.number)
        if spelled is None:
            return
        if self._place is None:
            yield said | {"n": self._value(spelled.text)}
            return
        yield from (said | {"n": self._value(spelled.text), "c": where} for where in self._typed(spelled.places, self._place))

    def _searched(self, order: WipeOrder, said: dict[str, object]) -> Iterator[dict[str, object]]:
        """Yield a row for each spelling. A table of another country's numbers is searched too: the map may be wrong in that."""
        ways, mapped = spellings(order.number, self.number, is_integer=self._is_integer), spell(order.number, self.number)
        right = None if mapped is None else self._value(mapped.text)
        for text in dict.fromkeys(map(self._value, ways.anywhere)) if self._is_integer else ways.anywhere:
            yield said | {"n": text, "m": int(self._place is None and text == right)}
        if self._place is None:
            return
        for text in dict.fromkeys(map(self._value, ways.in_country)):
            for rank, where in enumerate(self._typed(ways.places, self._place)):
                is_right = text == right and mapped is not None and where in self._typed(mapped.places, self._place)
                yield said | {"n": text, "c": where, "f": int(rank == 0), "m": int(is_right)}

    def _value(self, text: str) -> int | str:
        return int(text) if self._is_integer else text

    def _typed(self, places: Sequence[str], column: Column[Any]) -> list[Any]:
        """Return the places as the column keeps them; an integer keeps neither a plus sign nor zeros in front."""
        if not isinstance(column.type, Integer):
            return list(places)
        return sorted({int(place) for place in places})

    def _field(self, name: str, column: Column[Any]) -> Field:
        # An integer column may be too narrow for a whole number; to look for one must be no error.
        kind = BigInteger() if isinstance(column.type, Integer) else column.type
        return Field(name, kind, self._ground.collation_of(column))
