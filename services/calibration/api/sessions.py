from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.api.inputs import Cycle, Deadline, Employee, Label, Nothing, Session, Unit, Words
from services.calibration.commands import publication, sessions
from services.calibration.commands.access import viewed
from services.calibration.model import CaseState, Plan, Scope, SessionState
from services.calibration.model import Session as SessionModel
from services.calibration.store import sessions as store
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, ClientId, CycleId, EmployeeId, SessionId
from shared.versions import etag
from shared.web import App, Body, IfMatch, Once, Page, Paging, Router, requires

router = Router(prefix="/sessions", tags=["sessions"])
Admin = Annotated[Principal, requires(Role.HR_ADMIN)]
Leader = Annotated[Principal, requires(Role.HR_ADMIN, Role.FACILITATOR)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR, Role.FACILITATOR, Role.MANAGER)]


class ScopeIn(Body):
    units: list[Unit] = Field(default=[], max_length=1000)
    clients: list[Annotated[ClientId, IDENTIFIER]] = Field(default=[], max_length=1000)
    lines_of_business: list[Label] = Field(default=[], max_length=1000)
    grades: list[Label] = Field(default=[], max_length=1000)

    def to_model(self) -> Scope:
        lists = (self.units, self.clients, self.lines_of_business, self.grades)
        return Scope(*(tuple(sorted(set(each))) for each in lists))


class PlanIn(Body):
    name: Label
    scope: ScopeIn = ScopeIn()
    owner: Employee | None = None
    facilitator: Employee
    participants: list[Employee] = Field(default=[], max_length=500)
    deadline: Deadline

    def to_model(self) -> Plan:
        participants = tuple(sorted(set(self.participants)))
        return Plan(self.name, self.scope.to_model(), self.owner, self.facilitator, participants, self.deadline)


class SessionIn(PlanIn):
    id: Session | None = None
    cycle: Cycle


class OpenIn(Body):
    leave_out_taken: bool = Field(default=False, strict=True)


class ReopenIn(Body):
    reason: Words
    deadline: Deadline


class CancelIn(Body):
    reason: Words


class ScopeOut(BaseModel):
    units: list[str]
    clients: list[str]
    lines_of_business: list[str]
    grades: list[str]


class Counts(BaseModel):
    subjects: int
    undecided: int
    confirmed: int
    changed: int
    awaiting_approval: int


class SessionOut(BaseModel):
    id: SessionId
    name: str
    cycle: CycleId
    state: SessionState
    scope: ScopeOut
    owner: EmployeeId | None
    facilitator: EmployeeId
    participants: list[EmployeeId]
    deadline: datetime
    version: int
    counts: Counts
    created_by: str
    created_at: datetime
    opened_at: datetime | None
    locked_at: datetime | None
    published_at: datetime | None
    published_by: str | None

    @staticmethod
    def of(session: SessionModel, counts: dict[CaseState, int]) -> SessionOut:
        plan, scope = session.plan, session.plan.scope
        return SessionOut(
            id=session.id,
            name=plan.name,
            cycle=session.cycle,
            state=session.state,
            scope=ScopeOut(
                units=list(scope.units),
                clients=list(scope.clients),
                lines_of_business=list(scope.lines_of_business),
                grades=list(scope.grades),
            ),
            owner=plan.owner,
            facilitator=plan.facilitator,
            participants=list(plan.participants),
            deadline=plan.deadline,
            version=session.version,
            counts=Counts(
                subjects=sum(counts.values()),
                undecided=counts.get(CaseState.UNDECIDED, 0),
                confirmed=counts.get(CaseState.CONFIRMED, 0),
                changed=counts.get(CaseState.CHANGED, 0),
                awaiting_approval=counts.get(CaseState.AWAITING, 0),
            ),
            created_by=session.created_by,
            created_at=session.created_at,
            opened_at=session.opened_at,
            locked_at=session.locked_at,
            published_at=session.published_at,
            published_by=session.published_by,
        )


class PublicationOut(BaseModel):
    session: SessionId
    published: int
    published_at: datetime


async def _shown(tx: AsyncConnection, who: Principal, session: SessionModel, response: Response) -> SessionOut:
    response.headers["ETag"] = etag(session.version)
    counts = await store.counts(tx, [session.id], who.employee)
    return SessionOut.of(session, counts[session.id])


@router.post("", status_code=201)
async def post_session(body: SessionIn, who: Admin, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        plan = body.to_model()
        owned = replace(plan, owner=plan.owner or who.employee)
        made = await sessions.prepare(tx, who, body.id, body.cycle, owned, app.clock())
        return await _shown(tx, who, made, response)


@router.get("", response_model=Page[SessionOut])
async def get_sessions(
    who: Reader, app: App, paging: Paging, cycle: Cycle | None = None, state: SessionState | None = None
) -> Page[SessionOut] | Response:
    of = None if who.has(Role.HR_ADMIN, Role.AUDITOR) else who.employee or EmployeeId("")
    async with app.database.begin(who.tenant) as tx:
        found = await store.sessions_page(
            tx, of=of, cycle_id=cycle, state=state, after=paging.after(tuple[Session]), limit=paging.fetch
        )
        counts = await store.counts(tx, [session.id for session in found], who.employee)
    items = [SessionOut.of(session, counts[session.id]) for session in found]
    return paging.page(SessionOut, items, key=lambda item: (item.id,))


@router.get("/{session}")
async def get_session(session: Session, who: Reader, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        found, _, _ = await viewed(tx, who, session)
        return await _shown(tx, who, found, response)


@router.put("/{session}")
async def put_session(
    session: Session, body: PlanIn, who: Admin, app: App, if_match: IfMatch, response: Response
) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        changed = await sessions.edit(tx, who, session, body.to_model(), if_match, app.clock())
        return await _shown(tx, who, changed, response)


@router.post("/{session}/open")
async def post_open(session: Session, body: OpenIn, who: Admin, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        opened = await sessions.open_session(tx, who, session, body.leave_out_taken, app.clock())
        return await _shown(tx, who, opened, response)


@router.post("/{session}/lock")
async def post_lock(session: Session, body: Nothing, who: Leader, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        locked = await sessions.lock(tx, who, session, app.clock())
        return await _shown(tx, who, locked, response)


@router.post("/{session}/reopen")
async def post_reopen(session: Session, body: ReopenIn, who: Admin, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        opened = await sessions.reopen(tx, who, session, body.reason, body.deadline, app.clock())
        return await _shown(tx, who, opened, response)


@router.post("/{session}/cancel")
async def post_cancel(session: Session, body: CancelIn, who: Admin, app: App, response: Response) -> SessionOut:
    async with app.database.begin(who.tenant) as tx:
        cancelled = await sessions.cancel(tx, who, session, body.reason, app.clock())
        return await _shown(tx, who, cancelled, response)


@router.post("/{session}/publish", response_model=PublicationOut)
async def post_publish(session: Session, body: Nothing, who: Leader, app: App, once: Once) -> Response:
    now = app.clock()

    async def published(tx: AsyncConnection) -> PublicationOut:
        done, people = await publication.publish(tx, who, session, now)
        return PublicationOut(session=done.id, published=people, published_at=now)

    async with app.database.begin(who.tenant) as tx:
        return await once(tx, who, lambda: published(tx))
