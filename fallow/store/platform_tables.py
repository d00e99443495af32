"""Tables of platforms: revisions of their registrations, proposals, events, and the delivery log; columns and constraints, no methods."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from fallow.store.columns import instant, long_text, serial


class PlatformRow(SQLModel, table=True):
    """One revision of a platform's registration: never changed, replaced by the next. ``body`` is canonical JSON, secrets in it sealed.

    A key counts for messages received from ``active_from`` of the first revision that names it to that of the next that does not.
    """

    __tablename__ = "platforms"
    platform_id: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    body: str = long_text()
    active_from: datetime = instant()
    proposed_by: str
    approved_by: str


class PlatformProposalRow(SQLModel, table=True):
    """A registration or a change of one that waits for its second person. ``pinged_at``: the endpoint has proved its key."""

    __tablename__ = "platform_proposals"
    proposal_id: str = Field(primary_key=True)
    platform_id: str
    body: str = long_text()
    proposed_by: str
    proposed_at: datetime = instant()
    pinged_at: datetime | None = instant(nullable=True)
    trouble: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = instant(nullable=True)
    approved: bool = False


class RegistryEventRow(SQLModel, table=True):
    """One fact about one platform's registration, in order; append-only, as the events of cycles are."""

    __tablename__ = "registry_events"
    event_id: int | None = serial()
    platform_id: str
    kind: str
    at: datetime = instant()
    body: str = long_text()


class ExchangeRow(SQLModel, table=True):
    """One request or callback, as the delivery log shows it: never a body. ``result`` is a short code; kept for a bounded time."""

    __tablename__ = "exchanges"
    __table_args__ = (Index("ix_exchanges_platform", "platform_id", "exchange_id"), Index("ix_exchanges_at", "at"))
    exchange_id: int | None = serial()
    platform_id: str
    direction: str
    at: datetime = instant()
    delivery_id: str
    items: int
    octets: int
    status: int | None = None
    result: str
    took_ms: int
