"""CPU seconds of running programs, by id. Linux only; elsewhere nothing is known. Imports the standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path

#: Fields 14 and 15 of /proc/pid/stat, counted from after the program's name: user and system time.
_USER, _SYSTEM = 11, 12


@dataclass(frozen=True)
class Usage:
    """CPU seconds of the parts of a run."""

    worker: float
    temporal: float
    platforms: float

    def per_number(self, numbers: int) -> str:
        """Return the CPU milliseconds of one number, part by part."""
        shares = {"worker": self.worker, "Temporal": self.temporal, "platforms": self.platforms}
        return ", ".join(f"{name} {1000 * seconds / numbers:.0f} ms" for name, seconds in shares.items())


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds a program has used so far; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")
