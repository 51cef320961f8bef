"""A service small enough to see what the edge does to every service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import text

from shared import audit
from shared.auth import Principal, Role, TokenVerifier
from shared.clock import Clock, utc_now
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.errors import Conflict, Forbidden, RuleViolation
from shared.field_problems import FieldProblem
from shared.settings import ServiceSettings
from shared.versions import etag
from shared.web import App, IfMatch, Once, Page, Paging, Router, Wiring, check_depth, create_app, read_body, requires
from shared.web.admin import audit_router

Editor = Annotated[Principal, requires(Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.MANAGER)]


class NoteIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=20)]
    weight: Decimal = Decimal(1)
    kind: Literal["praise", "hint"] = "praise"
    lines: list[int] = []


class NoteOut(BaseModel):
    number: int
    day: date
    text: str

    @classmethod
    def of(cls, number: int) -> Self:
        return cls(number=number, day=date(2026, 1, 1 + number % 3), text=f"=note {number}")


router = Router(prefix="/notes", tags=["notes"])


@router.post("", status_code=201)
async def post_note(body: NoteIn, who: Editor) -> NoteIn:
    return body


@router.get("", response_model=Page[NoteOut])
async def list_notes(
    who: Reader, paging: Paging, count: Annotated[int, Query(ge=0, le=1000)] = 5
) -> Page[NoteOut] | Response:
    after = paging.after(tuple[date, int])
    notes = sorted((NoteOut.of(number) for number in range(count)), key=lambda note: (note.day, note.number))
    rest = [note for note in notes if after is None or (note.day, note.number) > after]
    return paging.page(NoteOut, rest[: paging.fetch], key=lambda note: (note.day, note.number))


@router.post("/raw")
async def post_raw(request: Request, who: Editor, limit: int = 4096) -> int:
    raw = await read_body(request, limit)
    check_depth(raw)
    return len(raw)


@router.put("/{number}")
async def put_note(number: int, body: NoteIn, who: Editor, if_match: IfMatch, response: Response) -> NoteIn:
    """Note 0 is not there yet, any other is in its version 7 and says `as ever`."""
    if_match.check(7 if number else 0, changes=body.text != "as ever")
    response.headers["ETag"] = etag(8)
    return body


@router.post("/{number}/publication", status_code=201, response_model=NoteOut)
async def publish_note(number: int, who: Editor, app: App, once: Once, fail: bool = False) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> NoteOut:
            await audit.record(tx, who.subject, app.clock(), "note.published", f"note/{number}")
            if fail:
                raise RuleViolation("not today")
            return NoteOut.of(number)

        return await once(tx, who, work)


@router.post("/{number}/failure")
async def fail_note(number: int, who: Editor, app: App, how: str) -> None:
    async with app.database.begin(who.tenant) as tx:
        await audit.record(tx, who.subject, app.clock(), "note.failed", f"note/{number}")
        raise {
            "forbidden": Forbidden("not your note"),
            "conflict": Conflict("closed", problems=[FieldProblem("/text", "closed", "nobody writes here any more")]),
            "transient": ConnectionError("database of employee e-1 is gone"),
        }.get(how, RuntimeError("salary 123456 of Ada"))


class WebSettings(ServiceSettings):
    pass


def settings(**more: object) -> WebSettings:
    values: dict[str, object] = {
        "database_url": SecretStr("postgresql+asyncpg://none@127.0.0.1/none"),
        "kafka_bootstrap": "127.0.0.1:1",
        "oidc_issuer": "http://127.0.0.1:1",
        "http_port": 0,
    }
    return WebSettings.model_validate(values | more)


def build(
    database: Database,
    verifier: TokenVerifier,
    *,
    clock: Clock = utc_now,
    routers: Sequence[Router] = (router, audit_router),
    problems: dict[str, str] | None = None,
    **more: object,
) -> FastAPI:
    wiring = Wiring(settings(**more), database, verifier, clock)
    return create_app(wiring, routers, title="Notes", version="1", readiness=lambda: problems or {})


async def entries(database: Database, provider: str) -> list[tuple[str, str, str, str]]:
    async with database.begin(ProviderId(provider)) as tx:
        rows = await tx.execute(text("SELECT actor, action, object, outcome FROM audit_entries ORDER BY sequence"))
        return [(row.actor, row.action, row.object, row.outcome) for row in rows]
