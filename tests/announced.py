"""What a service has announced and no relay has taken, as tests look at it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.event import Event
from shared.contracts.topics import EVENT_TYPES
from shared.messaging import outbox


class Announced(NamedTuple):
    row: int
    topic: str
    partition: int
    message: outbox.Message

    @property
    def event(self) -> Event:
        return EVENT_TYPES[self.message.event_type].model_validate_json(self.message.body)


async def in_outbox(tx: AsyncConnection) -> list[Announced]:
    """In the order in which the relay reads it."""
    rows = await tx.execute(text("SELECT id, topic, partition, messages FROM outbox ORDER BY id"))
    return [
        Announced(row, topic, partition, message)
        for row, topic, partition, messages in rows
        for message in outbox.unpacked(messages)
    ]
