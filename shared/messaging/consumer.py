"""The loop that turns a log into changed state: one transaction per partition's batch, three fates per record.

What happens if the process dies: before the commit nothing happened and the position has not moved; after it
everything did and the position says so. Offsets reported to the broker are a lag report and decide nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.clock import Clock
from shared.contracts.ids import ProviderId
from shared.database import Database, enter_provider
from shared.errors import DomainError, InvalidMessage, PlumblineError, is_transient
from shared.messaging import dead_letters, positions
from shared.messaging.envelope import Batch, Delivery, Record, decode
from shared.messaging.log import LogBroken, LogReader, Partition
from shared.messaging.subscriptions import Subscription
from shared.messaging.timers import pause

_log = structlog.get_logger(__name__)

SINGLE_AFTER = 2
"""Starts on one position without progress, after which its records are handled one by one to find the culprit."""
PARK_AFTER = 5
"""Starts on one record without progress, after which it is parked: it has killed the process that often."""
STALL_SECONDS = 30.0


class DataLost(PlumblineError):
    """The log no longer has records that were never applied. Only a person can decide to go on."""


class _Fenced(PlumblineError):
    """The position is not where this consumer believed: another owner moved on, or a commit's fate was unknown."""


class Consumer:
    """Applies every subscription of one service through one group membership.

    `open_reader` makes a new group member; it is called again whenever the old one is beyond repair.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        subscriptions: Sequence[Subscription],
        open_reader: Callable[[], LogReader],
        clock: Clock,
        *,
        topic_prefix: str = "",
        batch_size: int = 1_000,
    ) -> None:
        self._service = service
        self._database = database
        self._by_topic = {topic_prefix + found.topic.name: found for found in subscriptions}
        self._open_reader = open_reader
        self._clock = clock
        self._batch_size = batch_size
        self._next: dict[Partition, int] = {}
        self._gaps: dict[Partition, int] = {}
        self._fresh: set[Partition] = set()
        self._last_progress = time.monotonic()
        self._watched = time.monotonic()
        self._last_poll: float | None = None
        self._failures = 0

    def unready(self) -> str | None:
        """Why this loop cannot be relied on just now, or `None`."""
        if self._last_poll is None:
            return "not yet a member of the group"
        if time.monotonic() - self._last_poll > STALL_SECONDS:
            return "the last poll is too long ago"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; a batch at work is finished first. Raises on the first bug, `DataLost` or halt."""
        while not stop.is_set():
            reader = self._open_reader()
            self._next.clear()
            try:
                await reader.open()
                self._last_progress = time.monotonic()
                while not stop.is_set():
                    await self._turn(reader, stop)
            except LogBroken as error:
                _log.warning("consumer.rebuild", reason=str(error))
                await pause(stop, 1.0)
            finally:
                await reader.close()

    async def _turn(self, reader: LogReader, stop: asyncio.Event) -> None:
        batches = await reader.poll(self._batch_size)
        assigned = reader.assigned()
        for lost in self._next.keys() - assigned:
            del self._next[lost]
        try:
            for partition in assigned - self._next.keys():
                await self._load(reader, partition)
            for partition, records in batches.items():
                if stop.is_set():
                    return
                await self._accept(reader, partition, records)
            self._failures = 0
        except _Fenced:
            return
        except Exception as error:
            if not is_transient(error):
                raise
            self._failures += 1
            self._next.clear()
            _log.warning("consumer.retry", failures=self._failures, error=type(error).__name__)
            await pause(stop, min(0.1 * 2**self._failures, 10.0))
        if assigned:
            self._last_poll = time.monotonic()
        await self._watch(reader, assigned)

    async def _load(self, reader: LogReader, partition: Partition) -> None:
        """Learn the position from the database and point the reader at it; whatever it had fetched before is void."""
        first, end = await reader.first_offset(partition), await reader.end_offset(partition)
        async with self._database.begin() as tx:
            offset = await positions.load(tx, self._service, partition.topic, partition.number, first)
        if not first <= offset <= end:
            raise DataLost(
                f"{partition.topic}/{partition.number} holds the offsets from {first} to {end}, but {self._service} is "
                f"at {offset}: what it never applied is gone, or the topic was made anew"
            )
        reader.seek(partition, offset)
        self._next[partition] = offset
        self._fresh.add(partition)
        self._gaps.pop(partition, None)

    async def _accept(self, reader: LogReader, partition: Partition, records: Sequence[Record]) -> None:
        expected = self._next.get(partition)
        if expected is None or partition not in reader.assigned():
            return
        pending = [record for record in records if record.offset >= expected]
        if not pending:
            reader.seek(partition, expected)
            return
        if pending[0].offset > expected and not await self._gap_is_real(reader, partition, expected, pending[0].offset):
            return
        started = time.monotonic()
        lag = max(0, reader.high_water(partition) - pending[-1].offset - 1)
        await self._apply(partition, expected, pending, lag)
        name = self._by_topic[partition.topic].topic.name
        telemetry.LAG_RECORDS.labels(name, partition.number).set(lag)
        telemetry.BATCH_SECONDS.labels(name).observe(time.monotonic() - started)
        telemetry.LAST_BATCH.labels(name).set_to_current_time()
        self._last_progress = time.monotonic()
        await reader.report({partition: self._next[partition]})

    async def _gap_is_real(self, reader: LogReader, partition: Partition, expected: int, found: int) -> bool:
        """Whether offsets are missing in the log itself (compaction, control records).

        Records fetched before a seek look just like a gap, and taking them for one would skip what lies between:
        only what a second fetch from the position shows again is believed.
        """
        first = await reader.first_offset(partition)
        if first > expected:
            raise DataLost(f"{partition.topic}/{partition.number} starts at {first}, but {expected} was never applied")
        if self._gaps.pop(partition, None) == found:
            return True
        self._gaps[partition] = found
        reader.seek(partition, expected)
        return False

    async def _apply(self, partition: Partition, expected: int, records: Sequence[Record], lag: int) -> None:
        attempts = 0
        if partition in self._fresh:
            attempts = await self._count_attempt(partition, expected)
        try:
            if attempts > SINGLE_AFTER:
                await self._apply_singly(partition, expected, records, lag, attempts)
            else:
                try:
                    await self._commit(partition, expected, records, lag)
                except (DomainError, InvalidMessage):
                    await self._apply_singly(partition, expected, records, lag, attempts=0)
        except _Fenced:
            self._next.pop(partition, None)
            raise
        self._fresh.discard(partition)

    async def _count_attempt(self, partition: Partition, expected: int) -> int:
        async with self._database.begin() as tx:
            count = await positions.count_attempt(tx, self._service, partition.topic, partition.number, expected)
        if count is None:
            self._next.pop(partition, None)
            raise _Fenced
        return count

    async def _apply_singly(
        self, partition: Partition, expected: int, records: Sequence[Record], lag: int, attempts: int
    ) -> None:
        """One record per transaction, so that exactly the refused one is parked and the others are applied."""
        for index, record in enumerate(records):
            # A process that dies without a word leaves only this count behind.
            if attempts and index:
                attempts = await self._count_attempt(partition, expected)
            if attempts > PARK_AFTER:
                await self._park(partition, expected, record, "crashed", "handling it ended the process repeatedly")
            else:
                try:
                    await self._commit(partition, expected, [record], lag)
                except DomainError as error:
                    await self._park(partition, expected, record, error.reason, error.detail)
                except InvalidMessage as error:
                    await self._park(partition, expected, record, "invalid-message", str(error))
            expected = record.offset + 1

    async def _commit(self, partition: Partition, expected: int, records: Sequence[Record], lag: int) -> None:
        subscription = self._by_topic[partition.topic]
        to = records[-1].offset + 1
        attributes: dict[str, str | int] = {
            telemetry.DESTINATION: subscription.topic.name,
            telemetry.PARTITION: partition.number,
            telemetry.FIRST_OFFSET: records[0].offset,
            telemetry.BATCH_SIZE: len(records),
        }
        causes = (record.header("traceparent") for record in records)
        with telemetry.span(f"process {subscription.topic.name}", SpanKind.CONSUMER, attributes, causes=causes) as span:
            async with self._database.begin() as tx:
                if not await positions.advance(tx, self._service, partition.topic, partition.number, expected, to):
                    raise _Fenced
                by_provider, parked = await self._sort_out(tx, subscription, records)
                span.set_attribute(telemetry.PARKED, parked)
                now = self._clock()
                for provider in sorted(by_provider):
                    await enter_provider(tx, provider)
                    await subscription.handler(tx, Batch(provider, tuple(by_provider[provider]), now, lag))
        self._next[partition] = to
        telemetry.RECORDS.labels(subscription.topic.name, "applied").inc(len(records) - parked)
        telemetry.RECORDS.labels(subscription.topic.name, "parked").inc(parked)

    async def _sort_out(
        self, tx: AsyncSession, subscription: Subscription, records: Sequence[Record]
    ) -> tuple[Mapping[ProviderId, list[Delivery]], int]:
        by_provider: dict[ProviderId, list[Delivery]] = {}
        parked = 0
        for record in records:
            try:
                delivery = decode(record, subscription.topic)
            except InvalidMessage as error:
                await dead_letters.park(tx, self._service, record, "invalid-message", str(error))
                parked += 1
                continue
            by_provider.setdefault(delivery.event.provider, []).append(delivery)
        return by_provider, parked

    async def _park(self, partition: Partition, expected: int, record: Record, code: str, detail: str) -> None:
        async with self._database.begin() as tx:
            to = record.offset + 1
            if not await positions.advance(tx, self._service, partition.topic, partition.number, expected, to):
                raise _Fenced
            await dead_letters.park(tx, self._service, record, code, detail)
        self._next[partition] = to
        telemetry.RECORDS.labels(self._by_topic[partition.topic].topic.name, "parked").inc()

    async def _watch(self, reader: LogReader, assigned: frozenset[Partition]) -> None:
        """Throw the reader away when records wait and none arrive: a wedged member says nothing on its own."""
        idle_since = max(self._last_progress, self._watched)
        if time.monotonic() - idle_since < STALL_SECONDS:
            return
        self._watched = time.monotonic()
        for partition in assigned:
            behind = await reader.end_offset(partition) - self._next.get(partition, 0)
            if partition in self._next and behind > 0:
                raise LogBroken(f"{behind} records wait in {partition.topic}/{partition.number} and none arrive")
