"""What stands in a topic, read by a plain client."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.contracts.topics import Topic
from shared.messaging.envelope import Record
from shared.messaging.kafka import connection
from shared.settings import KafkaSettings


async def read(settings: KafkaSettings, topic: Topic, count: int, within: float = 20) -> list[Record]:
    """At least `count` records of all partitions, and what else is there a moment later; per partition in order."""
    consumer = AIOKafkaConsumer(**connection(settings), auto_offset_reset="earliest")
    name = settings.kafka_topic_prefix + topic.name
    consumer.assign([TopicPartition(name, number) for number in range(topic.partitions)])
    await consumer.start()
    found: list[Record] = []
    deadline = time.monotonic() + within
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=250)
            for records in batches.values():
                found.extend(
                    Record(topic.name, seen.partition, seen.offset, seen.key, seen.value, seen.headers)
                    for seen in records
                )
            if len(found) >= count and not batches:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} records came"
    finally:
        await asyncio.wait_for(consumer.stop(), 5)


def by_key(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        found[(record.key or b"").decode()].append(record)
    return dict(found)
