"""What checks find, for ``fallow doctor`` and ``fallow records check``: a colour, what was looked at, what was found, what to do."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fallow.cli.ending import fault_of
from fallow.cli.showing import print_line
from fallow.domain.errors import FallowError

if TYPE_CHECKING:
    from fallow.records.records_map import RecordsMap


class Colour(StrEnum):
    """What a finding means: fine, know this, or mend this."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        colour: how it stands.
        subject: what was looked at.
        what: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    colour: Colour
    subject: str
    what: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as plain JSON."""
        return {"colour": str(self.colour), "subject": self.subject, "what": self.what, "remedy": self.remedy}


def red(subject: str, error: Exception) -> Finding:
    """Return what an error says of ``subject``."""
    fault = fault_of(error)
    return Finding(Colour.RED, subject, fault.what, fault.remedy)


def show(findings: Iterable[Finding]) -> None:
    """Print one line a finding."""
    for each in findings:
        print_line(f"{each.colour:<6} {each.subject}: {each.what}" + (f" Remedy: {each.remedy}" if each.remedy else ""))


def parts(records: "RecordsMap") -> list[tuple[str, Callable[[], None]]]:
    """Return each part of a records map by the name that findings give it, with the check that compares it with its tables."""
    systems = [(f"records: {system_id}", system.check) for system_id, system in records.systems.items()]
    return [*systems, ("records: line register", records.line_register.check)]


def fitting(records: "RecordsMap") -> Iterator[Finding]:
    """Compare each part of a records map with its tables: what a map has wrong, without a look at what it leaves out."""
    for subject, check in parts(records):
        try:
            check()
        except FallowError as error:
            yield red(subject, error)
        else:
            yield as_mapped(subject)


def as_mapped(subject: str) -> Finding:
    """Return that a part of the records map fits."""
    return Finding(Colour.GREEN, subject, "reachable, its tables are as mapped")
