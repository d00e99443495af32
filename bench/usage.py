"""CPU seconds of running programs, by id. Linux only; elsewhere nothing is known. Imports the standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path

#: Fields 14 and 15 of /proc/pid/stat, counted from after the program's name: user and system time.
_USER, _SYSTEM = 11, 12
#: Fields 16 and 17: the same of children that have ended.
_ENDED_USER, _ENDED_SYSTEM = 13, 14


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
    return _seconds(pid, _USER, _SYSTEM)


def family_seconds(pid: int) -> float:
    """Return the CPU seconds of a program and its children, those that have ended included; 0 where the system does not say."""
    try:
        living = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        living = []
    return _seconds(pid, _USER, _SYSTEM, _ENDED_USER, _ENDED_SYSTEM) + sum(cpu_seconds(int(child)) for child in living)


def _seconds(pid: int, *fields: int) -> float:
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(found[place]) for place in fields) / os.sysconf("SC_CLK_TCK")
