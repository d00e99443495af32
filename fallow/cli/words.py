"""What commands take in common: options, and the rule that a phone number is never an argument."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fallow.domain.errors import InputRefused

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output; errors as JSON on standard error.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file", exists=True, dir_okay=False, readable=True, help="File with the API key to act with; default: FALLOW_API_KEY."
    ),
]
CycleId = Annotated[str, typer.Argument(metavar="CYCLE", help="A cycle, as `fallow numbers list` names it: n_…/1.")]
Reference = Annotated[str, typer.Option("--reference", "-r", help="The case, document or ticket behind it; never a phone number.")]

# Seven digits could be a count; eight, or seven after a plus sign, are a number that somebody typed in the wrong place.
_NUMBER = re.compile(r"(?:\+[0-9]{7,}|[0-9]{8,20})\Z", re.ASCII)
_SEPARATORS = re.compile(r"[\s().\-/]|\A(?:tel|sip):|%20")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)


class NumberAsArgument(InputRefused):
    """A phone number was typed as an argument, where other users of the machine and the shell's history can see it."""

    code = "number-as-argument"


def refuse_numbers(arguments: Sequence[str]) -> None:
    """Refuse arguments that look like phone numbers, before anything can repeat or log them.

    Raises:
        NumberAsArgument: without the number.
    """
    for argument in arguments:
        value = argument.rpartition("=")[2] if argument.startswith("-") else argument
        plain = unicodedata.normalize("NFKC", value).replace("%2B", "+")
        if not _DATE.match(plain) and _NUMBER.match(_SEPARATORS.sub("", plain)):
            what = "An argument looks like a phone number; arguments are visible to every user of this machine and kept by the shell."
            raise NumberAsArgument(what, remedy="give the number on standard input, or wait to be asked; name a cycle by its id n_…/1.")
