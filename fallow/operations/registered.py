"""The registry as it stands and as it stood: who is a target, over which adapter, and whose signature counts, now and at an instant.

Revisions are only ever added, so their count says whether anything is new. It is read at most twice a second a process, and at once
after this process has changed something itself. Reads happen on a connection of their own, also inside somebody's open transaction;
one thread reads while the others go on with what is known, so that none waits for a connection that another of them holds. A process
with an event loop follows the registry (:meth:`Registered.following`): there a thread of its own reads, and who asks never waits.
"""

import bisect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Generic, TypeVar

import structlog

from fallow.domain.errors import FallowError
from fallow.platforms.adapters.catalogue import Way, offers_look
from fallow.platforms.platform_map import PlatformEntry, read_registration
from fallow.platforms.speakers import Speaker, speaker_of
from fallow.store import registry
from fallow.store.engine import Database
from fallow.store.platform_tables import PlatformRow
from fallow.store.registry import Bodies

#: Seconds between two looks for a new revision.
LOOK_EVERY = 0.5
#: Seconds that the end of a process waits for a read that is under way.
_LEAVES_WITHIN = 2.0
#: Who received an answer may not have known of a change yet that was committed a moment before: at an instant counts what counted
#: within this of it. Well above :data:`LOOK_EVERY`, so that no answer that was accepted is doubted at the gate.
OVERLAPS = timedelta(seconds=5)
#: Adapters that are asked for their members and are no target themselves.
_HUB = "hub"

_log = structlog.get_logger()
Value = TypeVar("Value")


@dataclass(frozen=True)
class Revision:
    """One revision, read.

    Attributes:
        active_from: since when it counts.
        entry: what it registers; None where it can't be read.
        decommissioned: whether the platform is asked no more since.
    """

    active_from: datetime
    entry: PlatformEntry | None
    decommissioned: bool


@dataclass(frozen=True)
class Era:
    """A time in which nothing changed.

    Attributes:
        entries: platforms and hubs in use, by id.
        decommissioned: those that were asked before and are no more.
        unread: those whose registration can't be read.
    """

    entries: Mapping[str, PlatformEntry]
    decommissioned: frozenset[str]
    unread: frozenset[str] = frozenset()
    _speakers: dict[str, Speaker | None] = field(default_factory=dict, repr=False)

    def speaker(self, platform_id: str) -> Speaker | None:
        """Return who may speak under an id in this time."""
        entry = self.entries.get(platform_id)
        if entry is None:
            return None  # not remembered: anybody makes up as many ids as they like
        if platform_id not in self._speakers:
            self._speakers[platform_id] = speaker_of(entry, self.entries)
        return self._speakers[platform_id]

    @cached_property
    def looking(self) -> frozenset[str]:
        """The platforms that offer a status query, and those of which it can't be told: what they cleared stays unconfirmed."""
        targets = [entry for entry in self.entries.values() if entry.adapter != _HUB]
        return self.unread.union(entry.platform_id for entry in targets if offers_look(entry, self.entries))


class Registered:
    """The live registry; implements ``platforms.speakers.Speakers``.

    Attributes:
        way: what adapters are given, for those who reach a platform before it is registered.
        bodies: writes and reads revisions.
    """

    def __init__(self, db: Database, bodies: Bodies, way: Way, seconds: Callable[[], float] = time.monotonic) -> None:
        """Read the registry of ``db``; ``seconds`` is a clock that never goes back."""
        self.way = way
        self.bodies = bodies
        self._db = db
        self._seconds = seconds
        self._reading = threading.Lock()
        self._stamp = -1
        self._read: dict[tuple[str, int], Revision] = {}
        self._history = _History({})
        self._look_at = 0.0
        self._followed = 0
        self.refresh()

    def refresh(self) -> None:
        """Look at once, as who has just changed something does."""
        with self._reading:
            self._look()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Look in a thread of its own until left, as a process with an event loop must: meanwhile :attr:`present` does no I/O."""
        over = threading.Event()
        thread = threading.Thread(target=self._follow, args=(over,), name="registry", daemon=True)
        thread.start()
        self._followed += 1
        try:
            yield
        finally:
            self._followed -= 1
            over.set()
            thread.join(_LEAVES_WITHIN)

    def _follow(self, over: threading.Event) -> None:
        while not over.wait(LOOK_EVERY):
            with self._reading:
                self._look_in_any_weather()

    @property
    def present(self) -> Era:
        """The registry as it stands."""
        if not self._followed and self._seconds() >= self._look_at and self._reading.acquire(blocking=False):
            try:
                self._look_in_any_weather()
            finally:
                self._reading.release()
        return self._history.latest

    def _look_in_any_weather(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is makes nothing unknown that was known, nor ends who follows the registry
            _log.warning("registry not read, to be tried again", reason=type(error).__name__)
            self._look_at = self._seconds() + LOOK_EVERY

    def now(self, platform_id: str) -> Speaker | None:
        """See :class:`fallow.platforms.speakers.Speakers`."""
        return self.present.speaker(platform_id)

    def at(self, platform_id: str, instant: datetime) -> Speaker | None:
        """See :class:`fallow.platforms.speakers.Speakers`; of two keys that took turns at ``instant`` both count, for :data:`OVERLAPS`."""
        if self._history.ends <= instant + OVERLAPS:
            _ = self.present  # at the end of what is known: look whether there is more
        history = self._history
        eras = [history.at(instant), history.at(instant - OVERLAPS), history.at(instant + OVERLAPS)]
        return _together([found for found in (era.speaker(platform_id) for era in eras) if found is not None])

    def _look(self) -> None:
        with self._db.read() as tx:
            stamp = registry.stamp(tx)
            rows = registry.revisions(tx) if stamp != self._stamp else None
        if rows is not None:
            self._take(rows)
            self._stamp = stamp
        self._look_at = self._seconds() + LOOK_EVERY

    def _take(self, rows: Sequence[PlatformRow]) -> None:
        of_platform: dict[str, list[Revision]] = {}
        for row in rows:
            key = (row.platform_id, row.revision)
            if key not in self._read:
                self._read[key] = self._revision(row)
            of_platform.setdefault(row.platform_id, []).append(self._read[key])
        self._history = _History(of_platform)

    def _revision(self, row: PlatformRow) -> Revision:
        """Read a revision; one that can't be read takes its own platform out of use and no other."""
        try:
            read = self.bodies.read(row.body)
            entry = read_registration(f"revision {row.revision} of the platform {row.platform_id}", read.table)
        except Exception as error:  # noqa: BLE001 - also a body that is no registration at all
            what = error.what if isinstance(error, FallowError) else type(error).__name__
            _log.error("registration can't be read", platform_id=row.platform_id, revision=row.revision, what=what)
            return Revision(row.active_from, None, decommissioned=False)
        return Revision(row.active_from, entry, read.decommissioned)


