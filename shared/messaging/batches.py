"""What becomes of a batch: one transaction with its position, three fates for each of its records.

What happens if the process dies: before the commit nothing happened and the position has not moved; after it
everything did and the position says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.clock import Clock
from shared.contracts.ids import ProviderId
from shared.contracts.topics import Topic
from shared.database import Database, enter_provider
from shared.errors import DomainError, InvalidMessage, PlumblineError
from shared.messaging import dead_letters, positions
from shared.messaging.dead_letters import SubscriptionHalted
from shared.messaging.envelope import Batch, Delivery, Record, decode
from shared.messaging.log import Partition
from shared.messaging.retries import PARK_AFTER, SINGLE_AFTER
from shared.messaging.subscriptions import Subscription


class Fenced(PlumblineError):
    """The position is not where this consumer believed: another owner moved on, or a commit's fate was unknown."""


class Batches:
    """Applies the batches of one service's subscriptions."""

    def __init__(self, database: Database, subscriptions: Sequence[Subscription], clock: Clock) -> None:
        self._database = database
        self._by_topic = {found.topic.name: found for found in subscriptions}
        self._clock = clock
        self._begun: dict[Partition, tuple[int, int]] = {}
        self.last_commit = 0.0
        """When a position last moved, on the monotonic clock; 0 before the first time."""

    async def apply(
        self, partition: Partition, expected: int, records: Sequence[Record], *, lag: int, resuming: bool
    ) -> int:
        """Apply or park all `records`, which stand at `expected`; the next position.

        `resuming` says that this is the first batch since the position was loaded: an earlier process may have died
        of it. Raises `Fenced`, `SubscriptionHalted`, and whatever a handler raises that is no refusal.
        """
        attempts = await self._begin(partition, expected) if resuming else 0
        if attempts > SINGLE_AFTER:
            return await self._apply_singly(partition, expected, records, lag, attempts)
        try:
            return await self._commit(partition, expected, records, lag)
        except (DomainError, InvalidMessage, SubscriptionHalted):
            return await self._apply_singly(partition, expected, records, lag, attempts=0)

    async def _begin(self, partition: Partition, expected: int) -> int:
        """How many processes have begun work on this position since it last moved, this one included.

        One that dies without a word leaves only this count behind. Beginning again in the same process, after a
        transient failure or a rebalance, adds nothing to it: nothing has died.
        """
        position, count = self._begun.get(partition, (None, 0))
        if position == expected:
            return count
        async with self._database.begin() as tx:
            found = await positions.count_attempt(tx, partition, expected)
        if found is None:
            raise Fenced
        self._begun[partition] = (expected, found)
        return found

    async def _apply_singly(
        self, partition: Partition, expected: int, records: Sequence[Record], lag: int, attempts: int
    ) -> int:
        """One record per transaction, so that exactly the refused one is parked and the others are applied."""
        for index, record in enumerate(records):
            if attempts and index:
                attempts = await self._begin(partition, expected)
            try:
                expected = await self._apply_one(partition, expected, record, lag, attempts)
            except SubscriptionHalted:
                await self._forgive(partition, expected)
                raise
        return expected

    async def _apply_one(self, partition: Partition, expected: int, record: Record, lag: int, attempts: int) -> int:
        if attempts > PARK_AFTER:
            return await self._park(partition, expected, record, "crashed", "handling it ended the process repeatedly")
        try:
            return await self._commit(partition, expected, [record], lag)
        except DomainError as error:
            return await self._park(partition, expected, record, error.reason, error.detail)
        except InvalidMessage as error:
            return await self._park(partition, expected, record, "invalid-message", str(error))

    async def _forgive(self, partition: Partition, expected: int) -> None:
        """Forget the processes that ended here by halting: a mended one must meet the record without a history."""
        async with self._database.begin() as tx:
            await positions.forget_attempts(tx, partition, expected)

    async def _commit(self, partition: Partition, expected: int, records: Sequence[Record], lag: int) -> int:
        subscription = self._by_topic[partition.topic]
        attributes: dict[str, str | int] = {
            telemetry.DESTINATION: partition.topic,
            telemetry.PARTITION: partition.number,
            telemetry.FIRST_OFFSET: records[0].offset,
            telemetry.BATCH_SIZE: len(records),
        }
        # Before the transaction: it holds the position, and whoever would take over waits for it.
        decoded = [_decoded(record, subscription.topic) for record in records]
        causes = (
            each.traceparent if isinstance(each, Delivery) else record.header("traceparent")
            for record, each in zip(records, decoded, strict=True)
        )
        with telemetry.span(f"process {partition.topic}", SpanKind.CONSUMER, attributes, causes=causes) as span:
            async with self._database.begin() as tx:
                to = await self._advance(tx, partition, expected, records[-1])
                by_provider, parked = await self._sort_out(tx, records, decoded)
                span.set_attribute(telemetry.PARKED, parked)
                now = self._clock()
                for provider in sorted(by_provider):
                    await enter_provider(tx, provider)
                    await subscription.handler(tx, Batch(provider, tuple(by_provider[provider]), now, lag))
        self.last_commit = time.monotonic()
        telemetry.RECORDS.labels(partition.topic, "applied").inc(len(records) - parked)
        telemetry.RECORDS.labels(partition.topic, "parked").inc(parked)
        return to

    async def _advance(self, tx: AsyncConnection, partition: Partition, expected: int, last: Record) -> int:
        to = last.offset + 1
        if not await positions.advance(tx, partition, expected, to):
            raise Fenced
        return to

    async def _sort_out(
        self, tx: AsyncConnection, records: Sequence[Record], decoded: Sequence[Delivery | InvalidMessage]
    ) -> tuple[Mapping[ProviderId, list[Delivery]], int]:
        by_provider: dict[ProviderId, list[Delivery]] = {}
        parked = 0
        for record, each in zip(records, decoded, strict=True):
            if isinstance(each, Delivery):
                by_provider.setdefault(each.event.provider, []).append(each)
            else:
                await dead_letters.park(tx, record, "invalid-message", str(each))
                parked += 1
        return by_provider, parked

    async def _park(self, partition: Partition, expected: int, record: Record, code: str, detail: str) -> int:
        async with self._database.begin() as tx:
            to = await self._advance(tx, partition, expected, record)
            await dead_letters.park(tx, record, code, detail)
        self.last_commit = time.monotonic()
        telemetry.RECORDS.labels(partition.topic, "parked").inc()
        return to


def _decoded(record: Record, topic: Topic) -> Delivery | InvalidMessage:
    try:
        return decode(record, topic)
    except InvalidMessage as error:
        return error
