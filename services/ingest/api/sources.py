"""Sources, their keys, and their own names for people."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Self

from fastapi import Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from services.ingest.api.bodies import Shape, one_or_many, read_documents
from services.ingest.api.shapes import Agent, Id, RejectionOut, Text, answer_put, by
from services.ingest.commands import sources as commands
from services.ingest.model import AgentMapping, Kept, Scope, Source
from services.ingest.store import sources as store
from services.ingest.store.sources import KeyRow
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, ClientId, EmployeeId, LineOfBusiness, SourceId
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, Day, IfMatch, Page, Paging, Router, Time, requires

KEY_LIFE = timedelta(days=90)
MOST_BYTES = 4 << 20

router = Router(prefix="/sources", tags=["sources"])
Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR)]
Source_ = Annotated[SourceId, IDENTIFIER]


class SourceIn(Body):
    name: Text
    client: Annotated[ClientId, IDENTIFIER]
    lines_of_business: Annotated[list[Annotated[LineOfBusiness, IDENTIFIER]], Field(min_length=1, max_length=200)]


class SourceOut(BaseModel):
    id: str
    name: str
    client: str
    lines_of_business: list[str]
    version: int

    @classmethod
    def of(cls, kept: Kept[Source]) -> Self:
        source = kept.state
        lines = [*source.lines_of_business]
        return cls(id=source.id, name=source.name, client=source.client, lines_of_business=lines, version=kept.version)


class KeyIn(Body):
    expires_at: Time | None = None
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset(Scope)


class KeyOut(BaseModel):
    id: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: KeyRow) -> Self:
        return cls(
            id=row.id,
            scopes=[*row.scopes],
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )


class NewKeyOut(BaseModel):
    """`secret` is the whole key, shown this once; only its hash is kept."""

    id: str
    secret: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime


class AgentIn(Body):
    agent: Agent
    employee: Annotated[EmployeeId, IDENTIFIER]
    valid_from: Day
    valid_to: Day | None = None


class AgentOut(BaseModel):
    agent: str
    employee: str
    valid_from: date
    valid_to: date | None


class AgentsOut(BaseModel):
    saved: int
    unchanged: int
    rejected: list[RejectionOut]


_MAPPINGS = Shape(TypeAdapter(AgentIn), TypeAdapter(list[AgentIn]))


@router.put("/{source}", response_model=SourceOut, responses={201: {"model": SourceOut}})
async def put_source(
    source: Source_, body: SourceIn, who: Editor, app: App, if_match: IfMatch, response: Response
) -> SourceOut:
    wanted = Source(source, body.name, body.client, tuple(sorted(set(body.lines_of_business))))
    async with app.database.begin(who.tenant) as tx:
        put = await commands.put_source(tx, wanted, if_match, by(who, app))
    return SourceOut.of(Kept(wanted, answer_put(response, put)))


@router.get("", response_model=Page[SourceOut])
async def list_sources(
    who: Reader,
    app: App,
    paging: Paging,
    client: Annotated[ClientId | None, Query(pattern=IDENTIFIER.pattern)] = None,
) -> Page[SourceOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found = await store.sources_page(tx, client, paging.after(tuple[Id]), paging.fetch)
    return paging.page(SourceOut, [SourceOut.of(kept) for kept in found], key=lambda one: (one.id,))


@router.get("/{source}")
async def get_source(source: Source_, who: Reader, app: App, response: Response) -> SourceOut:
    async with app.database.begin(who.tenant) as tx:
        kept = await store.source(tx, who.tenant, source)
    if kept is None:
        raise NotFound("there is no source of this id")
    response.headers["ETag"] = etag(kept.version)
    return SourceOut.of(kept)


@router.post("/{source}/keys", status_code=201)
async def post_key(source: Source_, body: KeyIn, who: Editor, app: App) -> NewKeyOut:
    expires_at = body.expires_at or app.clock() + KEY_LIFE
    scopes = [scope for scope in Scope if scope in body.scopes]
    async with app.database.begin(who.tenant) as tx:
        text, row = await commands.issue_key(tx, source, scopes, expires_at, by(who, app))
    return NewKeyOut(id=row.id, secret=text, scopes=scopes, created_at=row.created_at, expires_at=row.expires_at)


@router.get("/{source}/keys", response_model=Page[KeyOut])
async def list_keys(source: Source_, who: Reader, app: App, paging: Paging) -> Page[KeyOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        if await store.source(tx, who.tenant, source) is None:
            raise NotFound("there is no source of this id")
        found = await store.keys_page(tx, source, paging.after(tuple[AwareDatetime, Id]), paging.fetch)
    return paging.page(KeyOut, [KeyOut.of(row) for row in found], key=lambda one: (one.created_at, one.id))


@router.delete("/{source}/keys/{key}", status_code=204)
async def delete_key(source: Source_, key: Id, who: Editor, app: App) -> None:
    async with app.database.begin(who.tenant) as tx:
        await commands.revoke_key(tx, source, key, by(who, app))


@router.put("/{source}/agents", openapi_extra={"requestBody": {"required": True, "content": one_or_many(_MAPPINGS)}})
async def put_agents(source: Source_, request: Request, who: Editor, app: App) -> AgentsOut:
    """Adds or replaces mappings, each by agent and first day; what is not named stays."""
    documents = await read_documents(request, MOST_BYTES)
    valid, misshapen = _MAPPINGS.read(documents.items)
    items = [(index, AgentMapping(item.agent, item.employee, item.valid_from, item.valid_to)) for index, item in valid]
    async with app.database.begin(who.tenant) as tx:
        saved, unchanged, rejected = await commands.map_agents(tx, source, items, by(who, app))
    return AgentsOut(saved=saved, unchanged=unchanged, rejected=documents.show([*misshapen, *rejected]))


@router.get("/{source}/agents", response_model=Page[AgentOut])
async def list_agents(source: Source_, who: Reader, app: App, paging: Paging) -> Page[AgentOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        if await store.source(tx, who.tenant, source) is None:
            raise NotFound("there is no source of this id")
        found = await store.mappings_page(tx, source, paging.after(tuple[Agent, date]), paging.fetch)
    shown = [AgentOut.model_validate(mapping, from_attributes=True) for mapping in found]
    return paging.page(AgentOut, shown, key=lambda one: (one.agent, one.valid_from))
