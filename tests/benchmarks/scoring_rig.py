"""Twenty thousand people known to scoring, and KPI events for them put straight into Kafka."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.contracts.event import Event
from shared.contracts.ids import ClientId, EmployeeId, KpiEventId, LineOfBusiness, MetricKey, ProviderId, UnitId
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import KPI_EVENTS, topic_of
from shared.contracts.workforce import (
    Aggregation,
    Assignment,
    Direction,
    EmployeeChanged,
    MetricDefined,
    MissingData,
)
from shared.messaging.envelope import headers_of
from tests.benchmarks.load import METRIC, START
from tests.benchmarks.rig import PROVIDER, Rig

CYCLE = "2026-q2"
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def metric() -> MetricDefined:
    return MetricDefined(
        provider=ProviderId(PROVIDER),
        metric=MetricKey(METRIC),
        version=1,
        name="Average handle time",
        owner="wfm",
        source_system="acd",
        unit="seconds",
        direction=Direction.LOWER_IS_BETTER,
        aggregation=Aggregation.RATIO,
        precision=1,
        missing_data=MissingData.EXCLUDE_AND_REWEIGHT,
        minimum_volume=Decimal(0),
        developmental_only=False,
    )


def people(number: int) -> list[EmployeeChanged]:
    place = {"role": "agent", "grade": "G1", "manager": None, "site": "manila", "time_zone": "Asia/Manila"}
    return [
        EmployeeChanged(
            provider=ProviderId(PROVIDER),
            employee=EmployeeId(f"p-{n:05d}"),
            version=1,
            display_name=f"Agent {n}",
            country="PH",
            locale="en-PH",
            assignments=(
                Assignment(
                    valid_from=date(2026, 1, 1),
                    valid_to=None,
                    unit=UnitId(f"team-{n % 500}"),
                    client=ClientId("c1"),
                    line_of_business=LineOfBusiness("care"),
                    **place,
                ),
            ),
        )
        for n in range(number)
    ]


def facts(number: int, persons: int, salt: str) -> list[KpiRecorded]:
    random = Random(salt)
    found = []
    for n in range(number):
        at = START + timedelta(minutes=random.randrange(80 * 24 * 60))
        found.append(
            KpiRecorded(
                provider=ProviderId(PROVIDER),
                event=KpiEventId(f"acd/{salt}-{n}"),
                employee=EmployeeId(f"p-{random.randrange(persons):05d}"),
                metric=MetricKey(METRIC),
                occurred_at=at,
                occurred_on=at.date(),
                numerator=Decimal(random.randrange(5_000, 20_000)),
                denominator=Decimal(random.randrange(20, 60)),
                recorded_at=NOW,
            )
        )
    return found


async def produce(rig: Rig, events: Iterable[Event]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=rig.stack.kafka_bootstrap, linger_ms=50, max_batch_size=512 * 1024, max_request_size=4 << 20
    )
    await producer.start()
    pending = []
    for event in events:
        headers = headers_of(
            event_id=str(uuid.uuid4()),
            event_type=event.TYPE,
            time=NOW,
            source="ingest",
            provider=event.provider,
            key=event.key(),
            traceparent=None,
        )
        value = event.model_dump_json().encode()
        name = rig.topic_prefix + topic_of(event).name
        pending.append(await producer.send(name, value, key=event.key().encode(), headers=headers))
    for future in pending:
        await future
    await producer.stop()


async def ends(rig: Rig) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=rig.stack.kafka_bootstrap)
    await consumer.start()
    where = [TopicPartition(rig.topic_prefix + KPI_EVENTS.name, number) for number in range(KPI_EVENTS.partitions)]
    found = dict(await consumer.end_offsets(where))
    await consumer.stop()
    return found


_APPLIED = "SELECT coalesce(sum(next_offset), 0) FROM positions WHERE topic = $1"
_DUE = "SELECT count(*) FROM timers WHERE kind = 'rescore'"


async def applied(connection: asyncpg.Connection, topic: str = KPI_EVENTS.name) -> int:
    return int(await connection.fetchval(_APPLIED, topic))


async def scored(connection: asyncpg.Connection) -> bool:
    return not await connection.fetchval(_DUE)


def open_cycle(rig: Rig) -> None:
    """A template of one part for agents, published, and an open cycle."""
    admin = rig.token("hr_admin")
    curve = {"points": [["600", "50"], ["360", "100"], ["200", "150"]], "shape": "linear"}
    part = {"part": "aht", "kind": "metric", "metric": METRIC, "weight": "100", "curve": curve}
    bands = [
        {"band": "low", "cut_score": "0"},
        {"band": "good", "cut_score": "80"},
        {"band": "top", "cut_score": "110"},
    ]
    cycle = {"cycle": CYCLE, "name": "Q2", "starts_on": "2026-04-01", "ends_on": "2026-06-30", "bands": bands}
    selector = {"role": "agent", "client": None, "line_of_business": None}
    template = {"template": "agent", "name": "Agent", "selector": selector}
    version = {"effective_from": "2026-01-01", "parts": [part]}
    calls: Sequence[tuple[str, object]] = (
        ("/templates", template),
        ("/templates/agent/versions", version),
        ("/templates/agent/versions/1/publish", None),
        ("/cycles", cycle),
    )
    with httpx.Client(base_url=rig.stack.url("scoring") + "/v1", timeout=60, headers=admin) as http:
        for path, body in calls:
            answer = http.post(path, json=body, headers={"idempotency-key": str(time.monotonic_ns())})
            if answer.status_code >= 300:
                raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text}")
