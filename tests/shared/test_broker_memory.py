"""The memory broker held to the suite, and the bad days that only it can have on request."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import pytest

from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging.envelope import Record
from shared.messaging.log import Partition
from tests.memory_broker import MemoryBroker, MemoryReader
from tests.shared.broker_suite import BrokerSuite
from tests.shared.brokers import advance_as_another_owner_would, applied
from tests.shared.fates_suite import FatesSuite
from tests.shared.ledger import SERVICE, Ledger, Sent, as_sent, events, eventually, running


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

    async def rebalance(self, topic: Topic) -> None:
        self.inside.shake(SERVICE)

    def reader(self, topic: Topic) -> MemoryReader:
        return self.inside.reader(SERVICE, [topic.name])


@pytest.fixture
def broker() -> InMemory:
    return InMemory()


class TestOnTheMemoryBroker(BrokerSuite, FatesSuite):
    pass


class ScriptedReader(MemoryReader):
    """Polls first give these ranges of offsets, wherever it stands."""

    def __init__(self, broker: MemoryBroker, topic: Topic, script: Sequence[range]) -> None:
        super().__init__(broker, SERVICE, [topic.name])
        self._script = list(script)
        self._log = broker.log(Partition(topic.name, 0))

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        if not self._script:
            return await super().poll(limit)
        await asyncio.sleep(0)
        offsets = self._script.pop(0)
        (partition,) = self.assigned()
        return {partition: [record for record in self._log.records if record.offset in offsets]}


@pytest.fixture
async def topic(broker: InMemory) -> Topic:
    topic = broker.topic(1)
    await broker.create(topic)
    return topic


@pytest.fixture
def ledger(ledger_database: Database, topic: Topic) -> Ledger:
    return Ledger(ledger_database, topic)


async def test_records_fetched_before_a_seek_are_not_taken_for_a_gap(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    broker.inside.late_seeks = True
    await broker.append(topic, [as_sent(event) for event in events(10)])
    await broker.commit(topic, 5)
    async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=3)):
        await eventually(lambda: applied(ledger, 10))
    assert await ledger.effects() == [f"k-{number}" for number in range(10)]


@pytest.mark.parametrize(
    "script",
    [
        [range(5, 10)],
        [range(5, 10), range(0, 3), range(5, 10)],
        [range(5, 10), range(6, 10), range(5, 10), range(0, 10)],
        [range(0, 3), range(0, 2), range(1, 4), range(9, 10)],
    ],
)
async def test_a_gap_is_believed_only_when_the_next_fetch_from_the_same_position_shows_it_again(
    broker: InMemory, topic: Topic, ledger: Ledger, script: list[range]
) -> None:
    await broker.append(topic, [as_sent(event) for event in events(10)])
    async with running(ledger.consumer(lambda: ScriptedReader(broker.inside, topic, script))):
        await eventually(lambda: applied(ledger, 10))
    assert await ledger.effects() == [f"k-{number}" for number in range(10)]


async def test_records_that_compaction_took_away_are_passed_over(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    await broker.append(topic, [as_sent(event) for event in events(10)])
    broker.inside.compact(Partition(topic.name, 0), 0, 1, 4, 7)
    async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=2)):
        await eventually(lambda: applied(ledger, 6))
    assert await ledger.effects() == ["k-2", "k-3", "k-5", "k-6", "k-8", "k-9"]


async def test_a_broken_connection_leads_to_a_new_reader(broker: InMemory, topic: Topic, ledger: Ledger) -> None:
    await broker.append(topic, [as_sent(event) for event in events(3)])
    async with running(ledger.consumer(lambda: broker.reader(topic))):
        await eventually(lambda: applied(ledger, 3))
        broker.inside.break_connections()
        await broker.append(topic, [as_sent(event) for event in events(3, start=3)])
        await eventually(lambda: applied(ledger, 6))
    assert await ledger.effects() == [f"k-{number}" for number in range(6)]


async def test_a_reader_that_says_nothing_while_records_wait_is_replaced(
    broker: InMemory, topic: Topic, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.consumer.STALL_SECONDS", 0.2)
    deaf = ScriptedReader(broker.inside, topic, [range(0)] * 10_000_000)
    readers = [deaf, broker.reader(topic)]
    async with running(ledger.consumer(lambda: readers.pop(0))):
        await asyncio.sleep(0.4)
        assert len(readers) == 1, "nothing waits yet"
        await broker.append(topic, [as_sent(event) for event in events(3)])
        await eventually(lambda: applied(ledger, 3))


async def test_an_owner_that_the_group_gave_up_on_applies_nothing_that_its_successor_applies(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    first = broker.reader(topic)
    async with running(ledger.consumer(lambda: first, batch_size=3)):
        await broker.append(topic, [as_sent(event) for event in events(6)])
        await eventually(lambda: applied(ledger, 6))
        broker.inside.expel(first)
        async with running(ledger.consumer(lambda: broker.reader(topic), batch_size=4)):
            for start in range(6, 60, 6):
                await broker.append(topic, [as_sent(event) for event in events(6, start=start)])
                await eventually(partial(applied, ledger, start + 6))
    assert await ledger.effects() == [f"k-{number}" for number in range(60)]


async def test_an_owner_before_us_that_still_moves_on_is_not_taken_for_lost_data(
    broker: InMemory, topic: Topic, ledger: Ledger
) -> None:
    class Overtaken(MemoryReader):
        async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
            ends = await super().end_offsets(partitions)
            if 3 in ends.values():
                await broker.append(topic, [as_sent(event) for event in events(3, start=3)])
                await advance_as_another_owner_would(ledger, 6)
            return ends

    await broker.append(topic, [as_sent(event) for event in events(3)])
    async with running(ledger.consumer(lambda: Overtaken(broker.inside, SERVICE, [topic.name]))):
        await eventually(lambda: at(ledger, 6))
        await broker.append(topic, [as_sent(event) for event in events(3, start=6)])
        await eventually(lambda: applied(ledger, 3))
    assert await ledger.effects() == ["k-6", "k-7", "k-8"]


async def at(ledger: Ledger, position: int) -> bool:
    return (await ledger.positions()).get(0) == position
