"""How each simulated platform behaves: decided by (seed, platform, number) alone, so that a run can be repeated.

Standard library only: the simulator shares no code with the engine it checks.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

#: Categories in the order in which platforms take them, each with an invented name.
NAMES: Mapping[str, str] = {
    "payment": "pennywell-pay",
    "social": "larkchat",
    "bank": "millbrook-bank",
    "shop": "tansy-shop",
    "game": "hedgehog-quest",
    "call-label": "ringname-labels",
    "government": "shirehall",
}

#: Platforms of this category say which clearance it was, as all did before; the others say what is recommended.
_TELLS = "social"
#: Platforms of these categories can be asked how something stands.
CAN_BE_ASKED = frozenset({"payment", "bank"})

_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)
_BOUND_PER_CENT = 60
_LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


class Behaviour(StrEnum):
    """How a platform treats one number."""

    #: answers in the response
    AT_ONCE = "at-once"
    #: says 202 and calls back
    LATER = "later"
    #: calls back twice with the same bytes
    TWICE = "twice"
    #: calls back with answers permuted, and with `pending` after the final answer
    DISORDERED = "disordered"
    #: does nothing until it is reminded
    REMINDED = "reminded"
    #: calls back before it responds
    EARLY = "early"
    #: 500 at the first attempt, then as LATER
    FAILING = "failing"
    #: 503 with Retry-After at the first two attempts, then as LATER
    BUSY = "busy"
    #: applies the effect and withholds the response beyond the engine's timeout
    WITHHELD = "withheld"
    #: applies the effect and drops the connection
    DROPPED = "dropped"


_WEIGHTS: Mapping[Behaviour, int] = {
    Behaviour.AT_ONCE: 34,
    Behaviour.LATER: 30,
    Behaviour.TWICE: 8,
    Behaviour.DISORDERED: 8,
    Behaviour.REMINDED: 5,
    Behaviour.EARLY: 6,
    Behaviour.FAILING: 3,
    Behaviour.BUSY: 2,
    Behaviour.WITHHELD: 1,
    Behaviour.DROPPED: 3,
}


@dataclass(frozen=True)
class Line:
    """A number of the file and when its former holder's line ended."""

    number: str
    disconnected_at: datetime


@dataclass
class Plays:
    """Every decision of the run.

    Attributes:
        seed: what the decisions are drawn from.
        allowed: the behaviours in play; all unless a test narrows them.
        scenario: (number, category) -> words of scenario.csv: ``refused``, ``bound`` or a behaviour.
    """

    seed: str
    allowed: Sequence[Behaviour] = tuple(Behaviour)
    scenario: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def behaviour(self, platform: str, number: str) -> Behaviour:
        """Return how ``platform`` treats ``number``."""
        for word in self._words(platform, number):
            if word in set(Behaviour):
                return Behaviour(word)
        drawn = [each for each in self.allowed for _ in range(_WEIGHTS[each])]
        return drawn[self.draw("behaviour", platform, number) % len(drawn)]

    def outcome(self, platform: str, number: str, accounts_cut: int) -> str:
        """Return what ``platform`` says once it has acted."""
        if self.refuses(platform, number):
            return "refused"
        if category(platform) != _TELLS:
            return "clear"
        return "unbound" if accounts_cut else "not_bound"

    def refuses(self, platform: str, number: str) -> bool:
        """Tell whether ``platform`` refuses to unbind ``number``."""
        return "refused" in self._words(platform, number)

    def bound(self, platform: str, number: str) -> bool:
        """Tell whether an account of the former holder hangs on ``number`` at the start."""
        forced = {"bound", "refused"} & set(self._words(platform, number))
        return bool(forced) or self.draw("bound", platform, number) % 100 < _BOUND_PER_CENT

    def binding(self, platform: str, line: Line) -> tuple[str, str, str, str]:
        """Return the row of the account bound to a line: platform, number, account, bound_at."""
        drawn = self.draw("account", platform, line.number)
        bound_at = line.disconnected_at - timedelta(days=30 + drawn % 2000)
        return platform, line.number, f"account-{drawn:012x}", instant(bound_at)

    def draw(self, *about: str) -> int:
        """Return 48 bits that depend on the seed and on what they are about."""
        return int.from_bytes(hashlib.sha256("/".join((self.seed, *about)).encode()).digest()[:6])

    def _words(self, platform: str, number: str) -> list[str]:
        own, every = self.scenario.get((number, category(platform)), []), self.scenario.get((number, "*"), [])
        return [*own, *every]


def platform_names(count: int) -> list[str]:
    """Return that many platform ids, cycling through the categories; the first two are a payment and a social platform."""
    names = list(NAMES.values())
    return [names[i % len(names)] + ("" if i < len(names) else f"-{i // len(names) + 1}") for i in range(count)]


def category(platform: str) -> str:
    """Return the category a platform's name stands for."""
    return next(category for category, name in NAMES.items() if platform.startswith(name))


def instant(at: datetime) -> str:
    """Write an instant in the one form the database holds, to the second, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_instant(text: str) -> datetime:
    """Read an instant with an offset; long ago where the text is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return at if at.tzinfo is not None else _LONG_AGO


def read_lines(path: Path) -> dict[int, Line]:
    """Read the numbers that are plainly E.164, by their line in the file (the header is line 1)."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [(reader.line_num, row) for row in reader]
    lines = {at: Line(re.sub(r"[ ().-]", "", row.get("number") or ""), read_instant(row.get("disconnected_at") or "")) for at, row in rows}
    return {at: line for at, line in lines.items() if _E164.match(line.number)}


def read_scenario(path: Path, lines: Mapping[int, Line]) -> dict[tuple[str, str], list[str]]:
    """Read what particular lines play: ``word:category``, or ``word:*``; words that are not ours are left alone."""
    words = {"refused", "bound", *Behaviour}
    scenario: dict[tuple[str, str], list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            line = lines.get(int(row["line"]))
            for play in row["plays"].split():
                word, _, where = play.partition(":")
                if line is not None and word in words:
                    scenario.setdefault((line.number, where or "*"), []).append(word)
    return scenario
