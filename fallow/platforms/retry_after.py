"""Reading ``Retry-After`` (RFC 9110 section 10.2.3): what a target asks of us, never more than a day. Standard library only."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: The longest wait a target can impose; a bigger figure is cut to it.
LONGEST_WAIT = timedelta(days=1)

_SECONDS = re.compile(r"[0-9]{1,20}\Z", re.ASCII)
# Only the preferred form of an HTTP date; the two obsolete ones count as garbage.
_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z", re.ASCII)


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the wait in seconds, from 0 to a day; None where the header is absent, negative or garbage."""
    if text is None:
        return None
    if _SECONDS.match(text):
        return min(float(text), LONGEST_WAIT.total_seconds())
    if not _DATE.match(text):
        return None
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    wait = at.replace(tzinfo=UTC) - now
    return max(timedelta(0), min(wait, LONGEST_WAIT)).total_seconds()
