"""What compensation answers to: three topics, and the timer that works on its runs."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.commands import copies, runs
from shared.contracts.ids import RunId
from shared.contracts.outcomes import ClassificationPublished, ClassificationRevised
from shared.contracts.scoring import CycleChanged
from shared.contracts.topics import CLASSIFICATIONS, CYCLES, WORKFORCE
from shared.contracts.workforce import EmployeeChanged
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import DueTimers, Subscription, Timer


async def on_workforce(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, EmployeeChanged)]
    await copies.learn_people(tx, batch.provider, events)


async def on_cycles(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, CycleChanged)]
    await copies.learn_cycles(tx, batch.provider, events)


async def on_classifications(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, ClassificationPublished | ClassificationRevised)]
    await copies.learn_classifications(tx, batch.provider, events, batch.received_at)


async def on_run(tx: AsyncConnection, due: DueTimers) -> None:
    for name in due.keys:
        await runs.work_on(tx, due.provider, RunId(name), due.now)


SUBSCRIPTIONS: tuple[Subscription, ...] = (
    Subscription(WORKFORCE, on_workforce),
    Subscription(CYCLES, on_cycles),
    Subscription(CLASSIFICATIONS, on_classifications),
)
# One run per transaction: a step of it is long enough, and two runs would hold each other's locks.
TIMERS: tuple[Timer, ...] = (Timer(runs.TIMER, on_run, batch=1),)
