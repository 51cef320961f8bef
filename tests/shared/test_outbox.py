"""Events leave if and only if their transaction commits."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.databases import drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from shared import telemetry
from shared.contracts.ids import EmployeeId, ProviderId
from shared.contracts.topics import KPI_EVENTS, WORKFORCE
from shared.contracts.workforce import EmployeeChanged
from shared.database import Database
from shared.errors import RuleViolation
from shared.messaging import outbox
from shared.messaging.schema import MACHINERY_0001, MACHINERY_0002, MACHINERY_0003, statements
from tests.shared.ledger import events, kpi

ACME = ProviderId("acme")


def person(employee: str) -> EmployeeChanged:
    return EmployeeChanged(
        provider=ACME,
        employee=EmployeeId(employee),
        version=1,
        display_name="A",
        country="PT",
        locale="pt-PT",
        assignments=(),
    )


async def waiting(database: Database) -> list[str]:
    async with database.begin() as tx:
        rows = await tx.scalars(text("SELECT messages FROM outbox ORDER BY id"))
        return [json.loads(message.body)["event"] for row in rows for message in outbox.unpacked(row)]


async def test_events_are_written_in_the_order_in_which_they_were_appended(
    ledger_database: Database,
) -> None:
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, events(3))
        outbox.append(tx, events(3, start=3))
    assert await waiting(ledger_database) == [f"k-{number}" for number in range(6)]


async def rows(database: Database) -> list[tuple[str, int, str, list[str]]]:
    async with database.begin() as tx:
        found = (await tx.execute(text("SELECT * FROM outbox ORDER BY id"))).all()
    assert [row.events for row in found] == [len(outbox.unpacked(row.messages)) for row in found]
    return [
        (row.topic, row.partition, row.provider_id, [message.key for message in outbox.unpacked(row.messages)])
        for row in found
    ]


async def test_a_message_says_everything_the_relay_needs(ledger_database: Database) -> None:
    event = kpi("k-1", "e-7")
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, [event])
    async with ledger_database.begin() as tx:
        messages = await tx.scalar(text("SELECT messages FROM outbox"))
    assert outbox.unpacked(messages) == [("acme:e-7", event.TYPE, event.model_dump_json())]


async def test_what_a_transaction_says_in_one_partition_is_one_row(ledger_database: Database) -> None:
    here, there = (outbox.partition_of(f"acme:{each}", 12) for each in ("e-1", "e-2"))
    assert here != there
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, [kpi("k-1", "e-1"), person("e-1"), kpi("k-2", "e-2")])
        outbox.append(tx, [kpi("k-3", "e-1")])
    assert await rows(ledger_database) == [
        (KPI_EVENTS.name, here, "acme", ["acme:e-1", "acme:e-1"]),
        (WORKFORCE.name, here, "acme", ["acme:e-1"]),
        (KPI_EVENTS.name, there, "acme", ["acme:e-2"]),
    ]


@pytest.mark.usefixtures("spans")
async def test_an_event_does_not_overtake_that_of_another_row_in_its_partition(ledger_database: Database) -> None:
    async with ledger_database.begin() as tx:
        with telemetry.span("outer", SpanKind.SERVER, {}):
            outbox.append(tx, [kpi("k-1")])
            with telemetry.span("inner", SpanKind.INTERNAL, {}):
                outbox.append(tx, [kpi("k-2")])
            outbox.append(tx, [kpi("k-3")])
    assert len(await rows(ledger_database)) == 3
    assert await waiting(ledger_database) == ["k-1", "k-2", "k-3"]


async def test_a_row_has_a_bounded_number_of_messages(ledger_database: Database) -> None:
    async with ledger_database.begin(ACME) as tx:
        outbox.append(tx, events(2 * outbox.MOST_MESSAGES + 1))
    assert [len(row[3]) for row in await rows(ledger_database)] == [outbox.MOST_MESSAGES, outbox.MOST_MESSAGES, 1]
    assert await waiting(ledger_database) == [f"k-{number}" for number in range(2 * outbox.MOST_MESSAGES + 1)]


async def test_a_key_that_contains_a_separator_is_refused_and_not_misread(ledger_database: Database) -> None:
    for separator in "\x1e\x1f":
        with pytest.raises(RuleViolation, match="control character"):
            async with ledger_database.begin(ACME) as tx:
                outbox.append(tx, [kpi("k-1", f"e{separator}7")])
    assert await waiting(ledger_database) == []


@given(st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\x1e\x1f", codec="utf-8"))] * 3), min_size=1))
def test_what_is_packed_is_what_is_unpacked(found: list[tuple[str, str, str]]) -> None:
    messages = [outbox.Message(*each) for each in found]
    assert outbox.unpacked(outbox.packed(messages)) == messages


@given(st.text())
def test_a_body_may_contain_the_separators_for_json_escapes_them(name: str) -> None:
    event = person("e-1").model_copy(update={"display_name": f"\x1e{name}\x1f"})
    (message,) = outbox.unpacked(outbox.packed([outbox.Message.of(event)]))
    assert type(event).model_validate_json(message.body) == event


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


async def test_what_an_older_stack_had_not_sent_waits_in_the_same_order(postgres: PostgresServer) -> None:
    urls = ensure_service_database(postgres, "scoring", database=f"t_older_{uuid.uuid4().hex[:12]}")
    owner = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    try:
        async with owner.transaction():
            for statement in statements(MACHINERY_0001 + MACHINERY_0002):
                await owner.execute(statement)
        await owner.execute(
            "INSERT INTO outbox (topic, key, partition, event_type, provider_id, body)"
            " VALUES ('t', 'k', NULL, 'x.v1', 'acme', '{}'), ('t', 'l', 3, 'y.v1', 'acme', '[]')"
        )
        async with owner.transaction():
            for statement in statements(MACHINERY_0003):
                await owner.execute(statement)
        found = await owner.fetch("SELECT topic, partition, provider_id, events, messages FROM outbox ORDER BY id")
    finally:
        await owner.close()
        drop_database(postgres, urls.name)
    assert [tuple(row[:4]) for row in found] == [("t", None, "acme", 1), ("t", 3, "acme", 1)]
    messages = [outbox.unpacked(row["messages"]) for row in found]
    assert messages == [[("k", "x.v1", "{}")], [("l", "y.v1", "[]")]]
