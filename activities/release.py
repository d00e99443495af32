"""Release: the gate."""

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.cycle import CycleRef
from fallow.domain.ports import Look, Step


class ReleaseActivities:
    """The last stage."""

    def __init__(self, release: Step) -> None:
        """Take the step that works on the database and asks the line register."""
        self._release = release

    @activity.defn
    def release_number(self, cycle: CycleRef) -> Look:
        """Open the gate or say why not.

        Idempotency key: the cycle's state. Retry: always safe, local; a register that can't be asked is retried.
        """
        with as_failures():
            return self._release(cycle)
