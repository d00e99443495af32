"""A protocol for platforms: a registry of revisions, sealed answers, what an operator sets for a target, a delivery log."""

import sqlalchemy as sa
from alembic import op

from fallow.store.columns import Instant
from fallow.store.migrations import gate_trigger

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TARGETS = ("paused_at", "paused_by", "rate_per_second", "batch", "lanes")
_INSTANTS = ("deadline_at", "looked_at")
_OBLIGATIONS = (*_INSTANTS, "confirmed")
_TABLES = ("looks", "platforms", "platform_proposals", "registry_events", "exchanges")


def upgrade() -> None:
    """Apply."""
    for name in _INSTANTS:
        op.add_column("obligations", sa.Column(name, Instant(), nullable=True))
    never_claimed = sa.text("attempts = 0")
    op.create_index(
        "ix_obligations_new", "obligations", ["target_id", "due_at"], sqlite_where=never_claimed, postgresql_where=never_claimed
    )
    waiting, owed = sa.text("attention <> '[]'"), sa.text("exported_at IS NULL")
    op.create_index("ix_cycles_attention", "cycles", ["cycle_id"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("ix_outbox_owed", "outbox", ["kind", "outbox_id"], sqlite_where=owed, postgresql_where=owed)
    op.add_column("obligations", sa.Column("confirmed", sa.Text(), nullable=True))
    op.add_column("targets", sa.Column("paused_at", Instant(), nullable=True))
    op.add_column("targets", sa.Column("paused_by", sa.Text(), nullable=True))
    op.add_column("targets", sa.Column("rate_per_second", sa.Float(), nullable=True))
    op.add_column("targets", sa.Column("batch", sa.Integer(), nullable=True))
    op.add_column("targets", sa.Column("lanes", sa.Integer(), nullable=True))
    _create_registry()
    _create_looks()
    op.create_table(
        "exchanges",
        _serial("exchange_id"),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("octets", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id"),
    )
    op.create_index("ix_exchanges_platform", "exchanges", ["platform_id", "exchange_id"])
    if op.get_bind().dialect.name == "postgresql":
        for statement in gate_trigger.POSTGRESQL_OF_STATE:
            op.execute(statement)
    op.create_index("ix_exchanges_at", "exchanges", ["at"])


def downgrade() -> None:
    """Take back."""
    for statement in gate_trigger.SQLITE_LOOKS_DOWN if _is_sqlite() else gate_trigger.POSTGRESQL_LOOKS_DOWN:
        op.execute(statement)
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ix_obligations_new", "obligations")
    op.drop_index("ix_cycles_attention", "cycles")
    op.drop_index("ix_outbox_owed", "outbox")
    for table, columns in (("targets", _TARGETS), ("obligations", _OBLIGATIONS)):
        for name in columns:
            op.drop_column(table, name)


def _create_registry() -> None:
    op.create_table(
        "platforms",
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("active_from", Instant(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("platform_id", "revision"),
    )
    op.create_table(
        "platform_proposals",
        sa.Column("proposal_id", sa.Text(), nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", Instant(), nullable=False),
        sa.Column("pinged_at", Instant(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("proposal_id"),
    )
    op.create_table(
        "registry_events",
        _serial("event_id"),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )


def _create_looks() -> None:
    op.create_table(
        "looks",
        sa.Column("cycle_id", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("claimed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"]),
        sa.PrimaryKeyConstraint("cycle_id", "target_id"),
    )
    op.create_index("ix_looks_due", "looks", ["target_id", "due_at"])
    for statement in gate_trigger.SQLITE_LOOKS if _is_sqlite() else gate_trigger.POSTGRESQL_LOOKS:
        op.execute(statement)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _serial(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True)
