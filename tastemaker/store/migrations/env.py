"""What Alembic runs: the steps that are due, on the connection and in the transaction that it is given."""

from __future__ import annotations

from alembic import context

from tastemaker.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
