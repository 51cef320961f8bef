"""What a service declares in its `handlers.py`: which topics and timers it answers to, and with what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.ids import ProviderId
from shared.contracts.topics import Topic
from shared.messaging.envelope import Batch

Handler = Callable[[AsyncConnection, Batch], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """All events of `topic`, one provider's share of one partition's batch at a time, inside the batch's transaction.

    A handler that meets a record it must refuse raises a `DomainError`; the batch is then undone and repeated record
    by record, and the refused one is parked. What it does not know yet it stores: it is never parked for that.

    Where `together`, one process applies batches of several partitions at once, as several processes would. It is for
    handlers that are met by many events and whose batches lock nothing in common but rows of their own keys.
    """

    topic: Topic
    handler: Handler
    together: bool = False


@dataclass(frozen=True, slots=True)
class DueTimers:
    """Timers of one kind and provider that came due; their rows are gone when the transaction commits."""

    provider: ProviderId
    keys: Sequence[str]
    now: datetime


TimerHandler = Callable[[AsyncConnection, DueTimers], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timer:
    """Runs for keys scheduled under `kind`, at most `batch` of them in one transaction.

    One that works on a `snapshot` sees all data as of the moment its keys were claimed, and need lock nothing to read
    consistently. Where it locks or changes a row that somebody else has changed since, its batch is undone and
    repeated. Where `together`, one process runs two full batches at once, as two processes would.
    """

    kind: str
    handler: TimerHandler
    batch: int = 200
    snapshot: bool = False
    together: bool = False
