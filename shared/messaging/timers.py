"""Work that is due later: rows written with what caused it, claimed in the transaction that does it.

A key may have several rows. Scheduling only ever adds one and waits for nobody; a run takes away all rows of its keys
that it can see, so that what is scheduled meanwhile is neither lost nor held up.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.clock import Clock
from shared.contracts.ids import ProviderId
from shared.database import Database, enter_provider
from shared.errors import DomainError, NotFound, is_transient
from shared.messaging.retries import PARK_AFTER, SINGLE_AFTER, backoff, pause
from shared.messaging.subscriptions import DueTimers, Timer

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 0.2

_SCHEDULE = text("""
    INSERT INTO timers (kind, provider_id, key, due_at, cause)
    SELECT :kind, :provider, key, :due_at, :cause FROM unnest(CAST(:keys AS text[])) AS key
""")
# Of a key's due rows the first written stands for all: who holds it holds the key, and while one is parked none runs.
_FIRST = """
    FROM timers AS first
    WHERE kind = :kind AND due_at <= :now AND parked_at IS NULL AND id = coalesce(CAST(:only AS bigint), id)
      AND NOT EXISTS (SELECT FROM timers AS other
                      WHERE other.kind = first.kind AND other.provider_id = first.provider_id AND other.key = first.key
                        AND (other.parked_at IS NOT NULL OR (other.due_at <= :now AND other.id < first.id)))
    ORDER BY due_at, id
"""
# Whoever claims skips what another claimer holds, so no two of them wait.
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (SELECT provider_id, key {_FIRST} LIMIT :limit FOR UPDATE SKIP LOCKED)
    DELETE FROM timers WHERE ctid = ANY (ARRAY(
        SELECT timers.ctid FROM due JOIN timers USING (provider_id, key) WHERE timers.kind = :kind
    ))
    RETURNING provider_id, key, cause
""")  # noqa: S608 - the interpolated text is the constant above
_ATTEMPT = text(f"""
    UPDATE timers SET attempts = attempts + CASE WHEN id = :begun THEN 0 ELSE 1 END
    WHERE ctid = (SELECT ctid {_FIRST} LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, attempts
""")  # noqa: S608 - likewise
_PARK = text("UPDATE timers SET parked_at = :now, parked_because = :because WHERE id = :id")
_PARKED = """
    SELECT id, kind, provider_id, key, due_at, parked_at, parked_because FROM timers
    WHERE parked_at IS NOT NULL AND (CAST(:provider AS text) IS NULL OR provider_id = :provider)
"""
_PAGE = text(f"{_PARKED} AND id > :after ORDER BY id LIMIT :limit")
_LOCK = text(f"{_PARKED} AND id = :id FOR UPDATE")
_RELEASE = text("UPDATE timers SET parked_at = NULL, parked_because = NULL, attempts = 0 WHERE id = :id")
_DISCARD = text("DELETE FROM timers WHERE id = :id")


async def schedule(tx: AsyncConnection, kind: str, provider: ProviderId, keys: Iterable[str], due_at: datetime) -> None:
    """Have `kind` run once for each key, at `due_at` or at an earlier time the key already has."""
    values = {
        "kind": kind,
        "provider": provider,
        "keys": sorted(set(keys)),
        "due_at": due_at,
        "cause": telemetry.current_traceparent(),
    }
    if values["keys"]:
        await tx.execute(_SCHEDULE, values)


async def run_due(database: Database, timer: Timer, now: datetime, *, only: int | None = None) -> int:
    """One batch in one transaction, of all that is due or of the one row `only`; how many keys it ran for."""
    async with database.begin(snapshot=timer.snapshot) as tx:
        values = {"kind": timer.kind, "now": now, "only": only, "limit": timer.batch}
        claimed = (await tx.execute(_CLAIM, values)).all()
        by_provider: dict[ProviderId, set[str]] = defaultdict(set)
        for provider, key, _ in claimed:
            by_provider[ProviderId(provider)].add(key)
        ran = sum(map(len, by_provider.values()))
        if not ran:
            return 0
        attributes: dict[str, str | int] = {telemetry.TIMER_KIND: timer.kind, telemetry.BATCH_SIZE: ran}
        with telemetry.span(
            f"timer {timer.kind}", SpanKind.INTERNAL, attributes, causes=[row.cause for row in claimed]
        ):
            for provider in sorted(by_provider):
                await enter_provider(tx, provider)
                await timer.handler(tx, DueTimers(provider, sorted(by_provider[provider]), now))
    telemetry.TIMERS.labels(timer.kind, "ran").inc(ran)
    return ran


