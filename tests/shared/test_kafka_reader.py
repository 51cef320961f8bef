"""The hazards of the Kafka client, and that the reader keeps them from the loop."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import InvalidReplicationFactorError
from confluent_kafka import Consumer as ForeignConsumer
from pydantic import SecretStr

from deploy.local.kafka import KafkaBroker
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import TOPICS, Topic
from shared.messaging import kafka as ours
from shared.messaging import provision
from shared.messaging.kafka import KafkaReader, create_topics
from shared.messaging.log import LogBroken, Partition
from shared.settings import KafkaSettings
from tests.shared.ledger import SERVICE, as_sent, events, eventually

TOPIC = Topic("kpi", "ingest", "employee", (KpiRecorded,), partitions=4)
HERE = Partition(TOPIC.name, 0)


@pytest.fixture
async def settings(kafka: KafkaBroker) -> KafkaSettings:
    settings = KafkaSettings(
        kafka_bootstrap=kafka.bootstrap, kafka_topic_prefix=f"t{uuid.uuid4().hex[:10]}.", kafka_session_timeout_ms=3_000
    )
    await create_topics(settings, topics=[TOPIC])
    return settings


@asynccontextmanager
async def reading(settings: KafkaSettings, topic: Topic = TOPIC) -> AsyncIterator[KafkaReader]:
    reader = KafkaReader(settings, SERVICE, [topic.name])
    await reader.open()
    try:
        yield reader
    finally:
        await reader.close()


async def append(settings: KafkaSettings, count: int, partition: int = 0, topic: Topic = TOPIC) -> None:
    producer = ours.producer(settings)
    await producer.start()
    for sent in map(as_sent, events(count)):
        await producer.send_and_wait(
            settings.kafka_topic_prefix + topic.name, sent.value, sent.key, partition=partition
        )
    await producer.stop()


def seek(reader: KafkaReader, offset: int) -> None:
    """Everywhere: the client fetches nothing from a broker while one of its partitions has no offset."""
    for partition in reader.assigned():
        reader.seek(partition, offset if partition == HERE else 0)


async def polled(reader: KafkaReader, count: int, limit: int = 100) -> list[int]:
    found: list[int] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, f"{found} of {count}"
        found.extend(record.offset for record in (await reader.poll(limit)).get(HERE, ()))
    return found


async def test_a_new_group_reads_nothing_until_it_is_told_where(settings: KafkaSettings) -> None:
    await append(settings, 5)
    async with reading(settings) as reader:
        assert reader.sought() == frozenset()
        for count in (0, 2):
            await append(settings, count)
            for _ in range(8):  # the client meets one partition without an offset after the other
                assert await reader.poll(100) == {}
        seek(reader, 2)
        assert reader.sought() == reader.assigned()
        assert await polled(reader, 5) == [2, 3, 4, 5, 6]


async def test_after_a_seek_nothing_fetched_before_it_is_returned(settings: KafkaSettings) -> None:
    await append(settings, 20)
    async with reading(settings) as reader:
        seek(reader, 10)
        assert await polled(reader, 3, limit=3) == [10, 11, 12]
        reader.seek(HERE, 5)
        assert await polled(reader, 15) == list(range(5, 20))


async def test_a_seek_of_a_partition_that_is_somebody_elses_is_no_seek(settings: KafkaSettings) -> None:
    async with reading(settings) as reader:
        reader.seek(Partition(TOPIC.name, 77), 0)
        assert reader.sought() == frozenset()
        assert reader.high_water(Partition(TOPIC.name, 77)) == 0


async def test_one_poll_brings_full_batches_of_several_partitions(settings: KafkaSettings) -> None:
    for partition in range(TOPIC.partitions):
        await append(settings, 30, partition)
    async with reading(settings) as reader:
        seek(reader, 0)
        await asyncio.sleep(1)  # all of it is fetched
        sizes = [[len(records) for records in (await reader.poll(10)).values()] for _ in range(3)]
    assert sizes == [[10] * TOPIC.partitions] * 3


async def test_a_poll_brings_a_bounded_number_of_batches_and_several_polls_some_of_every_partition(
    settings: KafkaSettings,
) -> None:
    wide = replace(TOPIC, name="wide", partitions=16)
    await create_topics(settings, topics=[wide])
    for partition in range(wide.partitions):
        await append(settings, 40, partition, wide)
    async with reading(settings, wide) as reader:
        seek(reader, 0)
        await asyncio.sleep(1)  # all of it is fetched
        polls = [await reader.poll(2) for _ in range(wide.partitions)]
    assert [[len(records) for records in poll.values()] for poll in polls] == [[2] * 6] * wide.partitions
    assert {partition.number for poll in polls for partition in poll} == set(range(wide.partitions))


async def test_a_rebalance_voids_the_seeks_of_partitions_that_stay(settings: KafkaSettings) -> None:
    async with reading(settings) as first:
        seek(first, 0)
        assert len(first.sought()) == TOPIC.partitions
        async with reading(settings) as second:
            await eventually(lambda: holds(first, TOPIC.partitions // 2))
            assert first.sought() == frozenset()
            assert first.assigned().isdisjoint(second.assigned())


async def holds(reader: KafkaReader, count: int) -> bool:
    await reader.poll(1)
    return len(reader.assigned()) == count


class Sleeper:
    """A member of the group that joins and then answers no rebalance for as long as it may."""

    def __init__(self, settings: KafkaSettings) -> None:
        prefix = settings.kafka_topic_prefix
        self._member = ForeignConsumer(
            {
                "bootstrap.servers": settings.kafka_bootstrap,
                "group.id": prefix + SERVICE,
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 6_000,
                "max.poll.interval.ms": 30_000,
                "log_level": 0,
            }
        )
        self._member.subscribe([prefix + TOPIC.name])

    def join(self) -> None:
        while not self._member.assignment():
            self._member.poll(0.1)

    def leave(self) -> None:
        self._member.close()


async def test_a_rebalance_that_does_not_end_keeps_neither_the_loop_nor_a_stop_waiting(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(ours, "_CLOSE_SECONDS", 0.5)
    sleeper = Sleeper(settings)
    async with reading(settings) as member:
        await asyncio.to_thread(sleeper.join)
        begun = time.monotonic()
        late = KafkaReader(settings, SERVICE, [TOPIC.name])
        with pytest.raises(LogBroken, match="TimeoutError"):
            await late.open()
        await late.close()
        for _ in range(3):
            assert await member.poll(10) == {}
        assert time.monotonic() - begun < 5
        await asyncio.to_thread(sleeper.leave)
        await eventually(lambda: holds(member, TOPIC.partitions))
    await eventually(nothing_else_runs)


async def nothing_else_runs() -> bool:
    return len(asyncio.all_tasks()) == 1


async def test_topics_are_created_once_and_as_the_table_says(settings: KafkaSettings) -> None:
    assert set(await create_topics(settings)) == {settings.kafka_topic_prefix + topic.name for topic in TOPICS}
    assert await create_topics(settings) == ()
    admin = AIOKafkaAdminClient(**ours.connection(settings))
    await admin.start()
    described = await admin.describe_topics([settings.kafka_topic_prefix + topic.name for topic in TOPICS])
    await admin.close()
    partitions = {
        found["topic"].removeprefix(settings.kafka_topic_prefix): len(found["partitions"]) for found in described
    }
    assert partitions == {topic.name: topic.partitions for topic in TOPICS}


async def test_a_broker_that_refuses_a_topic_is_heard(settings: KafkaSettings) -> None:
    with pytest.raises(InvalidReplicationFactorError, match="Unable to replicate"):
        await create_topics(settings, replication=3)


def test_topics_can_be_created_from_the_command_line(kafka: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--bootstrap", kafka.bootstrap, "--topic-prefix", f"t{uuid.uuid4().hex[:10]}."]
    for missing in (len(TOPICS), 0):
        provision.main(arguments)
        assert capsys.readouterr().out == f"{missing} of {len(TOPICS)} topics were missing and are created\n"


def test_a_missing_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        provision.main([])
    assert "KAFKA_BOOTSTRAP: Field required" in capsys.readouterr().err


def test_a_password_is_sent_only_where_one_is_set() -> None:
    plain = ours.connection(KafkaSettings(kafka_bootstrap="a:1"))
    assert (plain["sasl_plain_password"], plain["ssl_context"]) == (None, None)
    secured = ours.connection(
        KafkaSettings(
            kafka_bootstrap="a:1",
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_username="u",
            kafka_password=SecretStr("p"),
        )
    )
    assert (secured["sasl_mechanism"], secured["sasl_plain_password"]) == ("SCRAM-SHA-512", "p")
    assert secured["ssl_context"] is not None
