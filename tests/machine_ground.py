"""The ground under the state machine: how it takes steps, delivers and looks, free of any promise."""

from collections.abc import Callable
from typing import Any

from builders import World, advance
from hypothesis.stateful import RuleBasedStateMachine
from sqlmodel import select

from fallow.domain.cycle import ref
from fallow.domain.events import Event
from fallow.domain.lifecycle import State
from fallow.domain.obligations import TargetKind
from fallow.domain.ports import SignedDelivery
from fallow.operations.answers import accept_answer
from fallow.platforms.protocol import parse_answers
from fallow.store import cycles
from fallow.store.tables import CycleRow


class Ground(RuleBasedStateMachine):
    """What the rules and invariants of the machine work with; its rules set it up."""

    world: World
    engine: Any
    db: Any
    ids: list[str]
    going_on: set[str]

    def _look(self, cycle_id: str, step: str) -> bool:
        cycle, stages = ref(cycle_id), self.engine.stages
        steps: dict[str, Callable[[], Any]] = {
            "begin": lambda: stages.begin_quarantine(cycle),
            "end": lambda: stages.end_quarantine(cycle, self.world.clock.now()),
            "wipe": lambda: stages.clear(cycle, TargetKind.RECORDS),
            "unbind": lambda: stages.clear(cycle, TargetKind.PLATFORM),
            "tag": lambda: self.engine.disclosure.issue_tag(cycle),
            "release": lambda: self.engine.release.release(cycle),
        }
        look = steps[step]()
        assert not (look.done and look.ended)
        (self.going_on.add if look.done else self.going_on.discard)(cycle_id)
        # A step that its stage has not come to yet is never taken by a workflow: it would have taken the one before.
        if not look.done and step == "release" and look.state != State.TAGGING and not look.ended:
            self.going_on.add(cycle_id)
        return bool(look.done)

    def _advance(self, cycle_id: str, until: State) -> None:
        self._timers_run()
        advance(self.world, cycle_id, until)
        self.going_on.add(cycle_id)

    def _timers_run(self) -> None:
        self.going_on |= {row.cycle_id for row in self._rows() if row.state == State.QUARANTINED}

    def _deliver(self, platform_id: str, delivery: SignedDelivery) -> str:
        said = [(each.reference, each.outcome) for each in parse_answers(delivery.body)]
        return accept_answer(self.world.installation, platform_id, delivery, said)

    def _cycle(self, index: int) -> str:
        return self.ids[-1 - index % len(self.ids)]

    def _refresh(self) -> None:
        known = {row.cycle_id for row in self._rows()}
        self.ids += sorted(known - set(self.ids))

    def _row(self, cycle_id: str) -> CycleRow:
        with self.db.read() as tx:
            return cycles.get(tx, cycle_id)

    def _rows(self) -> list[CycleRow]:
        with self.db.read() as tx:
            return list(tx.session.exec(select(CycleRow)))

    def _events(self) -> dict[str, list[Event]]:
        with self.db.read() as tx:
            return {cycle_id: cycles.events(tx, cycle_id) for cycle_id in tx.session.exec(select(CycleRow.cycle_id)).all()}
