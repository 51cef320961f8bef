"""The loops that carry deliveries out: claim and commit, send, record and commit; at least once, under one id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import stamina
import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.commands import deliveries
from services.notifications.commands.deliveries import Round
from services.notifications.model import Channel, Letter, Message, Outcome
from services.notifications.rules.retries import RENEWAL
from services.notifications.store.queue import timer_kind
from shared import telemetry
from shared.clock import Clock
from shared.database import Database
from shared.errors import is_transient
from shared.messaging.retries import backoff, pause

CLAIMED = 200
"""Deliveries of one claim: two transactions for all of them."""
IDLE_SECONDS = 0.25

T = TypeVar("T", Letter, Message)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class DeliveryLoop(Generic[T]):
    """One channel's loop. `send` answers for every item it was given, in any order, and never raises for one."""

    database: Database
    clock: Clock
    channel: Channel
    claim: Callable[[AsyncConnection, datetime, int], Awaitable[Round[T]]]
    send: Callable[[Sequence[T]], Awaitable[list[Outcome]]]

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`. A transient failure repeats the round; any other ends the process by raising."""
        failures = 0
        while not stop.is_set():
            try:
                claimed = await self.round()
                failures = 0
            except Exception as error:
                if not is_transient(error):
                    raise
                failures += 1
                claimed = 0
                _log.warning("deliveries.retry", channel=self.channel, failures=failures, error=type(error).__name__)
            if claimed < CLAIMED:
                await pause(stop, backoff(failures, longest=15) if failures else IDLE_SECONDS)

    async def round(self) -> int:
        """Deliver what is due now, at most `CLAIMED`; how many were claimed."""
        async with self.database.begin() as tx:
            claimed = await self.claim(tx, self.clock(), CLAIMED)
        if claimed.items:
            kind = timer_kind(self.channel)
            attributes: dict[str, str | int] = {telemetry.TIMER_KIND: kind, telemetry.BATCH_SIZE: len(claimed.items)}
            with telemetry.span(f"send {self.channel}", SpanKind.CLIENT, attributes, causes=claimed.causes):
                outcomes = await self._send_under_lease(claimed.items)
                await self._record(outcomes)
            telemetry.TIMERS.labels(kind, "ran").inc(len(claimed.items))
        return claimed.claimed

    async def _send_under_lease(self, items: Sequence[T]) -> list[Outcome]:
        renewing = asyncio.create_task(self._renew(items))
        try:
            return await self.send(items)
        finally:
            # Ended before anything is recorded: a late renewal would move what was settled.
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self, items: Sequence[T]) -> None:
        while True:
            await asyncio.sleep(RENEWAL.total_seconds())
            try:
                async with self.database.begin() as tx:
                    await deliveries.renew(tx, self.channel, items, self.clock())
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("deliveries.renewal", channel=self.channel, error=type(error).__name__)

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        # What is sent and not recorded is sent again: a moment without the database should not cause that.
        async for attempt in stamina.retry_context(on=is_transient, attempts=5, timeout=30):
            with attempt:
                async with self.database.begin() as tx:
                    await deliveries.record(tx, self.channel, outcomes, self.clock())
