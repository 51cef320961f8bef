"""What the suites ask of a broker, and of a consumer that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pytest

from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging import positions
from shared.messaging.envelope import Record
from shared.messaging.log import LogReader, Partition
from tests.shared.ledger import (
    Ledger,
    Sent,
)


class Broker(Protocol):
    """What the suite does to a log, beside reading it."""

    def topic(self, partitions: int) -> Topic: ...

    async def create(self, topic: Topic) -> None: ...

    async def append(self, topic: Topic, records: Sequence[Sent], partition: int = 0) -> None: ...

    async def append_and_skip(self, topic: Topic, records: Sequence[Sent]) -> None:
        """Append to partition 0 and use up one more offset that holds no record."""
        ...

    async def cut(self, topic: Topic, first: int) -> None:
        """Delete what lies before `first` in partition 0."""
        ...

    async def commit(self, topic: Topic, offset: int) -> None:
        """Have the group's committed offset of partition 0 say `offset`."""
        ...

    async def rebalance(self, topic: Topic) -> None:
        """Have everybody assigned anew, without a change of members in the end."""
        ...

    def reader(self, topic: Topic) -> LogReader:
        """A new member of the service's group."""
        ...


class HeldReader:
    """Passes on a few polls, then keeps back what it polled until `go_on` is set; may keep reports to itself."""

    def __init__(self, reader: LogReader, *, passes: int = 0, reports: bool = True) -> None:
        self._reader = reader
        self._passes = passes
        self._reports = reports
        self.polled = asyncio.Event()
        self.go_on = asyncio.Event()

    async def open(self) -> None:
        await self._reader.open()

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        found = await self._reader.poll(limit)
        if found and self._passes:
            self._passes -= 1
        elif found:
            self.polled.set()
            await self.go_on.wait()
        return found

    def assigned(self) -> frozenset[Partition]:
        return self._reader.assigned()

    def sought(self) -> frozenset[Partition]:
        return self._reader.sought()

    def seek(self, partition: Partition, offset: int) -> None:
        self._reader.seek(partition, offset)

    async def first_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return await self._reader.first_offsets(partitions)

    async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return await self._reader.end_offsets(partitions)

    def high_water(self, partition: Partition) -> int:
        return self._reader.high_water(partition)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        if self._reports:
            await self._reader.report(positions)

    async def close(self) -> None:
        await self._reader.close()


async def applied(ledger: Ledger, count: int) -> bool:
    return len(await ledger.effects()) >= count


async def calls(ledger: Ledger, count: int) -> bool:
    return len(ledger.calls) >= count


async def ready(consumer: object) -> bool:
    return consumer.unready() is None  # type: ignore[attr-defined]


class LogSuite:
    """Sentences about a topic of one partition. Subclasses give `broker`; `ledger_database` comes from the conftest."""

    @pytest.fixture
    async def topic(self, broker: Broker) -> Topic:
        topic = broker.topic(1)
        await broker.create(topic)
        return topic

    @pytest.fixture
    def ledger(self, ledger_database: Database, topic: Topic) -> Ledger:
        return Ledger(ledger_database, topic)


async def advance_as_another_owner_would(ledger: Ledger, to: int, expected: int = 0) -> int:
    async with ledger.database.begin() as tx:
        assert await positions.advance(tx, Partition(ledger.topic.name, 0), expected, to)
    return await ledger.position()
