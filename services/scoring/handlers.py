"""The Kafka and clock edge of scoring."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands import facts, freezing, rescoring, workforce
from services.scoring.commands.facts import KpiEvent
from services.scoring.rules.pacing import pace
from services.scoring.store import cycles
from services.scoring.store.facts import heads
from shared.contracts.kpi import FeedbackSubmitted, IntakeSealed
from shared.contracts.topics import FEEDBACK, KPI_EVENTS, METRICS, WORKFORCE
from shared.contracts.workforce import EmployeeChanged, MetricDefined
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import DueTimers, Subscription, Timer


async def on_kpi_events(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, KpiEvent)]
    if len(events) < len(batch.deliveries):
        await _seal(tx, batch)
    if events:
        await facts.add_facts(tx, batch.provider, events, pace(batch.received_at, batch.lag))


async def on_feedback(tx: AsyncConnection, batch: Batch) -> None:
    await _seal(tx, batch)
    if submitted := [event for event in batch.events if isinstance(event, FeedbackSubmitted)]:
        await facts.add_ratings(tx, batch.provider, submitted, pace(batch.received_at, batch.lag))


async def on_workforce(tx: AsyncConnection, batch: Batch) -> None:
    states = [event for event in batch.events if isinstance(event, EmployeeChanged)]
    due_at = pace(batch.received_at, batch.lag).soonest
    await workforce.learn_people(tx, batch.provider, states, due_at=due_at)


async def on_metrics(tx: AsyncConnection, batch: Batch) -> None:
    states = [event for event in batch.events if isinstance(event, MetricDefined)]
    await workforce.learn_metrics(tx, batch.provider, states)


async def on_rescore(tx: AsyncConnection, due: DueTimers) -> None:
    active = await cycles.hold_active(tx, due.provider)
    watermarks = await heads(tx, due.provider, due.keys)
    await rescoring.rescore(tx, due.provider, watermarks, active, due.now)


async def on_sweep(tx: AsyncConnection, due: DueTimers) -> None:
    for key in due.keys:
        await freezing.sweep(tx, due.provider, key, due.now)


async def on_freeze(tx: AsyncConnection, due: DueTimers) -> None:
    for cycle in due.keys:
        await freezing.advance_freeze(tx, due.provider, cycle, due.now)


async def _seal(tx: AsyncConnection, batch: Batch) -> None:
    if markers := [event for event in batch.events if isinstance(event, IntakeSealed)]:
        await facts.seal(tx, batch.provider, markers, now=batch.received_at)


SUBSCRIPTIONS = (
    Subscription(KPI_EVENTS, on_kpi_events, together=True),
    Subscription(FEEDBACK, on_feedback),
    Subscription(WORKFORCE, on_workforce),
    Subscription(METRICS, on_metrics),
)
TIMERS = (
    Timer(rescoring.RESCORE, on_rescore, batch=400, snapshot=True, together=True),
    Timer(freezing.SWEEP, on_sweep, batch=1),
    Timer(freezing.FREEZE, on_freeze, batch=1),
)
