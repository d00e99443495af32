"""Disclosure: issue the signed tag that the buyer will be shown."""

from temporalio import activity

from activities.failures import as_failures
from fallow.domain.cycle import CycleRef
from fallow.domain.ports import Look, Step


class DisclosureActivities:
    """The fourth stage."""

    def __init__(self, issue: Step) -> None:
        """Take the step that works on the database."""
        self._issue = issue

    @activity.defn
    def tag_disclosure(self, cycle: CycleRef) -> Look:
        """Issue the tag. Idempotency key: the tag's digest. Retry: always safe, local."""
        with as_failures():
            return self._issue(cycle)
