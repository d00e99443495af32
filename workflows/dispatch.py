"""One target's sender, turn after turn."""

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.dispatch import DispatchActivities
    from fallow.domain.ports import TurnOver
    from workflows import options


def workflow_id(target_id: str) -> str:
    """Return the id of a target's dispatch workflow."""
    return f"dispatch/{target_id}"


@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class DispatchWorkflow:
    """Keeps one sender at work for ever: a turn, the next turn, a new run when the history has grown.

    A target that is down costs this one waiting sender, and slows no other.
    """

    @workflow.init
    def __init__(self, target_id: str) -> None:
        """Begin without a turn taken."""
        self._target_id = target_id
        self._last = TurnOver(0, 0, "none yet")

    @workflow.run
    async def run(self, target_id: str) -> None:
        """Take turns until the server suggests a new run."""
        while not workflow.info().is_continue_as_new_suggested():
            await self._turn()
        workflow.continue_as_new(target_id)

    @workflow.query
    def status(self) -> TurnOver:
        """How the last turn ended."""
        return self._last

    async def _turn(self) -> None:
        try:
            self._last = await workflow.execute_activity_method(
                DispatchActivities.take_turn,
                self._target_id,
                start_to_close_timeout=options.TURN_FOR + options.TURN_GRACE,
                schedule_to_close_timeout=options.TURN_WITHIN,
                heartbeat_timeout=options.TURN_BEAT_WITHIN,
                retry_policy=options.TURN_RETRY,
            )
        except ActivityError as failure:
            if is_cancelled_exception(failure):
                raise
            self._last = TurnOver(0, 0, "failed")
        workflow.set_current_details(f"last turn: {self._last.why}, {self._last.discharged} discharged, {self._last.failed} failed")
        if self._last.why in ("failed", "lease-lost"):
            await workflow.sleep(options.TURN_AGAIN_AFTER)
