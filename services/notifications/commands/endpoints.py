"""Keep webhook endpoints and their secrets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Endpoint, EndpointId, Kind
from services.notifications.rules.webhooks import OVERLAP
from services.notifications.store import endpoints
from shared import audit
from shared.contracts.ids import ProviderId
from shared.errors import NotFound
from shared.versions import Precondition


@dataclass(frozen=True, slots=True)
class Change:
    """What a person changes; `None` stays as it is."""

    url: str | None = None
    kinds: frozenset[Kind] | None = None
    description: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    url: str
    kinds: frozenset[Kind]
    description: str
    secret: bytes = field(repr=False)


async def create(tx: AsyncConnection, provider: ProviderId, new: NewEndpoint, *, by: str, now: datetime) -> Endpoint:
    made = await endpoints.insert(
        tx, provider, url=new.url, kinds=new.kinds, description=new.description, secret=new.secret, now=now
    )
    await audit.record(tx, by, now, "webhook-endpoint.created", f"webhook-endpoint/{made.id}")
    return made


async def change(
    tx: AsyncConnection,
    provider: ProviderId,
    endpoint: EndpointId,
    given: Change,
    if_match: Precondition,
    *,
    by: str,
    now: datetime,
) -> Endpoint:
    """Apply `given` to the version the caller has read. Enabling forgets why the endpoint was disabled."""
    current = await _locked(tx, provider, endpoint)
    if_match.check(current.version)
    enabled = current.enabled if given.enabled is None else given.enabled
    reason = None if enabled else current.disabled_reason or "by-hand"
    saved = await endpoints.save(
        tx,
        provider,
        replace(
            current,
            url=given.url or current.url,
            kinds=current.kinds if given.kinds is None else tuple(sorted(given.kinds)),
            description=current.description if given.description is None else given.description,
            enabled=enabled,
            disabled_reason=reason,
        ),
    )
    await audit.record(tx, by, now, "webhook-endpoint.changed", f"webhook-endpoint/{endpoint}")
    return saved


async def rotate(
    tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId, secret: bytes, *, by: str, now: datetime
) -> tuple[Endpoint, datetime]:
    """Sign with `secret`; until the returned time messages carry the signature of the one before it as well."""
    await _locked(tx, provider, endpoint)
    until = now + OVERLAP
    rotated = await endpoints.rotate(tx, provider, endpoint, secret, until)
    await audit.record(tx, by, now, "webhook-endpoint.secret-rotated", f"webhook-endpoint/{endpoint}")
    return rotated, until


async def delete(
    tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId, if_match: Precondition, *, by: str, now: datetime
) -> None:
    current = await _locked(tx, provider, endpoint)
    if_match.check(current.version)
    await endpoints.delete(tx, provider, endpoint, now)
    await audit.record(tx, by, now, "webhook-endpoint.deleted", f"webhook-endpoint/{endpoint}")


async def _locked(tx: AsyncConnection, provider: ProviderId, endpoint: EndpointId) -> Endpoint:
    found = await endpoints.find(tx, provider, endpoint, lock=True)
    if found is None:
        raise NotFound("there is no such webhook endpoint")
    return found
