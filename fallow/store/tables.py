"""Tables: columns and constraints, no methods. Rows of a cycle are written only by applying an event (``store.cycles``)."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from fallow.store.columns import cycle_key, instant, long_text, serial


class NumberRow(SQLModel, table=True):
    """The asset. ``lookup`` is a keyed HMAC of the number, ``sealed`` the number under the vault key."""

    __tablename__ = "numbers"
    number_id: str = Field(primary_key=True)
    lookup: str = Field(unique=True)
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    country: str
    last_cycle_no: int


class PolicyRow(SQLModel, table=True):
    """A policy as frozen: ``body`` is canonical JSON, ``digest`` its SHA-256."""

    __tablename__ = "policies"
    digest: str = Field(primary_key=True)
    body: str = long_text()


class CycleRow(SQLModel, table=True):
    """One trip of a number. The upper part is ``domain.cycle.Cycle``, the lower what enrolment stated and what wakes the workflow.

    ``pool`` is the carrier's own pool ("" where none was stated), ``overdue_at`` the end of the rule's maximum, ``traffic`` the last
    judged verdict on residual traffic.
    """

    __tablename__ = "cycles"
    __table_args__ = (
        UniqueConstraint("number_id", "cycle_no"),
        Index("ix_cycles_state", "state"),
        Index("ix_cycles_wake_at", "wake_at"),
        Index("ix_cycles_overdue_at", "overdue_at"),
        Index("ix_cycles_attention", "cycle_id", sqlite_where=text("attention <> '[]'"), postgresql_where=text("attention <> '[]'")),
    )
    cycle_id: str = Field(sa_column=Column(Text, primary_key=True))
    number_id: str = Field(foreign_key="numbers.number_id", index=True)
    cycle_no: int
    state: str
    disconnected_at: datetime = instant()
    enrolled_at: datetime = instant()
    release_at: datetime = instant()
    policy: str = Field(foreign_key="policies.digest")
    demo: bool
    handback: bool
    holds: str = "[]"
    attention: str = "[]"
    settled: str = "[]"
    quarantine_ended_at: datetime | None = instant(nullable=True)
    tag: str | None = None
    released_at: datetime | None = instant(nullable=True)
    reminded_at: datetime | None = instant(nullable=True)
    denials: int = 0
    held: bool = False
    events_no: int = 0
    state_at: datetime = instant()
    wake_at: datetime | None = instant(nullable=True)
    wake_no: int = 0
    wake_tries: int = 0
    looked_at: datetime | None = instant(nullable=True)
    country: str
    number_class: str
    pool: str = ""
    carrier: str
    range_holder: str
    reason: str
    prior_holders: int | None = None
    former_holders: int
    recalled: bool = False
    explanation: str
    explanation_zh: str = ""
    overdue_at: datetime | None = instant(nullable=True)
    traffic: str | None = None
    source_ref: str
    batch_id: str | None = None
    enrolled_by: str
    line_status: str | None = None
    line_checked_at: datetime | None = instant(nullable=True)


class ObligationRow(SQLModel, table=True):
    """What must be cleared at one target for one cycle. ``due_at`` is when its sender acts next; None: nothing to send.

    ``confirmed`` is the digest of the platform's word that it still stands, given at ``looked_at`` to a status query.
    """

    __tablename__ = "obligations"
    __table_args__ = (
        Index("ix_obligations_due", "target_id", "due_at"),
        Index("ix_obligations_new", "target_id", "due_at", sqlite_where=text("attempts = 0"), postgresql_where=text("attempts = 0")),
    )
    cycle_id: str = cycle_key(primary=True)
    target_id: str = Field(primary_key=True)
    kind: str
    status: str
    outcome: str | None = None
    evidence: str | None = None
    reference: str = Field(unique=True)
    due_at: datetime | None = instant(nullable=True)
    deadline_at: datetime | None = instant(nullable=True)
    looked_at: datetime | None = instant(nullable=True)
    confirmed: str | None = None
    attempts: int = 0
    failures: int = 0
    asked: int = 0
    alone: bool = False
    claimed: bool = False


class LookRow(SQLModel, table=True):
    """A look that is still owed at a platform with a status query: gone once the platform confirmed. ``since``: wanted since then."""

    __tablename__ = "looks"
    __table_args__ = (Index("ix_looks_due", "target_id", "due_at"),)
    cycle_id: str = cycle_key(primary=True)
    target_id: str = Field(primary_key=True)
    due_at: datetime = instant()
    since: datetime = instant()
    tries: int = 0
    claimed: bool = False


class AttemptRow(SQLModel, table=True):
    """One attempt at one obligation; digested into StageSettled."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_cycle", "cycle_id"),)
    attempt_id: int | None = serial()
    cycle_id: str = cycle_key()
    target_id: str
    at: datetime = instant()
    result: str


class DeliveryRow(SQLModel, table=True):
    """A platform's signed message, verbatim; the pair (platform, delivery) changes state at most once.

    ``platform_id`` is whose key signed: the platform's own, or its hub's. ``body`` is sealed under the evidence key, as
    ``fallow.store.inbox`` says.
    """

    __tablename__ = "deliveries"
    platform_id: str = Field(primary_key=True)
    delivery_id: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    signed_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    signature: str = long_text()
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    received_at: datetime = instant()
    ack: str = long_text()


