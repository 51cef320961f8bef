"""What must be true after every fault run, whatever was done to the platform."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import BaseModel

from deploy.local.demo.findings import Findings
from deploy.verify.verification import verify
from shared.contracts.topics import EVENT_TYPES, TOPICS
from tests.faults.rig import Rig, audit_is_whole, quiet

DEAD = "SELECT code, count(*) AS number FROM dead_letters WHERE state = 'parked' GROUP BY code"


async def check(rig: Rig, findings: Mapping[str, Findings], dead: Mapping[str, int] | None = None) -> list[str]:
    """What is wrong, nothing when all holds. `dead` is how many letters of each code there must be, no others."""
    await rig.all_ready()
    await quiet(rig)
    wrong = [
        f"{provider}: {each.part}, {each.what}: found {each.found}, expected {each.expected}"
        for provider, found in findings.items()
        for each in found.checks
        if not each.holds
    ]
    report = await verify(rig.dsns())
    wrong += [f"verify: {difference}" for difference in report.differences[:5]]
    wrong += [f"still on its way: {kind}: {number}" for kind, number in report.waiting.items()]
    wrong += await _dead_letters(rig, dead or {})
    for provider in findings:
        wrong += [f"audit chain: {each}" for each in await audit_is_whole(rig, provider)]
    wrong += await steps_back(rig)
    return wrong


async def _dead_letters(rig: Rig, expected: Mapping[str, int]) -> list[str]:
    found: dict[str, int] = defaultdict(int)
    for dsn in rig.dsns().values():
        connection = await asyncpg.connect(dsn)
        for row in await connection.fetch(DEAD):
            found[row["code"]] += row["number"]
        await connection.close()
    return [] if dict(found) == dict(expected) else [f"dead letters: found {dict(found)}, expected {dict(expected)}"]


async def steps_back(rig: Rig) -> list[str]:
    """Aggregates whose version falls from one event to the next, first deliveries only: a resend repeats older ones."""
    consumer = AIOKafkaConsumer(bootstrap_servers=rig.stack.kafka_bootstrap)
    await consumer.start()
    wrong: list[str] = []
    try:
        for topic in TOPICS:
            if not any("version" in event.model_fields for event in topic.events):
                continue
            for number in range(topic.partitions):
                wrong += [event async for event in _falling(consumer, TopicPartition(topic.name, number))]
    finally:
        await consumer.stop()
    return wrong


async def _falling(consumer: AIOKafkaConsumer, partition: TopicPartition) -> AsyncIterator[str]:
    consumer.assign([partition])
    end = (await consumer.end_offsets([partition]))[partition]
    await consumer.seek_to_beginning(partition)
    seen: set[str] = set()
    newest: dict[tuple[str, ...], int] = {}
    while await consumer.position(partition) < end:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                headers = dict(record.headers)
                model = EVENT_TYPES.get(headers.get("ce_type", b"").decode())
                event_id = headers.get("ce_id", b"").decode()
                if model is None or event_id in seen or "version" not in model.model_fields:
                    continue
                seen.add(event_id)
                key, version = _aggregate(model.model_validate_json(record.value))
                if version < newest.get(key, 0):
                    yield f"{partition.topic}: {'/'.join(key)} falls from {newest[key]} to {version}"
                newest[key] = version


def _aggregate(event: BaseModel) -> tuple[tuple[str, ...], int]:
    names = ("provider", "employee", "metric", "cycle", "plan", "run")
    key = tuple(str(getattr(event, name)) for name in names if hasattr(event, name))
    return key, int(event.version)  # type: ignore[attr-defined]
