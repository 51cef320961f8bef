"""From committed rows to Kafka: nothing lost, per key in the order of commits, whoever dies in between."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from deploy.local.databases import DatabaseUrls
from deploy.local.postgres import PostgresServer
from shared.contracts.event import Event
from shared.contracts.ids import CycleId, EmployeeId, MetricKey, ProviderId
from shared.contracts.kpi import IntakeSealed
from shared.contracts.topics import KPI_EVENTS, METRICS, WORKFORCE
from shared.contracts.workforce import Aggregation, Direction, EmployeeChanged, MetricDefined, MissingData
from shared.database import Database
from shared.messaging import kafka, outbox
from shared.messaging.envelope import Record, decode
from shared.messaging.outbox import partition_of
from shared.messaging.relay import Relay
from shared.settings import ServiceSettings
from tests.shared.ledger import NOON, eventually, kpi
from tests.shared.reading import by_key, read

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def settings(
    settings_for: Callable[[DatabaseUrls], ServiceSettings], ledger_urls: DatabaseUrls
) -> ServiceSettings:
    settings = settings_for(ledger_urls)
    await kafka.create_topics(settings, topics=[KPI_EVENTS, WORKFORCE, METRICS])
    return settings


class Relays:
    """Relays of one service's outbox; what each of them sent says so."""

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self.bootstrap = settings.kafka_bootstrap

    def producer(self) -> AIOKafkaProducer:
        return kafka.producer(self._settings.model_copy(update={"kafka_bootstrap": self.bootstrap}))

    def relay(self, name: str = "ingest") -> Relay:
        return Relay(name, self._settings, self._database.announced, self.producer)

    @asynccontextmanager
    async def running(self, name: str = "ingest") -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(self.relay(name).run(stop))
            yield
            stop.set()

    async def drain(self) -> None:
        async with self.running():
            await eventually(self.empty)

    async def empty(self) -> bool:
        return not await self.waiting()

    async def waits(self, count: int) -> bool:
        return await self.waiting() == count

    async def waiting(self) -> int:
        async with self._database.begin() as tx:
            return int((await tx.execute(text("SELECT coalesce(sum(events), 0) FROM outbox"))).scalar_one())


@pytest.fixture
def relays(settings: ServiceSettings, ledger_database: Database) -> Relays:
    return Relays(settings, ledger_database)


@pytest.fixture
def end_owner(ledger_urls: DatabaseUrls, postgres: PostgresServer) -> Callable[[], None]:
    """Ends the database session that holds the relay's lock, as a crash of its process would."""

    def end() -> None:
        ended = postgres.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            ledger_urls.name,
        )
        assert ended.split() == ["t"]

    return end


async def announce(database: Database, events: Sequence[Event]) -> None:
    async with database.begin() as tx:
        outbox.append(tx, events)


def bodies(records: Sequence[Record]) -> list[str]:
    return [json.loads(record.value or b"")["event"] for record in records]


def changed(employee: str, version: int) -> EmployeeChanged:
    return EmployeeChanged(
        provider=ProviderId("acme"),
        employee=EmployeeId(employee),
        version=version,
        display_name="A",
        country="PT",
        locale="pt-PT",
        assignments=(),
    )


