"""A request on its way to a platform: what it is about, and what the delivery log is to say of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fallow.domain.sent import Sent, begin_sending
from fallow.store.exchanges import Direction, Exchange

About = TypeVar("About")


@dataclass
class Outgoing(Generic[About]):
    """One request, begun when this is made.

    Attributes:
        due: what it asks for or after, one for each number.
        sent: what the transport notes of it.
    """

    due: Sequence[About]
    sent: Sent = field(default_factory=begin_sending)
    _began: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    def over(self) -> None:
        """Note that it has ended."""
        self._took = time.monotonic() - self._began

    def exchange(self, platform_id: str, result: str) -> Exchange:
        """Return its row of the delivery log."""
        sent, took_ms = self.sent, round(1000 * self._took)
        return Exchange(platform_id, Direction.OUT, sent.delivery_id, len(self.due), sent.octets, sent.status, result, took_ms)
