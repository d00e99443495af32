"""States of a cycle, commands of people, and the table of which command is allowed where.

The table is the single answer to "may I do this now?"; ``docs/lifecycle.md`` shows it and a test checks each cell.
"""

from enum import StrEnum

from fallow.domain.errors import CommandRefused


class State(StrEnum):
    """Where a recycling cycle stands. HELD and ATTENTION are overlays, not states."""

    ENROLLED = "ENROLLED"
    QUARANTINED = "QUARANTINED"
    WIPING = "WIPING"
    UNBINDING = "UNBINDING"
    TAGGING = "TAGGING"
    RESELLABLE = "RESELLABLE"
    REASSIGNED = "REASSIGNED"
    RECLAIMED = "RECLAIMED"
    RETIRED = "RETIRED"
    WITHDRAWN = "WITHDRAWN"
    RETURNED = "RETURNED"


class Command(StrEnum):
    """What a person may order. Each is one database transaction that wakes the workflow."""

    HOLD = "hold"
    LIFT = "lift"
    EXTEND = "extend"
    RECLAIM = "reclaim"
    RETIRE = "retire"
    WITHDRAW = "withdraw"
    RETURN = "return"
    RETRY = "retry"
    ATTEST = "attest"
    SELL = "sell"
    RECALL = "recall"
    REMIND = "remind"
    UNLOCK = "unlock"


#: Stages that move by themselves; a workflow runs while a cycle is in one of them.
ACTIVE = (State.ENROLLED, State.QUARANTINED, State.WIPING, State.UNBINDING, State.TAGGING)
#: States after which the workflow closes.
ENDED = tuple(state for state in State if state not in ACTIVE)
#: Commands that take two people, neither of them the one who enrolled the number: this is the SIM-fraud door.
TWO_PERSON = frozenset({Command.RECLAIM, Command.RETIRE, Command.ATTEST, Command.RECALL, Command.UNLOCK})

_BEFORE_WIPING = {
    *(Command.HOLD, Command.EXTEND, Command.RECLAIM, Command.RETIRE, Command.WITHDRAW, Command.RETURN, Command.RETRY),
    *(Command.REMIND, Command.UNLOCK),
}
_ALLOWED: dict[State, set[Command]] = {
    State.ENROLLED: _BEFORE_WIPING,
    State.QUARANTINED: _BEFORE_WIPING,
    State.WIPING: {Command.HOLD, Command.RETIRE, Command.RETURN, Command.RETRY},
    State.UNBINDING: {Command.HOLD, Command.RETIRE, Command.RETURN, Command.RETRY, Command.ATTEST},
    State.TAGGING: {Command.HOLD, Command.RETIRE, Command.RETURN, Command.RETRY, Command.ATTEST},
    State.RESELLABLE: {Command.HOLD, Command.RETIRE, Command.RETURN, Command.RETRY, Command.SELL},
    # A hold after the end stops no number any more; it suspends the expiry of what the law keeps of its former holder.
    State.REASSIGNED: {Command.HOLD, Command.RECALL},
    State.RETIRED: {Command.HOLD},
    State.RETURNED: {Command.HOLD},
}
#: Refused while a hold is open: each would take the number out of reach of whoever placed the hold.
_NOT_WHILE_HELD = {Command.RECLAIM, Command.WITHDRAW, Command.RETURN, Command.SELL}
_WHY_NOT = {
    Command.RECLAIM: "reclaim is possible only before wiping begins; a new contract needs another number.",
    Command.WITHDRAW: "withdraw is possible only before wiping begins; retire or return the number instead.",
    Command.RETURN: "the cycle has ended and the number is not here any more; a sold one is recalled first.",
    Command.EXTEND: "quarantine is over; place a hold to stop the number.",
    Command.LIFT: "no hold is open on this cycle; nothing to lift.",
    Command.REMIND: "the former holder can be reminded only before wiping begins.",
    Command.UNLOCK: "reclaim is possible only before wiping begins; there is nothing to unlock.",
    Command.SELL: "only a RESELLABLE number without a hold can be sold; see what `fallow numbers show` says is missing.",
    Command.RECALL: "only a REASSIGNED number can be recalled.",
    Command.ATTEST: "attest is possible only while unbinding is open.",
}


def allows(state: State, command: Command, *, held: bool) -> bool:
    """Tell whether the lifecycle allows ``command`` in ``state``, with or without an open hold."""
    if command is Command.LIFT:
        return held
    return command in _ALLOWED.get(state, set()) and not (held and command in _NOT_WHILE_HELD)


def demand(state: State, command: Command, *, held: bool) -> None:
    """Refuse what the lifecycle does not allow.

    Raises:
        CommandRefused: with the state, the overlay and what to do instead.
    """
    if allows(state, command, held=held):
        return
    overlay = " and HELD" if held else ""
    remedy = _WHY_NOT.get(command, "see the table of states and commands in docs/lifecycle.md.")
    if held and allows(state, command, held=False):
        remedy = "lift every hold first; `fallow numbers show` lists them."
    what = f"The cycle is {state}{overlay}: {command} is refused."
    raise CommandRefused(what, remedy=remedy)
