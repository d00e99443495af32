"""Columns that tables share: instants in UTC, long texts, serial numbers, the cycle a row belongs to."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Integer, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlmodel import Field


class Instant(TypeDecorator[datetime]):
    """A UTC instant; refuses naive values, because half of all clock faults start with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC before storing."""
        if value is None:
            return None
        if value.tzinfo is None:
            what = "an instant without offset was about to be stored"
            raise ValueError(what)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the offset back that SQLite does not store."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


def instant(*, nullable: bool = False, index: bool = False) -> Any:
    """Return a column of UTC instants."""
    return Field(sa_column=Column(Instant, nullable=nullable, index=index), default=None)


def long_text(*, nullable: bool = False) -> Any:
    """Return a column of texts of any length."""
    return Field(sa_column=Column(Text, nullable=nullable), default=None)


def serial() -> Any:
    """Return a primary key that the database counts up."""
    return Field(default=None, sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True))


def cycle_key(*, primary: bool = False) -> Any:
    """Return a column that names the cycle a row belongs to; ``primary``: as part of the primary key."""
    return Field(sa_column=Column(Text, ForeignKey("cycles.cycle_id"), primary_key=primary, nullable=False))
