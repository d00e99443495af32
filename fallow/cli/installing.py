"""Commands that make and judge an installation: ``setup`` and ``doctor``."""

from typing import Annotated

import typer

from fallow.cli.ending import INSTALLATION
from fallow.cli.showing import print_json, print_line
from fallow.cli.words import Json


def setup(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Mark an empty database as one for demonstrations.")] = False,
    temporal: Annotated[bool, typer.Option("--temporal/--no-temporal", help="Prepare Temporal's namespace too.")] = True,
    json: Json = False,
) -> None:
    """Make keys, database schema and Temporal's namespace; again and again without harm."""
    from fallow.cli.founding import found  # noqa: PLC0415 - heavy

    done = found(demo=demo, temporal=temporal)
    if json:
        print_json(done)
        return
    for what, result in done.items():
        print_line(f"{what}: {result}")


def doctor(*, json: Json = False) -> int:
    """Judge the installation, one line a check; changes nothing. Exit code 4 where something is wrong."""
    from fallow.cli.checkup import examine  # noqa: PLC0415 - heavy
    from fallow.cli.findings import Colour, show  # noqa: PLC0415 - with its neighbour

    findings = examine()
    wrong = any(each.colour is Colour.RED for each in findings)
    if json:
        print_json({"healthy": not wrong, "checks": [each.to_json() for each in findings]})
    else:
        show(findings)
    return INSTALLATION if wrong else 0
