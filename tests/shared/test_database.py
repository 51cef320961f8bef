"""The transaction of a unit of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.local.databases import DatabaseUrls
from deploy.local.postgres import PostgresServer
from shared.contracts.ids import ProviderId
from shared.database import Database, enter_provider
from shared.statements import Statement

ACME, BETA = ProviderId("acme"), ProviderId("beta")
WRITE = text("INSERT INTO audit_heads (provider_id, sequence, hash) VALUES (:provider, 1, '')")
COUNT = text("SELECT count(*) FROM audit_heads")


async def test_rows_of_another_provider_do_not_show(machinery: Database) -> None:
    async with machinery.begin(ACME) as tx:
        await tx.execute(WRITE, {"provider": ACME})
    async with machinery.begin(BETA) as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0
    async with machinery.begin() as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0
        await enter_provider(tx, ACME)
        assert (await tx.execute(COUNT)).scalar_one() == 1


async def test_a_row_of_another_provider_cannot_be_written(machinery: Database) -> None:
    with pytest.raises(Exception, match="row-level security"):
        async with machinery.begin(ACME) as tx:
            await tx.execute(WRITE, {"provider": BETA})


async def test_the_provider_is_forgotten_when_the_connection_goes_back_to_the_pool(machinery: Database) -> None:
    async with machinery.begin(ACME) as tx:
        await tx.execute(WRITE, {"provider": ACME})
        first = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with machinery.begin() as tx:
        assert (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one() == first
        assert (await tx.execute(COUNT)).scalar_one() == 0


async def test_no_plan_outlives_the_data_it_was_made_for(machinery: Database) -> None:
    find = text("SELECT 1 FROM outbox WHERE id = :id")
    for number in range(10):
        async with machinery.begin() as tx:
            await tx.execute(find, {"id": number})
    async with machinery.begin() as tx:
        ours = "statement LIKE 'SELECT 1 FROM outbox%'"
        kept = f"SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE {ours}"  # noqa: S608
        assert tuple((await tx.execute(text(kept))).one()) == (0, 10)


async def test_an_error_does_not_repeat_the_values_it_met(machinery: Database) -> None:
    with pytest.raises(DBAPIError) as refused:
        async with machinery.begin(ACME) as tx:
            await tx.execute(text("SELECT 1 / CAST(:pay AS integer), CAST(:name AS text)"), {"pay": 0, "name": "Ann"})
    assert "Ann" not in str(refused.value)


async def test_an_error_in_the_block_undoes_everything(machinery: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with machinery.begin(ACME) as tx:
            await tx.execute(WRITE, {"provider": ACME})
            _ = 1 / 0
    async with machinery.begin(ACME) as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0


async def test_an_error_that_is_caught_in_the_block_is_no_commit(machinery: Database) -> None:
    with pytest.raises(RuntimeError, match="nothing was committed"):
        async with machinery.begin(ACME) as tx:
            await tx.execute(WRITE, {"provider": ACME})
            with suppress(DBAPIError):
                await tx.execute(WRITE, {"provider": ACME})
    async with machinery.begin(ACME) as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0


@pytest.fixture
async def single(machinery_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """With one connection, which everybody gets."""
    database = Database(SecretStr(machinery_urls.app), pool_size=1)
    yield database
    await database.close()


def by_sqlalchemy(tx: AsyncConnection) -> Awaitable[object]:
    return tx.execute(text("SELECT pg_sleep(30)"))


def by_the_driver(tx: AsyncConnection) -> Awaitable[object]:
    return Statement("SELECT pg_sleep(30)").rows(tx)


@pytest.mark.parametrize("sleep", [by_sqlalchemy, by_the_driver])
@pytest.mark.parametrize("times", [1, 2])
async def test_what_was_cancelled_is_undone_before_the_next_caller_gets_the_connection(
    single: Database, sleep: Callable[[AsyncConnection], Awaitable[object]], times: int
) -> None:
    async def stall() -> None:
        async with single.begin(ACME) as tx:
            await tx.execute(WRITE, {"provider": ACME})
            await sleep(tx)

    stalled = asyncio.create_task(stall())
    await asyncio.sleep(0.3)
    for _ in range(times):
        stalled.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([stalled])
    assert stalled.cancelled()
    async with single.begin(ACME) as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0


async def test_a_transaction_cancelled_at_any_moment_of_its_beginning_is_not_the_next_caller_s(
    single: Database, machinery_urls: DatabaseUrls, postgres: PostgresServer
) -> None:
    async def begin() -> None:
        async with single.begin(ACME, snapshot=True):
            await asyncio.sleep(0)

    await single.look(Statement("SELECT 1"))
    still_open = f"""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = '{machinery_urls.name}' AND state LIKE 'idle in transaction%'
    """  # noqa: S608 - a name of our own
    for moments in range(25):
        beginning = asyncio.create_task(begin())
        for _ in range(moments):
            await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.wait([beginning])
        await single.look(Statement("SELECT 1"))
        assert postgres.run_sql(still_open).split() == ["0"]


async def test_an_undoing_that_fails_hides_nothing_and_leaves_nothing_behind(
    single: Database, postgres: PostgresServer
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with single.begin(ACME) as tx:
            (backend,) = (await tx.execute(text("SELECT pg_backend_pid()"))).one()
            postgres.run_sql(f"SELECT pg_terminate_backend({backend})")
            _ = 1 / 0
    async with single.begin(ACME) as tx:
        assert (await tx.execute(COUNT)).scalar_one() == 0


async def test_whoever_finds_no_free_connection_waits_for_one(machinery_urls: DatabaseUrls) -> None:
    database = Database(SecretStr(machinery_urls.app), pool_size=2)

    async def count() -> object:
        async with database.begin(ACME) as tx:
            return (await tx.execute(COUNT)).scalar_one()

    assert await asyncio.gather(*(count() for _ in range(20))) == [0] * 20
    await database.close()


async def test_kept_plans_end_with_their_transaction(machinery: Database) -> None:
    modes = text("SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan')")
    async with machinery.begin(kept_plans=True) as tx:
        assert tuple((await tx.execute(modes)).one()) == ("force_generic_plan", "off")
    async with machinery.begin() as tx:
        assert tuple((await tx.execute(modes)).one()) == ("force_custom_plan", "on")


async def test_a_provider_s_id_is_no_place_for_sql(machinery: Database) -> None:
    with pytest.raises(ValueError, match="provider"):
        async with machinery.begin(ProviderId("a'; COMMIT; --")):
            pass


async def test_a_transaction_that_is_over_is_not_the_next_one_on_its_connection(machinery: Database) -> None:
    async with machinery.begin(ACME) as kept:
        first = (await kept.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with machinery.begin(BETA) as tx:
        assert (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one() == first
        with pytest.raises(ResourceClosedError):
            await kept.execute(WRITE, {"provider": BETA})


async def test_a_connection_that_broke_while_nobody_used_it_is_replaced(machinery: Database) -> None:
    backend = text("SELECT pg_backend_pid()")
    async with machinery.begin() as tx:
        async with machinery.begin() as other:
            victim = (await other.execute(backend)).scalar_one()
        await tx.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})
        await asyncio.sleep(0.2)
        async with machinery.begin() as other:
            assert (await other.execute(backend)).scalar_one() != victim


async def test_a_snapshot_is_of_the_beginning_of_its_transaction(machinery: Database) -> None:
    async with machinery.begin(ACME, snapshot=True) as seeing:
        async with machinery.begin(ACME) as tx:
            await tx.execute(WRITE, {"provider": ACME})
        assert (await seeing.execute(COUNT)).scalar_one() == 0
