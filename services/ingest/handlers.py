"""The one topic that ingest reads."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.cycles import learn_cycles
from shared.contracts.scoring import CycleChanged
from shared.contracts.topics import CYCLES
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import Subscription


async def on_cycles(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, CycleChanged)]
    await learn_cycles(tx, batch.provider, events, batch.received_at)


SUBSCRIPTIONS = (Subscription(CYCLES, on_cycles),)
