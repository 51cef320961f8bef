"""Kafka by aiokafka: how to connect, read as a group member, and the topics a cluster must have."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, TopicAlreadyExistsError, for_code

from shared.contracts.topics import RETENTION, TOPICS, Topic
from shared.messaging.envelope import Record
from shared.messaging.log import LogBroken, Partition
from shared.settings import KafkaSettings

POLL_MS = 200
_POLL_DEADLINE_SECONDS = 15.0
_MAX_REQUEST_BYTES = 4 * 1024 * 1024


def connection(settings: KafkaSettings) -> dict[str, object]:
    """The arguments every aiokafka client takes to reach and authenticate with the cluster."""
    secure = settings.kafka_security_protocol in ("SSL", "SASL_SSL")
    password = settings.kafka_password
    return {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": ssl.create_default_context(cafile=settings.kafka_ca_file) if secure else None,
        "sasl_mechanism": settings.kafka_sasl_mechanism or "PLAIN",
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
    }


def producer(settings: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **connection(settings),
        enable_idempotence=True,
        acks="all",
        request_timeout_ms=10_000,
        max_batch_size=256 * 1024,
        max_request_size=_MAX_REQUEST_BYTES,
    )


class KafkaReader:
    """A group member whose positions come from the caller.

    Offsets committed at the broker are never where reading starts: `auto_offset_reset="none"` makes a fetch without a
    seek an error instead of a jump, and that error just means that the caller has not sought yet.
    """

    def __init__(self, settings: KafkaSettings, group: str, topics: Sequence[str]) -> None:
        self._consumer = AIOKafkaConsumer(
            *topics,
            **connection(settings),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=settings.kafka_session_timeout_ms // 4,
            max_partition_fetch_bytes=_MAX_REQUEST_BYTES,
            fetch_max_wait_ms=POLL_MS,
        )

    async def open(self) -> None:
        try:
            await self._consumer.start()
        except KafkaError as error:
            raise LogBroken(f"cannot join: {error!r}") from error

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        try:
            # During a rebalance getmany may outstay its own timeout. What it had drained when it is cut off here is
            # fetched again: the caller meets a gap and seeks.
            fetched = await asyncio.wait_for(
                self._consumer.getmany(timeout_ms=POLL_MS, max_records=limit), _POLL_DEADLINE_SECONDS
            )
        except NoOffsetForPartitionError:
            return {}
        except TimeoutError:
            return {}
        except KafkaError as error:
            raise LogBroken(f"poll failed: {error!r}") from error
        return {
            Partition(where.topic, where.partition): [
                Record(found.topic, found.partition, found.offset, found.key, found.value, found.headers)
                for found in records
            ]
            for where, records in fetched.items()
        }

    def assigned(self) -> frozenset[Partition]:
        return frozenset(Partition(where.topic, where.partition) for where in self._consumer.assignment())

    def seek(self, partition: Partition, offset: int) -> None:
        try:
            self._consumer.seek(TopicPartition(*partition), offset)
        except IllegalStateError:
            return  # revoked meanwhile: nothing of it will be polled, and its next owner seeks

    async def first_offset(self, partition: Partition) -> int:
        where = TopicPartition(*partition)
        try:
            return int((await self._consumer.beginning_offsets([where]))[where])
        except KafkaError as error:
            raise LogBroken(f"cannot read the log start: {error!r}") from error

    async def end_offset(self, partition: Partition) -> int:
        where = TopicPartition(*partition)
        try:
            return int((await self._consumer.end_offsets([where]))[where])
        except KafkaError as error:
            raise LogBroken(f"cannot read the log end: {error!r}") from error

    def high_water(self, partition: Partition) -> int:
        return int(self._consumer.highwater(TopicPartition(*partition)) or 0)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        try:
            await self._consumer.commit({TopicPartition(*where): offset for where, offset in positions.items()})
        except (KafkaError, IllegalStateError):
            return  # a lag report that nobody relies on; the next batch reports again

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._consumer.stop(), 5)
        except (KafkaError, TimeoutError):
            return  # the broker forgets a member that left without a word after the session timeout


def _new_topic(topic: Topic, prefix: str, replication: int) -> NewTopic:
    retention = {"retention.ms": str(int(RETENTION.total_seconds() * 1000))}
    return NewTopic(
        prefix + topic.name,
        num_partitions=topic.partitions,
        replication_factor=replication,
        topic_configs={"cleanup.policy": "compact"} if topic.compacted else retention,
    )


async def create_topics(
    settings: KafkaSettings, *, replication: int = 1, topics: Sequence[Topic] = TOPICS
) -> tuple[str, ...]:
    """Create what is missing and return its names; a topic that exists is left as it is."""
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        prefix = settings.kafka_topic_prefix
        missing = [_new_topic(topic, prefix, replication) for topic in topics if prefix + topic.name not in existing]
        answer = (await admin.create_topics(missing)).topic_errors if missing else []
    finally:
        await admin.close()
    created = []
    for name, code, detail in answer:
        refusal = for_code(code)
        if code == 0:
            created.append(name)
        elif refusal is not TopicAlreadyExistsError:  # which only means that another process was faster
            raise refusal(f"{name}: {detail}")
    return tuple(created)
