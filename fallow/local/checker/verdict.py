"""What was checked and what was found wrong. Standard library only."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_SHOWN = 8


@dataclass
class Verdict:
    """The violations so far, and how many things of each kind were looked at.

    Attributes:
        violations: ``{"kind", "what"}``; a number is named by its line or its cycle, never by its digits.
        checked: how many demands of each kind were made.
    """

    violations: list[dict[str, str]] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)

    def demand(self, kind: str, holds: object, what: str) -> None:
        """Count one demand; note ``what`` as a violation unless it holds."""
        self.checked[kind] += 1
        if not holds:
            self.violations.append({"kind": kind, "what": what})

    def same(self, kind: str, found: Iterable[str], wanted: Iterable[str], what: str) -> None:
        """Demand that two collections are equal as sets; name what is missing and what is too much."""
        has, needs = set(found), set(wanted)
        self.demand(kind, has == needs, f"{what}: missing {_named(needs - has)}; too many {_named(has - needs)}")

    @contextmanager
    def reading(self, kind: str, where: str) -> Iterator[None]:
        """Turn whatever breaks while something altered is read into a violation, without its text: that could hold a number."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - an altered row can break reading in any way, and that is a finding
            self.demand(kind, holds=False, what=f"{where} can't be read ({type(error).__name__})")


def _named(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "") or "none"
