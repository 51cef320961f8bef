"""What a request is judged by is found by keys, also on a connection that planned the search when nothing was there."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.postgres import PostgresServer
from services.ingest.model import Roster
from services.ingest.store import journal
from services.ingest.store.rosters import join_and_read
from services.ingest.store.sources import find_key
from shared.contracts.ids import EmployeeId, KpiEventId, MetricKey, ProviderId, SourceId
from tests.ingest.conftest import World

ACME = ProviderId("acme")
_TABLES = "('sources', 'metrics', 'source_agents', 'assignments', 'key_lookup', 'source_keys', 'kpi_events')"
_KEYS = """
    INSERT INTO source_keys SELECT 'acme', 'k-' || n, 's-1', '', '{kpi-events:write}', now(), 'me', now(), NULL
    FROM generate_series(1, 3000) AS n
"""
_EVENTS = """
    INSERT INTO kpi_events SELECT 'acme', 's-1/' || n, 'observation', NULL, 0, 'P-1', 'p-1', 'm-1', now(),
                                  current_date, 1, 1, '', now(), NULL FROM generate_series(1, 3000) AS n
"""
_CORRECTIONS = """
    INSERT INTO kpi_events SELECT 'acme', 's-1/c' || n, 'correction', 's-1/' || n, 1, 'P-1', 'p-1', 'm-1', now(),
                                  current_date, 1, 1, '', now(), NULL FROM generate_series(1, 3000) AS n
"""
_SMALL_PROVIDERS = """
    INSERT INTO providers SELECT 'x-' || n, 'X', now() FROM generate_series(1, 2000) AS n;
    INSERT INTO clients SELECT provider_id, 'northwind', 1, 'N', '{care}' FROM providers;
    INSERT INTO sources SELECT provider_id, 's-1', 1, 'S', 'northwind', '{care}' FROM providers;
    INSERT INTO employees SELECT provider_id, 'p-' || n, 1, 'P', 'PH', 'en-PH', ''
        FROM providers, generate_series(1, 3) AS n;
    INSERT INTO assignments SELECT provider_id, employee_id, '2026-01-01', NULL, 'agent', 'G1', 'team', NULL,
                                   'northwind', 'care', 'manila', 'Asia/Manila' FROM employees;
    INSERT INTO source_agents SELECT provider_id, 's-1', employee_id, '2026-01-01', NULL, employee_id FROM employees;
    ANALYZE
"""
_FILL = (
    "INSERT INTO providers VALUES ('acme', 'Acme', now()) ON CONFLICT DO NOTHING",
    "INSERT INTO clients VALUES ('acme', 'northwind', 1, 'N', '{care}') ON CONFLICT DO NOTHING",
    """INSERT INTO sources SELECT 'acme', 's-' || n, 1, 'S', 'northwind', '{care}'
       FROM generate_series(CAST(:first AS integer), :last) AS n""",
    """INSERT INTO metrics SELECT 'acme', 'm-' || n, 1, 'M', '', '', '', '', 'ratio', 0, '', 0, false
       FROM generate_series(CAST(:first AS integer), :last) AS n""",
    """INSERT INTO employees SELECT 'acme', 'p-' || n, 1, 'P', 'PH', 'en-PH', ''
       FROM generate_series(CAST(:first AS integer), :last) AS n""",
    """INSERT INTO assignments SELECT 'acme', 'p-' || n, '2026-01-01', NULL, 'agent', 'G1', 'team', NULL, 'northwind',
                                      'care', 'manila', 'Asia/Manila'
       FROM generate_series(CAST(:first AS integer), :last) AS n""",
    """INSERT INTO source_agents SELECT 'acme', 's-1', 'P-' || n, '2026-01-01', NULL, 'p-' || n
       FROM generate_series(CAST(:first AS integer), :last) AS n""",
)
_READ = text(f"""
    SELECT indexrelname, pg_stat_get_xact_tuples_returned(indexrelid) FROM pg_stat_user_indexes
    WHERE relname IN {_TABLES}
    UNION ALL SELECT 'all of ' || relname, pg_stat_get_xact_numscans(relid) FROM pg_stat_user_tables
    WHERE relname IN {_TABLES}
