"""The memory broker held to the suite, and the bad days that only it can have on request."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import Topic
from shared.messaging.log import Partition
from tests.memory_broker import MemoryBroker, MemoryReader
from tests.shared.broker_suite import BrokerSuite
from tests.shared.ledger import SERVICE, Sent


class InMemory:
    """The suite's view of a memory broker."""

    def __init__(self) -> None:
        self.inside = MemoryBroker()

    def topic(self, partitions: int) -> Topic:
        return Topic(f"kpi-{uuid.uuid4().hex[:8]}", "ingest", "employee", (KpiRecorded,), partitions=partitions)

    async def create(self, topic: Topic) -> None:
        self.inside.create(topic.name, topic.partitions)

    async def append(self, topic: Topic, records: Sequence[Sent], partition: int = 0) -> None:
        for sent in records:
            self.inside.append(Partition(topic.name, partition), sent.key, sent.value, sent.headers)

    async def append_and_skip(self, topic: Topic, records: Sequence[Sent]) -> None:
        await self.append(topic, records)
        self.inside.skip(Partition(topic.name, 0))

    async def cut(self, topic: Topic, first: int) -> None:
        self.inside.cut(Partition(topic.name, 0), first)

    async def commit(self, topic: Topic, offset: int) -> None:
        self.inside.commit(SERVICE, {Partition(topic.name, 0): offset})

    def reader(self, topic: Topic) -> MemoryReader:
        return self.inside.reader(SERVICE, [topic.name])


@pytest.fixture
def broker() -> InMemory:
    return InMemory()


class TestOnTheMemoryBroker(BrokerSuite):
    pass
