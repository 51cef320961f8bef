"""Any schedule of deaths, rebalances and lost answers ends like an undisturbed run; one schedule also on Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.databases import DatabaseUrls
from shared.contracts.topics import KPI_EVENTS
from shared.messaging import kafka
from shared.messaging.log import LogReader
from shared.settings import ServiceSettings
from tests.shared.disturbances import EMPLOYEES, Sending, new_world
from tests.shared.ledger import SERVICE
from tests.shared.schedules import PARTITIONS, run_schedules


class OnKafka:
    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def producer(self) -> AIOKafkaProducer:
        return kafka.producer(self._settings)

    def reader(self) -> LogReader:
        return kafka.KafkaReader(self._settings, SERVICE, [KPI_EVENTS.name])

    def expelled_reader(self) -> LogReader:
        return kafka.KafkaReader(self._settings, f"{SERVICE}-{uuid.uuid4()}", [KPI_EVENTS.name])

    async def rebalance(self) -> None:
        passing = self.reader()
        await passing.open()
        await passing.close()

    async def mislead(self) -> None:
        group = self._settings.kafka_topic_prefix + SERVICE
        member = AIOKafkaConsumer(**kafka.connection(self._settings), group_id=group, enable_auto_commit=False)
        topic = self._settings.kafka_topic_prefix + KPI_EVENTS.name
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        member.assign(partitions)
        await member.start()
        await member.commit(await member.end_offsets(partitions))
        await member.stop()


def test_any_schedule_ends_like_an_undisturbed_run(ledger_urls: DatabaseUrls) -> None:
    run_schedules(ledger_urls.app, count=12)


async def test_one_schedule_on_kafka(
    settings_for: Callable[[DatabaseUrls], ServiceSettings], ledger_urls: DatabaseUrls
) -> None:
    settings = settings_for(ledger_urls)
    await kafka.create_topics(settings, topics=[KPI_EVENTS])
    log = OnKafka(settings)
    world = await new_world(log, settings)
    for employee in range(EMPLOYEES):
        await world.announce(employee, 3, commits=employee != 2)
    await world.relay(Sending.UNANSWERED)
    await world.freeze(1, passes=1)
    await world.consume(2, borders=9)
    await world.announce(0, 4, commits=True)
    await world.relay(Sending.UNSENT)
    await world.relay(Sending.UNANSWERED)
    await log.mislead()
    await world.consume(3, borders=12, rebalances=True)
    await world.thaw()
    await world.announce(2, 2, commits=True)
    await world.relay(Sending.ANSWERED)
    await world.consume(1, borders=14)
    await world.end()
    await world.database.close()
