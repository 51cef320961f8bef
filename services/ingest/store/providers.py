"""Providers and the clients they work for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Row, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Client, Kept, Provider
from services.ingest.tables import clients, providers
from shared.contracts.ids import ClientId, LineOfBusiness, ProviderId
from shared.keyset import keyset


async def add_or_read_provider(tx: AsyncConnection, provider: Provider) -> Provider | None:
    """The provider that has this id already, or `None` when it was added."""
    values = {"provider_id": provider.id, "name": provider.name, "created_at": provider.created_at}
    added = insert(providers).values(values).on_conflict_do_nothing().returning(providers.c.provider_id)
    if (await tx.execute(added)).one_or_none() is not None:
        return None
    row = (await tx.execute(select(providers).where(providers.c.provider_id == provider.id))).one()
    return Provider(row.provider_id, row.name, row.created_at)


async def providers_page(tx: AsyncConnection, after: tuple[object, ...] | None, fetch: int) -> list[Provider]:
    """Those that the transaction may see: its own provider, or all of them for the platform."""
    rows = await tx.execute(keyset(select(providers), (providers.c.provider_id,), after, fetch))
    return [Provider(row.provider_id, row.name, row.created_at) for row in rows]


async def provider_exists(tx: AsyncConnection, provider: ProviderId) -> bool:
    return await tx.scalar(select(providers.c.name).where(providers.c.provider_id == provider)) is not None


def _client(row: Row[tuple[object, ...]]) -> Kept[Client]:
    return Kept(Client(ClientId(row.client_id), row.name, tuple(row.lines_of_business)), row.version)


async def add_or_lock_client(tx: AsyncConnection, provider: ProviderId, client: Client) -> Kept[Client] | None:
    """The client as it is, locked until the transaction ends, or `None` when it was added."""
    values = {
        "provider_id": provider,
        "client_id": client.id,
        "name": client.name,
        "lines_of_business": list(client.lines_of_business),
    }
    added = insert(clients).values(values).on_conflict_do_nothing().returning(clients.c.client_id)
    if (await tx.execute(added)).one_or_none() is not None:
        return None
    mine = select(clients).where(clients.c.provider_id == provider, clients.c.client_id == client.id)
    return _client((await tx.execute(mine.with_for_update())).one())


async def change_client(tx: AsyncConnection, provider: ProviderId, client: Client, version: int) -> None:
    mine = (clients.c.provider_id == provider) & (clients.c.client_id == client.id)
    values = {"name": client.name, "lines_of_business": list(client.lines_of_business), "version": version}
    await tx.execute(update(clients).where(mine).values(values))


_IN_USE = text("""
    SELECT line_of_business FROM assignments
    WHERE provider_id = :provider AND client_id = :client AND line_of_business = ANY(CAST(:lines AS text[]))
    UNION
    SELECT used.line FROM sources, unnest(lines_of_business) AS used (line)
    WHERE provider_id = :provider AND client_id = :client AND used.line = ANY(CAST(:lines AS text[]))
    ORDER BY 1 LIMIT 10
""")


async def lines_in_use(
    tx: AsyncConnection, provider: ProviderId, client: ClientId, lines: Collection[LineOfBusiness]
) -> list[str]:
    """Which of `lines` an assignment or a source still names; at most ten."""
    values = {"provider": provider, "client": client, "lines": sorted(lines)}
    return list(await tx.scalars(_IN_USE, values))


async def programs(
    tx: AsyncConnection, provider: ProviderId, wanted: Collection[ClientId]
) -> dict[ClientId, frozenset[LineOfBusiness]]:
    """The lines of business of those clients that exist, which keep them until the transaction ends."""
    chosen = select(clients.c.client_id, clients.c.lines_of_business).where(
        clients.c.provider_id == provider, clients.c.client_id.in_(sorted(wanted))
    )
    rows = await tx.execute(chosen.order_by(clients.c.client_id).with_for_update(read=True))
    return {ClientId(row.client_id): frozenset(row.lines_of_business) for row in rows}


async def client(tx: AsyncConnection, client_id: ClientId) -> Kept[Client] | None:
    row = (await tx.execute(select(clients).where(clients.c.client_id == client_id))).one_or_none()
    return None if row is None else _client(row)


async def clients_page(tx: AsyncConnection, after: tuple[object, ...] | None, fetch: int) -> Sequence[Kept[Client]]:
    return [_client(row) for row in await tx.execute(keyset(select(clients), (clients.c.client_id,), after, fetch))]
