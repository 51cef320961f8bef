"""What ingest does when scoring changes a cycle: keep its scale, and seal its intake when it freezes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Cycle
from services.ingest.store import cycles, journal
from shared.contracts.ids import CycleId, ProviderId
from shared.contracts.kpi import IntakeSealed
from shared.contracts.scoring import CycleChanged, CycleState
from shared.contracts.states import newest
from shared.contracts.topics import FEEDBACK, KPI_EVENTS
from shared.messaging import outbox


async def learn_cycles(
    tx: AsyncConnection, provider: ProviderId, events: Sequence[CycleChanged], now: datetime
) -> None:
    """Keep what is newer, and seal the intake of every cycle that began to freeze."""
    known = await cycles.known(tx, provider, {event.cycle for event in events})
    news = [event for event in events if event.cycle not in known or known[event.cycle].version < event.version]
    freezing = sorted({event.cycle for event in news if event.state is CycleState.FREEZING})
    if freezing:
        # Before the new state is written: whoever rates at this moment still saw the open cycle, and is waited for.
        await journal.close_intake(tx, provider)
    states = [
        Cycle(state.cycle, state.version, state.state, state.starts_on, state.ends_on, len(state.bands))
        for state in newest(news)
    ]
    await cycles.learn(tx, provider, states)
    for cycle in freezing:
        outbox.append(tx, _markers(provider, cycle, now))


def _markers(provider: ProviderId, cycle: CycleId, now: datetime) -> list[IntakeSealed]:
    streams: tuple[tuple[Literal["kpi-events", "feedback"], int], ...] = (
        ("kpi-events", KPI_EVENTS.partitions),
        ("feedback", FEEDBACK.partitions),
    )
    return [
        IntakeSealed(
            provider=provider,
            cycle=cycle,
            stream=stream,
            target_partition=number,
            partitions=partitions,
            sealed_at=now,
        )
        for stream, partitions in streams
        for number in range(partitions)
    ]
