"""Scorecards know the batch that brought them, decisions the request that made them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE scorecards ADD COLUMN IF NOT EXISTS traceparent text",
    "ALTER TABLE decisions ADD COLUMN IF NOT EXISTS traceparent text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
