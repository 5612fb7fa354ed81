"""Shoppers and what rules did can be followed: a revision for each shopper, and a log of rules of its own.

Lines on what rules did that are there already are moved in parts before schema 0005: see `migrations.moving`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Give shoppers a revision, 0 for those that are there, and what rules did a log of its own.

    Its numbers go on after those of the audit log, where its lines were until now, so that those keep theirs.
    """
    op.add_column("users", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("users_by_revision", "users", ["tenant", "revision"])
    op.create_table(
        "arrangements",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_index("arrangements_by_request", "arrangements", ["tenant", "request_id"])
    op.execute("INSERT INTO counters SELECT tenant, 'arrangements', value FROM counters WHERE name = 'audit'")


def downgrade() -> None:
    """Remove them; what rules did goes, as its log keeps the newest alone."""
    op.execute("DELETE FROM counters WHERE name = 'arrangements'")
    op.drop_table("arrangements")
    op.drop_index("users_by_revision", "users")
    op.drop_column("users", "revision")