""")  # noqa: S608 - our own tables


async def roster(tx: AsyncConnection, *agents: str) -> Roster | None:
    people, metrics = [EmployeeId("p-1")], [MetricKey("m-1")]
    return await join_and_read(tx, ACME, SourceId("s-1"), agents=agents, people=people, metrics=metrics)


async def read(tx: AsyncConnection) -> dict[str, int]:
    """How many entries of each index this session has read, and how often a whole table."""
    return {row[0]: row[1] for row in await tx.execute(_READ)}


async def fill(world: World, first: int, last: int) -> None:
    async with world.database.begin(ACME) as tx:
        for statement in _FILL:
            await tx.execute(text(statement), {"first": first, "last": last} if ":first" in statement else {})


@pytest.mark.parametrize("few", [0, 1])
@pytest.mark.parametrize("analysed", [False, True])
async def test_a_plan_that_was_made_for_small_tables_finds_its_rows_among_thousands_by_key(
    few: int, analysed: bool, bare: World, postgres: PostgresServer
) -> None:
    await fill(bare, 1, few)
    if analysed:
        postgres.run_sql("ANALYZE", str(bare.database.engine.url.database))
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        await roster(tx, "P-2")
    await fill(bare, few + 1, 3000)
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        before = await read(tx)
        found = await roster(tx, "P-2")
        after = await read(tx)
    assert found is not None and set(found.workplaces) == {"p-1", "p-2"}
    assert {name: after[name] - before[name] for name in after if after[name] > before[name]} == {
        "sources_pkey": 1,
        "metrics_pkey": 1,
        "source_agents_pkey": 1,
        "assignments_pkey": 2,
    }


async def test_a_plan_that_was_made_where_each_provider_was_small_finds_its_rows_by_key(
    bare: World, postgres: PostgresServer
) -> None:
    """To read all rows of one provider, and sort them, looked cheaper than ten searches."""
    postgres.run_sql(_SMALL_PROVIDERS, str(bare.database.engine.url.database))
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        await roster(tx, "P-2")
    await fill(bare, 1, 3000)
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        before = await read(tx)
        await roster(tx, "P-2")
        after = await read(tx)
    assert {name: after[name] - before[name] for name in after if after[name] > before[name]} == {
        "sources_pkey": 1,
        "metrics_pkey": 1,
        "source_agents_pkey": 1,
        "assignments_pkey": 2,
    }


async def test_thousands_are_found_by_key_too_and_no_table_is_read_whole(bare: World) -> None:
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        await roster(tx)
    await fill(bare, 1, 3000)
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        before = await read(tx)
        found = await roster(tx, *(f"P-{n}" for n in range(2, 3001)))
        after = await read(tx)
    assert found is not None and len(found.agents) == 2999 and len(found.workplaces) == 3000
    assert {name: after[name] - before[name] for name in after if after[name] > before[name]} == {
        "sources_pkey": 1,
        "metrics_pkey": 1,
        "source_agents_pkey": 2999,
        "assignments_pkey": 3000,
    }


@pytest.mark.parametrize("analysed", [False, True])
async def test_originals_and_what_stands_under_an_id_are_found_by_key_where_the_search_was_planned_without_any(
    analysed: bool, bare: World, postgres: PostgresServer
) -> None:
    if analysed:
        postgres.run_sql("ANALYZE", str(bare.database.engine.url.database))
    named = [KpiEventId("s-1/7")]
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        assert not await journal.digests(tx, ACME, named)
        assert not await journal.lock_originals(tx, ACME, named)
    async with bare.database.begin(ACME) as tx:
        await tx.execute(text(_EVENTS))
        await tx.execute(text(_CORRECTIONS))
    async with bare.database.begin(ACME, kept_plans=True) as tx:
        before = await read(tx)
        assert set(await journal.digests(tx, ACME, named)) == {"s-1/7"}
        originals = await journal.lock_originals(tx, ACME, named)
        after = await read(tx)
    assert originals[named[0]].revisions == 1
    assert {name: after[name] - before[name] for name in after if after[name] > before[name]} == {
        "kpi_events_pkey": 3,
        "kpi_events_revisions": 1,
    }


async def test_a_key_is_found_by_its_id_also_where_the_search_was_planned_without_any(
    bare: World, postgres: PostgresServer
) -> None:
    postgres.run_sql("ANALYZE", str(bare.database.engine.url.database))
    assert await find_key(bare.database, "k-1") is None
    await fill(bare, 1, 1)
    async with bare.database.begin(ACME) as tx:
        await tx.execute(text("INSERT INTO key_lookup SELECT 'k-' || n, 'acme' FROM generate_series(1, 3000) AS n"))
        await tx.execute(text(_KEYS))
    async with bare.database.begin(ACME) as tx:
        before = await read(tx)
    found = await find_key(bare.database, "k-7")
    async with bare.database.begin(ACME) as tx:
        after = await read(tx)
    assert found is not None and (found[0], found[1].source) == (ACME, "s-1")
    assert {name: after[name] - before[name] for name in after if after[name] > before[name]} == {
        "key_lookup_pkey": 1,
        "source_keys_pkey": 1,
    }


async def test_mappings_and_workplaces_come_in_order_of_date(world: World) -> None:
    moved = [{"agent": "A-1", "employee": "e-2", "valid_from": "2025-01-01", "valid_to": "2025-06-30"}]
    assert (await world.put("/sources/acd/agents", moved)).status_code == 200
    async with world.database.begin(ACME) as tx:
        found = await join_and_read(tx, ACME, SourceId("acd"), agents=["A-1"], people=[], metrics=[])
    assert found is not None
    assert [mapping.employee for mapping in found.agents["A-1"]] == ["e-2", "e-1"]
