"""Work that is due later: rows written with what caused it, claimed in the transaction that does it.

A key may have several rows. Scheduling only ever adds one and waits for nobody; a run takes away all rows of its keys
that it can see, so that what is scheduled meanwhile is neither lost nor held up.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from shared.messaging.retries import PARK_AFTER, SINGLE_AFTER, backoff, pause, together
from shared.messaging.subscriptions import DueTimers, Timer
from shared.statements import Statement, column

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 0.2
HEAD_START = 2.0
"""Seconds from a process's beginning with a row to its claim, in which no other process begins with the same row."""

WINDOW = 5_000
"""Rows among which keys are looked for. Where the keys claimed at one time have more, some claimer finds nothing."""

_SCHEDULE = Statement("""
    INSERT INTO timers (kind, provider_id, key, due_at, cause)
    SELECT :kind, :provider, key, CAST(due_at AS timestamptz), :cause
    FROM unnest(string_to_array(:keys, E'\\x1f'), string_to_array(:due, E'\\x1f')) AS row (key, due_at)
""")
# Of a key's due rows the first written stands for all: who holds it holds the key, and while one is parked none runs.
# A row with which another process has just begun is that one's, or many that begin at once would count as many deaths.
# Keys are looked for among the rows that have waited longest: looked for in all that are due, each of a thousand claims
# would read the half million rows of a changed template. Parked keys are left out of these, or the rows that wait for
# one would in time be all that is looked at.
# That `soonest` is in order and `first` locked within is what ends the search, and the locking, with the last key
# claimed. `first` is asked for parked_because: asked for parked_at, a database that counted the rows when there were
# few reads all that are due in `timers_due` anew for each key.
_FIRST = """
    FROM (SELECT provider_id, key, min(due_at) AS due_at, min(id) AS place FROM (
              SELECT provider_id, key, due_at, id FROM timers
              WHERE kind = :kind AND due_at <= :now AND parked_at IS NULL AND (provider_id, key) NOT IN (
                  SELECT provider_id, key FROM timers WHERE kind = :kind AND parked_at IS NOT NULL)
              ORDER BY due_at, id LIMIT :window) AS waiting
          GROUP BY provider_id, key ORDER BY min(due_at), min(id)) AS soonest
    CROSS JOIN LATERAL (
          SELECT id FROM timers WHERE kind = :kind AND (provider_id, key) = (soonest.provider_id, soonest.key)
            AND id = (SELECT min(id) FROM timers
                      WHERE kind = :kind AND (provider_id, key) = (soonest.provider_id, soonest.key) AND due_at <= :now)
            AND id = coalesce(CAST(:only AS bigint), id) AND parked_because IS NULL
            AND (begun_at IS NULL OR id = :begun OR begun_at < clock_timestamp() - make_interval(secs => :head_start))
          FOR UPDATE SKIP LOCKED) AS first
    ORDER BY soonest.due_at, soonest.place LIMIT :limit
"""
# Whoever claims skips what another claimer holds. All rows of a key go, also those that became visible out of order.
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (SELECT provider_id, key {_FIRST})
    DELETE FROM timers WHERE ctid = ANY (ARRAY(
        SELECT timers.ctid FROM due JOIN timers USING (provider_id, key) WHERE timers.kind = :kind
    ))
    RETURNING provider_id, key, cause
""")  # noqa: S608 - the interpolated text is the constant above
_BEGIN = text(f"""
    WITH due AS MATERIALIZED (SELECT provider_id, key, id {_FIRST})
    UPDATE timers SET begun_at = clock_timestamp(), attempts = attempts + CASE WHEN timers.id = :begun THEN 0 ELSE 1 END
    FROM due
    WHERE timers.kind = :kind AND (timers.provider_id, timers.key, timers.id) = (due.provider_id, due.key, due.id)
    RETURNING timers.id, attempts
""")  # noqa: S608 - likewise
_PARK = text("UPDATE timers SET parked_at = :now, parked_because = :because WHERE id = :id")
_PARKED = """
    SELECT id, kind, provider_id, key, due_at, parked_at, parked_because FROM timers
    WHERE parked_at IS NOT NULL AND (CAST(:provider AS text) IS NULL OR provider_id = :provider)
"""
_PAGE = text(f"{_PARKED} AND id > :after ORDER BY id LIMIT :limit")
_LOCK = text(f"{_PARKED} AND id = :id FOR UPDATE")
_RELEASE = text("""
    UPDATE timers SET parked_at = NULL, parked_because = NULL, begun_at = NULL, attempts = 0
    WHERE id = :id AND parked_at IS NOT NULL
