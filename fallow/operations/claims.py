"""People who come back for their number: nothing is wiped while a claim is open, and two that fail lock the door."""

from collections.abc import Mapping

from sqlmodel import col, select

from fallow.domain.attention import Attention, Reason
from fallow.domain.claims import DENIALS_THAT_LOCK, Ground
from fallow.domain.cycle import CycleRef
from fallow.domain.errors import CommandRefused, InputRefused, SecondPersonNeeded
from fallow.domain.events import Kind
from fallow.domain.lifecycle import Command, State
from fallow.operations.proposals import stands
from fallow.store import cycles
from fallow.store.engine import Tx
from fallow.store.tables import CycleRow, ProposalRow

#: Ends after which the next cycle of the number goes on counting failed claims.
PASS_ON = (State.WITHDRAWN, State.RETURNED)
WAITS, LOCKED = Attention(Reason.RECLAIM_WAITS), Attention(Reason.RECLAIM_LOCKED)


def demand_claimable(row: CycleRow, arguments: Mapping[str, str]) -> None:
    """Refuse a claim on no known ground, and any claim on a locked cycle.

    Raises:
        InputRefused, CommandRefused: as they say.
    """
    if arguments.get("ground") not in set(Ground):
        what = "A reclaim was given on no known ground."
        raise InputRefused(what, remedy=f"say one of {', '.join(Ground)}.")
    if _locked(row):
        what = f"The reclaim of cycle {row.cycle_id} is locked: {row.denials} claims failed their identity check."
        raise CommandRefused(what, remedy="find out who claims it; then two people `unlock` it, neither of whom made a denied claim.")


def demand_unclaimed(tx: Tx, row: CycleRow) -> None:
    """Refuse to take a number out of its claimant's reach by one person's order.

    Raises:
        CommandRefused: a claim on it is open.
    """
    if waiting(tx, row):
        what = f"Somebody claims the number of cycle {row.cycle_id}: it can't leave before that is decided."
        raise CommandRefused(what, remedy="a second person approves the claim or denies it; `fallow proposals` lists it.")


def demand_unlockable(tx: Tx, row: CycleRow, person_id: str) -> None:
    """Refuse to unlock what is not locked, and whoever made one of the claims that locked it.

    Raises:
        CommandRefused, SecondPersonNeeded: as they say.
    """
    if not _locked(row):
        what = f"The reclaim of cycle {row.cycle_id} is not locked."
        raise CommandRefused(what, remedy="nothing to unlock: `reclaim` it.")
    if person_id in _whose_claims_failed(tx, row):
        what = "Who made a denied claim can't take part in unlocking."
        raise SecondPersonNeeded(what, remedy="two others must do it.")


def wait(tx: Tx, row: CycleRow) -> None:
    """Keep a claimed number from being wiped until its last claim is decided."""
    cycles.raise_attention(tx, row, WAITS)


def waiting(tx: Tx, row: CycleRow) -> bool:
    """Tell whether a claim is open that still stands."""
    return any(stands(tx, claim) for claim in _open(tx, row))


def _open(tx: Tx, row: CycleRow) -> list[ProposalRow]:
    query = select(ProposalRow).where(ProposalRow.cycle_id == row.cycle_id, ProposalRow.command == Command.RECLAIM)
    return list(tx.session.exec(query.where(col(ProposalRow.decided_at).is_(None))))


def count_denial(tx: Tx, row: CycleRow, proposal_id: str, who: Mapping[str, str]) -> None:
    """Record that a claim failed its identity check; the last that may locks the cycle."""
    cycles.record(tx, row, Kind.RECLAIM_DENIED, proposal_id=proposal_id, **who)
    if _locked(row):
        cycles.raise_attention(tx, row, LOCKED)
    if not waiting(tx, row):
        cycles.clear_attention(tx, row, {WAITS})


def unlock(tx: Tx, row: CycleRow, who: Mapping[str, str]) -> None:
    """Take claims again."""
    for claim in _open(tx, row):  # made before the lock: whoever still means it claims again
        claim.decided_by, claim.decided_at = who["second"], tx.now
        cycles.record(tx, row, Kind.PROPOSAL_DENIED, proposal_id=claim.proposal_id, **{**who, "by": claim.proposed_by})
    cycles.record(tx, row, Kind.RECLAIM_UNLOCKED, **who)
    cycles.clear_attention(tx, row, {LOCKED, WAITS})


def _locked(row: CycleRow) -> bool:
    return row.denials >= DENIALS_THAT_LOCK


def _whose_claims_failed(tx: Tx, row: CycleRow) -> set[str]:
    """Return who made the claims that were denied since the last unlocking, in the cycles too that the count was brought along from."""
    people = set[str]()
    for event in (event for cycle_id in _since_it_counts(tx, row) for event in cycles.events(tx, cycle_id)):
        if event.kind is Kind.RECLAIM_DENIED:
            people.add(event.body["by"])
        if event.kind is Kind.RECLAIM_UNLOCKED:
            people.clear()
    return people


def _since_it_counts(tx: Tx, row: CycleRow) -> list[str]:
    """Return the cycles whose denials count for this one, oldest first: a withdrawn or returned one passes them on."""
    counting = [row.cycle_id]
    for cycle_no in range(row.cycle_no - 1, 0, -1):
        last = cycles.get(tx, CycleRef(row.number_id, cycle_no).cycle_id)
        if last.state not in PASS_ON:
            break
        counting.insert(0, last.cycle_id)
    return counting
