"""The world around an installation, in memory: a small honest implementation of each port, never a mock.

Each keeps what it is told and can be made to misbehave.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fallow.domain.errors import TargetUnavailable, WipeRefused
from fallow.domain.gate import LineStatus
from fallow.domain.number import E164
from fallow.domain.obligations import Outcome
from fallow.domain.ports import (
    Clock,
    CollectionReceipt,
    ExpiryOrder,
    Finding,
    Keeper,
    SignedDelivery,
    UnbindItem,
    WipeOrder,
    WipeReceipt,
)
from fallow.platforms import signing
from fallow.platforms.platform_map import PlatformEntry
from fallow.platforms.signing import SigningKey
from fallow.platforms.speakers import Speaker, speaker_of

#: Where every settable clock begins.
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class SettableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        """Begin at ``now``."""
        self._now = now

    def now(self) -> datetime:
        """Return the instant it was set to."""
        return self._now

    def pass_by(self, span: timedelta) -> None:
        """Move on by ``span``."""
        self._now += span

    def pass_to(self, instant: datetime) -> None:
        """Move on to ``instant``; never back."""
        self._now = max(self._now, instant)


@dataclass
class MemoryRecords:
    """A record system in memory: what it wiped, and what may remain in spite of it.

    Attributes:
        system_id: its id.
        collections: their ids.
        wiped: cycle ids in the order of the orders it carried out, repeats included.
        remaining: rows that each read-back finds still there.
        newer: rows of a newer holder that each read-back finds.
        down: whether it can't be reached.
        after: systems that come before it.
        batch: most orders in one wipe.
        orders: every order it carried out, in order.
        expired: every expiry it was ordered, in order.
        clock: what time it is there; by itself it stands still.
        refuses: numbers whose change it refuses.
    """

    system_id: str
    collections: tuple[str, ...]
    wiped: list[str] = field(default_factory=list)
    remaining: int = 0
    newer: int = 0
    down: bool = False
    after: frozenset[str] = frozenset()
    batch: int = 50
    orders: list[WipeOrder] = field(default_factory=list)
    expired: list[ExpiryOrder] = field(default_factory=list)
    clock: Clock = field(default_factory=SettableClock)
    refuses: set[E164] = field(default_factory=set)

    def check(self) -> None:
        """Be as mapped, unless it is down."""
        if self.down:
            what = f"The record system {self.system_id} can't be reached."
            raise TargetUnavailable(what, remedy="start it.")

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Find one row in each collection."""
        self.check()
        return [tuple(Finding(each, "delete", 1, self.remaining, self.newer) for each in self.collections) for _ in orders]

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Look again."""
        self.check()
        return [self._receipt_of(order, affected=0) for order in orders]

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Carry out the orders."""
        del keeper
        self.check()
        if any(order.number in self.refuses for order in orders):
            what = f"The record system {self.system_id} refused the change."
            raise WipeRefused(what, remedy="look for a trigger.")
        self.orders += orders
        self.wiped += [order.cycle_id for order in orders]
        return [self._receipt_of(order, affected=1) for order in orders]

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Destroy what has expired."""
        self.check()
        self.expired += orders
        return [0 for _ in orders]

    def close(self) -> None:
        """Hold nothing."""

    def _receipt_of(self, order: WipeOrder, affected: int) -> WipeReceipt:
        return WipeReceipt(order.cycle_id, self.system_id, tuple(self._receipt(each, affected) for each in self.collections))

    def _receipt(self, collection: str, affected: int) -> CollectionReceipt:
        return CollectionReceipt(collection, "delete", affected, self.remaining, "0" * 64, "1" * 64, self.clock.now(), newer=self.newer)


@dataclass
class MemoryLines:
    """A line register in memory: every line is off unless said otherwise.

    Attributes:
        said: what it says of single numbers.
        down: whether it can't be asked.
    """

    said: dict[E164, LineStatus] = field(default_factory=dict)
    down: bool = False

    def statuses(self, numbers: Sequence[E164]) -> list[LineStatus]:
        """Say it."""
        if self.down:
            what = "The line register can't be asked."
            raise TargetUnavailable(what, remedy="start it.")
        return [self.said.get(number, LineStatus.OFF) for number in numbers]

    def close(self) -> None:
        """Hold nothing."""


@dataclass
class MemoryPlatform:
    """A platform in memory that signs with its own key.

    Attributes:
        platform_id: its id.
        key: what it signs with.
        clock: what time it is there.
        says: its outcome for an item; None: it answers by callback later.
        asked: every item it was sent, in order.
        looks: whether it offers a status query.
        shows: its answer to a status query, by reference; None: it says nothing of that one.
        looked: every reference it was asked about, in order.
    """

    platform_id: str
    key: SigningKey
    clock: Clock
    says: Callable[[UnbindItem], Outcome | None] = lambda _: Outcome.UNBOUND
    asked: list[UnbindItem] = field(default_factory=list)
    looks: bool = False
    shows: Callable[[str], Outcome | None] = lambda _: None
    looked: list[str] = field(default_factory=list)

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Take a request and answer what can be answered at once."""
        self.asked += items
        answers = {item.reference: outcome for item in items if (outcome := self.says(item)) is not None}
        return signed_delivery(self.key, answers, self.clock.now()) if answers else None

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Say how the references stand."""
        self.looked += references
        answers = {reference: outcome for reference in references if (outcome := self.shows(reference)) is not None}
        return signed_delivery(self.key, answers, self.clock.now()) if answers else None


class MappedSpeakers:
    """The speakers of a platforms map, which knows no past: the keys in it count for every instant."""

    def __init__(self, entries: Mapping[str, PlatformEntry]) -> None:
        """Take the entries; later changes of them count."""
        self._entries = entries

    def now(self, platform_id: str) -> Speaker | None:
        """See :class:`Speakers`."""
        entry = self._entries.get(platform_id)
        return None if entry is None else speaker_of(entry, self._entries)

    def at(self, platform_id: str, instant: datetime) -> Speaker | None:
        """See :class:`Speakers`."""
        del instant
        return self.now(platform_id)


def signed_delivery(
    key: SigningKey, answers: Mapping[str, Outcome | str], at: datetime, *, delivery_id: str | None = None
) -> SignedDelivery:
    """Return a platform's signed message that says ``answers``: outcome by reference."""
    said = ",".join(f'{{"reference":"{reference}","outcome":"{outcome}"}}' for reference, outcome in answers.items())
    body = f'{{"answers":[{said}]}}'.encode()
    headers = signing.sign(key, delivery_id or signing.new_delivery_id(), at, body)
    return SignedDelivery(headers[signing.ID_HEADER], int(headers[signing.TIMESTAMP_HEADER]), headers[signing.SIGNATURE_HEADER], body)
