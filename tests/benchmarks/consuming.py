"""From Kafka to scored state, against a floor that only inserts and a peer that works message by message."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import asyncpg
from aiokafka import AIOKafkaConsumer
from sqlalchemy import Date, Numeric, Text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.contracts.topics import METRICS, WORKFORCE
from tests.benchmarks.floors import CREATE_FACTS, INSERT_FACTS
from tests.benchmarks.report import Measure, Pair, paired
from tests.benchmarks.rig import Rig
from tests.benchmarks.scoring_rig import applied, ends, facts, metric, open_cycle, people, produce, scored

PEOPLE = 20_000
EVENTS = 200_000
PLAIN_EVENTS = 1_500
PAIRS = 5


class Base(DeclarativeBase):
    pass


class PlainFact(Base):
    __tablename__ = "plain_facts"

    event: Mapped[str] = mapped_column(Text, primary_key=True)
    employee: Mapped[str] = mapped_column(Text)
    metric: Mapped[str] = mapped_column(Text)
    occurred_on: Mapped[date] = mapped_column(Date)
    numerator: Mapped[Decimal] = mapped_column(Numeric)
    denominator: Mapped[Decimal] = mapped_column(Numeric)


class Rounds:
    """Facts of a round are produced once; ours scores them, the others read the same records again."""

    def __init__(self, rig: Rig, dsn: str, scratch: str) -> None:
        self.rig, self.dsn, self.scratch = rig, dsn, scratch
        self.versions: list[float] = []
        self._from: dict[str, dict[object, int]] = {}

    def _start(self, salt: str) -> dict[object, int]:
        """Where the round's records begin, producing them when the other side has not yet."""
        name = salt.rpartition("-")[0]
        if name not in self._from:
            self._from[name] = dict(asyncio.run(ends(self.rig)))
            asyncio.run(produce(self.rig, facts(EVENTS, PEOPLE, name)))
        return self._from[name]

    def ours(self, salt: str) -> float:
        begins = sum(self._start(salt).values())
        with self.rig.service("scoring", otlp_endpoint=""):
            return asyncio.run(self._watched(begins))

    async def _watched(self, begins: int) -> float:
        connection = await asyncpg.connect(self.dsn)
        count = "SELECT count(*) FROM scorecard_versions"
        before = await connection.fetchval(count)
        while await applied(connection) <= begins:
            await asyncio.sleep(0.02)
        started = time.perf_counter()
        while await applied(connection) < begins + EVENTS or not await scored(connection):
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - started
        self.versions.append((await connection.fetchval(count) - before) / EVENTS * 1_000)
        await connection.close()
        return EVENTS / seconds

    def floor(self, salt: str) -> float:
        return asyncio.run(self._inserted(self._start(salt)))

    async def _inserted(self, begins: dict[object, int]) -> float:
        connection = await asyncpg.connect(self.scratch)
        await connection.execute(CREATE_FACTS)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.rig.stack.kafka_bootstrap)
        await _at(consumer, begins)
        seen, started = 0, time.perf_counter()
        while seen < EVENTS:
            for records in (await consumer.getmany(timeout_ms=200, max_records=1_000)).values():
                found = [json.loads(record.value) for record in records]
                await connection.execute(INSERT_FACTS, json.dumps(found))
                seen += len(records)
        seconds = time.perf_counter() - started
        await consumer.stop()
        await connection.close()
        return EVENTS / seconds

    def plain(self, salt: str) -> float:
        return asyncio.run(self._one_by_one(self._start(salt)))

    async def _one_by_one(self, begins: dict[object, int]) -> float:
        engine = create_async_engine(self.scratch.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as setup:
            await setup.run_sync(Base.metadata.drop_all)
            await setup.run_sync(Base.metadata.create_all)
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.rig.stack.kafka_bootstrap)
        await _at(consumer, begins)
        started = time.perf_counter()
        for _ in range(PLAIN_EVENTS):
            body = json.loads((await consumer.getone()).value)
            async with sessions() as session:
                values = {name: body[name] for name in ("event", "employee", "metric")}
                session.add(
                    PlainFact(
                        **values,
                        occurred_on=date.fromisoformat(body["occurred_on"]),
                        numerator=Decimal(body["numerator"]),
                        denominator=Decimal(body["denominator"]),
                    )
                )
                await session.commit()
        seconds = time.perf_counter() - started
        await consumer.stop()
        await engine.dispose()
        return PLAIN_EVENTS / seconds


async def _at(consumer: AIOKafkaConsumer, begins: dict[object, int]) -> None:
    await consumer.start()
    consumer.assign(list(begins))
    for partition, offset in begins.items():
        consumer.seek(partition, offset)


def measure(rig: Rig) -> Iterator[Measure]:
    dsn, scratch = rig.database("scoring"), rig.scratch()
    asyncio.run(produce(rig, [metric(), *people(PEOPLE)]))
    with rig.service("scoring", otlp_endpoint=""):
        asyncio.run(_known(dsn))
        open_cycle(rig)
        asyncio.run(_rested(dsn))
    rounds = Rounds(rig, dsn, scratch)
    found = paired(
        "Kafka to scored / floor", "events/s", Pair(rounds.ours, rounds.floor), PAIRS, lambda: None, at_least=0.3
    )
    yield found
    per_thousand = sum(rounds.versions) / len(rounds.versions)
    yield Measure("scorecard versions per 1,000 events", "versions", per_thousand, at_most=1_000)
    pair = Pair(rounds.ours, rounds.plain)
    yield paired("Kafka to scored / one message at a time", "events/s", pair, PAIRS, lambda: None, at_least=10)


async def _known(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    while await applied(connection, WORKFORCE.name) < PEOPLE or await applied(connection, METRICS.name) < 1:
        await asyncio.sleep(0.2)
    await connection.close()


async def _rested(dsn: str) -> None:
    """Until the cards that a new cycle brings are made and announced."""
    connection = await asyncpg.connect(dsn)
    calm = 0
    while calm < 10:
        busy = await connection.fetchval("SELECT (SELECT count(*) FROM timers) + (SELECT count(*) FROM outbox)")
        calm = 0 if busy else calm + 1
        await asyncio.sleep(0.2)
    await connection.close()
