"""What is asked for instead of being typed as an argument: a phone number, an API key."""

import sys

import typer

from fallow.domain.errors import InputRefused, PersonRefused
from fallow.domain.number import E164

_LONGEST_LINE = 256


def ask_number() -> E164:
    """Read one phone number from standard input, or ask for it at a terminal.

    Raises:
        NumberMalformed: it is not in E.164 form.
        InputRefused: there is none, or more than one.
    """
    if sys.stdin.isatty():
        return E164(str(typer.prompt("Phone number (+ and digits)", err=True)).strip())
    lines = [line.strip() for line in sys.stdin.read(_LONGEST_LINE).splitlines() if line.strip()]
    if len(lines) != 1:
        what = "Standard input holds no phone number." if not lines else "Standard input holds more than one line."
        raise InputRefused(what, remedy="give one number a call: `fallow numbers find < file`, or run it at a terminal and be asked.")
    return E164(lines[0])


def ask_key() -> str:
    """Ask for an API key at a terminal, without showing it.

    Raises:
        PersonRefused: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        what = "No API key was given."
        raise PersonRefused(what, remedy="set FALLOW_API_KEY or name a file by --key-file; `fallow keys admit` makes keys.")
    return str(typer.prompt("API key", hide_input=True, err=True))