async def test_per_key_the_log_has_the_order_of_commits(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    people = [f"e-{number}" for number in range(4)]
    async with ledger_database.begin() as tx:
        await tx.execute(text("INSERT INTO aggregates SELECT unnest(CAST(:ids AS text[])), 0"), {"ids": people})

    async def change(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(15):
            async with ledger_database.begin() as tx:
                bump = text("UPDATE aggregates SET version = version + 1 WHERE id = :id RETURNING version")
                employee = dice.choice(people)
                version = (await tx.execute(bump, {"id": employee})).scalar_one()
                outbox.append(tx, [changed(employee, version)])
                await asyncio.sleep(dice.random() / 200)

    async with relays.running():
        await asyncio.gather(*(change(seed) for seed in range(20)))
        records = await read(settings, WORKFORCE, 300)
    versions = [[json.loads(r.value or b"")["version"] for r in found] for found in by_key(records).values()]
    assert [found == list(range(1, len(found) + 1)) for found in versions] == [True] * 4
    assert sum(map(len, versions)) == 300
    assert await relays.empty()


async def test_a_row_that_becomes_visible_after_newer_ones_were_sent_is_not_lost(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    async with relays.running():
        async with ledger_database.begin() as slow:
            outbox.append(slow, [kpi("slow", "e-1")])
            await outbox.write_pending(slow)
            outbox.open_for(slow)
            await announce(ledger_database, [kpi("fast", "e-2")])
            assert bodies(await read(settings, KPI_EVENTS, 1)) == ["fast"]
        records = await read(settings, KPI_EVENTS, 2)
    assert sorted(bodies(records)) == ["fast", "slow"]


async def test_rows_wait_while_no_broker_can_be_reached_and_go_out_later(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    relays.bootstrap = "127.0.0.1:1"
    async with relays.running():
        await announce(ledger_database, [kpi(f"k-{number}") for number in range(5)])
        await asyncio.sleep(0.5)
        assert await relays.waiting() == 5
        relays.bootstrap = settings.kafka_bootstrap
        records = await read(settings, KPI_EVENTS, 5)
    assert bodies(records) == [f"k-{number}" for number in range(5)]


async def test_of_two_relays_one_owns_the_outbox_and_the_other_takes_over_when_it_dies(
    settings: ServiceSettings, relays: Relays, ledger_database: Database, end_owner: Callable[[], None]
) -> None:
    async with relays.running("first"), relays.running("second"):
        for number in range(20):
            await announce(ledger_database, [kpi(f"k-{number}")])
        records = await read(settings, KPI_EVENTS, 20)
        owners = {record.header("ce_source") for record in records}
        assert len(owners) == 1
        for number in range(20, 25):
            end_owner()
            await announce(ledger_database, [kpi(f"k-{number}")])
            records = await read(settings, KPI_EVENTS, number + 1)
    assert bodies(records) == [f"k-{number}" for number in range(25)]


async def test_a_relay_killed_between_the_ack_and_the_delete_leaves_duplicates_and_no_gap(
    settings: ServiceSettings, relays: Relays, ledger_database: Database, end_owner: Callable[[], None]
) -> None:
    await announce(ledger_database, [kpi(f"k-{number}") for number in range(3)])
    async with ledger_database.begin() as holder:
        # Whoever deletes these rows waits for this transaction.
        await holder.execute(text("SELECT 1 FROM outbox FOR UPDATE"))
        dying = asyncio.create_task(relays.relay().run(asyncio.Event()))
        await read(settings, KPI_EVENTS, 3)
        end_owner()
        dying.cancel()
        await asyncio.wait([dying])
    await relays.drain()
    records = await read(settings, KPI_EVENTS, 6)
    assert bodies(records) == ["k-0", "k-1", "k-2", "k-0", "k-1", "k-2"]
    assert len({record.header("ce_id") for record in records}) == 3


class StuckProducer:
    """Takes a batch and never comes back."""

    def __init__(self, inner: AIOKafkaProducer) -> None:
        self._inner = inner
        self.stuck = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def send_batch(self, *_: object, **__: object) -> None:
        self.stuck.set()
        await asyncio.sleep(3600)


async def test_a_relay_that_stands_still_loses_the_outbox_to_another(
    settings: ServiceSettings, relays: Relays, ledger_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.relay.FROZEN_SECONDS", 1)
    producer = StuckProducer(relays.producer())
    still = asyncio.create_task(
        Relay("still", settings, ledger_database.announced, lambda: producer).run(asyncio.Event())
    )
    await announce(ledger_database, [kpi("k-0")])
    await asyncio.wait_for(producer.stuck.wait(), 10)
    async with relays.running():
        assert bodies(await read(settings, KPI_EVENTS, 1)) == ["k-0"]
    still.cancel()
    await asyncio.wait([still])


class PartedProducer:
    """Does not reach the partitions that are `away`."""

    def __init__(self, inner: AIOKafkaProducer, away: set[int]) -> None:
        self._inner = inner
        self._away = away

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> object:
        if partition in self._away:
            raise KafkaConnectionError
        return await self._inner.send_batch(batch, topic, partition=partition)


async def test_a_partition_that_is_away_holds_up_no_other_and_has_its_order_afterwards(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    here, there = "e-1", "e-2"
    away = {partition_of(f"acme:{there}", WORKFORCE.partitions)}
    assert partition_of(f"acme:{here}", WORKFORCE.partitions) not in away
    stop = asyncio.Event()
    relay = Relay("ingest", settings, ledger_database.announced, lambda: PartedProducer(relays.producer(), away))
    running = asyncio.create_task(relay.run(stop))
    for version in range(1, 4):
        await announce(ledger_database, [changed(here, version), changed(there, version)])
    await eventually(lambda: relays.waits(3))
    away.clear()
    await eventually(relays.empty)
    stop.set()
    await asyncio.wait_for(running, 10)
    found = by_key(await read(settings, WORKFORCE, 6)).values()
    assert [[json.loads(record.value or b"")["version"] for record in records] for records in found] == [[1, 2, 3]] * 2


async def test_a_message_that_waited_when_rows_had_no_partition_goes_to_that_of_its_key(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    await announce(ledger_database, [kpi("k-1", "e-7")])
    async with ledger_database.begin() as tx:
        await tx.execute(text("UPDATE outbox SET partition = NULL"))
    await relays.drain()
    (record,) = await read(settings, KPI_EVENTS, 1)
    assert record.partition == partition_of("acme:e-7", KPI_EVENTS.partitions)


async def test_a_topic_that_lacks_a_partition_is_said_and_nothing_goes_elsewhere(
    relays: Relays, ledger_database: Database
) -> None:
    await announce(ledger_database, [kpi("k-1")])
    async with ledger_database.begin() as tx:
        await tx.execute(text("UPDATE outbox SET partition = 99"))
    with pytest.raises(RuntimeError, match="has no partition 99"):
        await asyncio.wait_for(relays.relay().run(asyncio.Event()), 20)
    assert await relays.waiting() == 1


async def test_asked_to_stop_the_relay_empties_the_outbox_first(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    await announce(ledger_database, [kpi(f"k-{number}", f"e-{number}") for number in range(5_000)])
    stop = asyncio.Event()
    relay = asyncio.create_task(relays.relay().run(stop))
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(relay, 20)
    if await relays.waiting() == 5_000:  # it was asked before it owned the outbox
        await relays.drain()
    assert await relays.waiting() == 0
    assert len(await read(settings, KPI_EVENTS, 5_000)) == 5_000


async def test_a_marker_for_one_partition_stands_behind_everything_announced_before_it(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    markers = [
        IntakeSealed(
            provider=ProviderId("acme"),
            cycle=CycleId("2025"),
            stream="kpi-events",
            target_partition=number,
            partitions=KPI_EVENTS.partitions,
            sealed_at=NOON,
        )
        for number in range(KPI_EVENTS.partitions)
    ]
    await announce(ledger_database, [kpi(f"k-{number}", f"e-{number}") for number in range(200)])
    await announce(ledger_database, markers)
    await announce(ledger_database, [kpi(f"late-{number}", f"e-{number}") for number in range(200)])
    await relays.drain()
    records = await read(settings, KPI_EVENTS, 412)
    for partition in range(KPI_EVENTS.partitions):
        here = [decode(record, KPI_EVENTS).event for record in records if record.partition == partition]
        (seal,) = [index for index, event in enumerate(here) if isinstance(event, IntakeSealed)]
        assert all(str(getattr(event, "event", "")).startswith("k-") for event in here[:seal])
        assert all(str(getattr(event, "event", "")).startswith("late-") for event in here[seal + 1 :])
        assert here[seal] == markers[partition]


async def test_a_record_is_a_cloudevent_in_binary_mode_with_the_trace_of_its_cause(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    defined = MetricDefined(
        provider=ProviderId("acme"),
        metric=MetricKey("aht"),
        version=3,
        name="Average handling time",
        owner="ops",
        source_system="acd",
        unit="s",
        direction=Direction.LOWER_IS_BETTER,
        aggregation=Aggregation.RATIO,
        precision=1,
        missing_data=MissingData.ZERO,
        minimum_volume=30,
        developmental_only=False,
    )
    await announce(ledger_database, [defined])
    async with ledger_database.begin() as tx:
        (batch,) = (await tx.execute(text("SELECT batch_id FROM outbox"))).one()
        await tx.execute(text("UPDATE outbox SET traceparent = :value"), {"value": TRACEPARENT})
    await relays.drain()
    (record,) = await read(settings, METRICS, 1)
    assert record.key == b"acme:aht"
    assert decode(record, METRICS).event == defined
    headers = {name: (value or b"").decode() for name, value in record.headers}
    announced = datetime.fromisoformat(headers.pop("ce_time"))
    assert abs((datetime.now(UTC) - announced).total_seconds()) < 60
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": f"{batch}-1",
        "ce_type": "plumbline.metrics.defined.v1",
        "ce_source": "/plumbline/ingest",
        "ce_subject": "acme:aht",
        "ce_plumblineprovider": "acme",
        "content-type": "application/json",
        "traceparent": TRACEPARENT,
    }


async def test_an_event_larger_than_a_batch_goes_out_alone(
    settings: ServiceSettings, relays: Relays, ledger_database: Database
) -> None:
    large = changed("e-1", 2).model_copy(update={"display_name": "x" * 400_000})
    await announce(ledger_database, [changed("e-1", 1), large, changed("e-1", 3)])
    await relays.drain()
    records = await read(settings, WORKFORCE, 3)
    assert [json.loads(record.value or b"")["version"] for record in records] == [1, 2, 3]


@given(st.text(min_size=1, max_size=40), st.integers(1, 64))
def test_the_partition_of_a_key_is_the_one_kafkas_clients_choose(key: str, partitions: int) -> None:
    everything = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key.encode(), everything, everything)
