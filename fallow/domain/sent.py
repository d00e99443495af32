"""What is told of a request while it is under way, for the delivery log: whoever sends it fills in what they know.

It travels beside the call and not through it, so that no adapter's form depends on the log.
"""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Sent:
    """What is known of one request.

    Attributes:
        delivery_id: the message's ``webhook-id``, or what its scheme has in its place; "" where none was sent.
        status: the HTTP status of the answer; None where there was none.
        octets: length of the answer's body, as far as it was read.
    """

    delivery_id: str = ""
    status: int | None = None
    octets: int = 0


_UNDER_WAY: ContextVar[Sent] = ContextVar("request under way")


def begin_sending() -> Sent:
    """Begin a request in this task; return what will be told of it."""
    sent = Sent()
    _UNDER_WAY.set(sent)
    return sent


def under_way() -> Sent:
    """Return the present request of this task, to tell of it; where nobody asked for that, one that nobody reads."""
    return _UNDER_WAY.get(Sent())
