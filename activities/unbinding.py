"""Unbinding: open one obligation per platform, settle when all are discharged."""

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.cycle import CycleRef
from fallow.domain.ports import Look, Step


class UnbindingActivities:
    """The third stage. The asking itself is done by each platform's sender (``activities.dispatch``)."""

    def __init__(self, clear: Step) -> None:
        """Take the step that works on the database."""
        self._clear = clear

    @activity.defn
    def unbind_platforms(self, cycle: CycleRef) -> Look:
        """Open or settle the unbinding. Idempotency key: (cycle, platform). Retry: always safe, local."""
        with as_failures():
            return self._clear(cycle)
