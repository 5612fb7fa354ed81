"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _table(name: str, *columns: sa.Column[object], key: tuple[str, ...]) -> None:
    op.create_table(name, *columns, sa.PrimaryKeyConstraint(*key), sqlite_with_rowid=False)


def _text(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    """Make all tables."""
    _table("tenants", _text("tenant"), _text("salt"), _number("created_at"), key=("tenant",))
    _table("counters", _text("tenant"), _text("name"), _number("value"), key=("tenant", "name"))
    _table(
        "events",
        _text("tenant"),
        _number("sequence"),
        *(_text(name) for name in ("event_id", "user_id", "item_id", "event_type")),
        _number("timestamp"),
        sa.Column("value", sa.Double(), nullable=True),
        _text("session_id", nullable=True),
        _text("request_id", nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        key=("tenant", "sequence"),
    )
    op.create_index("events_by_id", "events", ["tenant", "event_id"], unique=True)
    op.create_index("events_by_user", "events", ["tenant", "user_id", "timestamp", "sequence"])
    _table(
        "items",
        _text("tenant"),
        _text("item_id"),
        _number("revision"),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        _text("document"),
        key=("tenant", "item_id"),
    )
    op.create_index("items_by_revision", "items", ["tenant", "revision"], unique=True)
    _table(
        "users", _text("tenant"), _text("user_id"), _text("document"), _number("updated_at"), key=("tenant", "user_id")
    )
    _table("tombstones", _text("tenant"), _text("user_hash"), _number("erased_at"), key=("tenant", "user_hash"))
    _table(
        "keys",
        *(_text(name) for name in ("tenant", "key_id", "name", "scopes", "hash")),
        _number("created_at"),
        _number("revoked_at", nullable=True),
        key=("tenant", "key_id"),
    )
    op.create_index("keys_by_id", "keys", ["key_id"], unique=True)
    _table(
        "models",
        *(_text(name) for name in ("tenant", "version", "folder", "state")),
        _number("activation", nullable=True),
        _number("created_at"),
        _text("facts"),
        key=("tenant", "version"),
    )
    _table(
        "jobs",
        *(_text(name) for name in ("tenant", "job_id", "document")),
        _number("created_at"),
        _number("updated_at"),
        key=("tenant", "job_id"),
    )
    _table(
        "impressions",
        _text("tenant"),
        _text("request_id"),
        _number("timestamp"),
        _text("user_id", nullable=True),
        _text("document"),
        key=("tenant", "request_id"),
    )
    op.create_index("impressions_by_time", "impressions", ["tenant", "timestamp"])
    op.create_index("impressions_by_user", "impressions", ["tenant", "user_id"])
    _table(
        "audit",
        _text("tenant"),
        _number("sequence"),
        _number("timestamp"),
        *(_text(name) for name in ("actor", "action", "subject", "detail")),
        key=("tenant", "sequence"),
    )
    op.create_index("audit_by_subject", "audit", ["tenant", "subject"])
    _table(
        "rules",
        _text("tenant"),
        _number("version"),
        _text("document"),
        _text("actor"),
        _number("created_at"),
        key=("tenant", "version"),
    )
    _table(
        "experiments",
        _text("tenant"),
        _text("name"),
        _text("document"),
        _number("updated_at"),
        key=("tenant", "name"),
    )


def downgrade() -> None:
    """Remove all tables."""
    for name in (
        *("experiments", "rules", "audit", "impressions", "jobs", "models", "keys", "tombstones", "users", "items"),
        *("events", "counters", "tenants"),
    ):
        op.drop_table(name)
