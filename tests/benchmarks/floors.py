"""The floors: the least that any implementation has to do, in one process, with nothing around it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import asyncpg

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
