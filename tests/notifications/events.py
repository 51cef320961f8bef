"""Events as other services send them, with everything a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from shared.contracts.ids import Band, ClientId, CycleId, EmployeeId, LineOfBusiness, PlanId, RunId, SessionId, UnitId
from shared.contracts.outcomes import (
    AwardAdjusted,
    AwardDecided,
    ClassificationPublished,
    ClassificationRevised,
    NoticeKind,
    NoticeRequested,
)
from shared.contracts.scoring import CycleChanged, CycleState, Placement
from shared.contracts.workforce import Assignment, EmployeeChanged
from tests.notifications.conftest import ACME

CYCLE = CycleId("2026-h1")
DECIDED = datetime(2026, 7, 1, 8, 0, tzinfo=UTC)
_PLACE = Placement(
    role="agent",
    grade="g1",
    unit=UnitId("u-1"),
    manager=None,
    client=ClientId("c-1"),
    line_of_business=LineOfBusiness("voice"),
    site="manila",
)


def published(employee: str, version: int = 1) -> ClassificationPublished:
    return ClassificationPublished(
        provider=ACME,
        cycle=CYCLE,
        employee=EmployeeId(employee),
        version=version,
        session=SessionId("s-1"),
        band=Band("outstanding"),
        proposed_band=Band("solid"),
        manager_band=None,
        scorecard_version=3,
        score=Decimal("87.5"),
        parts=(),
        placement=_PLACE,
        decided_at=DECIDED,
    )


def revised(employee: str, version: int = 2) -> ClassificationRevised:
    return ClassificationRevised(**published(employee, version).model_dump(), supersedes=version - 1)


def decided(employee: str, version: int = 1) -> AwardDecided:
    return AwardDecided(
        provider=ACME,
        cycle=CYCLE,
        employee=EmployeeId(employee),
        plan=PlanId("p-1"),
        run=RunId("r-1"),
        version=version,
        classification_version=1,
        decided_at=DECIDED,
    )


def adjusted(employee: str, version: int = 2) -> AwardAdjusted:
    return AwardAdjusted(**decided(employee, version).model_dump(), recovery=False)


def requested(
    cause: str = "run/r-1",
    *,
    kind: NoticeKind = NoticeKind.RUN_AWAITS_APPROVAL,
    recipient: str | None = None,
    role: str | None = None,
    unit: str | None = None,
) -> NoticeRequested:
    return NoticeRequested(
        provider=ACME,
        kind=kind,
        cause=cause,
        recipient=EmployeeId(recipient) if recipient else None,
        role=role,
        unit=UnitId(unit) if unit else None,
        subject=None,
        cycle=CYCLE,
        requested_at=DECIDED,
    )


def cycle(name: str = "Spring 2026", version: int = 1) -> CycleChanged:
    return CycleChanged(
        provider=ACME,
        cycle=CYCLE,
        version=version,
        name=name,
        state=CycleState.OPEN,
        starts_on=date(2026, 1, 1),
        ends_on=date(2026, 6, 30),
        bands=(),
    )


def person(
    employee: str,
    *,
    version: int = 1,
    name: str = "Ana Cruz",
    locale: str = "en",
    unit: str = "u-1",
    manager: str | None = None,
    time_zone: str = "Asia/Manila",
) -> EmployeeChanged:
    place = Assignment(
        valid_from=date(2026, 1, 1),
        valid_to=None,
        role="agent",
        grade="g1",
        unit=UnitId(unit),
        manager=EmployeeId(manager) if manager else None,
        client=ClientId("c-1"),
        line_of_business=LineOfBusiness("voice"),
        site="manila",
        time_zone=time_zone,
    )
    return EmployeeChanged(
        provider=ACME,
        employee=EmployeeId(employee),
        version=version,
        display_name=name,
        country="PH",
        locale=locale,
        assignments=(place,),
    )
