"""Workflows as a careless change would make them: each must be refused by the replay of a golden history."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.dispatch import DispatchActivities
    from activities.quarantine import QuarantineActivities
    from fallow.domain.cycle import CycleRef
    from fallow.domain.ports import Look, TurnOver
    from workflows import options

from workflows.dispatch import DispatchWorkflow
from workflows.recycling import STEPS, NumberRecyclingWorkflow


@workflow.defn(name="NumberRecyclingWorkflow")
class StepsReordered(NumberRecyclingWorkflow):
    """Ends the quarantine before it begins it, and unbinds before it wipes."""

    @workflow.init
    def __init__(self, cycle: CycleRef) -> None:
        """Begin like the original."""
        super().__init__(cycle)

    @workflow.run
    async def run(self, cycle: CycleRef) -> Look:
        """Take the steps in pairs, each the wrong way round."""
        for no in (1, 0, 3, 2, 5, 4):
            await self._until_done(STEPS[no])
            if self._seen.ended:
                break
        return self._seen


@workflow.defn(name="NumberRecyclingWorkflow")
class AnExtraTimer(NumberRecyclingWorkflow):
    """Waits a second before it begins."""

    @workflow.init
    def __init__(self, cycle: CycleRef) -> None:
        """Begin like the original."""
        super().__init__(cycle)

    @workflow.run
    async def run(self, cycle: CycleRef) -> Look:
        """Wait, then go on like the original."""
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(cycle)


@workflow.defn(name="NumberRecyclingWorkflow")
class AStepMore(NumberRecyclingWorkflow):
    """Looks once more at the end."""

    @workflow.init
    def __init__(self, cycle: CycleRef) -> None:
        """Begin like the original."""
        super().__init__(cycle)

    @workflow.run
    async def run(self, cycle: CycleRef) -> Look:
        """Go like the original, then look again."""
        seen = await super().run(cycle)
        await self._until_done(QuarantineActivities.end_quarantine)
        return seen


@workflow.defn(name="NumberRecyclingWorkflow")
class OverlaysUnseen(NumberRecyclingWorkflow):
    """No longer shows HELD and ATTENTION in Temporal's lists."""

    @workflow.init
    def __init__(self, cycle: CycleRef) -> None:
        """Begin like the original."""
        super().__init__(cycle)

    @workflow.run
    async def run(self, cycle: CycleRef) -> Look:
        """Go like the original."""
        return await super().run(cycle)

    def _mark(self, *, held: bool, attention: bool) -> None:
        self._shown = (held, attention)


@workflow.defn(name="DispatchWorkflow")
class APauseBetweenTurns(DispatchWorkflow):
    """Rests between two turns."""

    @workflow.init
    def __init__(self, target_id: str) -> None:
        """Begin like the original."""
        super().__init__(target_id)

    @workflow.run
    async def run(self, target_id: str) -> None:
        """Take turns with a rest between them."""
        while True:
            await self._turn()
            await workflow.sleep(timedelta(seconds=1))


@workflow.defn(name="DispatchWorkflow")
class TurnsTakenLocally(DispatchWorkflow):
    """Takes its turns as local activities."""

    @workflow.init
    def __init__(self, target_id: str) -> None:
        """Begin like the original."""
        super().__init__(target_id)

    @workflow.run
    async def run(self, target_id: str) -> None:
        """Take turns locally."""
        while True:
            self._last = await self._turn_locally()

    async def _turn_locally(self) -> TurnOver:
        return await workflow.execute_local_activity_method(
            DispatchActivities.take_turn, self._target_id, start_to_close_timeout=options.TURN_FOR
        )
