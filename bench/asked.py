"""What a part is asked for. Imports the standard library only."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """The options that every part understands.

    Attributes:
        numbers: how many numbers a run takes through.
        repeats: runs of each side, taken in turns.
        profile: folder for cProfile files, or None. A profiled run is several times slower.
    """

    numbers: int
    repeats: int
    profile: Path | None = None
