from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import Body as FromBody
from fastapi import Query, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.api.inputs import Approval, BandName, Cycle, Employee, RationaleIn
from services.calibration.api.subjects import HistoryOut, history_out
from services.calibration.commands import revisions
from services.calibration.commands.access import refuse_outside, refuse_own_case, viewed
from services.calibration.model import CaseState, Reach
from services.calibration.store import decisions
from services.calibration.store import revisions as store
from services.calibration.store import sessions as session_store
from shared.auth import Principal, Role
from shared.contracts.ids import Band, CycleId, EmployeeId, SessionId
from shared.errors import NotFound
from shared.field_problems import FieldProblem
from shared.versions import etag
from shared.web import App, Body, IfMatch, Page, Paging, Refusal, Router, requires

router = Router(prefix="/revisions", tags=["revisions"])
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR, Role.FACILITATOR, Role.MANAGER)]
Decider = Annotated[Principal, requires(Role.HR_ADMIN, Role.FACILITATOR, Role.MANAGER)]


class RevisionState(StrEnum):
    OPEN = "open"
    AWAITING = "awaiting-approval"
    CONFIRMED = "confirmed"
    REVISED = "revised"


_STATES = {
    CaseState.UNDECIDED: RevisionState.OPEN,
    CaseState.AWAITING: RevisionState.AWAITING,
    CaseState.CONFIRMED: RevisionState.CONFIRMED,
    CaseState.CHANGED: RevisionState.REVISED,
}
_CASES = {shown: state for state, shown in _STATES.items()}


class ConfirmRevision(Body):
    cycle: Cycle
    kind: Literal["confirm"]


class Revise(Body):
    cycle: Cycle
    kind: Literal["revise"]
    band: BandName | None
    rationale: RationaleIn


class RevisionApproval(Approval):
    cycle: Cycle


class RevisionOut(BaseModel):
    employee: EmployeeId
    cycle: CycleId
    number: int
    session: SessionId
    state: RevisionState
    version: int
    opened_at: datetime
    classification_version: int
    current_band: Band | None
    scorecard_version: int
    score: Decimal | None
    proposed_band: Band | None
    asked_band: Band | None


class RevisionDetail(RevisionOut):
    history: list[HistoryOut]


def _out(row: store.Shown) -> RevisionOut:
    state = _STATES[CaseState(row.state)]
    return RevisionOut(
        employee=row.employee,
        cycle=row.cycle,
        number=row.number,
        session=row.session,
        state=state,
        version=row.version,
        opened_at=row.opened_at,
        classification_version=row.classification_version,
        current_band=row.current_band,
        scorecard_version=row.scorecard_version,
        score=row.score,
        proposed_band=row.proposed_band,
        asked_band=row.band if state is RevisionState.AWAITING else None,
    )


async def _detailed(tx: AsyncConnection, cycle: CycleId, employee: EmployeeId, response: Response) -> RevisionDetail:
    row = await store.newest(tx, cycle, employee)
    if row is None:
        raise NotFound("no such revision")
    response.headers["ETag"] = etag(row.version)
    history = await decisions.history(tx, row.session, employee)
    return RevisionDetail(**_out(row).model_dump(), history=[history_out(each) for each in history])


@router.get("", response_model=Page[RevisionOut])
async def get_revisions(
    who: Reader, app: App, paging: Paging, cycle: Cycle | None = None, state: RevisionState | None = None
) -> Page[RevisionOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        of = None
        if not who.has(Role.HR_ADMIN, Role.AUDITOR):
            known = await session_store.cycle(tx, cycle) if cycle is not None else None
            if known is None:
                found = FieldProblem("cycle", "missing", "name the cycle on whose last day your line is meant")
                raise Refusal(422, "cycle-needed", "a cycle that is known here must be named", [found])
            of = (who.employee or EmployeeId(""), known.ends_on)
        rows = await store.revisions_page(
            tx,
            without=who.employee,
            of=of,
            cycle=cycle,
            state=_CASES[state] if state else None,
            after=paging.after(tuple[Cycle, Employee, int]),
            limit=paging.fetch,
        )
    items = [_out(row) for row in rows]
    return paging.page(RevisionOut, items, key=lambda item: (item.cycle, item.employee, item.number))


@router.get("/{employee}")
async def get_revision(
    employee: Employee, cycle: Annotated[Cycle, Query()], who: Reader, app: App, response: Response
) -> RevisionDetail:
    refuse_own_case(who, [employee])
    async with app.database.begin(who.tenant) as tx:
        session = await store.session_of(tx, cycle, employee)
        if session is None:
            raise NotFound("no such revision")
        found, _, view = await viewed(tx, who, session)
        await refuse_outside(tx, who, found, [employee], Reach.LINE if view.line else Reach.ALL)
        return await _detailed(tx, cycle, employee, response)


@router.post("/{employee}/decision")
async def post_decision(
    employee: Employee,
    body: Annotated[ConfirmRevision | Revise, FromBody(discriminator="kind")],
    who: Decider,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> RevisionDetail:
    async with app.database.begin(who.tenant) as tx:
        now = app.clock()
        if isinstance(body, ConfirmRevision):
            await revisions.confirm(tx, who, body.cycle, employee, if_match, now)
        else:
            rationale = body.rationale.to_model()
            await revisions.revise(tx, who, body.cycle, employee, body.band, rationale, if_match, now)
        return await _detailed(tx, body.cycle, employee, response)


@router.post("/{employee}/approval")
async def post_approval(
    employee: Employee, body: RevisionApproval, who: Decider, app: App, if_match: IfMatch, response: Response
) -> RevisionDetail:
    async with app.database.begin(who.tenant) as tx:
        await revisions.judge(tx, who, body.cycle, employee, body.approve, body.reason, if_match, app.clock())
        return await _detailed(tx, body.cycle, employee, response)
