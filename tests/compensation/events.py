"""Builders: a provider's people, cycle, plan and budget, with nothing in them that a test does not name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from pydantic import JsonValue

from shared.contracts.ids import Band, ClientId, CycleId, EmployeeId, LineOfBusiness, ProviderId, SessionId, UnitId
from shared.contracts.outcomes import ClassificationPublished, ClassificationRevised
from shared.contracts.scoring import BandCut, CycleChanged, CycleState, Placement
from shared.contracts.workforce import Absence, Assignment, EmployeeChanged

Json = dict[str, JsonValue]

ACME = ProviderId("acme")
CYCLE = CycleId("fy2025")
NOW = datetime(2026, 1, 15, 9, tzinfo=UTC)
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
BANDS = ("below", "meets", "exceeds")
ZONES = (
    "below-minimum",
    "first-quartile",
    "second-quartile",
    "third-quartile",
    "fourth-quartile",
    "above-maximum",
)


def cycle(
    *, scorecards: int | None, version: int = 5, state: str = "frozen", first: date = FIRST, last: date = LAST
) -> CycleChanged:
    return CycleChanged(
        provider=ACME,
        cycle=CYCLE,
        version=version,
        name="Fiscal year",
        state=CycleState(state),
        starts_on=first,
        ends_on=last,
        bands=tuple(BandCut(band=Band(b), cut_score=Decimal(cut)) for b, cut in zip(BANDS, (0, 80, 110), strict=True)),
        scorecards=scorecards,
    )


def employee(
    name: str,
    *,
    version: int = 1,
    first: date = date(2020, 1, 1),
    last: date | None = None,
    unit: str = "u-1",
    client: str = "globex",
    leave: tuple[tuple[date, date], ...] = (),
) -> EmployeeChanged:
    assignment = Assignment(
        valid_from=first,
        valid_to=last,
        role="agent",
        grade="g5",
        unit=UnitId(unit),
        manager=None,
        client=ClientId(client),
        line_of_business=LineOfBusiness("voice"),
        site="lisbon",
        time_zone="Europe/Lisbon",
    )
    return EmployeeChanged(
        provider=ACME,
        employee=EmployeeId(name),
        version=version,
        display_name=name,
        country="PT",
        locale="pt-PT",
        assignments=(assignment,),
        absences=tuple(Absence(starts_on=a, ends_on=b) for a, b in leave),
    )


def _facts(
    name: str, version: int, band: str | None, score: str | None, unit: str, grade: str, client: str
) -> dict[str, object]:
    return {
        "provider": ACME,
        "cycle": CYCLE,
        "employee": EmployeeId(name),
        "version": version,
        "session": SessionId("s-1"),
        "band": band,
        "proposed_band": band,
        "manager_band": band,
        "scorecard_version": version + 2,
        "score": None if score is None else Decimal(score),
        "parts": (),
        "placement": Placement(
            role="agent",
            grade=grade,
            unit=UnitId(unit),
            manager=None,
            client=ClientId(client),
            line_of_business=LineOfBusiness("voice"),
            site="lisbon",
        ),
        "decided_at": NOW,
    }


def published(
    name: str,
    band: str | None = "meets",
    score: str | None = "100",
    *,
    unit: str = "u-1",
    grade: str = "g5",
    client: str = "globex",
) -> ClassificationPublished:
    return ClassificationPublished.model_validate(_facts(name, 1, band, score, unit, grade, client))


def revised(
    name: str,
    version: int,
    band: str | None = "meets",
    score: str | None = "100",
    *,
    unit: str = "u-1",
    grade: str = "g5",
    client: str = "globex",
) -> ClassificationRevised:
    facts = _facts(name, version, band, score, unit, grade, client)
    return ClassificationRevised.model_validate({**facts, "supersedes": version - 1})


def pay(
    base: int = 4_800_000,
    currency: str = "EUR",
    *,
    fte: str = "1",
    target: str = "10",
    first: str = "2020-01-01",
    last: str | None = None,
) -> Json:
    return {
        "valid_from": first,
        "valid_to": last,
        "base": base,
        "currency": currency,
        "fte": fte,
        "target_bonus_percent": target,
    }


def pay_range(currency: str = "EUR", minimum: int = 4_000_000, maximum: int = 6_000_000, grade: str = "g5") -> Json:
    return {
        "grade": grade,
        "currency": currency,
        "minimum": minimum,
        "midpoint": (minimum + maximum) // 2,
        "maximum": maximum,
        "valid_from": "2020-01-01",
    }


def cell(minimum: str, default: str, maximum: str) -> Json:
    return {"minimum": minimum, "default": default, "maximum": maximum}


def row(band: str, cells: Mapping[str, JsonValue]) -> Json:
    """The same cell in all zones but those that are named."""
    everywhere: Json = {column: value for column, value in cells.items() if column not in ZONES}
    per_zone: Json = {zone: cells.get(zone, dict(everywhere)) for zone in ZONES}
    return {"band": band, "cells": per_zone}


CURVE: Json = {
    "kind": "linear",
    "points": [
        {"score": "80", "percent": "50"},
        {"score": "100", "percent": "100"},
        {"score": "120", "percent": "200"},
    ],
}


def bonus(**changed: JsonValue) -> Json:
    terms: Json = {
        "type": "additive",
        "team_weight": "0.4",
        "individual_weight": "0.6",
        "team_curve": CURVE,
        "individual_curve": CURVE,
        "cap_percent": "200",
        "gate_band": None,
    }
    return terms | changed


def plan(**changed: JsonValue) -> Json:
    terms: Json = {
        "name": "Annual review",
        "currency": "EUR",
        "bands": list(BANDS),
        "merit": [
            row("below", cell("0", "0", "1")),
            row("meets", cell("1", "3", "5")),
            row("exceeds", cell("2", "5", "8")),
            row("unrated", cell("0", "1", "2")),
        ],
        "lump_sum_above_maximum": True,
        "absences": "leave-out",
        "rounding": "ROUND_HALF_EVEN",
        "bonus": bonus(),
    }
    return terms | changed


def budget(merit: int = 10_000_000, bonus: int = 100_000_000, **changed: JsonValue) -> Json:
    terms: Json = {
        "cycle": CYCLE,
        "plan": "annual",
        "currency": "EUR",
        "merit_pool": merit,
        "bonus_pool": bonus,
        "scope": {"clients": [], "units": [], "lines_of_business": [], "sites": []},
        "scale_up": False,
    }
    return terms | changed
