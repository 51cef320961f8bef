"""Work that is due later runs once per due time, with everything that caused it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.databases import DatabaseUrls
from deploy.local.postgres import PostgresServer
from shared import telemetry
from shared.clock import utc_now
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.messaging import outbox, timers
from shared.messaging.subscriptions import DueTimers, Timer
from tests.shared.ledger import kpi

ACME, BETA = ProviderId("acme"), ProviderId("beta")
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
WRITE = text("INSERT INTO effects (provider, employee, event) SELECT :provider, '', unnest(CAST(:keys AS text[]))")


async def schedule(database: Database, keys: Sequence[str], due_at: datetime, provider: ProviderId = ACME) -> None:
    async with database.begin(provider) as tx:
        await timers.schedule(tx, "rescore", provider, keys, due_at)


async def scheduled(database: Database) -> dict[str, tuple[datetime, list[str]]]:
    async with database.begin() as tx:
        rows = await tx.execute(text("SELECT key, due_at, causes FROM timers"))
        return {row.key: (row.due_at, row.causes) for row in rows}


async def ran(database: Database) -> Counter[str]:
    async with database.begin() as tx:
        return Counter(row.event for row in await tx.execute(text("SELECT event FROM effects")))


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def note(tx: AsyncConnection, due: DueTimers) -> None:
    await tx.execute(WRITE, {"provider": due.provider, "keys": due.keys})


async def fail(_: AsyncConnection, __: DueTimers) -> None:
    raise KeyError("any bug")


async def test_a_key_keeps_the_earlier_of_its_times(ledger_database: Database) -> None:
    await schedule(ledger_database, ["a", "b"], NOON)
    await schedule(ledger_database, ["a"], NOON + timedelta(hours=1))
    await schedule(ledger_database, ["b"], NOON - timedelta(hours=1))
    found = await scheduled(ledger_database)
    assert (found["a"][0], found["b"][0]) == (NOON, NOON - timedelta(hours=1))


async def test_a_key_keeps_all_its_causes_each_once(
    ledger_database: Database, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    causes = []
    for name in ("first", "second"):
        with telemetry.span(name, SpanKind.SERVER, {}):
            causes.append(telemetry.current_traceparent())
            await schedule(ledger_database, ["a"], NOON)
            await schedule(ledger_database, ["a"], NOON + timedelta(hours=1))
    await schedule(ledger_database, ["a"], NOON)
    assert (await scheduled(ledger_database))["a"][1] == causes


async def test_only_what_is_due_runs_in_the_providers_name_and_is_gone_afterwards(ledger_database: Database) -> None:
    seen: list[tuple[str, str | None, Sequence[str]]] = []

    async def look(tx: AsyncConnection, due: DueTimers) -> None:
        setting = text("SELECT current_setting('plumbline.provider', true)")
        seen.append((due.provider, (await tx.execute(setting)).scalar_one(), due.keys))

    await schedule(ledger_database, ["b", "a"], NOON)
    await schedule(ledger_database, ["a"], NOON, BETA)
    await schedule(ledger_database, ["later"], NOON + timedelta(seconds=1))
    assert await timers.run_due(ledger_database, Timer("rescore", look), NOON) == 3
    assert await timers.run_due(ledger_database, Timer("rescore", look), NOON) == 0
    assert seen == [(ACME, ACME, ["a", "b"]), (BETA, BETA, ["a"])]
    assert list(await scheduled(ledger_database)) == ["later"]


async def test_a_batch_is_never_larger_than_asked(ledger_database: Database) -> None:
    await schedule(ledger_database, [f"p-{number}" for number in range(25)], NOON)
    batch = Timer("rescore", note, batch=10)
    assert [await timers.run_due(ledger_database, batch, NOON) for _ in range(4)] == [10, 10, 5, 0]


async def test_a_batch_keeps_its_size_where_the_database_planned_for_an_empty_table(
    ledger_database: Database, ledger_urls: DatabaseUrls, postgres: PostgresServer
) -> None:
    batch = Timer("rescore", note, batch=10)
    postgres.run_sql("VACUUM ANALYZE timers", ledger_urls.name)
    for _ in range(8):  # enough for the plan to be kept
        await timers.run_due(ledger_database, batch, NOON)
    await schedule(ledger_database, [f"p-{number}" for number in range(500)], NOON)
    assert await timers.run_due(ledger_database, batch, NOON) == 10


async def test_several_loops_never_run_the_same_key_twice(ledger_database: Database) -> None:
    keys = [f"p-{number}" for number in range(300)]
    await schedule(ledger_database, keys, NOON)

    async def slowly(tx: AsyncConnection, due: DueTimers) -> None:
        await asyncio.sleep(0.002)
        await note(tx, due)

    async def loop() -> int:
        return sum([await timers.run_due(ledger_database, Timer("rescore", slowly, batch=7), NOON) for _ in range(30)])

    assert sum(await asyncio.gather(*(loop() for _ in range(4)))) == 300
    assert await ran(ledger_database) == Counter(keys)


async def test_a_handler_that_fails_leaves_its_timers_as_they_were(ledger_database: Database) -> None:
    await schedule(ledger_database, ["a"], NOON)
    before = await scheduled(ledger_database)
    with pytest.raises(KeyError):
        await timers.run_timers(ledger_database, [Timer("rescore", fail)], utc_now, asyncio.Event())
    assert await scheduled(ledger_database) == before


async def test_after_a_transient_failure_the_batch_runs_again(ledger_database: Database) -> None:
    stop = asyncio.Event()
    failures = [ConnectionResetError(), TimeoutError()]

    async def at_last(tx: AsyncConnection, due: DueTimers) -> None:
        await note(tx, due)
        if failures:
            raise failures.pop()
        stop.set()

    await schedule(ledger_database, ["a"], NOON)
    await asyncio.wait_for(timers.run_timers(ledger_database, [Timer("rescore", at_last)], utc_now, stop), 10)
    assert await ran(ledger_database) == Counter(["a"])


async def test_a_timer_can_schedule_itself_again(ledger_database: Database) -> None:
    async def again(tx: AsyncConnection, due: DueTimers) -> None:
        await note(tx, due)
        await timers.schedule(tx, "rescore", due.provider, due.keys, due.now + timedelta(minutes=1))

    await schedule(ledger_database, ["a"], NOON)
    for minute in range(3):
        assert await timers.run_due(ledger_database, Timer("rescore", again), NOON + timedelta(minutes=minute)) == 1
        assert await timers.run_due(ledger_database, Timer("rescore", again), NOON + timedelta(minutes=minute)) == 0
    assert (await scheduled(ledger_database))["a"][0] == NOON + timedelta(minutes=3)
    assert await ran(ledger_database) == Counter({"a": 3})


async def test_what_is_scheduled_while_the_timer_runs_is_not_swallowed_by_that_run(ledger_database: Database) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slowly(tx: AsyncConnection, due: DueTimers) -> None:
        begun.set()
        await finish.wait()
        await note(tx, due)

    await schedule(ledger_database, ["a"], NOON)
    running = asyncio.create_task(timers.run_due(ledger_database, Timer("rescore", slowly), NOON))
    await begun.wait()
    meanwhile = asyncio.create_task(schedule(ledger_database, ["a"], NOON))
    await asyncio.sleep(0.05)
    finish.set()
    assert await running == 1
    await meanwhile
    assert await timers.run_due(ledger_database, Timer("rescore", note), NOON) == 1
    assert await ran(ledger_database) == Counter({"a": 2})


async def test_a_run_is_linked_to_all_that_caused_it_and_is_the_cause_of_what_it_announces(
    ledger_database: Database, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    async def announce(tx: AsyncConnection, due: DueTimers) -> None:
        outbox.append(tx, [kpi("k-1")])

    for name, key in (("first", "a"), ("second", "a"), ("third", "b")):
        with telemetry.span(name, SpanKind.SERVER, {}):
            await schedule(ledger_database, [key], NOON)
    await timers.run_due(ledger_database, Timer("rescore", announce), NOON)
    found = spans()
    run = found["timer rescore"]
    assert {link.context.span_id for link in run.links} == {span_id(found[n]) for n in ("first", "second", "third")}
    assert run.parent is None
    assert run.attributes == {telemetry.TIMER_KIND: "rescore", telemetry.BATCH_SIZE: 2}
    async with ledger_database.begin() as tx:
        (traceparent,) = (await tx.execute(text("SELECT traceparent FROM outbox"))).one()
    written = telemetry.parse_traceparent(traceparent)
    assert written is not None
    assert written.span_id == span_id(run)
