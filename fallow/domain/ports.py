"""Roles that the outside plays for the engine. Activities know these; operations, senders and adapters implement them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from fallow.domain.cycle import CycleRef
from fallow.domain.gate import LineStatus
from fallow.domain.number import E164


@dataclass(frozen=True)
class Look:
    """What a stage saw when it looked at its cycle. Crosses into Temporal: identifiers and instants only.

    Attributes:
        state: the cycle's state after the look.
        done: the step's promise is kept; the workflow goes on.
        ended: the cycle has ended (RESELLABLE, reclaimed, retired, …); the workflow closes.
        released: the number has passed the gate, whatever became of it since.
        look_at: look again at this instant; None means wait for a nudge.
        held: a hold is open.
        attention: what waits for a person, as ``reason:target``.
    """

    state: str
    done: bool = False
    ended: bool = False
    released: bool = False
    look_at: datetime | None = None
    held: bool = False
    attention: list[str] = field(default_factory=list)


class TimedStep(Protocol):
    """A step that is only taken once Temporal's clock, too, says that its time has come."""

    def __call__(self, cycle: CycleRef, asked_at: datetime, /) -> Look:
        """Do what can be done at ``asked_at``, the workflow's time, and say what was seen."""
        ...


class Step(Protocol):
    """One step of a stage: one transaction in our database, safe to repeat."""

    def __call__(self, cycle: CycleRef, /) -> Look:
        """Do what can be done now and say what was seen."""
        ...


@dataclass(frozen=True)
class TurnOver:
    """Why a sender's turn ended, and what it did.

    Attributes:
        discharged: obligations settled in this turn.
        failed: attempts that must be repeated.
        why: "time", "stopping" or "lease-lost".
    """

    discharged: int
    failed: int
    why: str


class Sender(Protocol):
    """A target's sender: claims due obligations and discharges them until its turn is over."""

    async def turn(self, target_id: str, *, turn_for: float, beat: Callable[[], None], stopping: Callable[[], bool]) -> TurnOver:
        """Work for at most ``turn_for`` seconds; call ``beat`` at least every second."""
        ...


class Clock(Protocol):
    """The clock that decides. In production the database's; tests feed it virtual time."""

    def now(self) -> datetime:
        """Return the instant, UTC, with offset."""
        ...


class LineRegister(Protocol):
    """The carrier's word on whether a line is in service."""

    def statuses(self, numbers: Sequence[E164]) -> list[LineStatus]:
        """Return one status per number, in order.

        Raises:
            TargetUnavailable: when the register can't be asked.
        """
        ...


@dataclass(frozen=True)
class WipeOrder:
    """One former holder's number to clear at a record system.

    Attributes:
        cycle_id: which cycle it is for; written into the receipt.
        number: the number; never logged.
        disconnected_at: rows of the holder up to this instant are the former holder's.
        subscription: the carrier's id of the former holder's subscription, where enrolment stated one; rows with it are the
            former holder's whenever they began.
        pseudonym: what stands for the former holder where a map says ``pseudonymise``; derived from the cycle's holder key, so
            that nobody can derive it again once that key is destroyed. "" where the cycle has none.
    """

    cycle_id: str
    number: E164
    disconnected_at: datetime
    subscription: str | None = field(default=None, repr=False)
    pseudonym: str = field(default="", repr=False)


@dataclass(frozen=True)
class KeptRow:
    """One row that the law wants kept, on its way out of a record system and under the retention key.

    Attributes:
        cycle_id: whose row it was.
        collection: id in the records map.
        basis: the legal basis.
        kept_until: destroyed after this day.
        content: the row as canonical JSON; never logged.
    """

    cycle_id: str
    collection: str
    basis: str
    kept_until: date
    content: bytes = field(repr=False)


class Keeper(Protocol):
    """Where rows go that are sealed until their expiry."""

    def keep(self, system_id: str, rows: Sequence[KeptRow]) -> None:
        """Seal the rows durably before it returns; the system deletes them only then.

        Idempotent: the same row of the same cycle and collection again, after a crash, is kept once.
        """
        ...


@dataclass(frozen=True)
class CollectionReceipt:
    """What was done in one collection and what a second look found.

    Attributes:
        collection: id in the records map.
        strategy: "delete", "restrict", "seal" or "rewrite".
        affected: rows changed by this attempt (a repeat finds none left: then 0).
        remaining: rows in scope found by the read-back on another connection; anything but 0 fails the obligation.
        newer: rows of a newer holder found by the read-back; never touched, and anything but 0 stops the stage.
        kept: rows found kept by law at the system itself, for "restrict".
        statement: SHA-256 of the statement's text, without values.
        query: SHA-256 of the read-back query's text, without values.
        meaning: digest of what the records map says of the collection, as 16 hex digits.
        read_back_at: when the read-back ran, UTC.
        legal_basis: for "restrict", "seal" and "rewrite", why what is left is kept.
        kept_until: for "restrict" and "seal", ISO date at which it expires.
        backups_until: ISO date until which the system's backups may still hold the rows; None where the map states no life of them.
        not_reached: what the map says that this does not reach, such as replicas.
    """

    collection: str
    strategy: str
    affected: int
    remaining: int
    statement: str
    query: str
    meaning: str = field(default="", kw_only=True)
    newer: int = field(default=0, kw_only=True)
    kept: int = field(default=0, kw_only=True)
    read_back_at: datetime
    legal_basis: str | None = None
    kept_until: str | None = None
    backups_until: str | None = None
    not_reached: tuple[str, ...] = ()


