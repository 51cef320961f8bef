"""What calibration answers to: four topics and the deadline of a session."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.commands import intake, sessions
from shared.contracts.kpi import FeedbackSubmitted
from shared.contracts.scoring import CycleChanged, ScorecardComputed
from shared.contracts.topics import CYCLES, FEEDBACK, SCORECARDS, WORKFORCE
from shared.contracts.workforce import EmployeeChanged
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import DueTimers, Subscription, Timer


async def on_workforce(tx: AsyncConnection, batch: Batch) -> None:
    await intake.learn_people(tx, [event for event in batch.events if isinstance(event, EmployeeChanged)])


async def on_cycles(tx: AsyncConnection, batch: Batch) -> None:
    await intake.learn_cycles(tx, [event for event in batch.events if isinstance(event, CycleChanged)])


async def on_scorecards(tx: AsyncConnection, batch: Batch) -> None:
    computed = [event for event in batch.events if isinstance(event, ScorecardComputed)]
    await intake.learn_scorecards(tx, batch.provider, computed, batch.received_at)


async def on_feedback(tx: AsyncConnection, batch: Batch) -> None:
    await intake.learn_ratings(tx, [event for event in batch.events if isinstance(event, FeedbackSubmitted)])


async def on_deadline(tx: AsyncConnection, due: DueTimers) -> None:
    await sessions.lock_overdue(tx, due.provider, due.keys, due.now)


SUBSCRIPTIONS: tuple[Subscription, ...] = (
    Subscription(WORKFORCE, on_workforce),
    Subscription(CYCLES, on_cycles),
    Subscription(SCORECARDS, on_scorecards),
    Subscription(FEEDBACK, on_feedback),
)
TIMERS: tuple[Timer, ...] = (Timer(sessions.DEADLINE, on_deadline),)
