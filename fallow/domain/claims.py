"""Claims of people who come back for their number, and reminders to its former holder: the closed words and what follows from them.

This is the SIM-fraud door: whoever talks a carrier into giving a number back holds every account that hangs on it.
"""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

#: After so many claims that failed their identity check none is taken until two people unlock the cycle.
DENIALS_THAT_LOCK = 2
#: A reminder to the former holder may precede the end of the line by so much.
REMINDER_BEFORE = timedelta(days=366)
_ONE_DAY = timedelta(days=1)
_SATURDAY = 5


class Ground(StrEnum):
    """Why somebody may have the number back. The reference is the identity check's; for a successor it names the document too."""

    FORMER_HOLDER = "former-holder"
    #: Family, or the successor of a business.
    SUCCESSOR = "successor"
    #: The line was cut off by mistake: its holder comes before all others.
    WRONGFUL = "wrongful"


class Channel(StrEnum):
    """How the former holder was reminded of the accounts that hang on the number."""

    SMS = "sms"
    LETTER = "letter"
    EMAIL = "email"
    APP = "app"
    CALL = "call"
    SHOP = "shop"


def due_by(claimed_at: datetime) -> datetime:
    """Return by when the claim of a line cut off wrongly must be decided: the midnight, UTC, that ends the next business day.

    Australia's ACMA asks that such a number is re-issued within one business day. Monday to Friday; public holidays are not known here.
    """
    day = claimed_at.astimezone(UTC).date() + _ONE_DAY
    while day.weekday() >= _SATURDAY:
        day += _ONE_DAY
    return datetime.combine(day + _ONE_DAY, time(), UTC)
