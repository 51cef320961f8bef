"""What scoring tells others."""

from __future__ import annotations

from datetime import datetime

from services.scoring.model.cycles import Cycle
from services.scoring.model.people import Placement
from services.scoring.model.scorecards import ScorecardVersion
from shared.contracts import scoring as contract
from shared.contracts.ids import Band, ClientId, CycleId, EmployeeId, LineOfBusiness, ProviderId, UnitId
from shared.contracts.outcomes import NoticeKind, NoticeRequested


def cycle_changed(provider: ProviderId, cycle: Cycle) -> contract.CycleChanged:
    return contract.CycleChanged(
        provider=provider,
        cycle=CycleId(cycle.cycle),
        version=cycle.version,
        name=cycle.name,
        state=contract.CycleState(cycle.state.value),
        starts_on=cycle.period.starts_on,
        ends_on=cycle.period.ends_on,
        bands=tuple(contract.BandCut(band=Band(cut.band), cut_score=cut.cut_score) for cut in cycle.period.bands),
        scorecards=cycle.scorecards,
    )


def scorecard_computed(provider: ProviderId, card: ScorecardVersion) -> contract.ScorecardComputed:
    result = card.result
    return contract.ScorecardComputed(
        provider=provider,
        cycle=CycleId(card.cycle),
        employee=EmployeeId(card.employee),
        version=card.version,
        status=contract.ScorecardStatus(card.status.value),
        score=result.score,
        coverage=result.coverage,
        proposed_band=None if result.proposed_band is None else Band(result.proposed_band),
        parts=tuple(
            contract.PartAttainment(part=part.part, weight=part.weight, attainment=part.attainment)
            for part in result.parts
        ),
        placement=_placement(result.placement),
        as_of=card.as_of,
    )


def late_notice(provider: ProviderId, card: ScorecardVersion, now: datetime) -> NoticeRequested:
    return NoticeRequested(
        provider=provider,
        kind=NoticeKind.SCORECARD_LATE,
        cause=f"scorecard-late/{card.cycle}/{card.employee}/{card.version}",
        recipient=None,
        role="hr_admin",
        unit=None,
        subject=EmployeeId(card.employee),
        cycle=CycleId(card.cycle),
        requested_at=now,
    )


def _placement(place: Placement) -> contract.Placement:
    return contract.Placement(
        role=place.role,
        grade=place.grade,
        unit=UnitId(place.unit),
        manager=None if place.manager is None else EmployeeId(place.manager),
        client=ClientId(place.client),
        line_of_business=LineOfBusiness(place.line_of_business),
        site=place.site,
    )
