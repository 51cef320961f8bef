"""From the outbox to Kafka: every row at least once, per key in id order, deleted only after the broker has it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

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
    SELECT id, topic, CAST(batch_id AS text) AS batch_id, announced_at, provider_id, traceparent, events, messages
    FROM (SELECT *, sum(events) OVER (ORDER BY id) - events AS before FROM outbox ORDER BY id LIMIT $1) AS waiting
    WHERE before < $1 ORDER BY id
"""
_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
# An ended session shows as any of the driver's own errors, depending on when the driver notices.
_OUTAGES = (KafkaError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@functools.lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """Kafka's default partitioner; any other would scatter one person's events over two partitions."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


class Outgoing(NamedTuple):
    """One message of row number `row` of a round."""

    row: int
    key: bytes
    body: bytes
    headers: list[tuple[str, bytes]]


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
        unsent = [row["events"] for row in rows]
        partitions = await self._by_partition(producer, rows)
        sending = [self._send(producer, *where, found, unsent) for where, found in partitions.items()]
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        # Only what stands before the first row that is not sent whole: were a later row deleted, the resent rest of
        # an earlier one would put a person's older state behind the newer, for good in a compacted topic.
        done = [row["id"] for row, _ in itertools.takewhile(lambda pair: not pair[1], zip(rows, unsent, strict=True))]
        if done:
            await connection.execute(_DELETE, done)
            telemetry.RELAYED.inc(sum(row["events"] for row in rows[: len(done)]))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._failures = 0
        return True

    async def _by_partition(
        self, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]
    ) -> dict[tuple[str, int], list[Outgoing]]:
        sizes = {name: len(await producer.partitions_for(self._prefix + name)) for name in {r["topic"] for r in rows}}
        found: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for index, row in enumerate(rows):
            topic, size = self._prefix + row["topic"], sizes[row["topic"]]
            for number, message in enumerate(outbox.unpacked(row["messages"])):
                partition = int(message.partition) if message.partition else partition_of(message.key, size)
                found[topic, partition].append(self._outgoing(index, row, number, message))
        return found

    def _outgoing(self, index: int, row: asyncpg.Record, number: int, message: outbox.Message) -> Outgoing:
        headers = headers_of(
            event_id=f"{row['batch_id']}-{number}",
            event_type=message.event_type,
            time=row["announced_at"],
            source=self._service,
            provider=row["provider_id"],
            key=message.key,
            traceparent=row["traceparent"],
        )
        return Outgoing(index, message.key.encode(), message.body.encode(), headers)

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Outgoing], unsent: list[int]
    ) -> None:
        """Send one partition's messages, one batch at a time, taking from `unsent`, by row, what the broker has.

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
            for message in messages[start:end]:
                unsent[message.row] -= 1
            start = end


def _append(batch: BatchBuilder, message: Outgoing) -> bool:
    appended = batch.append(timestamp=None, key=message.key, value=message.body, headers=message.headers)
    return appended is not None
