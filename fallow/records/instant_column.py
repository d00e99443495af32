"""Comparing an instant with what a column holds: real timestamps, dates, or ISO text with or without offset.

Text is never compared as text: ``2026-05-01T01:00+08:00`` is earlier than ``2026-04-30T18:00Z``. What says no offset is local
time of the map's ``offset``; without one it is unreadable, never guessed. Imports the domain, its neighbour and SQLAlchemy.
"""

from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Column,
    ColumnElement,
    Date,
    DateTime,
    String,
    and_,
    case,
    cast,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.types import NullType, TypeEngine

from fallow.domain.errors import MapRefused
from fallow.records.database import Database
from fallow.records.iso_text import DAY, OFFSET, TIME, mariadb_microseconds, microseconds, microseconds_of

_INSTANT = DateTime(timezone=True)
#: What a text is that says a day and nothing else.
DAY_OF_TEXT = f"{DAY}$"
#: Rows whose instants are looked at before the first wipe: enough to notice, few enough for a table without index.
_SAMPLE = 1_000


class InstantColumn:
    """The column that says when a row began."""

    def __init__(self, column: Column[object], dialect: str, offset: str | None) -> None:
        """Take the column and the offset (``+08:00``) that its values mean where they say none.

        Raises:
            MapRefused: the column's type is no instant in this database.
        """
        self._column = column
        self._offset = offset
        self._zone: tzinfo = UTC if offset is None else datetime.strptime(offset, "%z").tzinfo or UTC
        self._mariadb = dialect in {"mariadb", "mysql"}
        self._sqlite = dialect == "sqlite" and isinstance(column.type, (String, Date, DateTime, NullType))
        self._text = self._sqlite or ((dialect == "postgresql" or self._mariadb) and isinstance(column.type, String))
        if not self._text and not isinstance(column.type, (Date, DateTime)):
            what = f"Column {column.name} of table {column.table.name} is no date, timestamp or ISO text that this database can compare."
            raise MapRefused(what, remedy="map a column that says when the row began, or offer it by a view.")

    @property
    def type_says_no_offset(self) -> bool:
        """Whether no value of this type can say an offset. SQLite's types promise nothing about values, but for a date."""
        return isinstance(self._column.type, Date) or (not self._text and not self._is_instant)

    def says_no_offset(self, value: ColumnElement[object]) -> ColumnElement[bool]:
        """Return the condition that a value of this column is a day or time without offset."""
        if not self._text:
            return true() if self.type_says_no_offset else false()
        text = type_coerce(value, String())
        if self._sqlite:
            return and_(_dated(text), ~_zoned(text))
        return text.regexp_match(f"{DAY}({TIME})?{self._end}")

    @property
    def bound_type(self) -> TypeEngine[Any]:
        """The type that :meth:`bound` gives its values for :meth:`not_after`."""
        if self._sqlite:
            return String()
        if self._text and self._mariadb:
            return BigInteger()
        return _INSTANT if self._text else self._column.type

    def demand_offset(self, database: Database, collection: str) -> None:
        """Refuse values that say no offset while the map says none. Of text a sample is looked at; what comes later fails the read-back.

        Raises:
            MapRefused: there are such values.
        """
        sample = select(self._column).limit(_SAMPLE).subquery()
        naive = self.type_says_no_offset
        if not naive:
            with database.reading() as connection:
                found = select(func.count()).select_from(sample).where(self.says_no_offset(sample.c[0]))
                naive = connection.execute(found).scalar_one() > 0
        if naive:
            where = f"{database.place}, collection {collection}"
            what = f"{where}: column {self._column.name} holds times or days without an offset from UTC, and the map does not say theirs."
            raise MapRefused(what, remedy='write the offset they were written in beside until, for instance offset = "+08:00".')

    def not_after(self, instant: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that the column's instant is not after ``instant``; a day counts from its local midnight.

        It is NULL where the column holds no instant, or one that can't be told; the read-back counts such rows as remaining.
        """
        if self._sqlite:
            return func.julianday(self._sqlite_text()) <= func.julianday(instant)
        if self._text and self._mariadb:
            return self._mariadb_microseconds() <= instant
        if self._text:
            return self._postgresql_instant() <= instant
        ended = self._column <= instant
        # MariaDB may hold days that are none, 0000-00-00 or 2026-00-00; as figures they are before every instant.
        return case((and_(func.month(self._column) > 0, func.dayofmonth(self._column) > 0), ended)) if self._mariadb else ended

    def bound(self, instant: datetime) -> object:
        """Return the instant as :meth:`not_after` wants it bound."""
        if self._sqlite:
            return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        if isinstance(self._column.type, Date):
            return instant.astimezone(self._zone).date()
        if self._text and self._mariadb:
            return microseconds(instant)
        if self._mariadb and self._is_instant:
            return instant.astimezone(UTC).replace(tzinfo=None)
        if isinstance(self._column.type, DateTime) and not self._column.type.timezone:
            return instant.astimezone(self._zone).replace(tzinfo=None)
        return instant

    @property
    def _is_instant(self) -> bool:
        """Whether the type holds instants: MariaDB's TIMESTAMP does, and says them in the zone of the session, which is UTC."""
        kind = self._column.type
        return isinstance(kind, TIMESTAMP if self._mariadb else DateTime) and (self._mariadb or bool(getattr(kind, "timezone", False)))

    @property
    def _end(self) -> str:
        return r"\z" if self._mariadb else "$"  # there, $ is before a last line break too

    def _sqlite_text(self) -> ColumnElement[str]:
        text = type_coerce(self._column, String())
        # The shape comes first: to julianday 'now', '12:00' and bare figures are instants too.
        readable: list[tuple[ColumnElement[bool], ColumnElement[str]]] = [(and_(_dated(text), _zoned(text)), text)]
        if self._offset is not None:
            midnight = text + f" 00:00:00{self._offset}"
            readable += [(and_(_dated(text), func.length(text) == len("2026-05-01")), midnight), (_dated(text), text + self._offset)]
        return case(*readable)

    def _mariadb_microseconds(self) -> ColumnElement[int]:
        text = type_coerce(self._column, String())
        readable = [(text.regexp_match(f"(?-i){DAY}{TIME}{OFFSET}{self._end}"), mariadb_microseconds(text))]
        if self._offset is not None:
            local = text.regexp_match(f"(?-i){DAY}({TIME})?{self._end}")
            readable.append((local, mariadb_microseconds(text) - microseconds_of(self._zone)))
        return case(*readable)

    def _postgresql_instant(self) -> ColumnElement[datetime]:
        text = type_coerce(self._column, String())
        # CASE keeps one unreadable text from failing the statement, and with it every other number of the batch.
        readable = [(text.regexp_match(f"{DAY}{TIME}{OFFSET}$"), cast(text, _INSTANT))]
        if self._offset is not None:
            midnight = cast(text + f" 00:00:00{self._offset}", _INSTANT)
            readable += [
                (text.regexp_match(f"{DAY}$"), midnight),
                (text.regexp_match(f"{DAY}{TIME}$"), cast(text + self._offset, _INSTANT)),
            ]
        return case(*readable)


def _dated(text: ColumnElement[str]) -> ColumnElement[bool]:
    return text.bool_op("GLOB")("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*")


def _zoned(text: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(text.bool_op("GLOB")("*[Zz]"), func.substr(text, -6).bool_op("GLOB")("[+-][0-9][0-9]:[0-9][0-9]"))


def is_day(text: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that SQLite's value begins as an ISO day does."""
    return _dated(type_coerce(text, String()))


def written(day: date, column: Column[object]) -> object:
    """Return a date as the column keeps it: date, midnight UTC, or ISO text."""
    if isinstance(column.type, DateTime):
        return datetime.combine(day, time(), UTC if column.type.timezone else None)
    return day if isinstance(column.type, Date) else day.isoformat()
