"""The list of a session's subjects, one subject with its history, and the distribution over bands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.api.inputs import BandName, Employee, Session, Unit
from services.calibration.commands.access import refuse_outside, refuse_own_case, viewed
from services.calibration.model import Act, CaseState, RationaleCode, Reach, Stage
from services.calibration.model import Cycle as CycleModel
from services.calibration.model import Session as SessionModel
from services.calibration.store import decisions, roster
from shared.auth import Principal, Role
from shared.contracts.ids import Band, EmployeeId, SessionId
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Page, Paging, Router, requires

router = Router(prefix="/sessions", tags=["subjects"])
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR, Role.FACILITATOR, Role.MANAGER)]


class SubjectOut(BaseModel):
    employee: EmployeeId
    name: str | None
    role: str
    grade: str
    unit: str
    manager: EmployeeId | None
    client: str
    line_of_business: str
    site: str
    scorecard_version: int
    score: Decimal | None
    coverage: Decimal
    proposed_band: Band | None
    manager_rating: Decimal | None
    manager_band: Band | None
    state: CaseState
    calibrated_band: Band | None
    asked_band: Band | None
    version: int


class Standing(BaseModel):
    state: CaseState
    band: Band | None


class RationaleOut(BaseModel):
    code: RationaleCode
    text: str


class HistoryOut(BaseModel):
    version: int
    stage: Stage
    act: Act
    by: str
    by_employee: EmployeeId | None
    at: datetime
    before: Standing
    after: Standing
    rationale: RationaleOut | None
    reason: str | None
    scorecard_version: int


class LateOut(BaseModel):
    version: int
    score: Decimal | None
    proposed_band: Band | None
    as_of: datetime


class SubjectDetail(SubjectOut):
    late: LateOut | None
    history: list[HistoryOut]


class BandCountOut(BaseModel):
    band: Band
    scored: int
    manager: int
    calibrated: int


class UnratedOut(BaseModel):
    scored: int
    calibrated: int


class DistributionOut(BaseModel):
    session: SessionId
    subjects: int
    bands: list[BandCountOut]
    unrated: UnratedOut
    manager_missing: int
    manager_between_bands: int
    undecided: int
    awaiting_approval: int


def subject_out(row: roster.Subject, bands: Sequence[Band]) -> SubjectOut:
    state = CaseState(row.state)
    return SubjectOut(
        employee=row.employee,
        name=row.display_name,
        role=row.role,
        grade=row.grade,
        unit=row.unit,
        manager=row.manager,
        client=row.client,
        line_of_business=row.line_of_business,
        site=row.site,
        scorecard_version=row.scorecard_version,
        score=row.score,
        coverage=row.coverage,
        proposed_band=row.proposed_band,
        manager_rating=row.manager_rating,
        manager_band=rules.manager_band(bands, row.manager_rating),
        state=state,
        calibrated_band=row.band if state in rules.DECIDED else None,
        asked_band=row.band if state is CaseState.AWAITING else None,
        version=row.version,
    )


def history_out(row: Row[tuple[str]]) -> HistoryOut:
    return HistoryOut(
        version=row.version,
        stage=row.stage,
        act=row.act,
        by=row.actor,
        by_employee=row.actor_employee,
        at=row.at,
        before=Standing(state=row.before_state, band=row.before_band),
        after=Standing(state=row.after_state, band=row.after_band),
        rationale=RationaleOut(code=row.rationale_code, text=row.rationale_text) if row.rationale_code else None,
        reason=row.reason,
        scorecard_version=row.scorecard_version,
    )


async def detailed(
    tx: AsyncConnection, session: SessionModel, cycle: CycleModel, employee: EmployeeId, response: Response
) -> SubjectDetail:
    """One subject with its ETag; the caller has made sure that it may be seen."""
    row = await roster.subject(tx, session.id, employee)
    if row is None:
        raise NotFound("no such subject in this session")
    late = await roster.late_scorecard(tx, session.cycle, employee)
    response.headers["ETag"] = etag(row.version)
    return SubjectDetail(
        **subject_out(row, cycle.bands).model_dump(),
        late=LateOut(version=late.version, score=late.score, proposed_band=late.proposed_band, as_of=late.as_of)
        if late
        else None,
        history=[history_out(each) for each in await decisions.history(tx, session.id, employee)],
    )


@router.get("/{session}/subjects", response_model=Page[SubjectOut])
async def get_subjects(
    session: Session,
    who: Reader,
    app: App,
    paging: Paging,
    state: CaseState | None = None,
    unit: Unit | None = None,
    manager: Employee | None = None,
    band: Annotated[BandName | None, Query()] = None,
    unrated: bool | None = None,
) -> Page[SubjectOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found, cycle, view = await viewed(tx, who, session)
        rows = await roster.subjects_page(
            tx,
            found.id,
            view,
            state=state,
            unit=unit,
            manager=manager,
            band=band,
            unrated=unrated,
            after=paging.after(tuple[Employee]),
            limit=paging.fetch,
        )
    items = [subject_out(row, cycle.bands) for row in rows]
    return paging.page(SubjectOut, items, key=lambda item: (item.employee,))


@router.get("/{session}/subjects/{employee}")
async def get_subject(session: Session, employee: Employee, who: Reader, app: App, response: Response) -> SubjectDetail:
    refuse_own_case(who, [employee])
    async with app.database.begin(who.tenant) as tx:
        found, cycle, view = await viewed(tx, who, session)
        await refuse_outside(tx, who, found, [employee], Reach.LINE if view.line else Reach.ALL)
        return await detailed(tx, found, cycle, employee, response)


@router.get("/{session}/distribution")
async def get_distribution(session: Session, who: Reader, app: App) -> DistributionOut:
    async with app.database.begin(who.tenant) as tx:
        found, cycle, view = await viewed(tx, who, session)
        counted = rules.distribution(cycle.bands, await roster.tallies(tx, found.id, view))
    return DistributionOut(
        session=found.id,
        subjects=counted.subjects,
        bands=[
            BandCountOut(band=each.band, scored=each.scored, manager=each.manager, calibrated=each.calibrated)
            for each in counted.bands
        ],
        unrated=UnratedOut(scored=counted.unrated_scored, calibrated=counted.unrated_calibrated),
        manager_missing=counted.manager_missing,
        manager_between_bands=counted.manager_between_bands,
        undecided=counted.undecided,
        awaiting_approval=counted.awaiting_approval,
    )
