"""The chain grows by one entry per audited action, and shows every tampering."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from deploy.local.databases import DatabaseUrls
from deploy.local.postgres import PostgresServer
from shared import audit
from shared.audit import Verification
from shared.contracts.ids import ProviderId
from shared.database import Database

ACME, BETA = ProviderId("acme"), ProviderId("beta")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def publish(tx: AsyncConnection) -> None:
    await audit.record(tx, "ada", NOON, "session.published", "session/01", reason="Grüße", people=3, note=None)


async def grow(database: Database, count: int, provider: ProviderId | None = ACME) -> None:
    for _ in range(count):
        async with database.begin(provider) as tx:
            await publish(tx)


async def verified(database: Database, provider: ProviderId = ACME) -> Verification:
    async with database.begin(provider) as tx:
        return await audit.verify(tx)


@pytest.fixture
def tamper(postgres: PostgresServer, machinery_urls: DatabaseUrls) -> Callable[[str], None]:
    """What only somebody with the server in hands can do: change rows past triggers and row security."""

    def run(sql: str) -> None:
        postgres.run_sql(f"SET session_replication_role = replica; {sql};", machinery_urls.name)

    return run


@pytest.fixture
async def superuser(postgres: PostgresServer, machinery_urls: DatabaseUrls) -> AsyncIterator[AsyncEngine]:
    dsn = postgres.superuser_dsn(machinery_urls.name).replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(dsn)
    yield engine
    await engine.dispose()


async def test_an_empty_chain_holds(machinery: Database) -> None:
    assert await verified(machinery) == Verification(0, None)


async def test_entries_of_one_provider_form_one_chain_beside_the_others(machinery: Database) -> None:
    await grow(machinery, 3)
    await grow(machinery, 2, BETA)
    assert await verified(machinery) == Verification(3, None)
    assert await verified(machinery, BETA) == Verification(2, None)


async def test_what_is_done_for_no_provider_has_no_chain(machinery: Database) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        await grow(machinery, 1, provider=None)


async def test_twenty_at_once_stand_one_after_the_other(machinery: Database) -> None:
    await asyncio.gather(*(grow(machinery, 1) for _ in range(20)))
    assert await verified(machinery) == Verification(20, None)


async def test_what_is_rolled_back_leaves_no_entry(machinery: Database) -> None:
    await grow(machinery, 1)
    with pytest.raises(RuntimeError):
        async with machinery.begin(ACME) as tx:
            await publish(tx)
            raise RuntimeError
    await grow(machinery, 1)
    assert await verified(machinery) == Verification(2, None)


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("UPDATE audit_entries SET actor = 'eve' WHERE sequence = 2", 2),
        ("UPDATE audit_entries SET at = at + interval '1 us' WHERE sequence = 2", 2),
        ("UPDATE audit_entries SET detail = '{}' WHERE sequence = 4", 4),
        ("UPDATE audit_entries SET trace_id = 'a' WHERE sequence = 1", 1),
        ("DELETE FROM audit_entries WHERE sequence = 3", 3),
        ("DELETE FROM audit_entries WHERE sequence = 4", 4),
        ("DELETE FROM audit_entries", 1),
        ("DELETE FROM audit_heads", 1),
        ("UPDATE audit_heads SET sequence = 3, hash = (SELECT hash FROM audit_entries WHERE sequence = 3)", 4),
        ("UPDATE audit_entries SET sequence = CASE sequence WHEN 2 THEN 30 ELSE 2 END WHERE sequence IN (2, 3)", 2),
    ],
)
async def test_the_first_entry_that_was_tampered_with_is_named(
    machinery: Database, tamper: Callable[[str], None], sql: str, broken: int
) -> None:
    await grow(machinery, 4)
    tamper(sql)
    assert (await verified(machinery)).first_broken == broken


async def test_the_service_itself_can_neither_change_nor_delete_an_entry(machinery: Database) -> None:
    await grow(machinery, 1)
    for sql in ("UPDATE audit_entries SET actor = 'eve'", "DELETE FROM audit_entries"):
        with pytest.raises(DBAPIError):
            async with machinery.begin(ACME) as tx:
                await tx.execute(text(sql))


async def test_anybody_can_recompute_the_chain_from_its_rows(machinery: Database, superuser: AsyncEngine) -> None:
    await grow(machinery, 2)
    async with superuser.connect() as connection:
        rows = (await connection.execute(text("SELECT * FROM audit_entries ORDER BY sequence"))).mappings().all()
    previous = "0" * 64
    for row in rows:
        claimed = {
            "action": row["action"],
            "actor": row["actor"],
            "at": row["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "detail": row["detail"],
            "object": row["object"],
            "outcome": row["outcome"],
            "previous": previous,
            "provider": row["provider_id"],
            "sequence": row["sequence"],
            "trace_id": row["trace_id"],
        }
        canonical = json.dumps(claimed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        previous = hashlib.sha256(canonical).hexdigest()
        assert row["hash"].hex() == previous
    assert len(rows) == 2
