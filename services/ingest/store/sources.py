"""Sources, their keys, and their own names for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Row, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import AgentMapping, Kept, Scope, Source
from services.ingest.tables import key_lookup, source_agents, source_keys, sources
from shared.contracts.ids import ClientId, EmployeeId, ProviderId, SourceId
from shared.database import Database
from shared.keyset import keyset
from shared.statements import Statement


def _source(row: Row[tuple[object, ...]]) -> Kept[Source]:
    source = Source(SourceId(row.source_id), row.name, ClientId(row.client_id), tuple(row.lines_of_business))
    return Kept(source, row.version)


def _columns(source: Source) -> dict[str, str | list[str]]:
    return {"name": source.name, "client_id": source.client, "lines_of_business": list(source.lines_of_business)}


async def add_or_lock_source(tx: AsyncConnection, provider: ProviderId, source: Source) -> Kept[Source] | None:
    """The source as it is, locked until the transaction ends, or `None` when it was added."""
    values = {"provider_id": provider, "source_id": source.id, **_columns(source)}
    added = insert(sources).values(values).on_conflict_do_nothing().returning(sources.c.source_id)
    if (await tx.execute(added)).one_or_none() is not None:
        return None
    mine = select(sources).where(sources.c.provider_id == provider, sources.c.source_id == source.id)
    return _source((await tx.execute(mine.with_for_update())).one())


async def change_source(tx: AsyncConnection, provider: ProviderId, source: Source, version: int) -> None:
    mine = (sources.c.provider_id == provider) & (sources.c.source_id == source.id)
    await tx.execute(update(sources).where(mine).values(_columns(source) | {"version": version}))


async def lock_source(tx: AsyncConnection, source_id: SourceId) -> Kept[Source] | None:
    """The source, which nobody else changes until the transaction ends."""
    mine = select(sources).where(sources.c.source_id == source_id)
    row = (await tx.execute(mine.with_for_update())).one_or_none()
    return None if row is None else _source(row)


_SOURCE = Statement("""
    SELECT source_id, name, client_id, lines_of_business, version FROM sources
    WHERE provider_id = :provider AND source_id = :source
