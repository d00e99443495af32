"""A bounded sample of a column, without what its type makes of the values. Imports SQLAlchemy."""

from typing import Any

from sqlalchemy import Boolean, Connection, Date, DateTime, Enum, Float, Integer, Interval, LargeBinary, Numeric, String, Time, func, select
from sqlalchemy import column as named
from sqlalchemy import table as called
from sqlalchemy.types import NullType, TypeEngine, Uuid

#: Values looked at, and rows looked through for them: a column that is nearly always empty must not cost a whole table.
_VALUES, _ROWS = 200, 10_000
#: Characters of a value: enough to tell that it is longer than any number.
_CHARACTERS = 48
_NO_NUMBERS = (Boolean, Date, DateTime, Time, Interval, Float, Enum, Uuid)


def can_be_named(kind: TypeEngine[Any]) -> bool:
    """Tell whether a column of this type can hold numbers at all."""
    return not isinstance(kind, _NO_NUMBERS) and not (isinstance(kind, Numeric) and bool(kind.scale))


def can_be_sampled(kind: TypeEngine[Any]) -> bool:
    """Tell whether values of this type can be looked at as numbers."""
    return can_be_named(kind) and isinstance(kind, String | Integer | Numeric | NullType)


def sample(connection: Connection, schema: str | None, table: str, column: str, kind: TypeEngine[Any] | None = None) -> list[object]:
    """Return up to 200 values of a column, without NULL, from its first 10,000 rows; of text the first 48 characters.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database refuses, or takes longer than its timeout.
    """
    # Bare names: a reflected type would read values its own way, and break where a table holds others.
    rows = select(named(column)).select_from(called(table, named(column), schema=schema)).limit(_ROWS).subquery()
    value = func.substr(rows.c[0], 1, _CHARACTERS) if isinstance(kind, String | LargeBinary) else rows.c[0]
    return list(connection.execute(select(value).where(rows.c[0].is_not(None)).limit(_VALUES)).scalars())
