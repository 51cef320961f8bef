"""Where webhooks go. A secret is in the answer that made it, and in no other."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field

from services.notifications.commands import endpoints as commands
from services.notifications.commands.endpoints import Change, NewEndpoint
from services.notifications.model import Endpoint, EndpointId, Kind
from services.notifications.rules.addresses import url_objection
from services.notifications.rules.webhooks import SECRET_BYTES, show_secret
from services.notifications.settings import NotificationsSettings
from services.notifications.store import endpoints as store
from shared.auth import Principal, Role
from shared.errors import NotFound, RuleViolation
from shared.field_problems import FieldProblem
from shared.versions import etag
from shared.web import App, Body, IfMatch, Once, Page, Paging, Router, Wiring, requires

router = Router(prefix="/webhook-endpoints", tags=["webhook endpoints"])
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR, Role.OPERATOR)]
Description = Annotated[str, Field(max_length=200)]
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=len(Kind))]


class EndpointIn(Body):
    url: str
    kinds: Kinds
    description: Description = ""


class EndpointChange(Body):
    """Fields that are left out stay as they are."""

    url: str | None = None
    kinds: Kinds | None = None
    description: Description | None = None
    enabled: bool | None = None


class EndpointOut(BaseModel):
    id: UUID
    url: str
    kinds: list[Kind]
    description: str
    enabled: bool
    disabled_reason: str | None
    paused_until: datetime | None
    version: int

    @classmethod
    def of(cls, endpoint: Endpoint) -> EndpointOut:
        return cls.model_validate(_fields(endpoint))


class NewEndpointOut(EndpointOut):
    secret: str


class SecretOut(BaseModel):
    id: UUID
    secret: str
    previous_until: datetime
    version: int


@router.get("", response_model=Page[EndpointOut])
async def list_endpoints(who: Reader, app: App, paging: Paging) -> Page[EndpointOut] | Response:
    after = paging.after(tuple[UUID])
    async with app.database.begin(who.tenant) as tx:
        rows = await store.page(tx, who.tenant, after[0] if after else None, paging.fetch)
    return paging.page(EndpointOut, [EndpointOut.of(row) for row in rows], lambda endpoint: (endpoint.id,))


@router.post("", status_code=201, response_model=NewEndpointOut)
async def create_endpoint(body: EndpointIn, who: Editor, app: App, once: Once) -> Response:
    _check(body.url, app)

    async def create() -> NewEndpointOut:
        secret = secrets.token_bytes(SECRET_BYTES)
        new = NewEndpoint(body.url, frozenset(body.kinds), body.description, secret)
        made = await commands.create(tx, who.tenant, new, by=who.subject, now=app.clock())
        return NewEndpointOut.model_validate({**_fields(made), "secret": show_secret(secret)})

    async with app.database.begin(who.tenant) as tx:
        return await once(tx, who, create)


@router.get("/{endpoint}")
async def get_endpoint(endpoint: UUID, who: Reader, app: App, response: Response) -> EndpointOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.find(tx, who.tenant, EndpointId(endpoint))
    if found is None:
        raise NotFound("there is no such webhook endpoint")
    response.headers["ETag"] = etag(found.version)
    return EndpointOut.of(found)


@router.patch("/{endpoint}")
async def change_endpoint(
    endpoint: UUID, body: EndpointChange, who: Editor, app: App, if_match: IfMatch, response: Response
) -> EndpointOut:
    if body.url is not None:
        _check(body.url, app)
    kinds = None if body.kinds is None else frozenset(body.kinds)
    change = Change(body.url, kinds, body.description, body.enabled)
    async with app.database.begin(who.tenant) as tx:
        saved = await commands.change(
            tx, who.tenant, EndpointId(endpoint), change, if_match, by=who.subject, now=app.clock()
        )
    response.headers["ETag"] = etag(saved.version)
    return EndpointOut.of(saved)


@router.post("/{endpoint}/secret", response_model=SecretOut)
async def rotate_secret(endpoint: UUID, who: Editor, app: App, once: Once) -> Response:
    async def rotate() -> SecretOut:
        secret = secrets.token_bytes(SECRET_BYTES)
        rotated, until = await commands.rotate(
            tx, who.tenant, EndpointId(endpoint), secret, by=who.subject, now=app.clock()
        )
        return SecretOut(id=rotated.id, secret=show_secret(secret), previous_until=until, version=rotated.version)

    async with app.database.begin(who.tenant) as tx:
        return await once(tx, who, rotate)


@router.delete("/{endpoint}", status_code=204)
async def delete_endpoint(endpoint: UUID, who: Editor, app: App, if_match: IfMatch) -> None:
    async with app.database.begin(who.tenant) as tx:
        await commands.delete(tx, who.tenant, EndpointId(endpoint), if_match, by=who.subject, now=app.clock())


def _check(url: str, app: Wiring) -> None:
    if not isinstance(app.settings, NotificationsSettings):
        raise TypeError("notifications is wired with the settings of another service")
    objection = url_objection(url, allow_private=app.settings.webhook_allow_private)
    if objection:
        raise RuleViolation("this URL cannot take webhooks", problems=[FieldProblem("/url", "refused", objection)])


def _fields(endpoint: Endpoint) -> dict[str, UUID | str | list[Kind] | datetime | bool | int | None]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "kinds": list(endpoint.kinds),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "paused_until": endpoint.paused_until,
        "version": endpoint.version,
    }
