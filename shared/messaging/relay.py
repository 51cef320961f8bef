"""From the outbox to Kafka: every row at least once, per key in id order, deleted only after the broker has it."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from sqlalchemy.engine import make_url

from shared import telemetry
from shared.database import FROZEN_SECONDS, session_settings
from shared.errors import is_transient
from shared.messaging.envelope import headers_of
from shared.messaging.retries import backoff, pause
from shared.settings import ServiceSettings

_log = structlog.get_logger(__name__)

ROUND = 4_000
IDLE_SECONDS = 0.1
"""How long rows committed by another process of the service can lie unseen; this process wakes its relay itself."""
_LOCK = 7_201_853_002

_READ = """
    SELECT id, topic, key, partition, CAST(event_id AS text) AS event_id, event_type, event_time, provider_id, body,
           traceparent
    FROM outbox ORDER BY id LIMIT $1
"""
_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
# An ended session shows as any of the driver's own errors, depending on when the driver notices.
_OUTAGES = (KafkaError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@functools.lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """Kafka's default partitioner; any other would scatter one person's events over two partitions."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


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
        telemetry.OUTBOX_DEPTH.set(len(rows))
        telemetry.OUTBOX_AGE.set(max(0.0, time.time() - rows[0]["event_time"].timestamp()) if rows else 0)
        if not rows:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._announced.wait(), IDLE_SECONDS)
            return False
        partitions = {
            name: len(await producer.partitions_for(self._prefix + name)) for name in {r["topic"] for r in rows}
        }
        by_partition: dict[tuple[str, int], list[asyncpg.Record]] = {}
        for row in rows:
            number = row["partition"]
            if number is None:
                number = partition_of(row["key"], partitions[row["topic"]])
            by_partition.setdefault((self._prefix + row["topic"], number), []).append(row)
        sent: list[int] = []
        sending = [self._send(producer, *where, found, sent) for where, found in by_partition.items()]
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        if sent:
            await connection.execute(_DELETE, sent)
            telemetry.RELAYED.inc(len(sent))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._failures = 0
        return True

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[asyncpg.Record], sent: list[int]
    ) -> None:
        """Send one partition's rows, one batch at a time, noting in `sent` the ids the broker has acknowledged.

        A second batch in flight could be written although the first was not, and a person's newer state would then
        stand before the older one.
        """
        start = 0
        while start < len(rows):
            batch = producer.create_batch()
            end = start
            while end < len(rows) and self._append(batch, rows[end]):
                end += 1
            if end == start:
                raise RuntimeError(f"outbox row {rows[start]['id']} is larger than a batch may be")
            batch.close()
            await (await producer.send_batch(batch, topic, partition=partition))
            sent.extend(row["id"] for row in rows[start:end])
            start = end

    def _append(self, batch: BatchBuilder, row: asyncpg.Record) -> bool:
        headers = headers_of(
            event_id=row["event_id"],
            event_type=row["event_type"],
            time=row["event_time"],
            source=self._service,
            provider=row["provider_id"],
            key=row["key"],
            traceparent=row["traceparent"],
        )
        appended = batch.append(timestamp=None, key=row["key"].encode(), value=row["body"].encode(), headers=headers)
        return appended is not None
