"""Every scorecard version knows the work that made it."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = ("ALTER TABLE scorecard_versions ADD COLUMN IF NOT EXISTS traceparent text",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