class EvidenceRow(SQLModel, table=True):
    """A wipe receipt or an attestation: canonical JSON under its own digest."""

    __tablename__ = "evidence"
    digest: str = Field(primary_key=True)
    cycle_id: str = cycle_key()
    target_id: str
    kind: str
    body: str = long_text()


class HoldRow(SQLModel, table=True):
    """A hold: who placed it, under which reference, who lifted it."""

    __tablename__ = "holds"
    __table_args__ = (Index("ix_holds_cycle", "cycle_id"),)
    hold_id: str = Field(primary_key=True)
    cycle_id: str = cycle_key()
    reference: str
    review_on: date | None = None
    placed_by: str
    placed_at: datetime = instant()
    lifted_by: str | None = None
    lifted_at: datetime | None = instant(nullable=True)


class TrafficRow(SQLModel, table=True):
    """What still reached a number on one day: counts only, never content or who called."""

    __tablename__ = "traffic"
    number_id: str = Field(foreign_key="numbers.number_id", primary_key=True)
    on_date: date = Field(primary_key=True)
    attempts: int
    messages: int
    otp_like: int


class InventoryRow(SQLModel, table=True):
    """What inventory said of a number last. ``lookup`` is its keyed HMAC: numbers never cancelled here are not kept otherwise."""

    __tablename__ = "inventory"
    lookup: str = Field(primary_key=True)
    status: str
    since: datetime = instant()
    said_at: datetime = instant()


class ProposalRow(SQLModel, table=True):
    """A two-person command that waits for its second person."""

    __tablename__ = "proposals"
    proposal_id: str = Field(primary_key=True)
    cycle_id: str = cycle_key()
    command: str
    arguments: str = long_text()
    proposed_by: str
    proposed_at: datetime = instant()
    decided_by: str | None = None
    decided_at: datetime | None = instant(nullable=True)


class TagRow(SQLModel, table=True):
    """A disclosure tag with its Ed25519 signature."""

    __tablename__ = "tags"
    digest: str = Field(primary_key=True)
    cycle_id: str = cycle_key()
    body: str = long_text()
    signature: str
    public_key: str
    issued_at: datetime = instant()


class SaleRow(SQLModel, table=True):
    """A sale: which tag the buyer acknowledged, and the shop's reference of that acknowledgement."""

    __tablename__ = "sales"
    cycle_id: str = cycle_key(primary=True)
    tag: str
    acknowledgement: str
    sold_by: str
    sold_at: datetime = instant()


class EventRow(SQLModel, table=True):
    """One fact about one cycle, in order."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("cycle_id", "seq"),)
    event_id: int | None = serial()
    cycle_id: str = cycle_key()
    seq: int
    kind: str
    at: datetime = instant()
    body: str = long_text()


class OutboxRow(SQLModel, table=True):
    """What inventory must learn: one row per number that became RESELLABLE."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_owed", "kind", "outbox_id", sqlite_where=text("exported_at IS NULL"), postgresql_where=text("exported_at IS NULL")
        ),
    )
    outbox_id: int | None = serial()
    kind: str
    cycle_id: str = cycle_key()
    at: datetime = instant()
    exported_at: datetime | None = instant(nullable=True)


class BatchRow(SQLModel, table=True):
    """An enrolled file. ``fingerprint`` is a keyed HMAC of its bytes: the same file again starts nothing twice."""

    __tablename__ = "batches"
    batch_id: str = Field(primary_key=True)
    fingerprint: str = Field(unique=True)
    enrolled_by: str
    enrolled_at: datetime = instant()
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0


class RejectionRow(SQLModel, table=True):
    """A line that was not enrolled, and why; never the cell's content."""

    __tablename__ = "rejections"
    batch_id: str = Field(foreign_key="batches.batch_id", primary_key=True)
    line: int = Field(primary_key=True)
    code: str
    why: str


class TargetRow(SQLModel, table=True):
    """A target as its sender sees it: rate bucket, breaker, last trouble; and what an operator set for it.

    ``rate_per_second``, ``batch`` and ``lanes`` take the place of what its map or registration says; None: they stand.
    """

    __tablename__ = "targets"
    target_id: str = Field(primary_key=True)
    kind: str
    paused_at: datetime | None = instant(nullable=True)
    paused_by: str | None = None
    rate_per_second: float | None = None
    batch: int | None = None
    lanes: int | None = None
    tokens: float = 0.0
    tokens_at: datetime | None = instant(nullable=True)
    failures: int = 0
    closed_until: datetime | None = instant(nullable=True)
    trouble: str | None = None
    trouble_at: datetime | None = instant(nullable=True)


class LeaseRow(SQLModel, table=True):
    """Who may act under a name, until when, by the database's clock; ``fence`` grows at each takeover."""

    __tablename__ = "leases"
    name: str = Field(primary_key=True)
    holder: str
    fence: int
    until: datetime = instant()


class PrincipalRow(SQLModel, table=True):
    """Someone or something with an API key; ``secret`` is a keyed HMAC of the key."""

    __tablename__ = "principals"
    principal_id: str = Field(primary_key=True)
    name: str
    role: str
    platform_id: str | None = None
    secret: str
    admitted_by: str | None = None
    created_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)


class FactRow(SQLModel, table=True):
    """Facts about this database itself, such as whether it is a demo database."""

    __tablename__ = "facts"
    name: str = Field(primary_key=True)
    value: str
