"""What one transaction says on one topic is one row of the outbox."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0003, statements

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for statement in statements(MACHINERY_0003):
        op.execute(statement)
