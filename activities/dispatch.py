"""A sender's turn: the only activity that runs for minutes."""

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.ports import Sender, TurnOver


class DispatchActivities:
    """Senders, one per target."""

    def __init__(self, sender: Sender, turn_for: float) -> None:
        """Take the sender and how long a turn lasts, in seconds."""
        self._sender = sender
        self._turn_for = turn_for

    @activity.defn
    async def take_turn(self, target_id: str) -> TurnOver:
        """Discharge what is due at one target until the turn is over.

        Idempotency key: (target, obligation reference); writes are fenced by the target's lease. Retry: always safe; a turn
        that dies is taken again after its heartbeat times out, and repeats at most the requests that were in flight.
        """
        with as_failures():
            return await self._sender.turn(target_id, turn_for=self._turn_for, beat=activity.heartbeat, stopping=_stopping)


def _stopping() -> bool:
    return activity.is_worker_shutdown() or activity.is_cancelled()