class TimerRuns:
    """The batches of one timer, with the fates that records have: a key that is refused or that kills is parked alone.

    A process that dies without a word leaves only a count behind, at the row that was first in line when it began.
    """

    def __init__(self, database: Database, timer: Timer) -> None:
        self._database = database
        self._timer = timer
        self._begun: int | None = None
        self._resuming = True
        self._singly = 0

    async def turn(self, now: datetime) -> bool:
        """Run one batch of what is due; whether there may be more. Raises what a handler raises that is no refusal."""
        if self._resuming or self._singly:
            first = await self._begin(now)
            if first is None:
                self._resuming, self._singly = False, 0
                return False
            row, attempts = first
            if attempts > SINGLE_AFTER and not self._singly:
                self._singly = self._timer.batch
            if self._singly:
                await self._run_alone(row, attempts, now)
                return True
        try:
            ran = await run_due(self._database, self._timer, now)
        except DomainError:
            self._singly = self._timer.batch
            return True
        self._resuming = False
        return ran == self._timer.batch

    async def _begin(self, now: datetime) -> tuple[int, int] | None:
        """The row that is first in line, and how many processes have begun with it, this one included.

        Beginning again in the same process, after a transient failure, adds nothing: nothing has died.
        """
        values = {"kind": self._timer.kind, "now": now, "only": None, "begun": self._begun}
        async with self._database.begin() as tx:
            found = (await tx.execute(_ATTEMPT, values)).one_or_none()
        if found is None:
            return None
        self._begun = found.id
        return found.id, found.attempts

    async def _run_alone(self, row: int, attempts: int, now: datetime) -> None:
        try:
            if attempts > PARK_AFTER:
                await self._park(row, now, "crashed: running it ended the process repeatedly")
            else:
                await run_due(self._database, self._timer, now, only=row)
        except DomainError as error:
            await self._park(row, now, f"{error.reason}: {error.detail}")
        self._resuming = False
        self._singly -= 1

    async def _park(self, row: int, now: datetime, because: str) -> None:
        async with self._database.begin() as tx:
            await tx.execute(_PARK, {"id": row, "now": now, "because": because[:2000]})
        telemetry.TIMERS.labels(self._timer.kind, "parked").inc()
        _log.error("timers.parked", kind=self._timer.kind)


async def run_timers(database: Database, timers: Sequence[Timer], clock: Clock, stop: asyncio.Event) -> None:
    """Run due timers until `stop`. A transient failure repeats the batch; any other ends this loop by raising."""
    runs = [TimerRuns(database, timer) for timer in timers]
    failures = 0
    while not stop.is_set():
        try:
            more = any([await each.turn(clock()) for each in runs])
            failures = 0
        except Exception as error:
            if not is_transient(error):
                raise
            failures += 1
            _log.warning("timers.retry", failures=failures, error=type(error).__name__)
            more = False
        if not more:
            await pause(stop, backoff(failures, longest=10) if failures else IDLE_SECONDS)


@dataclass(frozen=True, slots=True)
class ParkedTimer:
    id: int
    kind: str
    provider: ProviderId
    key: str
    due_at: datetime
    parked_at: datetime
    because: str


async def parked(tx: AsyncConnection, provider: ProviderId | None, *, after: int, limit: int) -> list[ParkedTimer]:
    """Oldest first after `after`. Without a provider: of all, which only an operator of the platform may ask."""
    rows = await tx.execute(_PAGE, {"provider": provider, "after": after, "limit": limit})
    return [ParkedTimer(*row) for row in rows]


async def release(tx: AsyncConnection, provider: ProviderId | None, row: int) -> ParkedTimer:
    """Have it run again, at once and without a history. Raises `NotFound`, also where it is another provider's."""
    found = await _lock(tx, provider, row)
    await tx.execute(_RELEASE, {"id": row})
    return found


async def discard(tx: AsyncConnection, provider: ProviderId | None, row: int) -> ParkedTimer:
    """Give this one up; what was scheduled for its key since then runs. Raises `NotFound` as `release` does."""
    found = await _lock(tx, provider, row)
    await tx.execute(_DISCARD, {"id": row})
    return found


async def _lock(tx: AsyncConnection, provider: ProviderId | None, row: int) -> ParkedTimer:
    found = (await tx.execute(_LOCK, {"provider": provider, "id": row})).one_or_none()
    if found is None:
        raise NotFound("there is no parked timer of this id")
    return ParkedTimer(*found)
