"""Alembic's entry: runs the migrations on the connection that :mod:`fallow.store.schema` hands over."""

from alembic import context
from sqlmodel import SQLModel

from fallow.store import keeping_tables, platform_tables, tables

assert all((tables, keeping_tables, platform_tables))  # noqa: S101 - imported so that the metadata is complete

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
