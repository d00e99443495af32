"""Reading ``Retry-After`` (RFC 9110 section 10.2.3): what a target asks of us, never more than a day. Standard library only."""

import re
from datetime import UTC, datetime, timedelta

#: The longest wait a target can impose; a bigger figure is cut to it.
LONGEST_WAIT = timedelta(days=1)

_SECONDS = re.compile(r"[0-9]{1,20}\Z", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# The three spellings of an HTTP date, RFC 9110 section 5.6.7: IMF-fixdate, and the two obsolete ones that recipients must still read.
_DATES = tuple(
    re.compile(rf"{form}\Z", re.ASCII)
    for form in (
        f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_FUTURE_YEARS = 50
_LEAP_SECOND = 60


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the wait in seconds, from 0 to a day; None where the header is absent, negative or garbage."""
    if text is None:
        return None
    if _SECONDS.match(text):
        return min(float(text), LONGEST_WAIT.total_seconds())
    at = next((_instant(found, now) for form in _DATES if (found := form.match(text))), None)
    return None if at is None else max(timedelta(0), min(at - now, LONGEST_WAIT)).total_seconds()


def _instant(found: re.Match[str], now: datetime) -> datetime | None:
    year, second = int(found["year"]), int(found["second"])
    if len(found["year"]) == 2:  # noqa: PLR2004 - RFC 850's two digits
        year = _century(year, now)
    if second == _LEAP_SECOND:
        second = 59
    try:
        month = _MONTHS.index(found["month"]) + 1
        return datetime(year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None


def _century(two_digits: int, now: datetime) -> int:
    """Return the year: one that seems more than 50 years ahead is the latest in the past with the same digits (RFC 9110 section 5.6.7)."""
    year = now.year - now.year % 100 + two_digits
    return year - 100 if year > now.year + _FUTURE_YEARS else year
