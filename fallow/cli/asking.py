"""What is asked for instead of being typed as an argument: a phone number, an API key."""

import re
import sys

import typer

from fallow.domain.errors import InputRefused, NumberMalformed, PersonRefused
from fallow.domain.number import E164

_LONGEST_LINE = 256
#: International digits without their plus sign, as `fallow numbers export` writes them.
_BARE = re.compile(r"[1-9][0-9]{7,14}", re.ASCII)


def ask_number() -> E164:
    """Read one phone number from standard input, or ask for it at a terminal. The plus sign may be missing, as in an export.

    Raises:
        NumberMalformed: it is neither in E.164 form nor the digits of a valid international number.
        InputRefused: there is none, or more than one.
    """
    if sys.stdin.isatty():
        return _number(str(typer.prompt("Phone number (+ and digits)", err=True)).strip())
    lines = [line.strip() for line in sys.stdin.read(_LONGEST_LINE).splitlines() if line.strip()]
    if len(lines) != 1:
        what = "Standard input holds no phone number." if not lines else "Standard input holds more than one line."
        raise InputRefused(what, remedy="give one number a call: `fallow numbers find < file`, or run it at a terminal and be asked.")
    return _number(lines[0])


def _number(text: str) -> E164:
    if not _BARE.fullmatch(text):
        return E164(text)
    import phonenumbers  # noqa: PLC0415 - heavy

    from fallow.intake.numbering import read_number  # noqa: PLC0415 - heavy

    try:
        country = phonenumbers.region_code_for_number(phonenumbers.parse(f"+{text}"))
        return read_number(f"+{text}", country or "")
    except (phonenumbers.NumberParseException, NumberMalformed):
        return E164(text)  # refused in its words: what was typed has no plus sign


def ask_lines(most: int, what: str) -> list[tuple[int, str]]:
    """Read up to ``most`` lines from standard input, each with its number, blank ones left out; ``what`` says what they hold.

    Raises:
        InputRefused: there are none, or more, or they are not text.
    """
    if sys.stdin.isatty():
        sys.stderr.write(f"{what}, one a line; end with Ctrl-D:\n")
    try:
        text = sys.stdin.read(most * _LONGEST_LINE + 1)
    except UnicodeDecodeError:
        text = "\0"
    found = [(place, line.strip()) for place, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not found or len(found) > most or len(text) > most * _LONGEST_LINE or "\0" in text:
        kind = "holds nothing" if not found else f"holds more than {most} lines, or no lines of text"
        raise InputRefused(f"Standard input {kind}.", remedy=f"give {what}, one a line, at most {most}: `< file`.")
    return found


def read_asked(text: str) -> E164:
    """Return the number that a line holds, in the forms that :func:`ask_number` takes.

    Raises:
        NumberMalformed: it is neither in E.164 form nor the digits of a valid international number.
    """
    return _number(text)


def ask_key() -> str:
    """Ask for an API key at a terminal, without showing it.

    Raises:
        PersonRefused: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        what = "No API key was given."
        raise PersonRefused(what, remedy="set FALLOW_API_KEY or name a file by --key-file; `fallow keys admit` makes keys.")
    return str(typer.prompt("API key", hide_input=True, err=True))
