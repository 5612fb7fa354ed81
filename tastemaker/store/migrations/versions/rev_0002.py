"""Models know the digest of what their folder held when their version was given its name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column, empty for the versions that are there."""
    op.add_column("models", sa.Column("digest", sa.Text(), nullable=True))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("models", "digest")
