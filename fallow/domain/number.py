"""The number as a value that does not leak: it prints as ``<number>`` wherever it is not asked for.

Reading text into a number (national plans, validity) is the business of ``fallow.intake``.
"""

import re
from dataclasses import dataclass

from fallow.domain.errors import NumberMalformed

_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class E164:
    """An international number, ``+`` and at most 15 digits (ITU-T E.164).

    Raises:
        NumberMalformed: if the text is anything else.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse what is not E.164."""
        if not _E164.match(self.text):
            what = "A number is not in E.164 form."
            raise NumberMalformed(what, remedy="write + and 7 to 15 digits, nothing else.")

    def __repr__(self) -> str:
        """Keep the digits out of logs and tracebacks."""
        return "<number>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Keep the digits out of f-strings."""
        return "<number>"

    def masked(self) -> str:
        """Return the number as people may see it in a list: country and the last two digits."""
        return f"{self.text[:3]}{'*' * (len(self.text) - 5)}{self.text[-2:]}"
