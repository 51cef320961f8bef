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
from shared.contracts.scoring import CycleState
from shared.contracts.topics import FEEDBACK, KPI_EVENTS
from shared.messaging import outbox


async def follow_cycles(tx: AsyncConnection, provider: ProviderId, states: Sequence[Cycle], now: datetime) -> None:
    """Keep the newest of `states`, which come in the order of their versions, and seal what began to freeze."""
    known = await cycles.known(tx, provider, {state.id for state in states})
    newest: dict[CycleId, Cycle] = {}
    freezing: dict[CycleId, None] = {}
    for state in states:
        before = newest.get(state.id) or known.get(state.id)
        if before is not None and before.version >= state.version:
            continue
        newest[state.id] = state
        if state.state == CycleState.FREEZING:
            freezing[state.id] = None
    if freezing:
        # Before the new state is written: whoever rates at this moment still saw the open cycle, and is waited for.
        await journal.close_intake(tx, provider)
    if newest:
        await cycles.save(tx, provider, newest.values())
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
