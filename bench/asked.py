"""What a part is asked for. Imports the standard library only."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """The options that every part understands.

    Attributes:
        numbers: how many numbers a run takes through; None for as many as the part thinks right.
        repeats: runs of each side, taken in turns.
        profile: folder for cProfile files, or None. A profiled run is several times slower.
        full: whether at full scale, which takes minutes, instead of a tenth of it.
    """

    numbers: int | None
    repeats: int
    profile: Path | None = None
    full: bool = False

    def count(self, *, usual: int, full: int | None = None) -> int:
        """Return how many numbers to take: what was asked for, or else ``full`` at full scale, or else ``usual``."""
        if self.numbers is not None:
            return self.numbers
        return full if self.full and full is not None else usual
