"""ISO 8601 text in SQL: regular expressions that only pass what every database can convert, and MariaDB's conversion.

One text that can't be converted would fail the statement, and with it every other number of a batch. Imports SQLAlchemy.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import ColumnElement, Integer, case, cast, func, literal_column
from sqlalchemy.dialects.mysql import DATETIME

_SHORT_AND_LONG = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
#: A day that there is, from its beginning on.
DAY = f"^(?!0000)([0-9]{{4}}-({_SHORT_AND_LONG})|{_LEAP_YEAR}-02-29)"
TIME = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
OFFSET = "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MINUTE = 60_000_000


def microseconds(instant: datetime) -> int:
    """Return the instant as microseconds since 2000-01-01 UTC."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def microseconds_of(zone: tzinfo) -> int:
    """Return how far a zone of one fixed offset is east of Greenwich."""
    return (zone.utcoffset(None) or timedelta()) // timedelta(microseconds=1)


def mariadb_microseconds(text: ColumnElement[str]) -> ColumnElement[int]:
    """Return MariaDB's expression for the microseconds since 2000-01-01 UTC of a text; without offset it is read as UTC.

    Figures, because its conversion between zones leaves what is before 1970 or after 2038 as it was.

    Args:
        text: what matches ``DAY``, ``DAY TIME`` or ``DAY TIME OFFSET``; of anything else the expression must not be evaluated.
    """
    local = func.regexp_substr(text, f"(?-i){DAY}({TIME})?")
    offset = func.substring(text, func.char_length(local) + 1)  # '', 'Z', '+08', '+0800' or '+08:00'
    digits = func.rpad(func.replace(func.substring(offset, 2), ":", ""), 4, "0")
    minutes = cast(func.left(digits, 2), Integer) * 60 + cast(func.right(digits, 2), Integer)
    east = case((func.left(offset, 1) == "-", -minutes), else_=minutes)
    instant = cast(func.replace(local, "T", " "), DATETIME(fsp=6))
    since = func.timestampdiff(literal_column("MICROSECOND"), f"{_EPOCH:%Y-%m-%d}", instant, type_=Integer())
    return since - east * _MINUTE
