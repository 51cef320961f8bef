"""Webhook endpoints. Their secrets are columns that only `insert`, `rotate` and the sender's own query touch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Endpoint, EndpointId, Kind
from shared.contracts.ids import ProviderId

_COLUMNS = "id, url, kinds, description, enabled, disabled_reason, paused_until, version"
_ONE = f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE provider_id = :provider AND id = :id AND deleted_at IS NULL"  # noqa: S608
_READ = text(_ONE)
_LOCK = text(f"{_ONE} FOR NO KEY UPDATE")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints
    WHERE provider_id = :provider AND deleted_at IS NULL AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :fetch
""")  # noqa: S608 - own columns
_INSERT = text(f"""
    INSERT INTO webhook_endpoints (provider_id, url, kinds, description, secret, created_at)
    VALUES (:provider, :url, :kinds, :description, :secret, :now) RETURNING {_COLUMNS}
""")  # noqa: S608 - own columns
_SAVE = text(f"""
    UPDATE webhook_endpoints
    SET url = :url, kinds = :kinds, description = :description, enabled = :enabled, disabled_reason = :reason,
        strikes = 0, paused_until = NULL, version = version + 1
    WHERE provider_id = :provider AND id = :id RETURNING {_COLUMNS}
""")  # noqa: S608 - own columns
_ROTATE = text(f"""
    UPDATE webhook_endpoints
    SET previous_secret = secret, previous_until = :until, secret = :secret, version = version + 1
    WHERE provider_id = :provider AND id = :id RETURNING {_COLUMNS}
""")  # noqa: S608 - own columns
_DELETE = text("""
    UPDATE webhook_endpoints
    SET deleted_at = :now, enabled = false, disabled_reason = 'deleted', secret = NULL, previous_secret = NULL,
        previous_until = NULL, version = version + 1
    WHERE provider_id = :provider AND id = :id
""")
_DISABLE = text("""
    UPDATE webhook_endpoints SET enabled = false, disabled_reason = :reason, version = version + 1
    WHERE provider_id = :provider AND id = ANY(CAST(:ids AS uuid[])) AND enabled RETURNING id
""")

# Neither a pause nor its end is a new version: people edit neither.
_LOCK_STRIKES = text("""
    SELECT id, strikes FROM webhook_endpoints
    WHERE provider_id = :provider AND id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_PAUSE = text("""
    UPDATE webhook_endpoints AS endpoint SET strikes = given.strikes, paused_until = given.until
    FROM unnest(CAST(:ids AS uuid[]), CAST(:strikes AS integer[]), CAST(:untils AS timestamptz[]))
         AS given (id, strikes, until)
    WHERE endpoint.provider_id = :provider AND endpoint.id = given.id
""")
_RESUME = text("""
    UPDATE webhook_endpoints SET strikes = 0, paused_until = NULL
    WHERE provider_id = :provider AND id = ANY(CAST(:ids AS uuid[])) AND strikes > 0
""")


def _endpoint(row: Row[tuple[UUID, str, list[str], str, bool, str | None, datetime | None, int]]) -> Endpoint:
    kinds = tuple(Kind(kind) for kind in row.kinds)
    return Endpoint(
        id=EndpointId(row.id),
        url=row.url,
        kinds=kinds,
        description=row.description,
        enabled=row.enabled,
        disabled_reason=row.disabled_reason,
        paused_until=row.paused_until,
        version=row.version,
    )


async def insert(
    tx: AsyncConnection,
    provider: ProviderId,
    *,
    url: str,
    kinds: Collection[Kind],
    description: str,
    secret: bytes,
    now: datetime,
) -> Endpoint:
    values = {"provider": provider, "url": url, "kinds": sorted(kinds), "description": description}
    return _endpoint((await tx.execute(_INSERT, values | {"secret": secret, "now": now})).one())


async def find(
    tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId, *, lock: bool = False
) -> Endpoint | None:
    row = (await tx.execute(_LOCK if lock else _READ, {"provider": provider, "id": endpoint})).one_or_none()
    return None if row is None else _endpoint(row)


async def page(tx: AsyncConnection, provider: ProviderId, after: UUID | None, fetch: int) -> list[Endpoint]:
    return [_endpoint(row) for row in await tx.execute(_LIST, {"provider": provider, "after": after, "fetch": fetch})]


async def save(tx: AsyncConnection, provider: ProviderId, endpoint: Endpoint) -> Endpoint:
    """Write what people edit; the caller has locked the row."""
    values = {
        "provider": provider,
        "id": endpoint.id,
        "url": endpoint.url,
        "kinds": sorted(endpoint.kinds),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "reason": endpoint.disabled_reason,
    }
    return _endpoint((await tx.execute(_SAVE, values)).one())


async def rotate(
    tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId, secret: bytes, until: datetime
) -> Endpoint:
    """Sign with `secret` from now on, and with the one before it as well `until` then."""
    values = {"provider": provider, "id": endpoint, "secret": secret, "until": until}
    return _endpoint((await tx.execute(_ROTATE, values)).one())


async def delete(tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId, now: datetime) -> None:
    """The row stays for the deliveries that name it, without its secrets."""
    await tx.execute(_DELETE, {"provider": provider, "id": endpoint, "now": now})


async def disable(
    tx: AsyncConnection, provider: ProviderId, endpoints: Collection[EndpointId], reason: str
) -> list[EndpointId]:
    """Those that were enabled until now."""
    values = {"provider": provider, "ids": sorted(endpoints), "reason": reason}
    return [EndpointId(row.id) for row in await tx.execute(_DISABLE, values)]


async def lock_strikes(
    tx: AsyncConnection, provider: ProviderId, endpoints: Collection[EndpointId]
) -> dict[EndpointId, int]:
    """In how many rounds, one after the other, each did not answer."""
    rows = await tx.execute(_LOCK_STRIKES, {"provider": provider, "ids": sorted(endpoints)})
    return {EndpointId(row.id): row.strikes for row in rows}


async def pause(
    tx: AsyncConnection, provider: ProviderId, endpoints: Mapping[EndpointId, tuple[int, datetime]]
) -> None:
    """Leave each alone until its time, and remember its strikes."""
    ids = sorted(endpoints)
    strikes, untils = [endpoints[each][0] for each in ids], [endpoints[each][1] for each in ids]
    await tx.execute(_PAUSE, {"provider": provider, "ids": ids, "strikes": strikes, "untils": untils})


async def resume(tx: AsyncConnection, provider: ProviderId, endpoints: Collection[EndpointId]) -> None:
    await tx.execute(_RESUME, {"provider": provider, "ids": sorted(endpoints)})
