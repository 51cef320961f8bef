"""What a person was told, and how they wish to be told. Nobody reads another's, whatever their role."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from services.notifications.commands import contacts as commands
from services.notifications.model import Kind, Notice, NoticeId
from services.notifications.rules import wording
from services.notifications.store import contacts, notices
from shared.auth import Principal, Role
from shared.contracts.ids import EmployeeId
from shared.errors import Forbidden, NotFound
from shared.versions import etag
from shared.web import App, Body, IfMatch, Page, Paging, Router, requires

router = Router(tags=["inbox"])
Person = Annotated[
    Principal,
    requires(
        Role.EMPLOYEE,
        Role.MANAGER,
        Role.FACILITATOR,
        Role.HR_ADMIN,
        Role.COMPENSATION_ADMIN,
        Role.AUDITOR,
        Role.OPERATOR,
    ),
]


class NoticeOut(BaseModel):
    id: UUID
    kind: Kind
    title: str
    text: str
    cause: str
    cycle: str | None
    cycle_name: str | None
    ids: dict[str, str | int]
    happened_at: datetime
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def of(cls, notice: Notice, language: str) -> NoticeOut:
        said = wording.sentence(language, notice.kind, notice.cycle_name or notice.cycle)
        return cls(
            id=notice.id,
            kind=notice.kind,
            title=said.title,
            text=said.text,
            cause=notice.cause,
            cycle=notice.cycle,
            cycle_name=notice.cycle_name,
            ids=dict(notice.ids),
            happened_at=notice.happened_at,
            created_at=notice.created_at,
            read_at=notice.read_at,
        )


class PreferencesIn(Body):
    """Kinds that are left out come by mail."""

    email: dict[Kind, bool]


class PreferencesOut(BaseModel):
    email: dict[Kind, bool]
    version: int

    @classmethod
    def of(cls, off: frozenset[Kind], version: int) -> PreferencesOut:
        return cls(email={kind: kind not in off for kind in Kind}, version=version)


@router.get("/inbox", response_model=Page[NoticeOut])
async def list_inbox(who: Person, app: App, paging: Paging, unread: bool | None = None) -> Page[NoticeOut] | Response:
    me = _employee(who)
    before = paging.after(tuple[UUID])
    async with app.database.begin(who.tenant) as tx:
        rows = await notices.inbox(tx, who.tenant, me, unread, before[0] if before else None, paging.fetch)
        language = wording.language_of(await notices.locale_of(tx, who.tenant, me))
    return paging.page(NoticeOut, [NoticeOut.of(row, language) for row in rows], lambda notice: (notice.id,))


@router.post("/inbox/{notice}/read")
async def read_notice(notice: UUID, who: Person, app: App) -> NoticeOut:
    me = _employee(who)
    async with app.database.begin(who.tenant) as tx:
        found = await notices.mark_read(tx, who.tenant, me, NoticeId(notice), app.clock())
        language = wording.language_of(await notices.locale_of(tx, who.tenant, me))
    if found is None:
        raise NotFound("there is no such notice in your inbox")
    return NoticeOut.of(found, language)


@router.get("/preferences")
async def get_preferences(who: Person, app: App, response: Response) -> PreferencesOut:
    me = _employee(who)
    async with app.database.begin(who.tenant) as tx:
        off, version = await contacts.email_off(tx, me)
    response.headers["ETag"] = etag(version)
    return PreferencesOut.of(off, version)


@router.put("/preferences")
async def put_preferences(
    body: PreferencesIn, who: Person, app: App, if_match: IfMatch, response: Response
) -> PreferencesOut:
    me = _employee(who)
    off = frozenset(kind for kind, wanted in body.email.items() if not wanted)
    async with app.database.begin(who.tenant) as tx:
        version = await commands.put_preferences(tx, who.tenant, me, off, if_match)
    response.headers["ETag"] = etag(version)
    return PreferencesOut.of(off, version)


def _employee(who: Principal) -> EmployeeId:
    if who.employee is None:
        raise Forbidden("this needs a token that names an employee", code="no-employee")
    return who.employee