""")


async def source(tx: AsyncConnection, provider: ProviderId, source_id: SourceId) -> Kept[Source] | None:
    for found, name, client, lines, version in await _SOURCE.rows(tx, provider=provider, source=source_id):
        return Kept(Source(found, name, client, tuple(lines)), version)
    return None


async def sources_page(
    tx: AsyncConnection, client: ClientId | None, after: tuple[object, ...] | None, fetch: int
) -> list[Kept[Source]]:
    chosen = select(sources)
    if client is not None:
        chosen = chosen.where(sources.c.client_id == client)
    return [_source(row) for row in await tx.execute(keyset(chosen, (sources.c.source_id,), after, fetch))]


class KeyRow(NamedTuple):
    id: str
    source: SourceId
    digest: bytes
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


def _key(row: Row[tuple[object, ...]]) -> KeyRow:
    scopes = tuple(Scope(name) for name in row.scopes)
    times = (row.created_at, row.expires_at, row.revoked_at)
    return KeyRow(row.key_id, SourceId(row.source_id), bytes(row.digest), scopes, *times)


_FIND_KEY = Statement("SELECT * FROM find_key(:key)")


async def find_key(database: Database, key_id: str) -> tuple[ProviderId, KeyRow] | None:
    """A key and whose it is, before any provider is known."""
    for provider, source_id, digest, scopes, created_at, expires_at, revoked_at in await database.look(
        _FIND_KEY, key=key_id
    ):
        times = (created_at, expires_at, revoked_at)
        return provider, KeyRow(key_id, source_id, digest, tuple(map(Scope, scopes)), *times)
    return None


async def add_key(tx: AsyncConnection, provider: ProviderId, row: KeyRow, by: str) -> None:
    await tx.execute(insert(key_lookup).values(key_id=row.id, provider_id=provider))
    values = {
        "provider_id": provider,
        "key_id": row.id,
        "source_id": row.source,
        "digest": row.digest,
        "scopes": list(row.scopes),
        "created_at": row.created_at,
        "created_by": by,
        "expires_at": row.expires_at,
    }
    await tx.execute(insert(source_keys).values(values))


async def keys_of(tx: AsyncConnection, source_id: SourceId) -> list[KeyRow]:
    """Newest last. Few: two at a time, and those that were."""
    chosen = select(source_keys).where(source_keys.c.source_id == source_id)
    return [_key(row) for row in await tx.execute(chosen.order_by(source_keys.c.created_at, source_keys.c.key_id))]


async def keys_page(
    tx: AsyncConnection, source_id: SourceId, after: tuple[object, ...] | None, fetch: int
) -> list[KeyRow]:
    chosen = select(source_keys).where(source_keys.c.source_id == source_id)
    return [
        _key(row)
        for row in await tx.execute(keyset(chosen, (source_keys.c.created_at, source_keys.c.key_id), after, fetch))
    ]


async def revoke_key(tx: AsyncConnection, source_id: SourceId, key_id: str, now: datetime) -> bool:
    """Whether there was such a key; one that was revoked before keeps its time."""
    mine = (source_keys.c.source_id == source_id) & (source_keys.c.key_id == key_id)
    if (await tx.execute(select(source_keys.c.key_id).where(mine))).one_or_none() is None:
        return False
    await tx.execute(update(source_keys).where(mine, source_keys.c.revoked_at.is_(None)).values(revoked_at=now))
    return True


def _mapping(row: Row[tuple[object, ...]]) -> AgentMapping:
    return AgentMapping(row.agent, EmployeeId(row.employee_id), row.valid_from, row.valid_to)


_AGENTS = Statement("""
    SELECT agent, employee_id, valid_from, valid_to FROM source_agents
    WHERE provider_id = :provider AND source_id = :source AND agent = ANY(CAST(:agents AS text[]))
    ORDER BY agent, valid_from
""")


async def mappings(
    tx: AsyncConnection, provider: ProviderId, source_id: SourceId, agents: Collection[str]
) -> dict[str, list[AgentMapping]]:
    """By agent id, in order of date."""
    found: dict[str, list[AgentMapping]] = defaultdict(list)
    if agents:
        for row in await _AGENTS.rows(tx, provider=provider, source=source_id, agents=list(agents)):
            found[row[0]].append(AgentMapping(*row))
    return found


_SAVE_AGENTS = text("""
    INSERT INTO source_agents (provider_id, source_id, agent, employee_id, valid_from, valid_to)
    SELECT :provider, :source, agent, employee, valid_from, valid_to
    FROM unnest(CAST(:agents AS text[]), CAST(:employees AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]))
         AS item (agent, employee, valid_from, valid_to)
    ON CONFLICT (provider_id, source_id, agent, valid_from) DO UPDATE
    SET employee_id = excluded.employee_id, valid_to = excluded.valid_to
""")


async def save_mappings(
    tx: AsyncConnection, provider: ProviderId, source_id: SourceId, saved: Sequence[AgentMapping]
) -> None:
    values = {
        "provider": provider,
        "source": source_id,
        "agents": [mapping.agent for mapping in saved],
        "employees": [mapping.employee for mapping in saved],
        "starts": [mapping.valid_from for mapping in saved],
        "ends": [mapping.valid_to for mapping in saved],
    }
    await tx.execute(_SAVE_AGENTS, values)


async def mappings_page(
    tx: AsyncConnection, source_id: SourceId, after: tuple[object, ...] | None, fetch: int
) -> list[AgentMapping]:
    chosen = select(source_agents).where(source_agents.c.source_id == source_id)
    order = (source_agents.c.agent, source_agents.c.valid_from)
    return [_mapping(row) for row in await tx.execute(keyset(chosen, order, after, fetch))]
