"""Quarantine: begin it, end it."""

from datetime import datetime

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.cycle import CycleRef
from fallow.domain.ports import Look, Step, TimedStep


class QuarantineActivities:
    """The first stage."""

    def __init__(self, begin: Step, end: TimedStep) -> None:
        """Take the two steps that work on the database."""
        self._begin = begin
        self._end = end

    @activity.defn
    def begin_quarantine(self, cycle: CycleRef) -> Look:
        """Begin the quarantine. Idempotency key: the cycle's state. Retry: always safe, local."""
        with as_failures():
            return self._begin(cycle)

    @activity.defn
    def end_quarantine(self, cycle: CycleRef, asked_at: datetime) -> Look:
        """End the quarantine if it is over by both clocks and nothing holds it; ``asked_at`` is the workflow's time.

        Idempotency key: the cycle's state. Retry: always safe, local.
        """
        with as_failures():
            return self._end(cycle, asked_at)
