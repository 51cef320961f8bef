"""Providers, which an operator of the platform creates, and the clients they work for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import Response
from pydantic import BaseModel, Field

from services.ingest.api.shapes import Id, Text, answer_put, by
from services.ingest.commands import providers as commands
from services.ingest.commands.editing import By
from services.ingest.model import Client, Kept, Provider
from services.ingest.store import providers as store
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, ClientId, LineOfBusiness, ProviderId
from shared.database import PLATFORM
from shared.errors import Forbidden, NotFound
from shared.versions import etag
from shared.web import App, Body, IfMatch, Page, Paging, Router, requires

router = Router(prefix="/providers", tags=["providers"])
clients_router = Router(prefix="/clients", tags=["clients"])
Operator = Annotated[Principal, requires(Role.OPERATOR)]
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR)]


class ProviderIn(Body):
    id: Annotated[ProviderId, IDENTIFIER]
    name: Text


class ProviderOut(BaseModel):
    id: str
    name: str
    created_at: datetime

    @classmethod
    def of(cls, provider: Provider) -> Self:
        return cls(id=provider.id, name=provider.name, created_at=provider.created_at)


class ClientIn(Body):
    name: Text
    lines_of_business: Annotated[list[Annotated[LineOfBusiness, IDENTIFIER]], Field(min_length=1, max_length=200)]


class ClientOut(BaseModel):
    id: str
    name: str
    lines_of_business: list[str]
    version: int

    @classmethod
    def of(cls, kept: Kept[Client]) -> Self:
        client = kept.state
        return cls(id=client.id, name=client.name, lines_of_business=[*client.lines_of_business], version=kept.version)


@router.post("", status_code=201, responses={200: {"model": ProviderOut}})
async def post_provider(body: ProviderIn, who: Operator, app: App, response: Response) -> ProviderOut:
    if who.provider is not None:
        raise Forbidden("an operator of the platform does this, whose token names no provider", code="not-platform")
    provider = Provider(body.id, body.name, app.clock())
    async with app.database.begin(provider.id) as tx:
        kept, created = await commands.add_provider(tx, provider, By(provider.id, who.subject, app.clock()))
    response.status_code = 201 if created else 200
    return ProviderOut.of(kept)


@router.get("", response_model=Page[ProviderOut])
async def list_providers(who: Operator, app: App, paging: Paging) -> Page[ProviderOut] | Response:
    async with app.database.begin(who.provider or PLATFORM) as tx:
        found = await store.providers_page(tx, paging.after(tuple[Id]), paging.fetch)
    return paging.page(ProviderOut, [ProviderOut.of(provider) for provider in found], key=lambda one: (one.id,))


@clients_router.put("/{client}", response_model=ClientOut, responses={201: {"model": ClientOut}})
async def put_client(
    client: Annotated[ClientId, IDENTIFIER],
    body: ClientIn,
    who: Editor,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> ClientOut:
    wanted = Client(client, body.name, tuple(sorted(set(body.lines_of_business))))
    async with app.database.begin(who.tenant) as tx:
        put = await commands.put_client(tx, wanted, if_match, by(who, app))
    return ClientOut.of(Kept(wanted, answer_put(response, put)))


@clients_router.get("", response_model=Page[ClientOut])
async def list_clients(who: Reader, app: App, paging: Paging) -> Page[ClientOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found = await store.clients_page(tx, paging.after(tuple[Id]), paging.fetch)
    return paging.page(ClientOut, [ClientOut.of(kept) for kept in found], key=lambda one: (one.id,))


@clients_router.get("/{client}")
async def get_client(client: Annotated[ClientId, IDENTIFIER], who: Reader, app: App, response: Response) -> ClientOut:
    async with app.database.begin(who.tenant) as tx:
        kept = await store.client(tx, client)
    if kept is None:
        raise NotFound("there is no client of this id")
    response.headers["ETag"] = etag(kept.version)
    return ClientOut.of(kept)
