"""A person's last due time stands at their head: the first event after a quiet time is scored at once."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = ("ALTER TABLE employee_heads ADD COLUMN IF NOT EXISTS due_at timestamptz",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
