"""Quarantine as carriers know it: pools, reminders, reviews, residual traffic, inventory."""

import sqlalchemy as sa
from alembic import op

from fallow.store.columns import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    for column in (
        sa.Column("reminded_at", Instant(), nullable=True),
        sa.Column("denials", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("pool", sa.Text(), nullable=False, server_default=""),
        sa.Column("explanation_zh", sa.Text(), nullable=False, server_default=""),
        sa.Column("overdue_at", Instant(), nullable=True),
        sa.Column("traffic", sa.Text(), nullable=True),
        sa.Column("looked_at", Instant(), nullable=True),
    ):
        op.add_column("cycles", column)
    op.create_index("ix_cycles_overdue_at", "cycles", ["overdue_at"])
    op.add_column("holds", sa.Column("review_on", sa.Date(), nullable=True))
    op.create_index("ix_holds_cycle", "holds", ["cycle_id"])
    op.create_table(
        "traffic",
        sa.Column("number_id", sa.Text(), nullable=False),
        sa.Column("on_date", sa.Date(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("otp_like", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["number_id"], ["numbers.number_id"]),
        sa.PrimaryKeyConstraint("number_id", "on_date"),
    )
    op.create_table(
        "inventory",
        sa.Column("lookup", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("said_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("lookup"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("inventory")
    op.drop_table("traffic")
    op.drop_index("ix_holds_cycle", "holds")
    op.drop_column("holds", "review_on")
    op.drop_index("ix_cycles_overdue_at", "cycles")
    for name in ("looked_at", "traffic", "overdue_at", "explanation_zh", "pool", "denials", "reminded_at"):
        op.drop_column("cycles", name)
