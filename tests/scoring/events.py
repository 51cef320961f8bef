"""Events as other services announce them, with what a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import JsonValue

from shared.contracts.ids import (
    ClientId,
    CycleId,
    EmployeeId,
    FeedbackId,
    KpiEventId,
    LineOfBusiness,
    MetricKey,
    ProviderId,
    UnitId,
)
from shared.contracts.kpi import (
    FeedbackCategory,
    FeedbackSubmitted,
    IntakeSealed,
    KpiCorrected,
    KpiRecorded,
    KpiVoided,
)
from shared.contracts.workforce import (
    Absence,
    Aggregation,
    Assignment,
    Direction,
    EmployeeChanged,
    MetricDefined,
    MissingData,
)

ACME, BETA = ProviderId("acme"), ProviderId("beta")
CYCLE = CycleId("q1")
NOW = datetime(2026, 2, 10, 9, 0, tzinfo=UTC)
START, END = date(2026, 1, 1), date(2026, 3, 31)
Json = dict[str, JsonValue]

CYCLE_BODY: Json = {
    "cycle": CYCLE,
    "name": "First quarter",
    "starts_on": "2026-01-01",
    "ends_on": "2026-03-31",
    "bands": [
        {"band": "below", "cut_score": 0},
        {"band": "meets", "cut_score": 80},
        {"band": "exceeds", "cut_score": 110},
    ],
}


def part(name: str, weight: str, points: list[list[str]], **fields: JsonValue) -> Json:
    curve: Json = {"points": [list(point) for point in points]}
    body: Json = {"part": name, "kind": "metric", "metric": name, "weight": weight, "curve": curve}
    return body | fields


AHT = part("aht", "50", [["420", "50"], ["360", "100"], ["300", "150"]])
CSAT = part("csat", "50", [["0.8", "50"], ["0.9", "100"], ["1", "150"]])


def version(*parts: Json, effective_from: str = "2026-01-01", **fields: JsonValue) -> Json:
    body: Json = {"effective_from": effective_from, "parts": list(parts or (AHT, CSAT))}
    return body | fields


def metric(
    key: str,
    *,
    version: int = 1,
    lower: bool = False,
    minimum: str = "0",
    missing: str = "exclude-and-reweight",
    aggregation: str = "ratio",
    developmental: bool = False,
    provider: ProviderId = ACME,
) -> MetricDefined:
    return MetricDefined(
        provider=provider,
        metric=MetricKey(key),
        version=version,
        name=key,
        owner="operations",
        source_system="acd",
        unit="s",
        direction=Direction.LOWER_IS_BETTER if lower else Direction.HIGHER_IS_BETTER,
        aggregation=Aggregation(aggregation),
        precision=2,
        missing_data=MissingData(missing),
        minimum_volume=Decimal(minimum),
        developmental_only=developmental,
    )


def stay(
    first: date = date(2020, 1, 1),
    last: date | None = None,
    *,
    role: str = "agent",
    manager: str | None = "e-m1",
    client: str = "shop",
    line: str = "voice",
    unit: str = "u-1",
) -> Assignment:
    return Assignment(
        valid_from=first,
        valid_to=last,
        role=role,
        grade="g1",
        unit=UnitId(unit),
        manager=None if manager is None else EmployeeId(manager),
        client=ClientId(client),
        line_of_business=LineOfBusiness(line),
        site="s-1",
        time_zone="Europe/Berlin",
    )


def employee(
    name: str,
    *stays: Assignment,
    version: int = 1,
    away: tuple[tuple[date, date], ...] = (),
    provider: ProviderId = ACME,
    **place: str | None,
) -> EmployeeChanged:
    return EmployeeChanged(
        provider=provider,
        employee=EmployeeId(name),
        version=version,
        display_name="Somebody",
        country="DE",
        locale="de",
        assignments=stays or (stay(**place),),  # type: ignore[arg-type]
        absences=tuple(Absence(starts_on=first, ends_on=last) for first, last in away),
    )


def kpi(
    event: str,
    value: str,
    over: str = "1",
    *,
    who: str = "e-1",
    metric: str = "aht",
    day: date = date(2026, 1, 7),
    provider: ProviderId = ACME,
) -> KpiRecorded:
    return KpiRecorded(
        provider=provider,
        event=KpiEventId(f"acd/{event}"),
        employee=EmployeeId(who),
        metric=MetricKey(metric),
        occurred_at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
        occurred_on=day,
        numerator=Decimal(value),
        denominator=Decimal(over),
        recorded_at=NOW,
    )


def correction(of: KpiRecorded, revision: int, value: str, over: str = "1", *, day: date | None = None) -> KpiCorrected:
    return KpiCorrected(
        provider=of.provider,
        event=KpiEventId(f"{of.event}-r{revision}"),
        corrects=of.event,
        revision=revision,
        employee=of.employee,
        metric=of.metric,
        occurred_at=of.occurred_at,
        occurred_on=day or of.occurred_on,
        numerator=Decimal(value),
        denominator=Decimal(over),
        recorded_at=NOW,
    )


def void(of: KpiRecorded, revision: int) -> KpiVoided:
    return KpiVoided(
        provider=of.provider,
        event=KpiEventId(f"{of.event}-r{revision}"),
        voids=of.event,
        revision=revision,
        employee=of.employee,
        metric=of.metric,
        occurred_on=of.occurred_on,
        recorded_at=NOW,
    )


def feedback(
    rater: str, rating: str, *, who: str = "e-1", category: str = "manager", revision: int = 1, cycle: str = CYCLE
) -> FeedbackSubmitted:
    return FeedbackSubmitted(
        provider=ACME,
        feedback=FeedbackId(f"{cycle}.{who}.{category}.{rater}"),
        cycle=CycleId(cycle),
        employee=EmployeeId(who),
        rater=EmployeeId(rater),
        category=FeedbackCategory(category),
        revision=revision,
        rating=Decimal(rating),
        submitted_at=NOW - timedelta(days=1),
    )


def seals(
    cycle: str = CYCLE,
    streams: tuple[Literal["kpi-events", "feedback"], ...] = ("kpi-events", "feedback"),
    partitions: int = 2,
) -> list[IntakeSealed]:
    return [
        IntakeSealed(
            provider=ACME,
            cycle=CycleId(cycle),
            stream=stream,
            target_partition=number,
            partitions=partitions,
            sealed_at=NOW,
        )
        for stream in streams
        for number in range(partitions)
    ]
