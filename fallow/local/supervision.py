"""Keeping started programs running: one that ends by itself is started again, ever more slowly while it keeps ending.

Imports its neighbours and the standard library.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

from fallow.local.processes import Child, ChildNotReady
from fallow.local.temporal_server import TemporalAlreadyRunning, TemporalPortTaken

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
#: Who has lived this long has recovered: its next end waits the shortest again.
RECOVERED_AFTER = 60.0
_LOOK_EVERY = 0.1
_STOPS_WITHIN = timedelta(seconds=10)


@dataclass
class Service:
    """One program that must run.

    Attributes:
        name: what it is called.
        start: starts it and waits until it is ready.
        children: what ends it when everything ends.
        stops_within: how long its orderly end may take.
    """

    name: str
    start: Callable[[], Child]
    children: ExitStack
    stops_within: timedelta = _STOPS_WITHIN
    _child: Child | None = field(default=None, init=False)
    _ends: int = field(default=0, init=False)
    _born: float = field(default=0.0, init=False)
    _again_at: float | None = field(default=None, init=False)

    def begin(self) -> None:
        """Start it for the first time; it is ended with everything else.

        Raises:
            Exception: whatever ``start`` raises.
        """
        self.children.callback(self._end)
        self._child = self.start()
        self._born = time.monotonic()

    def look(self, say: Callable[[str], None]) -> None:
        """See whether it runs; if not, start it again when its time has come."""
        if self._again_at is not None:
            if time.monotonic() >= self._again_at:
                self._begin_again(say)
            return
        if self._child is not None and self._child.exit_code is not None:
            if time.monotonic() - self._born > RECOVERED_AFTER:
                self._ends = 0
            code, log = self._child.exit_code, self._child.log_path
            say(f"{self.name} ended with exit code {code} (log: {log}); it is started again in {self._wait():.0f} s")

    def _wait(self) -> float:
        wait: float = min(FIRST_WAIT * 2.0**self._ends, LONGEST_WAIT)
        self._ends += 1
        self._again_at = time.monotonic() + wait
        return wait

    def _begin_again(self, say: Callable[[str], None]) -> None:
        self._again_at = None
        try:
            self._child = self.start()
        except (ChildNotReady, TemporalAlreadyRunning, TemporalPortTaken) as fault:
            say(f"{self.name} could not be started again: {str(fault).splitlines()[0]}; next try in {self._wait():.0f} s")
            return
        self._born = time.monotonic()
        say(f"{self.name} runs again (process {self._child.pid})")

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop(self.stops_within)


def watch(services: Sequence[Service], say: Callable[[str], None]) -> NoReturn:
    """Keep them running until an exception, such as a signal's, ends the watch."""
    while True:
        for service in services:
            service.look(say)
        time.sleep(_LOOK_EVERY)
