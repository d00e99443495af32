"""States and commands: every cell of the table, in code and in the docs."""

import re
from itertools import product
from pathlib import Path

import pytest

from fallow.domain.attention import Reason
from fallow.domain.errors import CommandRefused
from fallow.domain.lifecycle import ACTIVE, ENDED, TWO_PERSON, Command, State, allows, demand
from fallow.operations.two_person import ARGUMENTS

PAGE = (Path(__file__).parents[2] / "docs/lifecycle.md").read_text("utf-8")
CELLS = list(product(State, Command, (False, True)))
#: Written by hand, in the order of Command: hold lift extend reclaim retire withdraw return retry attest sell recall remind
#: unlock.
#: y: allowed; n: refused; h: allowed only without a hold; l: allowed only under a hold.
TABLE = {
    State.ENROLLED: "ylyhyhhynnnyy",
    State.QUARANTINED: "ylyhyhhynnnyy",
    State.WIPING: "ylnnynhynnnnn",
    State.UNBINDING: "ylnnynhyynnnn",
    State.TAGGING: "ylnnynhyynnnn",
    State.RESELLABLE: "ylnnynhynhnnn",
    State.REASSIGNED: "ylnnnnnnnnynn",
    State.RECLAIMED: "nlnnnnnnnnnnn",
    State.RETIRED: "ylnnnnnnnnnnn",
    State.WITHDRAWN: "nlnnnnnnnnnnn",
    State.RETURNED: "ylnnnnnnnnnnn",
}


def expected(state: State, command: Command, *, held: bool) -> bool:
    """Return what the table above says."""
    letter = TABLE[state][list(Command).index(command)]
    return letter == "y" or (letter == "l" and held) or (letter == "h" and not held)


def documented() -> dict[tuple[str, str], str]:
    """Return the cells of the page's table by state and command."""
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    start = next(index for index, row in enumerate(rows) if row[0] == "state" and "hold" in row)
    header = rows[start][1:]
    table = {}
    for row in rows[start + 2 : start + 2 + len(State)]:
        table |= {(row[0], command): cell for command, cell in zip(header, row[1:], strict=True)}
    return table


@pytest.mark.parametrize(("state", "command", "held"), CELLS)
def test_every_cell(state: State, command: Command, held: bool) -> None:
    """Allowed or refused as written by hand; a refusal names state, overlay, command and what to do instead."""
    allowed = expected(state, command, held=held)

    assert allows(state, command, held=held) is allowed
    if allowed:
        demand(state, command, held=held)
        return
    with pytest.raises(CommandRefused) as refused:
        demand(state, command, held=held)
    assert f"{state}{' and HELD' if held else ''}: {command} is refused" in refused.value.what
    assert refused.value.remedy.endswith(".")


@pytest.mark.parametrize(("state", "command", "held"), CELLS)
def test_every_cell_of_the_page(state: State, command: Command, held: bool) -> None:
    """docs/lifecycle.md shows what the code does."""
    cell = documented()[(state, command)]

    assert cell in {"yes", "not HELD", "only HELD", "no"}
    assert allows(state, command, held=held) is (cell in {"yes", "only HELD" if held else "not HELD"})


def test_the_page_has_no_more_and_no_fewer_cells() -> None:
    """A new state or command needs its column or row."""
    assert set(documented()) == {(str(state), str(command)) for state, command in product(State, Command)}


def test_the_page_names_every_state_command_and_reason() -> None:
    """What can happen to a number can be looked up."""
    words = set(re.findall(r"`([A-Za-z-]+)`", PAGE))

    assert {str(each) for kind in (State, Command, Reason) for each in kind} <= words


def test_a_hold_is_named_as_the_obstacle() -> None:
    """Where only the hold stands in the way, the remedy is to lift it."""
    with pytest.raises(CommandRefused, match="lift every hold first"):
        demand(State.RESELLABLE, Command.SELL, held=True)


def test_active_and_ended_states_are_all_states() -> None:
    """A workflow runs in the first and has closed in the second."""
    assert set(ACTIVE) | set(ENDED) == set(State)
    assert not set(ACTIVE) & set(ENDED)


def test_every_two_person_command_can_be_proposed() -> None:
    """What takes two people has a way to be done by two; so has lifting the hold on a crime."""
    assert set(ARGUMENTS) == TWO_PERSON | {Command.LIFT}
