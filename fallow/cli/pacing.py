"""``platform pause``, ``resume``, ``pace``: what an operator sets for a platform or record system; it counts from the next claim on."""

from typing import Annotated

import typer

from fallow.cli.showing import print_json, print_line
from fallow.cli.words import Json, KeyFile

_Target = Annotated[str, typer.Argument(metavar="TARGET", help="Which platform or record system, as `fallow targets` names it.")]


def pause(target: _Target, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Send TARGET nothing more until it is resumed. Requests under way finish, callbacks are taken, deadlines run on."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_control  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        platform_control.pause(here, person, target)
    _say(target, json=json, paused=True)


def resume(target: _Target, *, key_file: KeyFile = None, json: Json = False) -> None:
    """Send to a paused TARGET again; what waited goes out at its pace."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_control  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        platform_control.resume(here, person, target)
    _say(target, json=json, paused=False)


def pace(
    target: _Target,
    *,
    rate: Annotated[float | None, typer.Option("--rate", metavar="N", help="Items per second: 0.001 to 10000.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Most items in one request: 1 to 1000.")] = None,
    lanes: Annotated[int | None, typer.Option("--lanes", metavar="N", help="Most requests in flight: 1 to 32; platforms only.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Set how TARGET is asked, in place of what its registration or map says. What is left out goes back to what that says."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import platform_control  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        platform_control.set_pace(here, person, target, rate_per_second=rate, batch=batch, lanes=lanes)
    if json:
        print_json({"target_id": target, "rate_per_second": rate, "batch": batch, "lanes": lanes})
        return
    given = {"rate": rate, "batch": batch, "lanes": lanes}
    words = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    print_line(f"{target}: {words or 'as its registration or map says'}")


def _say(target: str, *, json: bool, paused: bool) -> None:
    if json:
        print_json({"target_id": target, "paused": paused})
    else:
        print_line(f"{target} is paused" if paused else f"{target} is asked again")
