"""Brokers, databases and processes that stop in the middle, as they do: nothing is lost, nothing takes effect twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deploy.local.databases import DatabaseUrls, ensure_service_database
from deploy.local.kafka import KafkaBroker
from deploy.local.postgres import PostgresServer
from deploy.local.processes import port_is_taken
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.errors import is_transient
from shared.messaging import kafka, outbox
from shared.messaging.relay import Relay
from shared.settings import ServiceSettings
from tests.shared.brokers import applied
from tests.shared.ledger import SERVICE, Ledger, create_tables, events, eventually, running
from tests.shared.reading import read

TOPIC = KPI_EVENTS
PEOPLE = 6


def free_port(first: int) -> int:
    """Below the range from which systems take ports for outgoing connections; a broker takes the next one, too."""
    some = range(first + os.getpid() % 500 * 2, 30_000, 2)
    return next(port for port in some if not (port_is_taken(port) or port_is_taken(port + 1)))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path / "kafka", free_port(20_000))
    broker.start()
    yield broker
    broker.destroy()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "postgres", free_port(24_000), durable=False)
    server.start()
    yield server
    server.destroy()


@asynccontextmanager
async def relaying(settings: ServiceSettings) -> AsyncIterator[Database]:
    database = Database(settings.database_url)
    relay = Relay("ingest", settings, database.announced, lambda: kafka.producer(settings))
    stop = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(relay.run(stop))
        yield database
        stop.set()
    await database.close()


@asynccontextmanager
async def service(settings: ServiceSettings) -> AsyncIterator[Ledger]:
    """A relay, and a consumer of what it relays."""
    async with relaying(settings) as database:
        ledger = Ledger(database, KPI_EVENTS)
        reader = lambda: kafka.KafkaReader(settings, SERVICE, [KPI_EVENTS.name])  # noqa: E731
        async with running(ledger.consumer(reader, batch_size=20)):
            yield ledger


async def announce(database: Database, count: int, until: asyncio.Event) -> list[str]:
    """Announce a few events at a time until told to stop; what was committed, whatever stood in the way."""
    committed: list[str] = []
    while not until.is_set():
        some = events(count, start=len(committed), employees=PEOPLE)
        try:
            async with database.begin() as tx:
                outbox.append(tx, some)
        except (DBAPIError, asyncpg.PostgresError, OSError) as error:
            # The fate of a failed commit is unknown; an event of the same name may then be in the log twice.
            assert is_transient(error), error
        else:
            committed.extend(event.event for event in some)
        await asyncio.sleep(0.02)
    return committed


async def outbox_is_empty(database: Database) -> bool:
    async with database.begin() as tx:
        return not (await tx.execute(text("SELECT EXISTS (SELECT FROM outbox)"))).scalar_one()


async def compare(settings: ServiceSettings, ledger: Ledger, committed: list[str]) -> None:
    await eventually(lambda: outbox_is_empty(ledger.database), within=60)
    log = Counter(json.loads(record.value or b"")["event"] for record in await read(settings, TOPIC, 1))
    await eventually(lambda: applied(ledger, log.total()), within=60)
    assert set(log) >= set(committed), "an event was lost before the log"
    assert Counter(await ledger.effects()) == log, "an event was lost or repeated behind the log"


async def test_a_broker_killed_and_started_again(
    broker: KafkaBroker,
    settings_for: Callable[[DatabaseUrls], ServiceSettings],
    ledger_urls: DatabaseUrls,
    ledger_database: Database,
) -> None:
    settings = settings_for(ledger_urls).model_copy(update={"kafka_bootstrap": broker.bootstrap})
    await kafka.create_topics(settings, topics=[TOPIC])
    enough = asyncio.Event()
    async with service(settings) as ledger:
        announcing = asyncio.create_task(announce(ledger_database, 5, enough))
        await eventually(lambda: applied(ledger, 50))
        broker.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(broker.start)
        seen = len(await ledger.effects())
        await eventually(lambda: applied(ledger, seen + 50), within=60)
        enough.set()
        await compare(settings, ledger, await announcing)


async def test_a_database_that_crashes_and_recovers(
    server: PostgresServer, settings_for: Callable[[DatabaseUrls], ServiceSettings]
) -> None:
    urls = ensure_service_database(server, "scoring")
    await create_tables(urls.owner)
    settings = settings_for(urls)
    await kafka.create_topics(settings, topics=[TOPIC])
    enough = asyncio.Event()
    async with service(settings) as ledger:
        announcing = asyncio.create_task(announce(ledger.database, 5, enough))
        await eventually(lambda: applied(ledger, 50))
        await asyncio.to_thread(server.stop, "immediate")
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        seen = len(await ledger.effects())
        await eventually(lambda: applied(ledger, seen + 50), within=60)
        enough.set()
        await compare(settings, ledger, await announcing)


async def stop_in_a_transaction(process: asyncio.subprocess.Process, database: Database) -> None:
    """Stop the process where it holds locks."""
    idle = "state = 'idle in transaction' AND datname = current_database()"
    held = text(f"SELECT count(*) FROM pg_stat_activity WHERE {idle}")  # noqa: S608
    while True:
        process.send_signal(signal.SIGSTOP)
        async with database.begin() as tx:
            if (await tx.execute(held)).scalar_one():
                return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.01)


async def test_a_process_frozen_in_the_middle_of_a_batch_is_replaced_and_changes_nothing_when_it_goes_on(
    settings_for: Callable[[DatabaseUrls], ServiceSettings], ledger_urls: DatabaseUrls, ledger_database: Database
) -> None:
    settings = settings_for(ledger_urls)
    await kafka.create_topics(settings, topics=[TOPIC])
    async with relaying(settings) as database:
        async with database.begin() as tx:
            outbox.append(tx, events(200, employees=PEOPLE))
        await eventually(lambda: outbox_is_empty(database))
    command = [sys.executable, "-m", "tests.shared.worker"]
    target = [ledger_urls.app, settings.kafka_bootstrap, settings.kafka_topic_prefix]
    worker = await asyncio.create_subprocess_exec(*command, *target)
    try:
        await eventually(lambda: applied(Ledger(ledger_database, KPI_EVENTS), 20), within=30)
        await stop_in_a_transaction(worker, ledger_database)
        async with service(settings) as ledger:
            await eventually(lambda: applied(ledger, 200), within=30)
            worker.send_signal(signal.SIGCONT)
            committed = [f"k-{number}" for number in range(200)]
            for start in range(200, 400, 20):
                async with ledger.database.begin() as tx:
                    outbox.append(tx, events(20, start=start, employees=PEOPLE))
                await asyncio.sleep(0.2)
            await compare(settings, ledger, committed)
        worker.terminate()
        assert await asyncio.wait_for(worker.wait(), 20) == 0
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
