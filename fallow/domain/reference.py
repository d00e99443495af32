"""References that people give for what they do: a case, a document, a ticket. Short, plain, and never a phone number."""

import re

from fallow.domain.errors import InputRefused

#: What to do with a reference that was refused.
REMEDY = (
    "use 1 to 64 of A-Z a-z 0-9 . _ : / # - and space, and letters wherever seven or more digits would follow each other: "
    "`CASE-4711`, `court 12 file 34567`."
)
_FORM = re.compile(r"[A-Za-z0-9 ._:/#-]{1,64}\Z", re.ASCII)
_DIGITS = re.compile(r"[0-9](?:[ ._:/#-]*[0-9])*", re.ASCII)
# No space after the year: numbers of eight digits are written `2012 3456` where national numbers are that short.
_DATED = re.compile(r"(?:19|20)[0-9]{2}[._:/#-]", re.ASCII)
_LEAST_OF_A_NUMBER = 7
_MOST_OF_A_DATED = 8


def holds_number(text: str) -> bool:
    """Tell whether seven or more digits follow each other, whatever separators are among them.

    A date or a count of a year is none: up to eight digits in all that begin with a year and a separator other than space.
    """
    return any(_could_be_number(found[0]) for found in _DIGITS.finditer(text))


def read_reference(text: str) -> str:
    """Return the reference, trimmed.

    Raises:
        InputRefused: empty, longer than 64, other characters, or digits that could be a phone number.
    """
    trimmed = text.strip()
    if not _FORM.match(trimmed) or holds_number(trimmed):
        what = "A reference is empty, too long, holds other characters, or looks like a phone number."
        raise InputRefused(what, remedy=REMEDY)
    return trimmed


def _could_be_number(spelling: str) -> bool:
    digits = sum(letter.isdecimal() for letter in spelling)
    dated = _DATED.match(spelling) is not None and digits <= _MOST_OF_A_DATED
    return digits >= _LEAST_OF_A_NUMBER and not dated
