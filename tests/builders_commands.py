"""Commands and ends as several test files need them."""

from datetime import timedelta

from builders import (
    World,
    advance,
    ask_all,
    enrolled,
    number,
    state_of,
)
from builders_cycles import Staff, engine, facts_of, row_of, staff

from fallow.domain.claims import Channel
from fallow.domain.lifecycle import TWO_PERSON, Command, State
from fallow.domain.obligations import Outcome
from fallow.domain.people import Person
from fallow.operations.sale import sell

DAY = timedelta(days=1)
#: What a reclaim must be given besides its reference.
FORMER_HOLDER = {"ground": "former-holder"}
ONE_PERSON = [command for command in Command if command not in TWO_PERSON and command is not Command.SELL]


def order(world: World, person: object, cycle_id: str, command: Command) -> None:
    """Order a one-person command."""
    commands = engine(world).commands
    match command:
        case Command.HOLD:
            commands.hold(person, cycle_id, "case 1")
        case Command.LIFT:
            holds = sorted(facts_of(world, cycle_id).holds) or ["h_none"]
            commands.lift(person, cycle_id, holds[0], "case 1")
        case Command.EXTEND:
            commands.extend(person, cycle_id, row_of(world, cycle_id).release_at + DAY, "case 1")
        case Command.WITHDRAW:
            commands.withdraw(person, cycle_id, "case 1")
        case Command.RETURN:
            commands.hand_back(person, cycle_id, "case 1")
        case Command.REMIND:
            commands.remind(person, cycle_id, row_of(world, cycle_id).disconnected_at, Channel.SMS, "case 1")
        case _:
            commands.retry(person, cycle_id, "case 1")


def by_two(world: World, people: Staff, cycle_id: str, command: Command, **arguments: str) -> None:
    """Propose and approve a two-person command."""
    two = engine(world).two_person
    two.approve(people.approver, two.propose(people.operator, cycle_id, command, "case 1", arguments))


def refusing(world: World, platform_id: str = "beta-chat") -> str:
    """Return a cycle in UNBINDING at which one platform refused and the others have cleared."""
    world.platforms[platform_id].says = lambda _: Outcome.REFUSED
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.UNBINDING
    return cycle_id


def silent(world: World, platform_id: str = "beta-chat") -> str:
    """Return a cycle in UNBINDING at which one platform has kept silent through every reminder."""
    world.platforms[platform_id].says = lambda _: None
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    for _ in range(4):
        world.clock.pass_by(timedelta(hours=2))
        ask_all(world)
    return cycle_id


def resellable(world: World) -> str:
    """Return a RESELLABLE cycle."""
    cycle_id = enrolled(world)[0]
    advance(world, cycle_id, State.RESELLABLE)
    assert state_of(world, cycle_id) is State.RESELLABLE
    return cycle_id


def sold(world: World) -> str:
    """Return a REASSIGNED cycle."""
    cycle_id = resellable(world)
    sell(world.installation, staff(world).shop, number(0), str(facts_of(world, cycle_id).tag), "form 1")
    return cycle_id


def claim(world: World, person: Person, cycle_id: str, ground: str = "former-holder") -> str:
    """Propose a reclaim."""
    return engine(world).two_person.propose(person, cycle_id, Command.RECLAIM, "identity check 1", {"ground": ground})
