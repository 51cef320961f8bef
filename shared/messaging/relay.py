"""From the outbox to Kafka: every row at least once, per key in id order, deleted only after the broker has it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from sqlalchemy.engine import make_url

from shared import telemetry
from shared.database import FROZEN_SECONDS, session_settings
from shared.errors import is_transient
from shared.messaging import outbox
from shared.messaging.envelope import headers_of
from shared.messaging.retries import backoff, pause
from shared.settings import ServiceSettings

_log = structlog.get_logger(__name__)

ROUND = 4_000
"""Events after which a look takes no further row."""
IDLE_SECONDS = 0.1
"""How long rows committed by another process of the service can lie unseen; this process wakes its relay itself."""
_LOCK = 7_201_853_002

_READ = """
    SELECT id, topic, partition, batch_id, announced_at, provider_id, traceparent, events, messages
    FROM (SELECT *, sum(events) OVER (ORDER BY id) - events AS before FROM outbox ORDER BY id LIMIT $1) AS waiting
    WHERE before < $1 ORDER BY id
"""
_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
# An ended session shows as any of the driver's own errors, depending on when the driver notices.
_OUTAGES = (KafkaError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Outgoing(NamedTuple):
    """A message on its way. `completes` is the outbox row whose last it is."""

    key: bytes
    body: bytes
    headers: list[tuple[str, bytes]]
    completes: int | None


class Relay:
    """Sends the rows that are still in the outbox; one relay per service holds the advisory lock, others wait.

    Rows are chosen by presence, never by "id > last": the row of a slow transaction has a smaller id than rows that
    were sent before it became visible. A timeout means unknown: the row stays and is sent again.
    """

    def __init__(
        self,
        service: str,
        settings: ServiceSettings,
        announced: asyncio.Event,
        open_producer: Callable[[], AIOKafkaProducer],
    ) -> None:
        self._service = service
        self._prefix = settings.kafka_topic_prefix
        url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
        self._dsn = url.render_as_string(hide_password=False)
        self._announced = announced
        self._open_producer = open_producer
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` and the outbox is empty or cannot be emptied. Outages are waited out, bugs raised."""
        while not stop.is_set():
            try:
                await self._serve(stop)
            except Exception as error:
                if not (isinstance(error, _OUTAGES) or is_transient(error)):
                    raise
                self._failures += 1
                _log.warning("relay.retry", failures=self._failures, error=type(error).__name__)
                await pause(stop, backoff(self._failures, longest=5))

    async def _serve(self, stop: asyncio.Event) -> None:
        # The session holds the lock: were it not ended, a relay that stands still would keep all others waiting.
        lease = session_settings() | {"idle_session_timeout": f"{FROZEN_SECONDS}s"}
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=60, server_settings=lease)
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await pause(stop, 1.0)
                if stop.is_set():
                    return
            producer = self._open_producer()
            try:
                await producer.start()
                while await self._round(connection, producer) or not stop.is_set():
                    pass
            finally:
                with suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), 5)
        finally:
            connection.terminate()

    async def _round(self, connection: asyncpg.Connection, producer: AIOKafkaProducer) -> bool:
        """Send one look's worth of rows; whether there were any. Sleeps when there were none."""
        self._announced.clear()
        rows = await connection.fetch(_READ, ROUND)
        telemetry.OUTBOX_DEPTH.set(sum(row["events"] for row in rows))
        telemetry.OUTBOX_AGE.set(max(0.0, time.time() - rows[0]["announced_at"].timestamp()) if rows else 0)
        if not rows:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._announced.wait(), IDLE_SECONDS)
            return False
        partitions = await self._by_partition(producer, rows)
        sent: list[int] = []
        sending = [self._send(producer, *where, found, sent) for where, found in partitions.items()]
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        if sent:
            await connection.execute(_DELETE, sent)
            gone = set(sent)
            telemetry.RELAYED.inc(sum(row["events"] for row in rows if row["id"] in gone))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._failures = 0
        return True

    async def _by_partition(
        self, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]
    ) -> dict[tuple[str, int], list[Outgoing]]:
        there = {name: await producer.partitions_for(self._prefix + name) for name in {row["topic"] for row in rows}}
        found: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for row in rows:
            messages, partition = outbox.unpacked(row["messages"]), row["partition"]
            if partition is None:  # written when a row was one message and had none
                partition = outbox.partition_of(messages[0].key, len(there[row["topic"]]))
            if partition not in there[row["topic"]]:
                raise RuntimeError(f"topic {row['topic']} has no partition {partition}: provision the topics")
            found[self._prefix + row["topic"], partition].extend(self._outgoing(row, messages))
        return found

    def _outgoing(self, row: asyncpg.Record, messages: Sequence[outbox.Message]) -> Iterator[Outgoing]:
        for number, message in enumerate(messages, start=1):
            headers = headers_of(
                event_id=f"{row['batch_id']}-{number}",
                event_type=message.event_type,
                time=row["announced_at"],
                source=self._service,
                provider=row["provider_id"],
                key=message.key,
                traceparent=row["traceparent"],
            )
            completes = row["id"] if number == len(messages) else None
            yield Outgoing(message.key.encode(), message.body.encode(), headers, completes)

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Outgoing], sent: list[int]
    ) -> None:
        """Send one partition's messages, one batch at a time, noting in `sent` the rows the broker has acknowledged.

        A second batch in flight could be written although the first was not, and a person's newer state would then
        stand before the older one.
        """
        start = 0
        while start < len(messages):
            batch = producer.create_batch()
            end = start
            while end < len(messages) and _append(batch, messages[end]):
                end += 1
            if end == start:
                raise RuntimeError(f"a message for {topic} is larger than a batch may be")
            batch.close()
            await (await producer.send_batch(batch, topic, partition=partition))
            sent.extend(message.completes for message in messages[start:end] if message.completes is not None)
            start = end


def _append(batch: BatchBuilder, message: Outgoing) -> bool:
    appended = batch.append(timestamp=None, key=message.key, value=message.body, headers=message.headers)
    return appended is not None
