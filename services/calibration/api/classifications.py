from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.api.inputs import BandName, Cycle, Employee, Session, Unit
from services.calibration.store import classifications as store
from services.calibration.store.lines import in_line
from services.calibration.store.sessions import cycle as stored_cycle
from shared.auth import Principal, Role
from shared.contracts.ids import Band, CycleId, EmployeeId, SessionId
from shared.contracts.scoring import PartAttainment
from shared.errors import Forbidden, NotFound
from shared.web import App, Page, Paging, Router, requires

router = Router(prefix="/classifications", tags=["classifications"])
_EVERYBODY = (Role.HR_ADMIN, Role.AUDITOR, Role.COMPENSATION_ADMIN)
Reader = Annotated[Principal, requires(*_EVERYBODY, Role.MANAGER, Role.EMPLOYEE)]
_PARTS = TypeAdapter(list[PartAttainment])


class VersionState(StrEnum):
    CURRENT = "current"
    RETRACTED = "retracted"


class ClassificationOut(BaseModel):
    employee: EmployeeId
    cycle: CycleId
    version: int
    state: VersionState
    session: SessionId
    band: Band | None
    proposed_band: Band | None
    manager_rating: Decimal | None
    manager_band: Band | None
    scorecard_version: int
    score: Decimal | None
    supersedes: int | None
    role: str
    grade: str
    unit: str
    manager: EmployeeId | None
    client: str
    line_of_business: str
    site: str
    decided_at: datetime
    published_at: datetime


class VersionOut(ClassificationOut):
    parts: list[PartAttainment]


def _out(row: store.Published) -> ClassificationOut:
    return ClassificationOut(
        employee=row.employee,
        cycle=row.cycle,
        version=row.version,
        state=VersionState.RETRACTED if row.superseded else VersionState.CURRENT,
        session=row.session,
        band=row.band,
        proposed_band=row.proposed_band,
        manager_rating=row.manager_rating,
        manager_band=row.manager_band,
        scorecard_version=row.scorecard_version,
        score=row.score,
        supersedes=row.supersedes,
        role=row.role,
        grade=row.grade,
        unit=row.unit,
        manager=row.manager,
        client=row.client,
        line_of_business=row.line_of_business,
        site=row.site,
        decided_at=row.decided_at,
        published_at=row.published_at,
    )


async def _line(tx: AsyncConnection, who: Principal, cycle: CycleId) -> tuple[EmployeeId, date] | None:
    if who.employee is None or not who.has(Role.MANAGER):
        return None
    known = await stored_cycle(tx, cycle)
    return (who.employee, known.ends_on) if known else None


@router.get("", response_model=Page[ClassificationOut])
async def get_classifications(
    cycle: Annotated[Cycle, Query()],
    who: Reader,
    app: App,
    paging: Paging,
    session: Session | None = None,
    unit: Unit | None = None,
    band: Annotated[BandName | None, Query()] = None,
) -> Page[ClassificationOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        rows = await store.current_page(
            tx,
            cycle,
            everybody=who.has(*_EVERYBODY),
            own=who.employee,
            line=await _line(tx, who, cycle),
            session=session,
            unit=unit,
            band=band,
            after=paging.after(tuple[Employee]),
            limit=paging.fetch,
        )
    return paging.page(ClassificationOut, [_out(row) for row in rows], key=lambda item: (item.employee,))


@router.get("/{employee}", response_model=Page[VersionOut])
async def get_versions(
    employee: Employee, who: Reader, app: App, paging: Paging, cycle: Cycle | None = None
) -> Page[VersionOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        reached = await _cycles_reached(tx, who, employee, cycle)
        rows = await store.versions_page(
            tx, employee, reached, after=paging.after(tuple[Cycle, int]), limit=paging.fetch
        )
    items = [VersionOut(**_out(row).model_dump(), parts=_PARTS.validate_python(row.parts)) for row in rows]
    return paging.page(VersionOut, items, key=lambda item: (item.cycle, item.version))


async def _cycles_reached(
    tx: AsyncConnection, who: Principal, employee: EmployeeId, cycle: CycleId | None
) -> list[CycleId]:
    """The cycles of which somebody may see this person's versions: a line is that of the cycle's last day."""
    unlimited = who.has(*_EVERYBODY) or who.employee == employee
    if not unlimited and (who.employee is None or not who.has(Role.MANAGER)):
        raise Forbidden("only your own classifications", code="not-in-line")
    published = await store.cycles_published(tx, employee)
    asked = [(each, ends_on) for each, ends_on in published if cycle is None or each == cycle]
    if unlimited or who.employee is None:
        if not asked:
            raise NotFound("nothing is published")
        return [each for each, _ in asked]
    reached = [each for each, ends_on in asked if await in_line(tx, who.employee, [employee], ends_on)]
    if not reached:
        raise Forbidden("outside your reporting line on the cycle's last day", code="not-in-line")
    return reached
