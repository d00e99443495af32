"""The desk that takes callbacks: what arrived while one transaction ran goes into the next, each is acknowledged after its commit.

A process has one desk, with a lane for short messages and one for long ones, so that nobody's batch keeps others' single answers
waiting. Nothing waits for company: a lone message gets a transaction at once. Threads, not a loop: operations are synchronous.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from fallow.domain.errors import FallowError, TargetUnavailable
from fallow.operations.answers import Heard, apply_all
from fallow.operations.installation import Installation
from fallow.store import exchanges
from fallow.store.engine import Tx, is_away
from fallow.store.exchanges import Direction, Exchange

#: Most answers of a message that goes through the lane of short ones, and most answers and messages of a transaction; one always fits.
SHORT = 100
_MOST_ANSWERS, _MOST_MESSAGES = 1_000, 256
#: Most messages that wait in a lane, and most octets of them, one message apart; further ones are sent away for a moment.
MOST_WAITING = 2_000
MOST_OCTETS_WAITING = 64 * 1024 * 1024
#: Refused messages of one platform that are logged at once, and how many more each second after that.
_REFUSALS_AT_ONCE, _REFUSALS_PER_SECOND = 10.0, 0.2
_MOST_NOTES = 200
#: Transactions at once for long messages: one is worked out here while the database writes another.
_LONG_AT_ONCE = 2

_log = structlog.get_logger()


@dataclass(slots=True)
class _Entry:
    heard: Heard
    came: float
    future: Future[str] = field(default_factory=Future)


class AnswerDesk:
    """Takes verified messages from any thread."""

    def __init__(self, installation: Installation) -> None:
        """Take messages for ``installation``; no thread runs while nothing waits."""
        self._short, self._long = _Lane(installation, 1), _Lane(installation, 1 if installation.db.sqlite else _LONG_AT_ONCE)
        self._refusals: dict[str, tuple[float, float]] = {}

    def submit(self, heard: Heard) -> "Future[str]":
        """Take a message; the future gives the acknowledgement once it is committed, or raises what ``accept_answer`` would.

        Raises:
            TargetUnavailable: too many wait already.
        """
        entry = _Entry(heard, time.monotonic())
        (self._short if len(heard.said) <= SHORT else self._long).put(entry)
        return entry.future

    def note_refusal(self, refusal: Exchange) -> None:
        """Put a refused message of a known platform into the delivery log, unless the platform had too many of them lately."""
        left, at = self._refusals.get(refusal.platform_id, (_REFUSALS_AT_ONCE, 0.0))
        now = time.monotonic()
        left = min(_REFUSALS_AT_ONCE, left + (now - at) * _REFUSALS_PER_SECOND)
        if left >= 1:
            self._short.note(refusal)
            left -= 1
        self._refusals[refusal.platform_id] = left, now

    def close(self) -> None:
        """Wait until everything that was taken is settled."""
        self._short.close()
        self._long.close()


class _Lane:
    """Messages in the order they came, in so many transactions at once."""

    def __init__(self, installation: Installation, at_once: int) -> None:
        self._installation = installation
        self._waiting = deque[_Entry]()
        self._octets = 0
        self._notes = deque[Exchange](maxlen=_MOST_NOTES)
        self._lock = threading.Lock()
        self._idle = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="answers")

    def put(self, entry: _Entry) -> None:
        with self._lock:
            octets = self._octets + len(entry.heard.delivery.body)
            if len(self._waiting) >= MOST_WAITING or (self._waiting and octets > MOST_OCTETS_WAITING):
                what = "More answers have come than can be applied at once."
                raise TargetUnavailable(what, remedy="send the same message again in a few seconds.", retry_after=2.0)
            self._waiting.append(entry)
            self._octets = octets
            self._set_to_work()

    def note(self, exchange: Exchange) -> None:
        with self._lock:
            self._notes.append(exchange)
            self._set_to_work()

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _set_to_work(self) -> None:
        if self._idle:
            self._idle -= 1
            self._threads.submit(self._run)

    def _run(self) -> None:
        while True:
            group, notes = self._take()
            if not group and not notes:
                return
            self._settle([each for each in group if each.future.set_running_or_notify_cancel()], notes)

    def _take(self) -> tuple[list[_Entry], list[Exchange]]:
        with self._lock:
            group, answers = list[_Entry](), 0
            while self._waiting and len(group) < _MOST_MESSAGES:
                answers += len(self._waiting[0].heard.said)
                if group and answers > _MOST_ANSWERS:
                    break
                group.append(self._waiting.popleft())
                self._octets -= len(group[-1].heard.delivery.body)
            notes = list(self._notes)
            self._notes.clear()
            self._idle += not group and not notes
            return group, notes

    def _settle(self, group: Sequence[_Entry], notes: Sequence[Exchange]) -> None:
        """Apply a group; when it fails as a whole, each by itself, so that one bad message costs nobody else."""
        try:
            results = self._installation.db.once_more(lambda tx: self._apply(tx, group, notes))
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            if len(group) > 1 and not is_away(error):
                _log.warning("answers applied one by one", error=type(error).__name__, count=len(group))
                for entry in group:
                    self._settle([entry], [])
                return
            if not group:
                _log.warning("refused answers not logged", error=type(error).__name__, count=len(notes))
            for entry in group:
                entry.future.set_exception(error)
            return
        for entry, result in zip(group, results, strict=True):
            if isinstance(result, FallowError):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(result)

    def _apply(self, tx: Tx, group: Sequence[_Entry], notes: Sequence[Exchange]) -> list[str | FallowError]:
        results = apply_all(tx, self._installation, [entry.heard for entry in group])
        exchanges.note(tx, [*(_exchange(*each) for each in zip(group, results, strict=True)), *notes])
        return results


def _exchange(entry: _Entry, result: str | FallowError) -> Exchange:
    heard, refused = entry.heard, isinstance(result, FallowError)
    return Exchange(
        platform_id=heard.speaker_id,
        direction=Direction.IN,
        delivery_id=heard.delivery.delivery_id,
        items=len(heard.said),
        octets=len(heard.delivery.body),
        status=None if refused else 200,
        result=result.code if isinstance(result, FallowError) else "accepted",
        took_ms=round(1000 * (time.monotonic() - entry.came)),
    )
