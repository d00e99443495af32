"""The sample crowd: choose lines of the sample files, or add synthetic ones, and number them anew.

``numbers`` is what the engine is given; ``expected`` says where each line must end and is opened by no process of the engine;
``scenario`` says what the sample carrier and the simulator play. Imports the standard library only.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

NUMBERS, EXPECTED, SCENARIO = "cancelled_numbers.csv", "expected.csv", "scenario.csv"
_FIRST_SYNTHETIC = 13_800_010_000
_CHINA = timezone(timedelta(hours=8))
_FIRST_SYNTHETIC_LEFT_AT = datetime(2026, 4, 1, 9, 0, tzinfo=_CHINA)


@dataclass(frozen=True)
class Line:
    """One line of the sample.

    Attributes:
        text: the line as it stands in the file of numbers.
        ends: where it must end.
        why: why there.
        plays: what carrier and simulator play for it; "" for nothing special.
    """

    text: str
    ends: str
    why: str
    plays: str = ""

    @property
    def enrollable(self) -> bool:
        """Whether the engine must take it."""
        return not self.ends.startswith("REJECTED")


@dataclass(frozen=True)
class Crowd:
    """A numbered choice of lines; the header is line 1, the first of ``lines`` is line 2."""

    header: str
    lines: tuple[Line, ...]

    @property
    def numbers(self) -> str:
        """The file of cancelled numbers."""
        return "".join(f"{text}\n" for text in (self.header, *(line.text for line in self.lines)))

    @property
    def expected(self) -> str:
        """The file that says where each line must end."""
        rows = [(position, line.ends, line.why) for position, line in self._numbered()]
        return _written(("line", "ends", "why"), rows)

    @property
    def scenario(self) -> str:
        """The file that says what carrier and simulator play."""
        return _written(("line", "plays"), [(position, line.plays) for position, line in self._numbered() if line.plays])

    @property
    def enrollable(self) -> int:
        """How many lines the engine must take."""
        return sum(line.enrollable for line in self.lines)

    def save(self, directory: Path, prefix: str = "") -> None:
        """Write the three files, their names after ``prefix``."""
        for name, text in ((NUMBERS, self.numbers), (EXPECTED, self.expected), (SCENARIO, self.scenario)):
            (directory / f"{prefix}{name}").write_text(text, encoding="utf-8")

    def split(self, at: int) -> tuple["Crowd", "Crowd"]:
        """Return the first ``at`` lines and the others, as two files that keep every line's number: skipped lines are empty."""
        skipped = (Line("", "", ""),) * at
        return replace(self, lines=self.lines[:at]), replace(self, lines=(*skipped, *self.lines[at:]))

    def _numbered(self) -> Iterator[tuple[int, Line]]:
        return ((position, line) for position, line in enumerate(self.lines, start=2) if line.text)


def load(directory: Path) -> Crowd:
    """Read the three files of a directory."""
    header, *texts = (directory / NUMBERS).read_text("utf-8").split("\n")[:-1]
    expected = {int(row["line"]): row for row in csv.DictReader(io.StringIO((directory / EXPECTED).read_text("utf-8")))}
    plays = plays_of((directory / SCENARIO).read_text("utf-8"))
    lines = (
        Line(text, expected[position]["ends"], expected[position]["why"], plays.get(position, ""))
        for position, text in enumerate(texts, start=2)
    )
    return Crowd(header, tuple(lines))


def plays_of(scenario: str) -> dict[int, str]:
    """Read a scenario's text: line -> what is played."""
    return {int(row["line"]): row["plays"] for row in csv.DictReader(io.StringIO(scenario))}


def rows_of(numbers: str) -> Mapping[int, Mapping[str, str]]:
    """Read a file of numbers leniently: line -> cells by column; lines with more or fewer cells than the header are left out."""
    header, *texts = numbers.split("\n")[:-1]
    columns = header.split(",")
    cells = {position: next(csv.reader([text]), []) for position, text in enumerate(texts, start=2)}
    return {position: dict(zip(columns, row, strict=True)) for position, row in cells.items() if len(row) == len(columns)}


def select_lines(crowd: Crowd, limit: int) -> Crowd:
    """Return the first ``limit`` enrollable lines plus the special and the bad ones; add synthetic lines where too few.

    Args:
        crowd: the sample.
        limit: how many enrollable lines; the special ones are kept even where that makes more.
    """
    kept = set(_first_enrollable(crowd.lines, limit))
    chosen = [line for at, line in enumerate(crowd.lines) if at in kept or line.plays or not line.enrollable]
    missing = limit - sum(line.enrollable for line in chosen)
    return replace(crowd, lines=(*chosen, *_synthetic(missing)))


def _first_enrollable(lines: Sequence[Line], limit: int) -> list[int]:
    return [at for at, line in enumerate(lines) if line.enrollable][: max(0, limit)]


def _synthetic(count: int) -> Iterator[Line]:
    for place in range(count):
        left_at = _FIRST_SYNTHETIC_LEFT_AT + timedelta(minutes=7 * (place % 5_000))
        number = f"+86{_FIRST_SYNTHETIC + place}"
        rest = f"CN,china-mobile,china-mobile,mobile,{left_at.isoformat()},ordinary,1,,crowd {place:06d},SUB-crowd-{place:06d}"
        yield Line(f"{number},{rest}", "RESELLABLE", "every stage is proved")


def _written(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
