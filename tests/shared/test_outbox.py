"""Events leave if and only if their transaction commits."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.ids import ProviderId
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.messaging import outbox
from tests.shared.ledger import events, kpi

ACME = ProviderId("acme")


async def waiting(database: Database) -> list[str]:
    async with database.begin() as tx:
        rows = await tx.execute(text("SELECT body::jsonb ->> 'event' AS event FROM outbox ORDER BY id"))
        return [row.event for row in rows]


async def test_events_are_written_in_the_order_in_which_they_were_appended(
    ledger_database: Database,
) -> None:
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, events(3))
        outbox.append(tx, events(3, start=3))
    assert await waiting(ledger_database) == [f"k-{number}" for number in range(6)]


async def test_a_row_says_everything_the_relay_needs(ledger_database: Database) -> None:
    event = kpi("k-1", "e-7")
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, [event])
    async with ledger_database.begin() as tx:
        (row,) = await tx.execute(text("SELECT * FROM outbox"))
    assert (row.topic, row.key, row.partition) == (KPI_EVENTS.name, "acme:e-7", None)
    assert (row.event_type, row.provider_id, row.body) == (event.TYPE, "acme", event.model_dump_json())


async def test_an_event_outside_a_unit_of_work_is_refused_at_once(ledger_database: Database) -> None:
    async with AsyncConnection(ledger_database.engine) as stray, stray.begin():
        with pytest.raises(RuntimeError, match=r"Database\.begin"):
            outbox.append(stray, events(1))


async def test_an_event_after_the_unit_of_work_is_refused_at_once(ledger_database: Database) -> None:
    async with ledger_database.begin() as tx:
        pass
    with pytest.raises(ResourceClosedError):
        outbox.append(tx, events(1))


async def test_an_event_in_a_transaction_that_nobody_would_write_it_in_is_refused(ledger_database: Database) -> None:
    async with ledger_database.engine.begin() as tx:
        with pytest.raises(RuntimeError, match=r"Database\.begin"):
            outbox.append(tx, events(1))


async def test_what_is_undone_announces_nothing(ledger_database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with ledger_database.begin() as tx:
            outbox.append(tx, events(1))
            _ = 1 / 0
    assert await waiting(ledger_database) == []
    assert not ledger_database.announced.is_set()


async def test_a_commit_that_fails_announces_nothing(ledger_database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with ledger_database.begin() as tx:
            await tx.execute(text("INSERT INTO promises VALUES ('nobody')"))
            outbox.append(tx, events(1))
    assert await waiting(ledger_database) == []
    assert not ledger_database.announced.is_set()


async def test_a_transaction_without_events_leaves_the_relay_asleep(ledger_database: Database) -> None:
    async with ledger_database.begin():
        pass
    assert not ledger_database.announced.is_set()


async def test_whoever_waits_for_announcements_wakes_only_when_the_rows_can_be_seen(ledger_database: Database) -> None:
    async def relay() -> tuple[float, list[str]]:
        await ledger_database.announced.wait()
        return time.monotonic(), await waiting(ledger_database)

    sleeping = asyncio.create_task(relay())
    async with ledger_database.begin() as tx:
        outbox.append(tx, events(1))
        await asyncio.sleep(0.05)
        assert not sleeping.done()
    committed = time.monotonic()
    woken, seen = await asyncio.wait_for(sleeping, 1)
    assert seen == ["k-0"]
    assert woken - committed < 0.05
