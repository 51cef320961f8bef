"""What Kafka and its client do on a bad day, and that the consumer loop gets over it.

What a healthy broker cannot be made to answer is answered by the mock cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

import pytest
from aiokafka.errors import (
    IllegalGenerationError,
    InvalidRequestError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)

from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import Topic
from shared.database import Database
from shared.messaging import kafka
from shared.messaging.kafka import KafkaReader
from shared.messaging.log import LogBroken
from shared.settings import KafkaSettings
from tests.mock_cluster import FETCH, HEARTBEAT, OFFSET_COMMIT, MockCluster
from tests.shared.brokers import applied
from tests.shared.ledger import SERVICE, Ledger, as_sent, events, eventually, running

TOPIC = Topic("kpi", "ingest", "employee", (KpiRecorded,), partitions=1)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(brokers=2) as cluster:
        cluster.create(TOPIC.name, TOPIC.partitions)
        cluster.move_leader(TOPIC.name, 0, 1)
        cluster.move_coordinator(SERVICE, 2)
        yield cluster


@pytest.fixture
def ledger(ledger_database: Database) -> Ledger:
    return Ledger(ledger_database, TOPIC)


class OnMockCluster:
    """Appends and reads, like the services do."""

    def __init__(self, cluster: MockCluster) -> None:
        self._settings = KafkaSettings(kafka_bootstrap=cluster.bootstrap, kafka_session_timeout_ms=1_000)
        self._producer = kafka.producer(self._settings)
        self.readers = 0

    async def __aenter__(self) -> OnMockCluster:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def append(self, found: Sequence[KpiRecorded]) -> None:
        for sent in map(as_sent, found):
            await self._producer.send_and_wait(TOPIC.name, sent.value, sent.key, headers=list(sent.headers))

    def reader(self) -> KafkaReader:
        self.readers += 1
        return KafkaReader(self._settings, SERVICE, [TOPIC.name])


@pytest.fixture
async def log(cluster: MockCluster) -> AsyncIterator[OnMockCluster]:
    async with OnMockCluster(cluster) as log:
        yield log


@pytest.mark.parametrize(
    "error", [InvalidRequestError, UnknownMemberIdError, IllegalGenerationError, NotCoordinatorForGroupError]
)
async def test_no_answer_to_a_heartbeat_ends_reading_for_good(
    cluster: MockCluster, log: OnMockCluster, ledger: Ledger, error: type[InvalidRequestError]
) -> None:
    await log.append(events(3))
    async with running(ledger.consumer(log.reader)):
        await eventually(lambda: applied(ledger, 3))
        cluster.refuse_next(HEARTBEAT, error.errno)
        await asyncio.sleep(0.6)
        await log.append(events(3, start=3))
        await eventually(lambda: applied(ledger, 6), within=10)
    assert await ledger.effects() == [f"k-{number}" for number in range(6)]
    assert log.readers == (2 if error is InvalidRequestError else 1)


async def test_an_answer_to_a_fetch_that_the_client_gives_up_on_leads_to_a_new_reader(
    cluster: MockCluster, log: OnMockCluster, ledger: Ledger
) -> None:
    await log.append(events(3))
    async with running(ledger.consumer(log.reader)):
        await eventually(lambda: applied(ledger, 3))
        cluster.refuse_next(FETCH, TopicAuthorizationFailedError.errno)
        await log.append(events(3, start=3))
        await eventually(lambda: applied(ledger, 6), within=10)
    assert await ledger.effects() == [f"k-{number}" for number in range(6)]
    assert log.readers == 2


async def test_a_refused_lag_report_changes_nothing(cluster: MockCluster, log: OnMockCluster, ledger: Ledger) -> None:
    cluster.refuse_next(OFFSET_COMMIT, UnknownTopicOrPartitionError.errno, InvalidRequestError.errno)
    async with running(ledger.consumer(log.reader)):
        for start in range(4):
            await log.append(events(1, start=start))
            await eventually(partial(applied, ledger, start + 1))
    assert await ledger.effects() == [f"k-{number}" for number in range(4)]


async def test_reading_goes_on_while_no_coordinator_can_be_found(
    cluster: MockCluster, log: OnMockCluster, ledger: Ledger
) -> None:
    async with running(ledger.consumer(log.reader)):
        await log.append(events(1))
        await eventually(lambda: applied(ledger, 1))
        cluster.down(2)
        for start in range(1, 4):
            await log.append(events(1, start=start))
            await eventually(partial(applied, ledger, start + 1), within=5)
        cluster.up(2)
    assert await ledger.effects() == [f"k-{number}" for number in range(4)]


async def test_a_broker_that_goes_and_comes_back_costs_no_record_and_repeats_none(
    cluster: MockCluster, log: OnMockCluster, ledger: Ledger
) -> None:
    async with running(ledger.consumer(log.reader)):
        await log.append(events(3))
        await eventually(lambda: applied(ledger, 3))
        cluster.down(1)
        cluster.down(2)
        await asyncio.sleep(1.5)
        cluster.up(1)
        cluster.up(2)
        await log.append(events(3, start=3))
        await eventually(lambda: applied(ledger, 6), within=60)
    assert await ledger.effects() == [f"k-{number}" for number in range(6)]


async def test_a_broker_that_cannot_be_reached_is_a_broken_log_and_leaves_nothing_open() -> None:
    reader = KafkaReader(KafkaSettings(kafka_bootstrap="127.0.0.1:1"), SERVICE, [TOPIC.name])
    with pytest.raises(LogBroken, match="cannot join"):
        await reader.open()
    await reader.close()
