"""The baseline of the pipeline: a workflow of the engine's shape that does nothing.

One timer, nine local activities without effect, two signals sent from outside by the relay's own code, then it completes.
What it reaches is what Temporal itself reaches on this machine with this shape. Loaded into the workflow sandbox, so its
imports are as light as those of ``workflows``.
"""

import time
from dataclasses import dataclass

from temporalio import activity, workflow
from temporalio.common import VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from fallow.domain.cycle import CycleRef
    from workflows import options

QUEUE = "bench-bare"


@dataclass(frozen=True)
class Lap:
    """Which bare workflow, and until which second since 1970 its timer runs."""

    cycle: CycleRef
    ripe_at: float


class BareSteps:
    """The local activities: they only note what the measurement and the signalling need."""

    def __init__(self) -> None:
        """Begin with nothing noted; lists, because appending to them is safe from every thread."""
        self.began: list[float] = []
        self.ended: list[float] = []
        self.to_tell: list[CycleRef] = []

    @activity.defn
    def bare_begin(self, _: CycleRef) -> None:
        """Note the instant."""
        self.began.append(time.time())

    @activity.defn
    def bare_step(self, _: CycleRef) -> None:
        """Do nothing."""

    @activity.defn
    def bare_open(self, cycle: CycleRef) -> None:
        """Ask for a signal, as the last discharged obligation of a stage does."""
        self.to_tell.append(cycle)

    @activity.defn
    def bare_release(self, _: CycleRef) -> None:
        """Note the instant."""
        self.ended.append(time.time())


@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class BareWorkflow:
    """The shape of ``NumberRecyclingWorkflow`` on its happy path, step for step."""

    @workflow.init
    def __init__(self, lap: Lap) -> None:
        """Begin untold."""
        self._cycle = lap.cycle
        self._told = 0

    @workflow.run
    async def run(self, lap: Lap) -> None:
        """Begin, look, sleep; look, open, be told; settle, open, be told; settle, tag, release."""
        await self._take(BareSteps.bare_begin, BareSteps.bare_step)
        await workflow.sleep(max(lap.ripe_at - workflow.time(), 0))
        await self._take(BareSteps.bare_step, BareSteps.bare_open)
        await workflow.wait_condition(lambda: self._told >= 1)
        await self._take(BareSteps.bare_step, BareSteps.bare_open)
        await workflow.wait_condition(lambda: self._told >= 2)  # noqa: PLR2004 - the second stage
        await self._take(BareSteps.bare_step, BareSteps.bare_step, BareSteps.bare_release)

    @workflow.signal
    def nudge(self) -> None:
        """Go on."""
        self._told += 1

    async def _take(self, *steps: object) -> None:
        for step in steps:
            await workflow.execute_local_activity_method(
                step,  # type: ignore[arg-type]
                self._cycle,
                start_to_close_timeout=options.STEP_FOR,
                retry_policy=options.STEP_LOCAL_RETRY,
            )
