"""cProfile over every thread of a process, in CPU seconds of each thread, so that waiting costs nothing.

Imports the standard library only. A profiled process is several times slower: its shares can be believed, its seconds can't.
"""

import cProfile
import pstats
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def profiled(path: Path) -> Iterator[None]:
    """Profile this thread and all that start inside the block; write one file for :mod:`pstats` at its end."""
    profiles: list[cProfile.Profile] = []

    def begin(*_: Any) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        profile.enable()  # takes the place of this very function in the new thread

    threading.setprofile(begin)
    begin()
    try:
        yield
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        path.parent.mkdir(parents=True, exist_ok=True)
        stats = pstats.Stats(profiles[0])
        for profile in profiles[1:]:
            profile.create_stats()
            if profile.stats:
                stats.add(profile)
        stats.dump_stats(path)
