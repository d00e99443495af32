"""Keys of the former holder, and what the law keeps."""

import sqlalchemy as sa
from alembic import op

from fallow.store.columns import Instant
from fallow.store.migrations import gate_trigger

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "epochs",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("began_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("kind"),
    )
    op.create_table(
        "holders",
        _cycle(),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id"),
    )
    op.create_index("ix_holders_epoch", "holders", ["epoch"])
    op.create_table(
        "retention",
        _cycle(),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("kept_until", sa.Date(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("destroyed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("cycle_id", "target_id", "collection", "kept_until"),
    )
    op.create_index("ix_retention_due", "retention", ["destroyed_at", "kept_until"])
    op.create_table(
        "retention_keys",
        _cycle(),
        sa.Column("kept_until", sa.Date(), nullable=False),
        sa.Column("wrapped_by", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", "kept_until"),
    )
    op.create_table(
        "sealed_rows",
        sa.Column("mark", sa.Text(), nullable=False),
        _cycle(),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("kept_until", sa.Date(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mark"),
    )
    op.create_index("ix_sealed_rows_cycle", "sealed_rows", ["cycle_id"])
    for statement in gate_trigger.SQLITE_KEYS if _sqlite() else gate_trigger.POSTGRESQL_KEYS:
        op.execute(statement)


def downgrade() -> None:
    """Take back."""
    for statement in gate_trigger.SQLITE_KEYS_DOWN if _sqlite() else gate_trigger.POSTGRESQL_KEYS_DOWN:
        op.execute(statement)
    for table in ("sealed_rows", "retention_keys", "retention", "holders", "epochs"):
        op.drop_table(table)


def _cycle() -> sa.Column[str]:
    return sa.Column("cycle_id", sa.Text(), sa.ForeignKey("cycles.cycle_id"), nullable=False)


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
