"""A subscription whose effects can be counted, and consumers running for the length of a block."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import utc_now
from shared.contracts.ids import EmployeeId, KpiEventId, MetricKey, ProviderId
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Batch, Headers, headers_of
from shared.messaging.log import LogReader
from shared.messaging.schema import MACHINERY, statements
from shared.messaging.subscriptions import Subscription

SERVICE = "ledger"
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)

_CREATE = """
    CREATE TABLE effects (
        place    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        provider text NOT NULL,
        employee text NOT NULL,
        event    text NOT NULL
    );
    CREATE TABLE aggregates (id text PRIMARY KEY, version integer NOT NULL);
    CREATE TABLE promises (aggregate text REFERENCES aggregates DEFERRABLE INITIALLY DEFERRED)
"""
WRITE_EFFECTS = text("""
    INSERT INTO effects (provider, employee, event)
    SELECT :provider, employee, event FROM unnest(CAST(:employees AS text[]), CAST(:events AS text[]))
         WITH ORDINALITY AS row (employee, event, place) ORDER BY place
""")


async def create_tables(owner_url: str) -> None:
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""))
    async with connection.transaction():
        for statement in statements(MACHINERY + _CREATE):
            await connection.execute(statement)
    await connection.close()


async def empty_tables(database: Database) -> None:
    async with database.begin() as tx:
        for table in ("outbox", "positions", "dead_letters", "timers", "effects", "promises", "aggregates"):
            await tx.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - the names above


def kpi(event: str, employee: str = "e-1", provider: str = "acme") -> KpiRecorded:
    return KpiRecorded(
        provider=ProviderId(provider),
        event=KpiEventId(event),
        employee=EmployeeId(employee),
        metric=MetricKey("aht"),
        occurred_at=NOON,
        occurred_on=date(2025, 3, 3),
        numerator=Decimal(300),
        denominator=Decimal(1),
        recorded_at=NOON,
    )


@dataclass(frozen=True)
class Sent:
    """What a producer hands to the log."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def as_sent(event: KpiRecorded, *, traceparent: str | None = None) -> Sent:
    headers = headers_of(
        event_id=f"id-{event.event}",
        event_type=event.TYPE,
        time=NOON,
        source="ingest",
        provider=event.provider,
        key=event.key(),
        traceparent=traceparent,
    )
    return Sent(event.key().encode(), event.model_dump_json().encode(), headers)


def events(count: int, *, start: int = 0, employees: int = 1) -> list[KpiRecorded]:
    return [kpi(f"k-{number}", f"e-{number % employees}") for number in range(start, start + count)]


def unreadable(mark: str = "x") -> Sent:
    """A record that no version of any contract accepts."""
    return Sent(b"key", f"not json {mark}".encode(), [("ce_type", b"plumbline.kpi.recorded.v1"), ("ce_id", b"1")])


@dataclass
class Ledger:
    """A handler that writes down what it is given, and fails where it is told to.

    `failures[event]` are raised one per call of a batch with that event; the last one stays if it is in `lasting`.
    """

    database: Database
    topic: Topic
    failures: dict[str, list[BaseException]] = field(default_factory=lambda: defaultdict(list))
    lasting: set[str] = field(default_factory=set)
    calls: list[list[str]] = field(default_factory=list)
    before_effect: Callable[[Sequence[str]], Awaitable[None]] | None = None
    together: bool = False

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.topic, self.handle, together=self.together)

    async def handle(self, tx: AsyncConnection, batch: Batch) -> None:
        found = [event for event in batch.events if isinstance(event, KpiRecorded)]
        self.calls.append([event.event for event in found])
        if self.before_effect:
            await self.before_effect(self.calls[-1])
        values = {
            "provider": batch.provider,
            "employees": [event.employee for event in found],
            "events": [event.event for event in found],
        }
        await tx.execute(WRITE_EFFECTS, values)
        for event in found:
            if waiting := self.failures[event.event]:
                raise waiting[0] if event.event in self.lasting else waiting.pop(0)

    def consumer(self, open_reader: Callable[[], LogReader], *, batch_size: int = 1_000) -> Consumer:
        return Consumer(self.database, [self.subscription], open_reader, utc_now, batch_size=batch_size)

    async def effects(self) -> list[str]:
        """The events applied, in the order of their effects."""
        return [row.event for row in await self._rows("SELECT event FROM effects ORDER BY place")]

    async def effects_by_employee(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for row in await self._rows("SELECT employee, event FROM effects ORDER BY place"):
            found[row.employee].append(row.event)
        return dict(found)

    async def repeated(self) -> list[str]:
        return [event for event, count in Counter(await self.effects()).items() if count > 1]

    async def positions(self) -> dict[int, int]:
        return {
            row.partition: row.next_offset for row in await self._rows("SELECT partition, next_offset FROM positions")
        }

    async def position(self) -> int:
        return (await self.positions())[0]

    async def parked(self) -> list[tuple[int, str]]:
        """Offset and code of each letter."""
        rows = await self._rows("SELECT record_offset, code FROM dead_letters WHERE state = 'parked' ORDER BY 1")
        return [(row.record_offset, row.code) for row in rows]

    async def _rows(self, query: str):  # type: ignore[no-untyped-def]
        async with self.database.begin() as tx:
            return (await tx.execute(text(query))).all()


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[None]:
    """The consumer at work; at the end it is asked to stop and must do so without an error."""
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(consumer.run(stop))
        yield
        stop.set()


async def run_until_it_fails(consumer: Consumer, within: float = 20) -> None:
    await asyncio.wait_for(consumer.run(asyncio.Event()), within)


async def killed(consumer: Consumer, when: Callable[[], Awaitable[bool]]) -> None:
    """Run the consumer and end it in the middle of what it is doing, as a killed process ends."""
    task = asyncio.create_task(consumer.run(asyncio.Event()))
    await eventually(when)
    task.cancel()
    await asyncio.wait([task])


async def eventually(condition: Callable[[], Awaitable[bool]], within: float = 15) -> None:
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)
