"""Kafka by aiokafka: how to connect, read as a group member, and the topics a cluster must have."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, TopicAlreadyExistsError, for_code

from shared.contracts.topics import RETENTION, TOPICS, Topic
from shared.messaging.envelope import Record
from shared.messaging.log import LogBroken, Partition
from shared.settings import KafkaSettings

_log = structlog.get_logger(__name__)

POLL_MS = 200
_PATIENCE_SECONDS = 15.0
_REPORT_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_POLLED_BATCHES = 6
"""Full batches one poll returns at most: what is polled lies in memory until it was applied."""


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


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Forgets all seeks when a rebalance begins and ends; more it may not do, for what a listener raises is swallowed.

    At the end too: a seek between the two still went to the old assignment.
    """

    def __init__(self) -> None:
        self.sought: set[Partition] = set()

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.sought.clear()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.sought.clear()


class KafkaReader:
    """A group member whose positions come from the caller. Topics are named without the cluster's prefix.

    Offsets committed at the broker are never where reading starts: `auto_offset_reset="none"` makes a fetch without a
    seek an error instead of a jump, and that error just means that the caller has not sought yet.
    """

    def __init__(self, settings: KafkaSettings, group: str, topics: Sequence[str]) -> None:
        self._prefix = settings.kafka_topic_prefix
        self._rebalances = _Rebalances()
        self._polls = 0
        self._consumer = AIOKafkaConsumer(
            **connection(settings),
            group_id=self._prefix + group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=settings.kafka_session_timeout_ms // 4,
            max_partition_fetch_bytes=_MAX_REQUEST_BYTES,
            fetch_max_wait_ms=POLL_MS,
        )
        self._consumer.subscribe([self._prefix + topic for topic in topics], listener=self._rebalances)

    def _there(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._prefix + partition.topic, partition.number)

    def _here(self, there: TopicPartition) -> Partition:
        return Partition(there.topic.removeprefix(self._prefix), there.partition)

    async def open(self) -> None:
        try:
            # Without a limit it would wait for topics and a coordinator for as long as there are none.
            await asyncio.wait_for(self._consumer.start(), _PATIENCE_SECONDS)
        except (KafkaError, TimeoutError) as error:
            raise LogBroken(f"cannot join: {error!r}") from error

    async def poll(self, limit: int) -> Mapping[Partition, Sequence[Record]]:
        fetched: dict[TopicPartition, list[ConsumerRecord]] = {}
        try:
            # During a rebalance getmany may outstay its own timeout.
            await asyncio.wait_for(self._fetch(fetched, limit), _PATIENCE_SECONDS)
        except (NoOffsetForPartitionError, TimeoutError):
            pass
        except KafkaError as error:
            raise LogBroken(f"poll failed: {error!r}") from error
        return {self._here(there): self._records(self._here(there), found) for there, found in fetched.items()}

    async def _fetch(self, fetched: dict[TopicPartition, list[ConsumerRecord]], limit: int) -> None:
        fetched |= await self._consumer.getmany(timeout_ms=POLL_MS, max_records=limit)
        if not fetched:
            return
        # getmany's limit is for all partitions together, and it empties one before it turns to the next: asked only
        # once, it would keep the others waiting, and leave nothing that could be applied beside the first.
        self._polls += 1
        others = sorted(self._consumer.assignment() - fetched.keys())
        turned = self._polls % max(1, len(others))
        for there in [*others[turned:], *others[:turned]]:
            if sum(map(len, fetched.values())) >= _POLLED_BATCHES * limit:
                return
            if there in self._consumer.assignment():
                fetched |= await self._consumer.getmany(there, timeout_ms=0, max_records=limit)

    def _records(self, here: Partition, found: Sequence[ConsumerRecord]) -> list[Record]:
        topic, number = here
        return [Record(topic, number, each.offset, each.key, each.value, each.headers) for each in found]

    def assigned(self) -> frozenset[Partition]:
        return frozenset(map(self._here, self._consumer.assignment()))

    def sought(self) -> frozenset[Partition]:
        return self.assigned() & self._rebalances.sought

    def seek(self, partition: Partition, offset: int) -> None:
        try:
            self._consumer.seek(self._there(partition), offset)
        except IllegalStateError:
            return  # revoked meanwhile: nothing of it will be polled, and its next owner seeks
        self._rebalances.sought.add(partition)

    async def first_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        try:
            found = await self._consumer.beginning_offsets([*map(self._there, partitions)])
        except KafkaError as error:
            raise LogBroken(f"cannot read where logs begin: {error!r}") from error
        return {self._here(there): offset for there, offset in found.items()}

    async def end_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        try:
            found = await self._consumer.end_offsets([*map(self._there, partitions)])
        except KafkaError as error:
            raise LogBroken(f"cannot read where logs end: {error!r}") from error
        return {self._here(there): offset for there, offset in found.items()}

    def high_water(self, partition: Partition) -> int:
        there = self._there(partition)
        return int(self._consumer.highwater(there) or 0) if there in self._consumer.assignment() else 0

    async def report(self, positions: Mapping[Partition, int]) -> None:
        offsets = {self._there(partition): offset for partition, offset in positions.items()}
        try:
            # While no coordinator can be found, commit tries forever.
            await asyncio.wait_for(self._consumer.commit(offsets), _REPORT_SECONDS)
        except (KafkaError, IllegalStateError, TimeoutError):
            return  # the next report says it again

    async def close(self) -> None:
        # Left to finish rather than cut off: half a stop leaves a heartbeat behind, and that keeps partitions which
        # nobody reads. The broker forgets a member that left without a word after the session timeout.
        closing = asyncio.create_task(self._consumer.stop())
        _CLOSING.add(closing)
        closing.add_done_callback(_closed)
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS)


_CLOSING: set[asyncio.Task[None]] = set()


def _closed(closing: asyncio.Task[None]) -> None:
    _CLOSING.discard(closing)
    if not closing.cancelled() and (error := closing.exception()):
        _log.warning("consumer.close", error=repr(error))


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
