"""Roles that the outside plays for the engine. Activities know these; operations, senders and adapters implement them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    """

    cycle_id: str
    number: E164
    disconnected_at: datetime


@dataclass(frozen=True)
class CollectionReceipt:
    """What was done in one collection and what a second look found.

    Attributes:
        collection: id in the records map.
        strategy: "delete" or "restrict".
        affected: rows changed by this attempt (a repeat finds none left: then 0).
        remaining: rows in scope found by the read-back on another connection; anything but 0 fails the obligation.
        statement: SHA-256 of the statement's text, without values.
        query: SHA-256 of the read-back query's text, without values.
        meaning: digest of what the records map says of the collection, as 16 hex digits.
        read_back_at: when the read-back ran, UTC.
        legal_basis: for "restrict", why the rows are kept.
        kept_until: for "restrict", ISO date at which they expire.
    """

    collection: str
    strategy: str
    affected: int
    remaining: int
    statement: str
    query: str
    meaning: str = field(default="", kw_only=True)
    read_back_at: datetime
    legal_basis: str | None = None
    kept_until: str | None = None


@dataclass(frozen=True)
class WipeReceipt:
    """The receipt of one order: every collection of the system, each read back."""

    cycle_id: str
    system_id: str
    collections: tuple[CollectionReceipt, ...]


class RecordSystem(Protocol):
    """A system that holds records of former holders."""

    system_id: str
    collections: tuple[str, ...]

    def close(self) -> None:
        """Close its connections."""
        ...

    def wipe(self, orders: Sequence[WipeOrder]) -> list[WipeReceipt]:
        """Clear the former holders' rows in one bounded transaction, read back on another connection, in order.

        Idempotent: a repeat after a crash clears nothing twice and gives a full receipt.

        Raises:
            TargetUnavailable: when the system can't be reached or is locked; nothing is claimed then.
            WipeRefused: when it refuses the change of at least one order for good; nothing is claimed then.
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
    """

    reference: str
    number: E164
    disconnected_at: datetime
    reminder: bool


@dataclass(frozen=True)
class SignedDelivery:
    """A platform's message exactly as it came, with what is needed to verify it again for ever.

    Attributes:
        delivery_id: the platform's ``webhook-id``.
        signed_at: ``webhook-timestamp``, unix seconds.
        signature: the ``webhook-signature`` header.
        body: the raw bytes the signature covers.
    """

    delivery_id: str
    signed_at: int
    signature: str
    body: bytes


class Platform(Protocol):
    """A platform that can be asked to cut bindings."""

    platform_id: str

    async def ask(self, items: Sequence[UnbindItem]) -> SignedDelivery | None:
        """Send one signed request; return the signed answer in its response, or None where it will come by callback.

        Raises:
            TargetUnavailable: transport failure, 408, 429 or 5xx (``retry_after`` seconds where the platform named it).
            AnswerMalformed: an answer outside the protocol.
            SignatureRefused: an answer that is not signed by the platform.
            RequestRejected: a 4xx that repeating can't mend.
        """
        ...
