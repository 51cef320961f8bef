"""Scorecards: lists, versions, and the acceptance of late ones."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from fastapi import Query, Response
from pydantic import BaseModel, StringConstraints

from services.scoring.api.access import (
    Editor,
    ScorecardLister,
    ScorecardReader,
    day_in_question,
    find_cycle,
    own_line,
    require_sight,
)
from services.scoring.commands import acceptances
from services.scoring.model.people import Placement
from services.scoring.model.scorecards import (
    Acceptance,
    GateResult,
    PartAttainment,
    ScorecardVersion,
    SegmentResult,
    Status,
    Unrated,
)
from services.scoring.store import scorecards as store
from shared.contracts.ids import IDENTIFIER, Band, CycleId, EmployeeId, UnitId
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, Once, Page, Paging, Router

router = Router(prefix="/cycles/{cycle}/scorecards", tags=["scorecards"])

CycleKey = Annotated[CycleId, IDENTIFIER]
Employee = Annotated[EmployeeId, IDENTIFIER]
VersionNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


class ListedOut(BaseModel):
    employee: str
    version: int
    status: Status
    score: Decimal | None
    coverage: Decimal
    proposed_band: str | None
    role: str
    unit: str
    manager: str | None
    client: str
    line_of_business: str
    as_of: datetime

    @classmethod
    def of(cls, row: store.Listed) -> Self:
        return cls.model_validate(row, from_attributes=True)


class ScorecardOut(BaseModel):
    cycle: str
    employee: str
    version: int
    status: Status
    score: Decimal | None
    coverage: Decimal
    proposed_band: str | None
    band_before_gates: str | None
    unrated: Unrated | None
    as_of: datetime
    watermark: int
    placement: Placement
    parts: tuple[PartAttainment, ...]
    gates: tuple[GateResult, ...]
    segments: tuple[SegmentResult, ...]
    acceptance: Acceptance | None

    @classmethod
    def of(cls, card: ScorecardVersion) -> Self:
        result = card.result
        return cls(
            cycle=card.cycle,
            employee=card.employee,
            version=card.version,
            status=card.status,
            score=result.score,
            coverage=result.coverage,
            proposed_band=result.proposed_band,
            band_before_gates=result.band_before_gates,
            unrated=result.unrated,
            as_of=card.as_of,
            watermark=card.watermark,
            placement=result.placement,
            parts=result.parts,
            gates=result.gates,
            segments=result.segments,
            acceptance=card.acceptance,
        )


class AcceptanceIn(Body):
    version: int
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


@router.get("", response_model=Page[ListedOut])
async def list_scorecards(
    cycle: CycleKey,
    who: ScorecardLister,
    app: App,
    paging: Paging,
    unit: Annotated[UnitId, IDENTIFIER] | None = None,
    band: Annotated[Band, IDENTIFIER] | None = None,
    status: Status | None = None,
    manager: Annotated[EmployeeId, IDENTIFIER] | None = None,
) -> Page[ListedOut] | Response:
    (after,) = paging.after(tuple[str]) or ("",)
    async with app.database.begin(who.tenant) as tx:
        found = await find_cycle(tx, who, cycle)
        day = day_in_question(found, app.clock())
        filters = store.Filters(unit, band, status and status.value, manager, own_line(who), day)
        rows = await store.page(tx, who.tenant, cycle, filters, after=after, limit=paging.fetch)
    return paging.page(ListedOut, [ListedOut.of(row) for row in rows], key=lambda row: (row.employee,))


@router.get("/{employee}")
async def get_scorecard(
    cycle: CycleKey,
    employee: Employee,
    who: ScorecardReader,
    app: App,
    response: Response,
    version: VersionNumber = None,
) -> ScorecardOut:
    async with app.database.begin(who.tenant) as tx:
        await require_sight(tx, who, await find_cycle(tx, who, cycle), employee, app.clock())
        card = await store.get(tx, who.tenant, cycle, employee, version)
    if card is None:
        raise NotFound("there is no such scorecard")
    response.headers["ETag"] = etag(card.version)
    return ScorecardOut.of(card)


@router.get("/{employee}/versions", response_model=Page[ScorecardOut])
async def list_versions(
    cycle: CycleKey, employee: Employee, who: ScorecardReader, app: App, paging: Paging
) -> Page[ScorecardOut] | Response:
    (after,) = paging.after(tuple[int]) or (0,)
    async with app.database.begin(who.tenant) as tx:
        await require_sight(tx, who, await find_cycle(tx, who, cycle), employee, app.clock())
        cards = await store.versions(tx, who.tenant, cycle, employee, after=after, limit=paging.fetch)
    return paging.page(ScorecardOut, [ScorecardOut.of(card) for card in cards], key=lambda row: (row.version,))


@router.post("/{employee}/acceptances", status_code=201, response_model=ScorecardOut)
async def post_acceptance(
    cycle: CycleKey, employee: Employee, body: AcceptanceIn, who: Editor, app: App, once: Once
) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def accept() -> ScorecardOut:
            now = app.clock()
            return ScorecardOut.of(await acceptances.accept(tx, who, cycle, employee, body.version, body.reason, now))

        return await once(tx, who, accept)
