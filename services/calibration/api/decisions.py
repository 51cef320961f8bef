"""Deciding on the subjects of an open session."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Body as FromBody
from fastapi import Response
from pydantic import BaseModel, Field, field_validator

from services.calibration.api.inputs import Approval, BandName, Employee, RationaleIn, Session
from services.calibration.api.subjects import SubjectDetail, detailed
from services.calibration.commands import decisions
from services.calibration.commands.access import viewed
from services.calibration.model import Case, Decision
from shared.auth import Principal, Role
from shared.contracts.ids import EmployeeId
from shared.web import App, Body, IfMatch, Router, requires

router = Router(prefix="/sessions", tags=["decisions"])
Decider = Annotated[Principal, requires(Role.HR_ADMIN, Role.FACILITATOR, Role.MANAGER)]


class Confirm(Body):
    kind: Literal["confirm"]


class Change(Body):
    kind: Literal["change"]
    band: BandName | None
    rationale: RationaleIn


class Seen(Body):
    employee: Employee
    version: int = Field(ge=1, strict=True)


class ConfirmationsIn(Body):
    subjects: list[Seen] = Field(min_length=1, max_length=1000)

    @field_validator("subjects")
    @classmethod
    def _once_each(cls, subjects: list[Seen]) -> list[Seen]:
        if len({seen.employee for seen in subjects}) < len(subjects):
            raise ValueError("nobody may be named twice")
        return subjects


class ConfirmationOut(BaseModel):
    employee: EmployeeId
    outcome: Literal["confirmed", "refused"]
    version: int | None
    code: Literal["stale", "unknown"] | None


class ConfirmationsOut(BaseModel):
    confirmed: int
    refused: int
    results: list[ConfirmationOut]


@router.put("/{session}/subjects/{employee}/decision")
async def put_decision(
    session: Session,
    employee: Employee,
    body: Annotated[Confirm | Change, FromBody(discriminator="kind")],
    who: Decider,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> SubjectDetail:
    async with app.database.begin(who.tenant) as tx:
        now = app.clock()
        if isinstance(body, Confirm):
            await decisions.confirm(tx, who, session, employee, if_match, now)
        else:
            rationale = body.rationale.to_model()
            await decisions.change(tx, who, session, employee, body.band, rationale, if_match, now)
        found, cycle, _ = await viewed(tx, who, session)
        return await detailed(tx, found, cycle, employee, response)


@router.post("/{session}/subjects/{employee}/approval")
async def post_approval(
    session: Session,
    employee: Employee,
    body: Approval,
    who: Decider,
    app: App,
    if_match: IfMatch,
    response: Response,
) -> SubjectDetail:
    async with app.database.begin(who.tenant) as tx:
        await decisions.judge(tx, who, session, employee, body.approve, body.reason, if_match, app.clock())
        found, cycle, _ = await viewed(tx, who, session)
        return await detailed(tx, found, cycle, employee, response)


@router.post("/{session}/confirmations")
async def post_confirmations(session: Session, body: ConfirmationsIn, who: Decider, app: App) -> ConfirmationsOut:
    versions = {seen.employee: seen.version for seen in body.subjects}
    async with app.database.begin(who.tenant) as tx:
        outcomes = await decisions.confirm_many(tx, who, session, versions, app.clock())
    results = [_confirmation(employee, outcome) for employee, outcome in outcomes.items()]
    confirmed = sum(result.outcome == "confirmed" for result in results)
    return ConfirmationsOut(confirmed=confirmed, refused=len(results) - confirmed, results=results)


def _confirmation(employee: EmployeeId, outcome: Decision | Case | None) -> ConfirmationOut:
    if isinstance(outcome, Decision):
        return ConfirmationOut(employee=employee, outcome="confirmed", version=outcome.version, code=None)
    if outcome is None:
        return ConfirmationOut(employee=employee, outcome="refused", version=None, code="unknown")
    return ConfirmationOut(employee=employee, outcome="refused", version=outcome.version, code="stale")
