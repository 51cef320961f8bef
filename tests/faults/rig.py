"""A stack of its own for fault runs, worlds to load it with, and what it is made of as processes and databases."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from deploy.local import lifecycle
from deploy.local.databases import service_urls
from deploy.local.demo import command as demo
from deploy.local.demo.findings import Findings
from deploy.local.demo.world import Size
from deploy.local.layout import Stack
from deploy.local.processes import ProcessId
from deploy.local.record import read_record
from deploy.local.tokens import TokenSigner
from deploy.services import SERVICES

IsOpen = Callable[[str], Awaitable[bool]]
CHILDREN = "tests.faults.children:platform"
OFFSET = 500

OPEN_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = $1 AND datname = $2 AND xact_start IS NOT NULL AND state <> 'idle'
"""


@dataclass(frozen=True)
class Rig:
    stack: Stack
    console: Console

    def dsns(self) -> Mapping[str, str]:
        server = self.stack.postgres
        return {name: server.superuser_dsn(service_urls(server, name).name) for name in SERVICES}

    def process(self, name: str) -> ProcessId | None:
        """The running process of a child, `None` while it is down."""
        record = next((each for each in read_record(self.stack.record) if each.name == name), None)
        return record.process if record and record.process and record.process.alive() else None

    def is_ready(self, name: str) -> bool:
        return any(each.name == name and each.ready for each in read_record(self.stack.record))

    def signal(self, name: str, number: signal.Signals) -> bool:
        found = self.process(name)
        if found is None:
            return False
        os.kill(found.pid, number)
        return True

    async def until(self, what: str, holds: Callable[[], bool], within: float = 120) -> None:
        deadline = time.monotonic() + within
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {within:.0f} s for: {what}")
            await asyncio.sleep(0.1)

    async def all_ready(self) -> None:
        await self.until("all services to be ready", lambda: all(self.is_ready(name) for name in SERVICES))

    async def walk(self, size: Size, on_stage: Callable[[str], None] = lambda name: None) -> Findings:
        """The demo's whole quarter in a world of this size, through the public APIs."""
        return await demo.run(self.stack, size, Console(file=StringIO()), on_stage)

    def signer(self) -> TokenSigner:
        return TokenSigner(self.stack.state / "issuer", self.stack.url("issuer"))

    @asynccontextmanager
    async def activity(self) -> AsyncIterator[IsOpen]:
        """Asks PostgreSQL whether a service has a transaction open right now."""
        connection = await asyncpg.connect(self.stack.postgres.superuser_dsn("postgres"))

        async def is_open(service: str) -> bool:
            database = service_urls(self.stack.postgres, service).name
            return bool(await connection.fetchval(OPEN_TRANSACTIONS, f"{service}_app", database))

        try:
            yield is_open
        finally:
            await connection.close()


async def quiet(rig: Rig, within: float = 300) -> None:
    """Wait until outboxes are empty, no timer is about to run and no consumer lags, twice in a row."""
    deadline = time.monotonic() + within
    calm = 0
    while calm < 3:
        calm = calm + 1 if await _nothing_waits(rig) else 0
        if time.monotonic() > deadline:
            raise TimeoutError(f"the platform did not come to rest within {within:.0f} s")
        await asyncio.sleep(0.5)


_WAITING = """
    SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM timers WHERE due_at < now() + interval '40 seconds')
"""


async def _nothing_waits(rig: Rig) -> bool:
    for dsn in rig.dsns().values():
        connection = await asyncpg.connect(dsn)
        try:
            if await connection.fetchval(_WAITING):
                return False
        finally:
            await connection.close()
    return await lag(rig) == 0


async def lag(rig: Rig) -> int:
    """Records that stand in Kafka beyond the positions in the databases, over all services and topics."""
    behind = 0
    consumer = AIOKafkaConsumer(bootstrap_servers=rig.stack.kafka_bootstrap)
    await consumer.start()
    try:
        for dsn in rig.dsns().values():
            connection = await asyncpg.connect(dsn)
            rows = await connection.fetch("SELECT topic, partition, next_offset FROM positions")
            await connection.close()
            where = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            ends = await consumer.end_offsets(list(where)) if where else {}
            behind += sum(max(0, ends[partition] - offset) for partition, offset in where.items())
    finally:
        await consumer.stop()
    return behind


async def audit_is_whole(rig: Rig, provider: str) -> list[str]:
    """Services whose audit chain of the provider does not verify."""
    token = rig.signer().token(provider=provider, roles=["auditor"])
    broken = []
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http:
        for name in SERVICES:
            answer = (await http.get(f"{rig.stack.url(name)}/v1/audit/verification")).json()
            if answer.get("first_broken") is not None or not answer.get("entries"):
                broken.append(f"{name}: {answer}")
    return broken


@asynccontextmanager
async def running(state: Path, console: Console, offset: int = OFFSET) -> AsyncIterator[Rig]:
    """The whole platform on fresh data, stopped and deleted afterwards."""
    stack = Stack(state, offset)
    say = lambda line: console.print(f"  {line}", markup=False, style="dim")  # noqa: E731 - a name for one argument
    lifecycle.stop(stack, say)
    lifecycle.delete_state(stack)
    lifecycle.start(stack, CHILDREN, say)
    try:
        if not lifecycle.wait_until_ready(stack, 180, lambda line: None):
            raise TimeoutError("the platform did not become ready")
        yield Rig(stack, console)
    finally:
        lifecycle.stop(stack, say)
        if sys.exc_info()[0] is None:
            lifecycle.delete_state(stack)
