"""Text into instants, calendar days and durations, or a refusal. Imports the domain only."""

import re
from datetime import UTC, date, datetime, timedelta

from fallow.domain.durations import duration
from fallow.domain.errors import InstantMalformed

_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_REMEDY = "write it as 2026-04-30T18:00:00+08:00."


def read_instant(text: str, now: datetime) -> datetime:
    """Read an ISO 8601 instant and return it in UTC.

    Args:
        text: the cell, as it stands.
        now: the instant that nothing may lie after.

    Raises:
        InstantMalformed: not ISO 8601, no offset from UTC, no such date, or in the future.
    """
    found = _ISO_8601.fullmatch(text)
    if found is None:
        what = "The instant is not ISO 8601 with date, T and time."
        raise InstantMalformed(what, remedy=_REMEDY)
    if found["offset"] is None:
        what = "The instant has no offset from UTC, so it could mean any of 26 hours."
        raise InstantMalformed(what, remedy=_REMEDY)
    instant = _in_utc(text)
    if instant is None:
        what = "The instant names no real date, time or offset."
        raise InstantMalformed(what, remedy=_REMEDY)
    if instant > now:
        what = "The instant lies in the future."
        raise InstantMalformed(what, remedy="state it once it has happened, and compare the clocks.")
    return instant


def _in_utc(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_day(text: str, now: datetime) -> date:
    """Read an ISO 8601 calendar day, ``2026-04-30``.

    Args:
        text: the cell, as it stands.
        now: the day in UTC that it falls on is the last that can be over anywhere on earth.

    Raises:
        InstantMalformed: another form, no such day, or in the future.
    """
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        what = "The date is no calendar day."
        raise InstantMalformed(what, remedy="write it as 2026-04-30.")
    if day > now.astimezone(UTC).date():
        what = "The date lies in the future."
        raise InstantMalformed(what, remedy="state a day once it is over, and compare the clocks.")
    return day


def read_duration(text: str) -> timedelta:
    """Read ``90d``, ``12h``, ``30m`` or ``5s``.

    Raises:
        InstantMalformed: anything else.
    """
    try:
        return duration(text)
    except ValueError:
        what = "The duration is not a whole count and one unit."
        raise InstantMalformed(what, remedy="write 90d, 12h, 30m or 5s.") from None
