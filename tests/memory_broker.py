"""A partitioned log in memory that has the bad days of a real one on request.

`tests/shared/broker_suite.py` holds it to what it holds Kafka to; what passes on it is evidence, not decoration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shared.messaging.envelope import Headers, Record
from shared.messaging.log import LogBroken, Partition


@dataclass
class _Log:
    first: int = 0
    end: int = 0
    records: list[Record] = field(default_factory=list)


class MemoryBroker:
    """Logs and groups. Calls of tests take effect at once; members notice at their next poll."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._logs: dict[Partition, _Log] = {}
        self._members: dict[str, list[MemoryReader]] = {}
        self._committed: dict[str, dict[Partition, int]] = {}
        for name, partitions in (topics or {}).items():
            self.create(name, partitions)
        self.late_seeks = False
        """A seek takes effect only after one more poll, which still returns what had been fetched before it."""

    def create(self, topic: str, partitions: int) -> None:
        self._logs |= {Partition(topic, number): _Log() for number in range(partitions)}
        for group in self._members:
            self._rebalance(group)

    def append(self, partition: Partition, key: bytes | None, value: bytes | None, headers: Headers) -> int:
        log = self._logs[partition]
        log.records.append(Record(*partition, log.end, key, value, headers))
        log.end += 1
        return log.end - 1

    def skip(self, partition: Partition) -> None:
        """Use up an offset without a record, as a transaction's marker does."""
        self._logs[partition].end += 1

    def compact(self, partition: Partition, *offsets: int) -> None:
        log = self._logs[partition]
        log.records = [record for record in log.records if record.offset not in offsets]

    def cut(self, partition: Partition, first: int) -> None:
        """Delete what lies before `first`, as retention does."""
        log = self._logs[partition]
        log.first = first
        log.records = [record for record in log.records if record.offset >= first]

    def commit(self, group: str, positions: Mapping[Partition, int]) -> None:
        self._committed.setdefault(group, {}).update(positions)

    def committed(self, group: str) -> Mapping[Partition, int]:
        return self._committed.get(group, {})

    def expel(self, member: MemoryReader) -> None:
        """Give a member's partitions to the others. It goes on as if nothing had happened: a zombie."""
        self._leave(member)

    def shake(self, group: str) -> None:
        """Rebalance without a change of members: everybody keeps partitions, but no seek holds."""
        self._rebalance(group)

    def break_connections(self) -> None:
        for members in self._members.values():
            for member in members:
                member.broken = True

    def reader(self, group: str, topics: Sequence[str]) -> MemoryReader:
        return MemoryReader(self, group, topics)

    def producer(self) -> MemoryProducer:
        return MemoryProducer(self)

    def partitions(self, topic: str) -> set[int]:
        return {partition.number for partition in self._logs if partition.topic == topic}

    def log(self, partition: Partition) -> _Log:
        return self._logs[partition]

    def _join(self, member: MemoryReader) -> None:
        self._members.setdefault(member.group, []).append(member)
        self._rebalance(member.group)

    def _leave(self, member: MemoryReader) -> None:
        if member in self._members.get(member.group, []):
            self._members[member.group].remove(member)
            self._rebalance(member.group)

    def _rebalance(self, group: str) -> None:
        members = self._members.get(group, [])
        for index, member in enumerate(members):
            of_topics = sorted(partition for partition in self._logs if partition.topic in member.topics)
            member.assign(of_topics[index :: len(members)], self._committed.get(group, {}))


class MemoryBatch:
    """As large as it gets, unlike Kafka's."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes, Headers]] = []

    def append(self, *, timestamp: int | None, key: bytes, value: bytes, headers: Headers) -> int:
        self.records.append((key, value, headers))
        return len(self.records)

    def record_count(self) -> int:
        return len(self.records)

    def close(self) -> None: ...


class MemoryProducer:
    """What the relay needs of a producer."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def partitions_for(self, topic: str) -> set[int]:
        return self._broker.partitions(topic)

    def create_batch(self) -> MemoryBatch:
        return MemoryBatch()

    async def send_batch(self, batch: MemoryBatch, topic: str, *, partition: int) -> asyncio.Future[None]:
        await asyncio.sleep(0)
        for record in batch.records:
            self._broker.append(Partition(topic, partition), *record)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


class MemoryReader:
    """One member of a group, with the manners of Kafka's: see `LogReader`."""

    def __init__(self, broker: MemoryBroker, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self.topics = frozenset(topics)
        self.broken = False
        self._broker = broker
        self._at: dict[Partition, int | None] = {}
        self._late: dict[Partition, int] = {}
        self._sought: set[Partition] = set()
        self._turn = 0

    def assign(self, partitions: Sequence[Partition], committed: Mapping[Partition, int]) -> None:
        self._at = {partition: committed.get(partition) for partition in partitions}
        self._sought.clear()
        self._late.clear()

    def _check(self) -> None:
        if self.broken:
            raise LogBroken("the connection is gone")

    async def open(self) -> None:
        self._broker._join(self)

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        self._check()
        fetched: dict[Partition, Sequence[Record]] = {}
        self._turn += 1
        turned = self._turn % max(1, len(self._at))
        for partition in [*list(self._at)[turned:], *list(self._at)[:turned]]:
            records = self._fetch(partition, limit - sum(map(len, fetched.values())))
            if records:
                fetched[partition] = records
        late, self._late = self._late, {}
        self._at |= late
        await asyncio.sleep(0 if fetched else 0.002)
        return fetched

    def _fetch(self, partition: Partition, limit: int) -> Sequence[Record]:
        at = self._at[partition]
        log = self._broker.log(partition)
        if at is None or limit <= 0:
            return []
        if not log.first <= at <= log.end:
            raise LogBroken(f"{at} is not in {partition}")
        records = [record for record in log.records if record.offset >= at][:limit]
        if records:
            self._at[partition] = records[-1].offset + 1
        return records

    def assigned(self) -> frozenset[Partition]:
        return frozenset(self._at)

    def sought(self) -> frozenset[Partition]:
        return frozenset(self._sought)

    def seek(self, partition: Partition, offset: int) -> None:
        if partition not in self._at:
            return
        (self._late if self._broker.late_seeks else self._at)[partition] = offset
        self._sought.add(partition)

    async def first_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        self._check()
        await asyncio.sleep(0)
        return {partition: self._broker.log(partition).first for partition in partitions}

    async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        self._check()
        await asyncio.sleep(0)
        return {partition: self._broker.log(partition).end for partition in partitions}

    def high_water(self, partition: Partition) -> int:
        return self._broker.log(partition).end

    async def report(self, positions: Mapping[Partition, int]) -> None:
        await asyncio.sleep(0)
        self._broker.commit(self.group, positions)

    async def close(self) -> None:
        self._broker._leave(self)
