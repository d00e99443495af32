"""Commands that run: ``up``, ``demo``, ``worker``, ``api``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from fallow.cli.words import Json


def up(
    *,
    directory: Annotated[Path | None, typer.Option("--directory", file_okay=False, help="State folder; default: FALLOW_STATE.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", exists=True, dir_okay=False, help="Your own policy.")] = None,
    records: Annotated[Path | None, typer.Option("--records", exists=True, dir_okay=False, help="Your own records map.")] = None,
    platforms: Annotated[Path | None, typer.Option("--platforms", exists=True, dir_okay=False, help="Your own platforms map.")] = None,
    json: Json = False,
) -> int:
    """Run everything locally until Ctrl-C: Temporal, API, worker; with your own maps, or with a sample carrier and platforms."""
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.local.up import run  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy

    if directory is not None:
        os.environ["FALLOW_STATE"] = str(directory.absolute())  # the option is another way to say the setting
    settings = load()
    logs.configure("warning")
    return run(settings, policy=policy, records=records, platforms=platforms, machine=json)


def demo(
    *,
    numbers: Annotated[int, typer.Option("--numbers", min=1, help="How many numbers.")] = 200,
    platforms: Annotated[int, typer.Option("--platforms", min=2, help="How many platforms.")] = 8,
    report: Annotated[Path | None, typer.Option("--report", dir_okay=False, help="Write the verdict here, as JSON.")] = None,
    keep: Annotated[Path | None, typer.Option("--keep", file_okay=False, help="Keep databases and files in this folder.")] = None,
    json: Json = False,
) -> int:
    """Take sample numbers from cancelled to resellable against misbehaving systems, with the worker killed half-way."""
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.cli.showing import print_json  # noqa: PLC0415 - heavy
    from fallow.local import demo as play  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy

    settings = load()
    logs.configure("warning")
    exit_code = play.run(settings, numbers=numbers, platforms=platforms, report=report, keep=keep)
    if json:
        print_json({"passed": exit_code == 0})
    return exit_code


def worker(*, json: Json = False) -> None:
    """Run a worker process until SIGTERM or Ctrl-C; any number may run. Logs JSON lines to standard error."""
    del json  # its output is its log, which is JSON already
    from fallow.cli.working import work  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy

    load().demand_installed()
    work()


def api(*, json: Json = False) -> None:
    """Run an API process until SIGTERM or Ctrl-C; any number may run. Logs JSON lines to standard error."""
    del json  # its output is its log, which is JSON already
    from fallow.api.server import serve  # noqa: PLC0415 - heavy
    from fallow.cli import logs  # noqa: PLC0415 - heavy
    from fallow.settings import load  # noqa: PLC0415 - heavy

    settings = load()
    logs.configure(settings.log_level)
    settings.demand_installed()
    serve(settings)
