"""Work that is due later: rows written with what caused it, claimed in the transaction that does it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.clock import Clock
from shared.contracts.ids import ProviderId
from shared.database import Database, enter_provider
from shared.errors import is_transient
from shared.messaging.retries import backoff, pause
from shared.messaging.subscriptions import DueTimers, Timer

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 0.2

_SCHEDULE = text("""
    INSERT INTO timers (kind, provider_id, key, due_at, causes)
    SELECT :kind, :provider, key, :due_at, array_remove(ARRAY[CAST(:cause AS text)], NULL)
    FROM unnest(CAST(:keys AS text[])) AS key
    ON CONFLICT (kind, provider_id, key) DO UPDATE
    SET due_at = least(timers.due_at, excluded.due_at),
        causes = CASE WHEN timers.causes @> excluded.causes THEN timers.causes
                      ELSE timers.causes || excluded.causes END
""")
# The lock order is due order, not key order: whoever claims skips what another claimer holds, so no two of them wait.
# An array and not a join: a plan made while the table was empty would search for the due rows once per row, and claim
# them all, when thousands are due.
_CLAIM = text("""
    WITH due AS MATERIALIZED (
        SELECT ctid FROM timers WHERE kind = :kind AND due_at <= :now
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    DELETE FROM timers WHERE ctid = ANY (ARRAY(SELECT ctid FROM due))
    RETURNING provider_id, key, causes
""")


async def schedule(tx: AsyncConnection, kind: str, provider: ProviderId, keys: Iterable[str], due_at: datetime) -> None:
    """Have `kind` run for each key at `due_at`, or at the earlier time it already has.

    Call it before locking what the timer's own work locks: it waits for a timer of the same key that is running, and
    that one may wait for you.
    """
    values = {
        "kind": kind,
        "provider": provider,
        "keys": sorted(set(keys)),
        "due_at": due_at,
        "cause": telemetry.current_traceparent(),
    }
    if values["keys"]:
        await tx.execute(_SCHEDULE, values)


async def run_due(database: Database, timer: Timer, now: datetime) -> int:
    """One batch in one transaction; how many timers ran."""
    async with database.begin() as tx:
        claimed = (await tx.execute(_CLAIM, {"kind": timer.kind, "now": now, "limit": timer.batch})).all()
        if not claimed:
            return 0
        by_provider: dict[ProviderId, list[str]] = defaultdict(list)
        for provider, key, _ in claimed:
            by_provider[ProviderId(provider)].append(key)
        attributes: dict[str, str | int] = {telemetry.TIMER_KIND: timer.kind, telemetry.BATCH_SIZE: len(claimed)}
        causes = [cause for row in claimed for cause in row.causes]
        with telemetry.span(f"timer {timer.kind}", SpanKind.INTERNAL, attributes, causes=causes):
            for provider in sorted(by_provider):
                await enter_provider(tx, provider)
                await timer.handler(tx, DueTimers(provider, sorted(by_provider[provider]), now))
    telemetry.TIMERS_RUN.labels(timer.kind).inc(len(claimed))
    return len(claimed)


async def run_timers(database: Database, timers: Sequence[Timer], clock: Clock, stop: asyncio.Event) -> None:
    """Run due timers until `stop`. A transient failure repeats the batch; any other ends this loop by raising."""
    failures = 0
    while not stop.is_set():
        try:
            ran = [await run_due(database, timer, clock()) == timer.batch for timer in timers]
            failures = 0
        except Exception as error:
            if not is_transient(error):
                raise
            failures += 1
            _log.warning("timers.retry", failures=failures, error=type(error).__name__)
            ran = []
        if not any(ran):
            await pause(stop, backoff(failures, longest=10) if failures else IDLE_SECONDS)
