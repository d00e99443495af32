"""One number, one cycle: the lifecycle, top to bottom. The database decides each step; this workflow remembers to ask."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, VersioningBehavior
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.disclosure import DisclosureActivities
    from activities.quarantine import QuarantineActivities
    from activities.release import ReleaseActivities
    from activities.unbinding import UnbindingActivities
    from activities.wiping import WipingActivities
    from fallow.domain.cycle import CycleRef
    from fallow.domain.ports import Look
    from workflows import options

#: Visible in Temporal's lists; they change only when a person is needed, so the happy path pays no event for them.
HELD = SearchAttributeKey.for_bool("FallowHeld")
ATTENTION = SearchAttributeKey.for_bool("FallowAttention")

#: The lifecycle. Each step is repeated until it says *done*; any step may find that the cycle has *ended*.
STEPS: tuple[Callable[..., Any], ...] = (
    QuarantineActivities.begin_quarantine,
    QuarantineActivities.end_quarantine,
    WipingActivities.wipe_records,
    UnbindingActivities.unbind_platforms,
    DisclosureActivities.tag_disclosure,
    ReleaseActivities.release_number,
)


@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class NumberRecyclingWorkflow:
    """Drives a cycle from ENROLLED to its end. Knows the number only as ``number_id``.

    It may be started again at any stage: each step looks at the database first, and one that is behind is *done* at once.
    """

    @workflow.init
    def __init__(self, cycle: CycleRef) -> None:
        """Begin with nothing seen."""
        self._cycle = cycle
        self._nudged = False
        self._seen = Look("ENROLLED")
        self._shown = (False, False)

    @workflow.run
    async def run(self, cycle: CycleRef) -> Look:  # noqa: ARG002 - Temporal hands it to run and to __init__ alike
        """Go through the lifecycle; return the last look, whose state is the cycle's end."""
        for step in STEPS:
            await self._until_done(step)
            # Released, and yet not at the last step: a worker died between its steps and their report. The rest is taken again,
            # which changes nothing in the database, so that the history shows every step.
            if self._seen.ended and not self._seen.released:
                break
        return self._seen

    @workflow.signal
    def nudge(self) -> None:
        """Something changed in the database: look again. Carries nothing, so that nothing can be forged or lost with it."""
        self._nudged = True

    @workflow.query
    def status(self) -> Look:
        """Where the cycle stood at the last look."""
        return self._seen

    async def _until_done(self, step: Callable[..., Any]) -> None:
        at_least = options.LOOK_AGAIN_AFTER
        while True:
            self._nudged = False
            look = await self._look(step)
            if look is not None:
                self._show(look)
                if look.done or look.ended:
                    return
            look_at = workflow.now() + options.STEP_AGAIN_AFTER if look is None else look.look_at
            at_least = await self._wait(look_at, at_least)

    async def _look(self, step: Callable[..., Any]) -> Look | None:
        """Take one step: locally, because it is one transaction; else as a regular activity, whose retries outlast an outage."""
        try:
            return await workflow.execute_local_activity_method(
                step,
                args=self._arguments(step),
                start_to_close_timeout=options.STEP_FOR,
                retry_policy=options.STEP_LOCAL_RETRY,
            )
        except FailureError as failure:
            # A local activity's last failure comes bare, not wrapped in an ActivityError as a regular one's does.
            if is_cancelled_exception(failure):
                raise
        try:
            return await workflow.execute_activity_method(
                step,
                args=self._arguments(step),
                start_to_close_timeout=options.STEP_REGULAR_FOR,
                schedule_to_close_timeout=options.STEP_REGULAR_WITHIN,
                retry_policy=options.STEP_REGULAR_RETRY,
            )
        except ActivityError as failure:
            if is_cancelled_exception(failure):
                raise
            self._mark(held=self._shown[0], attention=True)
            return None

    def _arguments(self, step: Callable[..., Any]) -> list[Any]:
        """Return what a step is given; only the end of quarantine asks for Temporal's time, as the second of two clocks."""
        return [self._cycle, workflow.now()] if step is QuarantineActivities.end_quarantine else [self._cycle]

    async def _wait(self, look_at: datetime | None, at_least: timedelta) -> timedelta:
        """Sleep until a nudge or the instant, and return the least to sleep next time: one timer for the whole quarantine.

        An instant that has passed here and not in the database (whose clock is behind) would else be asked about every second.
        """
        early = look_at is not None and look_at <= workflow.now()
        timeout = None if look_at is None else max(look_at - workflow.now(), at_least)
        try:
            await workflow.wait_condition(lambda: self._nudged, timeout=timeout)
        except TimeoutError:
            return min(at_least * 2, options.LOOK_AGAIN_WITHIN) if early else options.LOOK_AGAIN_AFTER
        return options.LOOK_AGAIN_AFTER

    def _show(self, look: Look) -> None:
        self._seen = look
        waits = f" until {look.look_at:%Y-%m-%d %H:%M} UTC" if look.look_at else ""
        overlays = " · HELD" * look.held + "".join(f" · ATTENTION {reason}" for reason in look.attention)
        workflow.set_current_details(f"**{look.state}**{waits}{overlays}")
        self._mark(held=look.held, attention=bool(look.attention))

    def _mark(self, *, held: bool, attention: bool) -> None:
        if self._shown != (held, attention):
            self._shown = (held, attention)
            workflow.upsert_search_attributes([HELD.value_set(held), ATTENTION.value_set(attention)])
