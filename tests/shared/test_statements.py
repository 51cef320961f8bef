"""Statements that go past SQLAlchemy keep what it guards: the transaction, and a pool of living connections."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.statements import Statement

ACME = ProviderId("acme")
WHO = Statement("SELECT pg_backend_pid() AS pid, CAST(:name AS text) || :name AS twice")
KILL = text("SELECT pg_terminate_backend(:pid)")
WRITE = Statement("INSERT INTO audit_heads (provider_id, sequence, hash) VALUES (:provider, 1, '')")
COUNT = Statement("SELECT count(*) FROM audit_heads")


async def test_a_parameter_may_stand_twice(machinery: Database) -> None:
    async with machinery.begin(ACME) as tx:
        assert (await WHO.rows(tx, name="ab"))[0]["twice"] == "abab"


async def test_what_is_undone_is_undone_with_the_transaction(machinery: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with machinery.begin(ACME) as tx:
            await WRITE.rows(tx, provider=ACME)
            _ = 1 / 0
    async with machinery.begin(ACME) as tx:
        assert (await COUNT.rows(tx))[0]["count"] == 0


async def test_a_statement_that_would_commit_on_its_own_is_refused(machinery: Database) -> None:
    async with machinery.engine.connect() as bare:
        with pytest.raises(RuntimeError, match="on its own"):
            await WRITE.rows(bare, provider=ACME)


async def test_a_look_sees_no_provider_s_rows(machinery: Database) -> None:
    async with machinery.begin(ACME) as tx:
        await WRITE.rows(tx, provider=ACME)
    assert (await machinery.look(COUNT))[0]["count"] == 0


async def test_a_connection_that_the_server_ended_is_not_handed_out_again(machinery: Database) -> None:
    async with machinery.begin() as tx:
        with pytest.raises(ConnectionError):
            async with machinery.begin() as other:
                (victim,) = await WHO.rows(other, name="x")
                await tx.execute(KILL, {"pid": victim["pid"]})
                await WHO.rows(other, name="x")
        assert (await machinery.look(WHO, name="x"))[0]["pid"] != victim["pid"]
