"""Kafka held to the suite."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.databases import DatabaseUrls
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import Topic
from shared.messaging.kafka import KafkaReader, connection, create_topics
from shared.settings import ServiceSettings
from tests.shared.broker_suite import BrokerSuite
from tests.shared.fates_suite import FatesSuite
from tests.shared.ledger import SERVICE, Sent


class OnKafka:
    """The suite's view of the broker, by clients of its own."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._names = itertools.count()
        self._producer = AIOKafkaProducer(**connection(settings))

    async def __aenter__(self) -> OnKafka:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    def there(self, topic: Topic, partition: int = 0) -> TopicPartition:
        return TopicPartition(self.settings.kafka_topic_prefix + topic.name, partition)

    def topic(self, partitions: int) -> Topic:
        return Topic(f"kpi-{next(self._names)}", "ingest", "employee", (KpiRecorded,), partitions=partitions)

    async def create(self, topic: Topic) -> None:
        await create_topics(self.settings, topics=[topic])

    async def append(self, topic: Topic, records: Sequence[Sent], partition: int = 0) -> None:
        name = self.there(topic).topic
        sent = [
            await self._producer.send(name, record.value, record.key, partition=partition, headers=record.headers)
            for record in records
        ]
        for acknowledged in sent:
            await acknowledged

    async def append_and_skip(self, topic: Topic, records: Sequence[Sent]) -> None:
        producer = AIOKafkaProducer(
            **connection(self.settings), transactional_id=self.settings.kafka_topic_prefix + topic.name
        )
        await producer.start()
        async with producer.transaction():  # its end takes an offset
            for record in records:
                name = self.there(topic).topic
                await producer.send(name, record.value, record.key, partition=0, headers=record.headers)
        await producer.stop()

    async def cut(self, topic: Topic, first: int) -> None:
        admin = AIOKafkaAdminClient(**connection(self.settings))
        await admin.start()
        await admin.delete_records({self.there(topic): RecordsToDelete(first)})
        await admin.close()

    async def commit(self, topic: Topic, offset: int) -> None:
        group = self.settings.kafka_topic_prefix + SERVICE
        member = AIOKafkaConsumer(**connection(self.settings), group_id=group, enable_auto_commit=False)
        member.assign([self.there(topic)])
        await member.start()
        await member.commit({self.there(topic): offset})
        await member.stop()

    async def rebalance(self, topic: Topic) -> None:
        passing = self.reader(topic)
        await passing.open()
        await passing.close()

    def reader(self, topic: Topic) -> KafkaReader:
        return KafkaReader(self.settings, SERVICE, [topic.name])


@pytest.fixture
async def broker(
    settings_for: Callable[[DatabaseUrls], ServiceSettings], ledger_urls: DatabaseUrls
) -> AsyncIterator[OnKafka]:
    async with OnKafka(settings_for(ledger_urls)) as broker:
        yield broker


class TestOnKafka(BrokerSuite, FatesSuite):
    pass
