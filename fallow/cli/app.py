"""The tree of commands. What each does is in the module that it comes from."""

from collections.abc import Callable
from typing import Annotated

import typer

from fallow.cli import (
    access,
    enrolling,
    exchanging,
    feeding,
    holding,
    installing,
    listing,
    ordering,
    outlook,
    pacing,
    platform,
    recording,
    registered,
    registering,
    rotating,
    running,
    selling,
)

_EXITS = (
    "Exit codes: 0 done · 1 refused by the engine · 2 wrong usage · 3 done in part (lines rejected or found amiss) · 4 a setting, key, "
    "file or part of the installation is wrong · 5 not known · 75 a system did not answer, try again · 70 a fault of fallow."
)

app = typer.Typer(
    name="fallow",
    help="Let cancelled phone numbers lie fallow, clear them, and give them back to the pool only with evidence.",
    epilog=_EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
numbers = typer.Typer(no_args_is_help=True, help="See where numbers stand, hand them to inventory, sell them.", epilog=_EXITS)
keys = typer.Typer(
    no_args_is_help=True, help="Admit people and platforms by API key; the engine's own public key; rotate wrapping keys.", epilog=_EXITS
)
records = typer.Typer(
    no_args_is_help=True,
    help="Compare the records map with the real systems; try a wipe; read back; what the law keeps.",
    epilog=_EXITS,
)
held_by_law = typer.Typer(no_args_is_help=True, help="What is kept by law: list it, whose it was, open it by two people.", epilog=_EXITS)

platforms = typer.Typer(
    no_args_is_help=True, help="For operators: register, control, look. For a platform's engineer: a sandbox engine.", epilog=_EXITS
)


@app.callback()
def options(*, debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False) -> None:
    """Let cancelled phone numbers lie fallow, clear them, and give them back to the pool only with evidence.

    A phone number is never an argument: it is read from standard input or asked for. Settings come from the environment
    (FALLOW_…) and from settings.env in the state folder. Every command takes --json.
    """
    del debug  # looked for in the arguments by fallow.cli.ending, which must know it even when parsing fails


_COMMANDS: tuple[Callable[..., object], ...] = (
    *(installing.setup, running.up, running.demo, running.worker, running.api, installing.doctor, enrolling.enrol),
    *(ordering.hold, ordering.lift, ordering.extend, ordering.remind, ordering.withdraw, ordering.retry),
    *(ordering.propose, ordering.reclaim, ordering.retire, ordering.attest, ordering.recall, ordering.unlock),
    *(ordering.approve, ordering.deny),
    *(listing.proposals, listing.targets),
)
for _command in _COMMANDS:
    app.command(epilog=_EXITS)(_command)
app.command("return", epilog=_EXITS)(ordering.hand_back)

numbers.command("list", epilog=_EXITS)(listing.list_numbers)
numbers.command(epilog=_EXITS)(listing.count)
numbers.command(epilog=_EXITS)(listing.show)
numbers.command(epilog=_EXITS)(listing.find)
numbers.command(epilog=_EXITS)(outlook.forecast)
numbers.command(epilog=_EXITS)(outlook.overdue)
numbers.command(epilog=_EXITS)(feeding.traffic)
numbers.command(epilog=_EXITS)(feeding.inventory)
numbers.command(epilog=_EXITS)(feeding.reconcile)
numbers.command(epilog=_EXITS)(selling.export)
numbers.command(epilog=_EXITS)(selling.tag)
numbers.command(epilog=_EXITS)(selling.sell)
app.add_typer(numbers, name="numbers")

records.command(epilog=_EXITS)(recording.check)
records.command(epilog=_EXITS)(recording.plan)
records.command(epilog=_EXITS)(recording.recheck)

keys.command(epilog=_EXITS)(access.admit)
keys.command("list", epilog=_EXITS)(access.list_keys)
keys.command(epilog=_EXITS)(access.revoke)
keys.command(epilog=_EXITS)(access.engine)
keys.command(epilog=_EXITS)(rotating.rotate)
app.add_typer(keys, name="keys")

held_by_law.command("list", epilog=_EXITS)(holding.list_kept)
held_by_law.command(epilog=_EXITS)(holding.who)
held_by_law.command("open", epilog=_EXITS)(holding.open_sealed)
held_by_law.command(epilog=_EXITS)(holding.read)
records.add_typer(held_by_law, name="held-by-law")
app.add_typer(records, name="records")

platforms.command(epilog=_EXITS)(platform.sandbox)
platforms.command(epilog=_EXITS)(platform.trigger)
platforms.command(epilog=_EXITS)(exchanging.log)
platforms.command(epilog=_EXITS)(exchanging.replay)
platforms.command("list", epilog=_EXITS)(registered.list_platforms)
for _command in (
    *(registered.show, registered.proposals),
    *(registering.propose, registering.decommission, registering.ping, registering.approve, registering.deny, registering.terms),
    *(pacing.pause, pacing.resume, pacing.pace),
):
    platforms.command(epilog=_EXITS)(_command)
app.add_typer(platforms, name="platform")
