from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.kafka import KafkaBroker
from deploy.local.kafka_jars import cached_jars, listed_jars
from deploy.local.processes import LocalStackError
from tests.local.conftest import free_offset


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    made = KafkaBroker(tmp_path_factory.mktemp("kafka") / "state", free_offset() + 8092)
    made.start()
    yield made
    made.destroy()


async def publish(broker: KafkaBroker, topic: str, key: str, value: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value.encode(), key=key.encode(), headers=[("ce_id", b"event-1")])


async def values(broker: KafkaBroker, topic: str) -> list[bytes | None]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found = await consumer.getmany(partition, timeout_ms=5_000)
    return [record.value for record in found.get(partition, [])]


def read_back(broker: KafkaBroker, topic: str) -> str:
    command = broker.console_consumer(topic, max_messages=1, timeout=15)
    done = subprocess.run(command, env=broker.environment(), capture_output=True, text=True, check=True)
    return done.stdout


async def test_kafkas_own_consumer_shows_keys_and_headers(broker: KafkaBroker) -> None:
    await publish(broker, "shown", "employee-1", "the value")
    shown = read_back(broker, "shown")
    assert "employee-1" in shown
    assert "ce_id:event-1" in shown
    assert "the value" in shown


async def test_topics_are_not_made_by_asking_for_them(broker: KafkaBroker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics(["never-made"])
        assert described[0]["error_code"] == 3
        assert "never-made" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_acknowledged_events_survive_a_kill_and_a_stop(broker: KafkaBroker) -> None:
    await publish(broker, "survives", "employee-1", "acknowledged")
    broker.kill()
    assert broker.process() is None
    broker.start()
    assert await values(broker, "survives") == [b"acknowledged"]
    broker.stop()
    assert broker.process() is None
    broker.start()
    assert await values(broker, "survives") == [b"acknowledged"]


def test_starting_a_running_broker_leaves_it_alone(broker: KafkaBroker) -> None:
    before = broker.process()
    KafkaBroker(broker.state, broker.port).start()
    assert broker.process() == before


def test_a_jar_with_other_contents_is_refused_and_named(broker: KafkaBroker, tmp_path: Path) -> None:
    for jar in cached_jars():
        shutil.copy(jar, tmp_path)
    assert len(cached_jars(cache=tmp_path)) == len(listed_jars())
    changed = tmp_path / listed_jars()[0].filename
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(LocalStackError, match=changed.name):
        cached_jars(cache=tmp_path)