class _History:
    """Every era there was, each made at its first use."""

    def __init__(self, of_platform: Mapping[str, Sequence[Revision]]) -> None:
        self._of_platform = of_platform
        self._begins = sorted({each.active_from for revisions in of_platform.values() for each in revisions})
        self._eras: dict[int, Era] = {}

    @property
    def latest(self) -> Era:
        return self._era(len(self._begins))

    @property
    def ends(self) -> datetime:
        """The last change that is known."""
        return self._begins[-1] if self._begins else datetime.min.replace(tzinfo=UTC)

    def at(self, instant: datetime) -> Era:
        return self._era(bisect.bisect_right(self._begins, instant))

    def _era(self, number: int) -> Era:
        if number not in self._eras:
            self._eras[number] = self._made(self._begins[number - 1]) if number else Era({}, frozenset())
        return self._eras[number]

    def _made(self, instant: datetime) -> Era:
        entries, gone, unread = dict[str, PlatformEntry](), set[str](), set[str]()
        for platform_id, revisions in self._of_platform.items():
            place = bisect.bisect_right(revisions, instant, key=lambda each: each.active_from)
            standing = revisions[place - 1] if place else None
            if standing is None:
                continue
            if standing.decommissioned:
                gone.add(platform_id)
            elif standing.entry is not None:
                entries[platform_id] = standing.entry
            else:
                unread.add(platform_id)
        return Era(entries, frozenset(gone), frozenset(unread))


class Live(Mapping[str, Value], Generic[Value]):
    """Something for each platform in use, made again when its registration or its hub's changes."""

    def __init__(
        self, registered: Registered, make: Callable[[PlatformEntry, Mapping[str, PlatformEntry]], Value], *, hubs: bool = False
    ) -> None:
        """Make each value from a platform's entry and all entries; ``hubs``: for hubs too."""
        self._registered = registered
        self._make = make
        self._hubs = hubs
        self._made: dict[str, tuple[PlatformEntry, PlatformEntry | None, Value]] = {}

    def __getitem__(self, platform_id: str) -> Value:
        """Return a platform's value.

        Raises:
            KeyError: it is not in use.
            MapRefused: its adapter or its hub is not there.
        """
        entries = self._registered.present.entries
        entry = entries[platform_id]
        if entry.adapter == _HUB and not self._hubs:
            raise KeyError(platform_id)
        hub = entries.get(entry.via)
        made = self._made.get(platform_id)
        if made is None or made[:2] != (entry, hub):
            made = self._made[platform_id] = (entry, hub, self._make(entry, entries))
        return made[2]

    def __contains__(self, platform_id: object) -> bool:
        """Tell whether it is in use, whether or not its value can be made."""
        entry = self._registered.present.entries.get(str(platform_id))
        return entry is not None and (self._hubs or entry.adapter != _HUB)

    @property
    def looking(self) -> frozenset[str]:
        """See :attr:`Era.looking`; nothing is made for it."""
        return self._registered.present.looking

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of those in use now."""
        entries = self._registered.present.entries
        return iter([each for each, entry in entries.items() if self._hubs or entry.adapter != _HUB])

    def __len__(self) -> int:
        """Count them."""
        return len(list(iter(self)))


def _together(found: Sequence[Speaker]) -> Speaker | None:
    """Return one speaker with the keys and members of all, the first's first: more keys than one sender may have, none left out."""
    if not found or all(each == found[0] for each in found):
        return found[0] if found else None
    keys = tuple(dict.fromkeys(key for each in found for key in each.keys))
    members = frozenset[str]().union(*(each.speaks_for for each in found))
    return Speaker(found[0].platform_id, keys, found[0].form, members)
