"""The transaction of a unit of work."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.contracts.ids import ProviderId
from shared.database import Database, enter_provider

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
