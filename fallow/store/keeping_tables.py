"""Tables of keys and of what the law keeps: holder keys and their epochs, retention keys and what they seal."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from fallow.store.columns import cycle_key, instant, long_text


class EpochRow(SQLModel, table=True):
    """Which wrapping key of a kind is in use: one row a kind, locked by whoever wraps (shared) or rotates (alone)."""

    __tablename__ = "epochs"
    kind: str = Field(primary_key=True)
    epoch: int
    began_at: datetime = instant()


class HolderRow(SQLModel, table=True):
    """What is known of a former holder under the cycle's holder key, and that key wrapped under its epoch's; gone once bindings settled."""

    __tablename__ = "holders"
    cycle_id: str = cycle_key(primary=True)
    epoch: int = Field(index=True)
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class RetentionRow(SQLModel, table=True):
    """What the law keeps of one collection for a cycle: ``how`` is "restrict" (at the system) or "seal" (here); ``rows`` as last seen."""

    __tablename__ = "retention"
    __table_args__ = (Index("ix_retention_due", "destroyed_at", "kept_until"),)
    cycle_id: str = cycle_key(primary=True)
    target_id: str = Field(primary_key=True)
    collection: str = Field(primary_key=True)
    kept_until: date = Field(primary_key=True)
    how: str
    basis: str = long_text()
    rows: int = Field(sa_column=Column(BigInteger, nullable=False))
    tries: int = 0
    due_at: datetime | None = instant(nullable=True)
    destroyed_at: datetime | None = instant(nullable=True)


class RetentionKeyRow(SQLModel, table=True):
    """The retention key of a cycle and an expiry, wrapped under the wrapping key ``wrapped_by``; gone after the expiry."""

    __tablename__ = "retention_keys"
    cycle_id: str = cycle_key(primary=True)
    kept_until: date = Field(primary_key=True)
    wrapped_by: str
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class SealedRow(SQLModel, table=True):
    """One row of a record system under its retention key. ``mark`` is a keyed HMAC of its content: the same row again is kept once."""

    __tablename__ = "sealed_rows"
    __table_args__ = (Index("ix_sealed_rows_cycle", "cycle_id"),)
    mark: str = Field(primary_key=True)
    cycle_id: str = cycle_key()
    target_id: str
    collection: str
    kept_until: date
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
