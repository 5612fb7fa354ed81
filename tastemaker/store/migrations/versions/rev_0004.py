"""Rankings that were made ahead of the request, one a shopper."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "rankings",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("tenant", "user_id")),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("model_version", "digest", "document")),
        sa.Column("computed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("rankings_by_sequence", "rankings", ["tenant", "sequence"], unique=True)


def downgrade() -> None:
    """Remove the table; what it held can be made again."""
    op.drop_table("rankings")
