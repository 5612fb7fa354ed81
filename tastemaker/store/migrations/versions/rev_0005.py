"""Lines on what rules did lie in their own log alone; `migrations.moving` has moved them there before this step."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Change nothing: that the store has this schema says that the lines were moved."""


def downgrade() -> None:
    """Change nothing."""