""")
_DISCARD = text("DELETE FROM timers WHERE id = :id AND parked_at IS NOT NULL")


async def schedule(tx: AsyncConnection, kind: str, provider: ProviderId, keys: Iterable[str], due_at: datetime) -> None:
    """Have `kind` run once for each key, at `due_at` or at an earlier time the key already has."""
    await schedule_each(tx, kind, provider, dict.fromkeys(keys, due_at))


async def schedule_each(tx: AsyncConnection, kind: str, provider: ProviderId, due: Mapping[str, datetime]) -> None:
    """The same, with a time for each key."""
    if due:
        keys = sorted(due)
        await _SCHEDULE.rows(
            tx,
            kind=kind,
            provider=provider,
            keys=column(keys),
            due=column([due[key].isoformat() for key in keys]),
            cause=telemetry.current_traceparent(),
        )


async def run_due(
    database: Database, timer: Timer, now: datetime, *, begun: int | None = None, only: int | None = None
) -> int:
    """One batch in one transaction, of all that is due or of the one row `only`; how many keys it ran for.

    `begun` is the row with which this process began; those of others are left to them.
    """
    async with database.begin(snapshot=timer.snapshot) as tx:
        values = _due(timer, now) | {"begun": begun, "only": only, "limit": timer.batch if only is None else 1}
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


def _due(timer: Timer, now: datetime) -> dict[str, object]:
    return {"kind": timer.kind, "now": now, "head_start": HEAD_START, "window": WINDOW}


class TimerRuns:
    """The batches of one timer, with the fates that records have: a key that is refused or that kills is parked alone.

    The first batch of a process is counted, before it begins, at the row that is first in line; the row is gone when
    the batch commits. A process that dies without a word, of this batch or a later one, meets what killed it among the
    first that are due when it begins anew: what was due before it is gone, and what is scheduled is due later.
    """

    def __init__(self, database: Database, timer: Timer) -> None:
        self._database = database
        self._timer = timer
        self._begun: int | None = None
        self._fresh = True
        self._singly = 0
        self._width = 1

    async def turn(self, now: datetime) -> bool:
        """Run a batch of what is due; whether there may be more. Raises what a handler raises that is no refusal.

        Where the last one was full and the timer allows it, two at once: Python works for one while the database works
        for the other.
        """
        try:
            if self._fresh or self._singly:
                return await self._counted(now)
            ran = await together(*(run_due(self._database, self._timer, now) for _ in range(self._width)))
        except DomainError:
            self._singly = self._timer.batch
            return True
        more = self._timer.batch in ran
        self._width = 2 if more and self._timer.together else 1
        return more

    async def _counted(self, now: datetime) -> bool:
        """One batch whose beginning is counted, and which nothing runs beside: it would be counted as its death too."""
        first = await self._begin(now)
        if first is None:
            self._singly = 0
            return False
        row, attempts = first
        if attempts > SINGLE_AFTER and not self._singly:
            self._singly = self._timer.batch
        if self._singly:
            self._singly -= 1
            await self._run_alone(row, attempts, now)
            return True
        more = await run_due(self._database, self._timer, now, begun=row) == self._timer.batch
        self._fresh = False
        return more

    async def _begin(self, now: datetime) -> tuple[int, int] | None:
        """The row that is first in line, and how many times a process has begun with it, this one included.

        Beginning again in the same process, after a transient failure, adds nothing: nothing has died.
        """
        values = _due(self._timer, now) | {"begun": self._begun, "only": None, "limit": 1}
        async with self._database.begin() as tx:
            found = (await tx.execute(_BEGIN, values)).one_or_none()
        if found is None:
            return None
        self._begun = found.id
        return found.id, found.attempts

    async def _run_alone(self, row: int, attempts: int, now: datetime) -> None:
        try:
            if attempts > PARK_AFTER:
                await self._park(row, now, "crashed: running it ended the process repeatedly")
            else:
                await run_due(self._database, self._timer, now, begun=row, only=row)
        except DomainError as error:
            await self._park(row, now, f"{error.reason}: {error.detail}")

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
        more, failed = False, None
        for each in runs:
            try:
                more |= await each.turn(clock())
            except Exception as error:
                if not is_transient(error):
                    raise
                failed = error
        failures = failures + 1 if failed else 0
        if failed:
            _log.warning("timers.retry", failures=failures, error=type(failed).__name__)
            await pause(stop, backoff(failures, longest=10))
        elif not more:
            await pause(stop, IDLE_SECONDS)


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
