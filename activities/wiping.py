"""Record wiping: open one obligation per record system, settle when all are discharged."""

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.cycle import CycleRef
from fallow.domain.ports import Look, Step


class WipingActivities:
    """The second stage. The wiping itself is done by each system's sender (``activities.dispatch``)."""

    def __init__(self, clear: Step) -> None:
        """Take the step that works on the database."""
        self._clear = clear

    @activity.defn
    def wipe_records(self, cycle: CycleRef) -> Look:
        """Open or settle the wiping. Idempotency key: (cycle, record system). Retry: always safe, local."""
        with as_failures():
            return self._clear(cycle)
