"""The floors: the least that any implementation has to do, in one process, with nothing around it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import asyncpg
from aiokafka import AIOKafkaConsumer

CREATE = """
CREATE TABLE IF NOT EXISTS floor_events (
    id text PRIMARY KEY, agent text NOT NULL, metric text NOT NULL, occurred_at timestamptz NOT NULL,
    numerator numeric NOT NULL, denominator numeric NOT NULL
)
"""
# One text per row set and one statement: measured faster than arrays and than COPY, whose values the driver encodes.
INSERT = """
INSERT INTO floor_events
SELECT * FROM json_to_recordset($1::json)
    AS event (id text, agent text, metric text, occurred_at timestamptz, numerator numeric, denominator numeric)
"""
CREATE_FACTS = """
CREATE TABLE IF NOT EXISTS floor_facts (
    event text PRIMARY KEY, employee text NOT NULL, metric text NOT NULL, occurred_on date NOT NULL,
    numerator numeric NOT NULL, denominator numeric NOT NULL
)
"""
INSERT_FACTS = """
INSERT INTO floor_facts
SELECT * FROM json_to_recordset($1::json)
    AS fact (event text, employee text, metric text, occurred_on date, numerator numeric, denominator numeric)
ON CONFLICT DO NOTHING
"""


async def insert_bodies(dsn: str, payloads: Sequence[bytes], connections: int) -> float:
    """Decode every body and insert it set-based, a transaction each, over `connections`; seconds."""
    pool = [await asyncpg.connect(dsn) for _ in range(connections)]
    await pool[0].execute(CREATE)
    waiting = list(reversed(payloads))

    async def work(connection: asyncpg.Connection) -> None:
        while waiting:
            decoded = json.loads(waiting.pop())
            await connection.execute(INSERT, json.dumps(decoded))

    started = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in pool))
    seconds = time.perf_counter() - started
    for connection in pool:
        await connection.close()
    return seconds


async def consume(bootstrap: str, topic: str, dsn: str, expected: int) -> float:
    """`getmany` and a set-based insert of the same facts, from the start of the topic; seconds from first record."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("DROP TABLE IF EXISTS floor_facts")
    await connection.execute(CREATE_FACTS)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=200)
    await consumer.start()
    seen, started = 0, 0.0
    while seen < expected:
        fetched = await consumer.getmany(timeout_ms=200, max_records=1_000)
        for records in fetched.values():
            started = started or time.perf_counter()
            facts = [json.loads(record.value) for record in records]
            await connection.execute(INSERT_FACTS, json.dumps(facts))
            seen += len(records)
    seconds = time.perf_counter() - started
    await consumer.stop()
    await connection.close()
    return seconds
