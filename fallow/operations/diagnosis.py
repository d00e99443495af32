"""What a doctor looks at inside the database: whether it is a demo's, who waits for a person, which targets are paused."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, func, select

from fallow.domain.lifecycle import ACTIVE, State
from fallow.domain.obligations import Status
from fallow.operations.sale import is_demo
from fallow.store.cycles import UNHEEDED_TRIES
from fallow.store.engine import Database
from fallow.store.tables import CycleRow, ObligationRow, PrincipalRow, TargetRow


@dataclass(frozen=True)
class Diagnosis:
    """Figures and opaque names only.

    Attributes:
        demo: whether this is a demo database.
        administrators: how many administrators' keys are valid.
        attention: cycles that wait for a person.
        unheeded: cycles whose workflow was told to look again and again and does not.
        owing: targets that something is still asked of.
        paused: targets that are sent nothing for the time being: (id, until, trouble).
    """

    demo: bool
    administrators: int
    attention: int
    unheeded: int
    owing: tuple[str, ...]
    paused: tuple[tuple[str, datetime, str], ...]


def diagnose(db: Database) -> Diagnosis:
    """Look, and change nothing."""
    administrators = select(func.count()).where(PrincipalRow.role == "administrator", col(PrincipalRow.revoked_at).is_(None))
    owing = select(ObligationRow.target_id).join(CycleRow, col(CycleRow.cycle_id) == col(ObligationRow.cycle_id))
    owing = owing.where(ObligationRow.status == Status.OPEN, col(CycleRow.state).in_((*ACTIVE, State.RESELLABLE)))
    unheeded = select(func.count()).where(col(CycleRow.wake_at).is_not(None), col(CycleRow.wake_tries) >= UNHEEDED_TRIES)
    with db.read() as tx:
        paused = tx.session.exec(select(TargetRow).where(col(TargetRow.closed_until) > tx.now).order_by(TargetRow.target_id))
        return Diagnosis(
            demo=is_demo(tx),
            administrators=tx.session.exec(administrators).one(),
            attention=tx.session.exec(select(func.count()).where(col(CycleRow.attention) != "[]")).one(),
            unheeded=tx.session.exec(unheeded).one(),
            owing=tuple(tx.session.exec(owing.order_by(ObligationRow.target_id).distinct())),
            paused=tuple((row.target_id, row.closed_until, row.trouble or "") for row in paused if row.closed_until is not None),
        )
