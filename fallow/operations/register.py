"""The line register behind a guard: it belongs to the carrier, and must not hold up our own steps when it hangs."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fallow.domain.errors import TargetUnavailable
from fallow.domain.gate import LineStatus
from fallow.domain.number import E164
from fallow.domain.ports import LineRegister

_WITHIN = 3.0
_WITHIN_EACH = 0.02
_THREADS = 4
_OPENS_AFTER = 3
_CLOSED_FOR = 30.0


class GuardedRegister:
    """A ``ports.LineRegister`` that answers or fails within seconds; after three failures in a row it fails at once for a while."""

    def __init__(self, register: LineRegister) -> None:
        """Guard ``register``."""
        self._register = register
        self._threads = ThreadPoolExecutor(_THREADS, "line-register")
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0

    def statuses(self, numbers: Sequence[E164]) -> list[LineStatus]:
        """Return one status per number, in order.

        Raises:
            TargetUnavailable: it did not answer in time, could not be asked, or failed just before.
        """
        if time.monotonic() < self._closed_until:
            raise _unavailable("failed several times in a row")
        asking = self._threads.submit(self._register.statuses, numbers)
        try:
            answer = asking.result(timeout=_WITHIN + _WITHIN_EACH * len(numbers))
        except TimeoutError:
            asking.cancel()
            self._note(failed=True)
            raise _unavailable("did not answer in time") from None
        except TargetUnavailable:
            self._note(failed=True)
            raise
        self._note(failed=False)
        return answer

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= _OPENS_AFTER:
                self._closed_until = time.monotonic() + _CLOSED_FOR


def _unavailable(how: str) -> TargetUnavailable:
    return TargetUnavailable(f"The line register {how}.", remedy="none needed: it is asked again; look at the register if this lasts.")
