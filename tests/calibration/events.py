"""Events as other services announce them, with what a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from shared.contracts.ids import Band, ClientId, CycleId, EmployeeId, FeedbackId, LineOfBusiness, ProviderId, UnitId
from shared.contracts.kpi import FeedbackCategory, FeedbackSubmitted
from shared.contracts.scoring import (
    BandCut,
    CycleChanged,
    CycleState,
    PartAttainment,
    Placement,
    ScorecardComputed,
    ScorecardStatus,
)
from shared.contracts.workforce import Assignment, EmployeeChanged

ACME = ProviderId("acme")
CYCLE = CycleId("fy26")
BANDS = tuple(Band(f"B{n}") for n in range(1, 6))
NOW = datetime(2026, 4, 10, 9, 0, tzinfo=UTC)
LAST_DAY = date(2026, 3, 31)
SCORES = {None: None} | {band: Decimal(20 * n + 10) for n, band in enumerate(BANDS)}


def cycle(
    scorecards: int | None, version: int = 3, state: CycleState = CycleState.FROZEN, cycle: str = CYCLE
) -> CycleChanged:
    return CycleChanged(
        provider=ACME,
        cycle=CycleId(cycle),
        version=version,
        name="Fiscal year 2026",
        state=state,
        starts_on=date(2026, 1, 1),
        ends_on=LAST_DAY,
        bands=tuple(BandCut(band=band, cut_score=Decimal(20 * n)) for n, band in enumerate(BANDS)),
        scorecards=scorecards,
    )


def scorecard(
    employee: str,
    band: str | None,
    version: int = 1,
    status: ScorecardStatus = ScorecardStatus.CURRENT,
    *,
    manager: str | None = None,
    unit: str = "u-1",
    client: str = "c-1",
    grade: str = "g1",
    cycle: str = CYCLE,
    score: Decimal | None = None,
) -> ScorecardComputed:
    proposed = Band(band) if band else None
    return ScorecardComputed(
        provider=ACME,
        cycle=CycleId(cycle),
        employee=EmployeeId(employee),
        version=version,
        status=status,
        score=score or SCORES[proposed],
        coverage=Decimal("0.95"),
        proposed_band=proposed,
        parts=(PartAttainment(part="quality", weight=Decimal("1"), attainment=SCORES[proposed]),),
        placement=Placement(
            role="agent",
            grade=grade,
            unit=UnitId(unit),
            manager=EmployeeId(manager) if manager else None,
            client=ClientId(client),
            line_of_business=LineOfBusiness("support"),
            site="manila",
        ),
        as_of=datetime(2026, 4, 2, version, tzinfo=UTC),
    )


def assignment(
    manager: str | None, valid_from: date = date(2020, 1, 1), valid_to: date | None = None, unit: str = "u-1"
) -> Assignment:
    return Assignment(
        valid_from=valid_from,
        valid_to=valid_to,
        role="agent",
        grade="g1",
        unit=UnitId(unit),
        manager=EmployeeId(manager) if manager else None,
        client=ClientId("c-1"),
        line_of_business=LineOfBusiness("support"),
        site="manila",
        time_zone="Asia/Manila",
    )


def employee(employee: str, *assignments: Assignment, manager: str | None = None, version: int = 1) -> EmployeeChanged:
    return EmployeeChanged(
        provider=ACME,
        employee=EmployeeId(employee),
        version=version,
        display_name=f"Name of {employee}",
        country="PH",
        locale="en",
        assignments=assignments or (assignment(manager),),
    )


def rating(
    employee: str,
    value: str,
    *,
    rater: str = "e-m1",
    revision: int = 1,
    hour: int = 1,
    category: FeedbackCategory = FeedbackCategory.MANAGER,
) -> FeedbackSubmitted:
    return FeedbackSubmitted(
        provider=ACME,
        feedback=FeedbackId(f"f-{employee}-{rater}-{revision}"),
        cycle=CYCLE,
        employee=EmployeeId(employee),
        rater=EmployeeId(rater),
        category=category,
        revision=revision,
        rating=Decimal(value),
        submitted_at=datetime(2026, 3, 20, hour, tzinfo=UTC),
    )