@dataclass(frozen=True)
class WipeReceipt:
    """The receipt of one order: every collection of the system, each read back.

    Attributes:
        cycle_id: whose.
        system_id: where, as the records map names it.
        collections: what was done and found in each.
        place: first 16 hex digits of a SHA-256 over where the system is: driver, host, port and database (no account, no password);
            for HTTP the URL and its public keys. "" where its kind does not say.
    """

    cycle_id: str
    system_id: str
    collections: tuple[CollectionReceipt, ...]
    place: str = ""


@dataclass(frozen=True)
class Finding:
    """What a look that changes nothing found of one former holder in one collection.

    Attributes:
        collection: id in the records map.
        strategy: what a wipe would do there.
        in_scope: rows that a wipe would change.
        undecided: rows that may be the former holder's and that a wipe would not touch: the read-back fails by them.
        newer: rows of a newer holder: they stop the stage.
        legal_basis: why what is left is kept, where the map has a wipe keep something.
        kept_until: ISO date until which it is kept.
    """

    collection: str
    strategy: str
    in_scope: int
    undecided: int
    newer: int
    legal_basis: str | None = None
    kept_until: str | None = None


@dataclass(frozen=True)
class ExpiryOrder:
    """Rows kept by law at a record system whose time is up.

    Attributes:
        cycle_id: whose.
        collection: where.
        number: the number; never logged.
        kept_until: the expiry that the rows carry, or a later one than theirs.
        basis: the legal basis that the rows carry, as it was worded when they were restricted.
    """

    cycle_id: str
    collection: str
    number: E164
    kept_until: date
    basis: str


class RecordSystem(Protocol):
    """A system that holds records of former holders.

    Attributes:
        system_id: id in the records map.
        collections: ids of the collections it clears, in the order in which it clears them.
        after: ids of the systems that must be cleared before it.
        batch: most orders in one wipe.
    """

    system_id: str
    collections: tuple[str, ...]
    after: frozenset[str]
    batch: int

    def check(self) -> None:
        """Compare the map with the system, changing nothing.

        Raises:
            MapRefused: the map does not fit the system.
            TargetUnavailable: the system can't be reached.
        """
        ...

    def close(self) -> None:
        """Close its connections."""
        ...

    def find(self, orders: Sequence[WipeOrder]) -> list[tuple[Finding, ...]]:
        """Say what a wipe would find, collection by collection, in order; changes nothing.

        Raises:
            TargetUnavailable, MapRefused: as :meth:`wipe`.
        """
        ...

    def read_back(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Look again for rows of the former holders, on a connection that changes nothing; ``affected`` is 0 in each receipt.

        Raises:
            TargetUnavailable, MapRefused: as :meth:`wipe`.
        """
        ...

    def wipe(self, orders: Sequence[WipeOrder], keeper: Keeper | None = None) -> list[WipeReceipt]:
        """Clear the former holders' rows in bounded transactions, read back on another connection, in order.

        Idempotent: a repeat after a crash clears nothing twice and gives a full receipt. Where a collection is sealed, ``keeper`` has
        its rows durably before they are deleted.

        Raises:
            TargetUnavailable: when the system can't be reached or is locked; nothing is claimed then.
            WipeRefused: when it refuses the change of at least one order for good; nothing is claimed then.
            MapRefused: when the map does not fit the system, or a collection is to be sealed and there is no keeper.
        """
        ...

    def expire(self, orders: Sequence[ExpiryOrder]) -> list[int]:
        """Destroy rows kept by law that carry this expiry; return how many are left of each order, read back on another connection.

        Idempotent: a repeat destroys nothing more and gives the same answer.

        Raises:
            TargetUnavailable, WipeRefused, MapRefused: as :meth:`wipe`.
        """
        ...


@dataclass(frozen=True)
class UnbindItem:
    """One number to unbind at a platform.

    Attributes:
        reference: opaque, random, one per obligation; the idempotency key and the only name the platform answers by.
        number: sent in the request's body, nowhere else.
        disconnected_at: bindings made up to this instant are the former holder's.
        reminder: whether it was asked before without an answer.
        deadline: by when an answer is wanted; None where none was set.
    """

    reference: str
    number: E164
    disconnected_at: datetime
    reminder: bool
    deadline: datetime | None = None


@dataclass(frozen=True)
class SignedDelivery:
    """A platform's message exactly as it came, with what is needed to verify it again for ever.

    Attributes:
        delivery_id: the platform's ``webhook-id``.
        signed_at: ``webhook-timestamp``, unix seconds.
        signature: what proves its sender, as it came: the ``webhook-signature`` header, or what the scheme has in its place.
        body: the raw bytes the signature covers.
        scheme: which form it has: a name of ``fallow.platforms.forms``.
        speaker_id: whose key signed it, where it came in the response to a request and that is not the platform itself: its hub.
    """

    delivery_id: str
    signed_at: int
    signature: str
    body: bytes
    scheme: str = "webhook"
    speaker_id: str = ""


class Platform(Protocol):
    """A platform that can be asked to cut bindings.

    Attributes:
        platform_id: its id in the registry.
        looks: whether it can be asked how something stands (:meth:`look`).
    """

    platform_id: str
    looks: bool

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Send one signed request; return the signed answer in its response, or None where it will come by callback.

        Raises:
            TargetUnavailable: transport failure, 408, 429 or 5xx (``retry_after`` seconds where the platform named it).
            AnswerMalformed: an answer outside the protocol.
            SignatureRefused: an answer that is not signed by the platform.
            RequestRejected: a 4xx that repeating can't mend.
        """
        ...

    async def look(self, references: Sequence[str]) -> SignedDelivery | None:
        """Ask how these obligations stand there now, without asking for anything to be done; None: nothing is known yet.

        Raises:
            TargetUnavailable, AnswerMalformed, SignatureRefused, RequestRejected: as :meth:`ask`.
        """
        ...
