"""Classifications know the batch that brought them, runs the step that closed them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE classifications ADD COLUMN IF NOT EXISTS traceparent text",
    "ALTER TABLE runs ADD COLUMN IF NOT EXISTS traceparent text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
