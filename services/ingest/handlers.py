"""The one topic that ingest reads."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.cycles import follow_cycles
from services.ingest.model import Cycle
from shared.contracts.scoring import CycleChanged
from shared.contracts.topics import CYCLES
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import Subscription


async def on_cycles(tx: AsyncConnection, batch: Batch) -> None:
    states = [
        Cycle(event.cycle, event.version, event.state, event.starts_on, event.ends_on, len(event.bands))
        for event in batch.events
        if isinstance(event, CycleChanged)
    ]
    await follow_cycles(tx, batch.provider, states, batch.received_at)


SUBSCRIPTIONS = (Subscription(CYCLES, on_cycles),)
