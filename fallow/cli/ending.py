"""How the program begins and ends: arguments looked at first, faults as one line with the remedy, an exit code for each kind."""

import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from fallow.cli.words import NumberAsArgument, refuse_numbers
from fallow.domain.errors import (
    FallowError,
    MapRefused,
    NotKnown,
    PolicyRefused,
    SettingRefused,
    TargetUnavailable,
)

REFUSED, USAGE, PARTLY, INSTALLATION, NOT_KNOWN, BUG, TRY_AGAIN = 1, 2, 3, 4, 5, 70, 75
_PIPE_CLOSED, _INTERRUPTED = 141, 130
_HELP_WAS_SHOWN = ""


@dataclass(frozen=True)
class Fault:
    """What is said about an error, and the exit code."""

    code: str
    what: str
    remedy: str
    exit_code: int


def main() -> NoReturn:
    """Run the command that the arguments name; ends the process."""
    arguments = sys.argv[1:]
    try:
        refuse_numbers(arguments)
        exit_code = _run(arguments)
    except (KeyboardInterrupt, typer.Abort):
        exit_code = _INTERRUPTED
    except BrokenPipeError:
        exit_code = _PIPE_CLOSED  # whoever read our output has gone: nothing to say, and nobody to say it to
    except Exception as error:  # noqa: BLE001 - the last place where a fault can become one clear line
        fault = fault_of(error)
        _say(fault, machine="--json" in arguments)
        if "--debug" in arguments or os.environ.get("FALLOW_LOG_LEVEL") == "debug":
            traceback.print_exception(error)
        exit_code = fault.exit_code
    _end(exit_code)


def fault_of(error: Exception) -> Fault:
    """Return what to say about ``error``: expected ones in their own words, others by class and place, never by their text."""
    if isinstance(error, FallowError):
        return Fault(error.code, error.what, error.remedy, _exit_code(error))
    if isinstance(error, typer.TyperException):
        return Fault("usage", _sentence(error.format_message()), "see `fallow --help`, or --help after the command.", USAGE)
    if _is_from_a_database(error):
        what = f"The database could not do its part ({type(error).__name__})."
        return Fault(
            "database-unavailable",
            what,
            "see that it runs and that FALLOW_DATABASE_URL is right; `fallow doctor` tells more.",
            INSTALLATION,
        )
    if isinstance(error, ImportError):
        what = f"The Python module {error.name} is missing."
        remedy = "install from requirements.lock; a database of another kind than sqlite or postgresql+psycopg needs its driver too."
        return Fault("module-missing", what, remedy, INSTALLATION)
    what = f"Unexpected {type(error).__name__} at {_place(error)}."
    return Fault("unexpected", what, "run it again with --debug before the command and report what it shows.", BUG)


def _run(arguments: list[str]) -> int:
    from fallow.cli.app import app  # noqa: PLC0415 - the tree imports modules that import this one

    result = app(args=arguments, prog_name="fallow", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _exit_code(error: FallowError) -> int:
    if isinstance(error, SettingRefused | PolicyRefused | MapRefused):
        return INSTALLATION
    if isinstance(error, NotKnown):
        return NOT_KNOWN
    if isinstance(error, NumberAsArgument):
        return USAGE
    return TRY_AGAIN if isinstance(error, TargetUnavailable) else REFUSED


def _sentence(text: str) -> str:
    """Return what a wrong usage is in one line that ends as a sentence does; empty where the help was the answer."""
    line = " ".join(text.split())
    return line if not line or line.endswith((".", "?", "!")) else f"{line}."


def _is_from_a_database(error: Exception) -> bool:
    # Without importing SQLAlchemy for a command that never used it.
    return any(each.__name__ == "SQLAlchemyError" for each in type(error).__mro__)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _say(fault: Fault, *, machine: bool) -> None:
    if fault.what == _HELP_WAS_SHOWN:
        return
    if machine:
        text = json.dumps({"error": fault.code, "what": fault.what, "remedy": fault.remedy})
    else:
        text = f"error: {fault.what} Remedy: {fault.remedy}"
    sys.stderr.write(f"{text}\n")


def _end(exit_code: int) -> NoReturn:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        exit_code = _PIPE_CLOSED
    # Temporal's client has threads of its own; on Python 3.11 the interpreter can abort (PyGILState_Release) when they
    # end later than it does. Everything of ours is closed by now, so the process ends without waiting for them.
    os._exit(exit_code)
