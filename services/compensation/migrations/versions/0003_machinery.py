"""Timers of one key stand in several rows, and can be parked; positions and letters need not name the service."""

from __future__ import annotations

from alembic import op

from shared.messaging.schema import MACHINERY_0002, statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for statement in statements(MACHINERY_0002):
        op.execute(statement)
