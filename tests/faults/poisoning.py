"""Records that ought not to be there: repeated, out of order, unreadable, or deadly to the handler."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.contracts.topics import KPI_EVENTS, TOPICS, Topic
from tests.faults.rig import Rig

Header = tuple[str, bytes]


class Sent(NamedTuple):
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


async def everything(rig: Rig, topics: Sequence[Topic] = TOPICS) -> list[Sent]:
    """Every record of the topics as it stands in the broker."""
    consumer = AIOKafkaConsumer(bootstrap_servers=rig.stack.kafka_bootstrap)
    await consumer.start()
    partitions = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: list[Sent] = []
    while any([await consumer.position(where) < end for where, end in ends.items()]):
        for where, records in (await consumer.getmany(timeout_ms=500)).items():
            found += [Sent(where.topic, where.partition, r.key, r.value, r.headers) for r in records]
    await consumer.stop()
    return found


async def send(rig: Rig, records: Sequence[Sent]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=rig.stack.kafka_bootstrap, linger_ms=20, max_batch_size=256 * 1024)
    await producer.start()
    pending = [
        await producer.send(each.topic, each.value, key=each.key, partition=each.partition, headers=list(each.headers))
        for each in records
    ]
    for future in pending:
        await future
    await producer.stop()


def thrice_and_shuffled(records: Sequence[Sent], random: Random) -> list[Sent]:
    tripled = [each for each in records for _ in range(3)]
    random.shuffle(tripled)
    return tripled


def unreadable(records: Sequence[Sent], number: int, random: Random) -> list[Sent]:
    """Copies of KPI events, each spoiled in one of four ways that no version of the contract accepts."""
    good = [each for each in records if each.topic == KPI_EVENTS.name and _type(each) == b"plumbline.kpi.recorded.v1"]
    spoiled = []
    for index in range(number):
        each = random.choice(good)
        value, headers = each.value or b"", list(each.headers)
        match index % 4:
            case 0:
                value = b"\xff\xfe not json"
            case 1:
                value = value.replace(b'"metric"', b'"metrik"')
            case 2:
                headers = [(name, b"plumbline.kpi.unheard-of.v9" if name == "ce_type" else v) for name, v in headers]
            case _:
                value = value[: len(value) // 2]
        spoiled.append(each._replace(value=value, headers=headers))
    return spoiled


def deadly(records: Sequence[Sent], number: int, random: Random) -> list[Sent]:
    """Copies of KPI events that are well formed and still end the handler: an id longer than an index can hold."""
    good = [each for each in records if each.topic == KPI_EVENTS.name and _type(each) == b"plumbline.kpi.recorded.v1"]
    found = []
    for each in good[:: max(1, len(good) // number)][:number]:
        begun = b'"event":"' + random.randbytes(12_000).hex().encode()
        found.append(each._replace(value=(each.value or b"").replace(b'"event":"', begun)))
    return found


def _type(each: Sent) -> bytes:
    return dict(each.headers).get("ce_type", b"")
