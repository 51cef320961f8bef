"""Copies of what other services own: people, cycles, classifications; the newest version of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Classification, Period, Span
from services.compensation.model.run import Cycle
from shared import telemetry
from shared.contracts.ids import CycleId, EmployeeId, ProviderId

_BANDS = TypeAdapter(tuple[str, ...])
_SPANS = TypeAdapter(tuple[Span, ...])

_LEARN_PEOPLE = text("""
    INSERT INTO employees (provider_id, employee, version, assignments, employed, absences)
    SELECT :provider, employee, version, assignments, employed, absences
    FROM unnest(CAST(:employees AS text[]), CAST(:versions AS integer[]), CAST(:assignments AS jsonb[]),
                CAST(:employed AS jsonb[]), CAST(:absences AS jsonb[]))
         AS given (employee, version, assignments, employed, absences)
    ORDER BY employee
    ON CONFLICT (provider_id, employee) DO UPDATE
    SET version = excluded.version, assignments = excluded.assignments, employed = excluded.employed,
        absences = excluded.absences
    WHERE employees.version < excluded.version
    RETURNING employee
""")


@dataclass(frozen=True, slots=True)
class PersonRow:
    """`assignments` as JSON, as the event had them: they are looked at only to place who is not classified."""

    employee: EmployeeId
    version: int
    assignments: str
    employed: tuple[Span, ...]
    absences: tuple[Span, ...]


async def learn_people(tx: AsyncConnection, provider: ProviderId, people: Sequence[PersonRow]) -> list[EmployeeId]:
    """Keep newer versions; the people that changed. No one may be given twice."""
    values = {
        "provider": provider,
        "employees": [person.employee for person in people],
        "versions": [person.version for person in people],
        "assignments": [person.assignments for person in people],
        "employed": [_SPANS.dump_json(person.employed).decode() for person in people],
        "absences": [_SPANS.dump_json(person.absences).decode() for person in people],
    }
    return [EmployeeId(found) for found in await tx.scalars(_LEARN_PEOPLE, values)]


_LEARN_CYCLES = text("""
    INSERT INTO cycles (provider_id, cycle, version, state, starts_on, ends_on, bands, scorecards)
    SELECT :provider, cycle, version, state, starts_on, ends_on, bands, scorecards
    FROM unnest(CAST(:cycles AS text[]), CAST(:versions AS integer[]), CAST(:states AS text[]),
                CAST(:starts AS date[]), CAST(:ends AS date[]), CAST(:bands AS jsonb[]), CAST(:scorecards AS integer[]))
         AS given (cycle, version, state, starts_on, ends_on, bands, scorecards)
    ORDER BY cycle
    ON CONFLICT (provider_id, cycle) DO UPDATE
    SET version = excluded.version, state = excluded.state, starts_on = excluded.starts_on, ends_on = excluded.ends_on,
        bands = excluded.bands, scorecards = excluded.scorecards
    WHERE cycles.version < excluded.version
""")


@dataclass(frozen=True, slots=True)
class CycleRow:
    cycle: CycleId
    version: int
    state: str
    starts_on: date
    ends_on: date
    bands: tuple[str, ...]
    scorecards: int | None


async def learn_cycles(tx: AsyncConnection, provider: ProviderId, cycles: Sequence[CycleRow]) -> None:
    await tx.execute(
        _LEARN_CYCLES,
        {
            "provider": provider,
            "cycles": [row.cycle for row in cycles],
            "versions": [row.version for row in cycles],
            "states": [row.state for row in cycles],
            "starts": [row.starts_on for row in cycles],
            "ends": [row.ends_on for row in cycles],
            "bands": [_BANDS.dump_json(row.bands).decode() for row in cycles],
            "scorecards": [row.scorecards for row in cycles],
        },
    )


_CYCLE = text("""
    SELECT cycle, state, starts_on, ends_on, CAST(bands AS text) AS bands, scorecards FROM cycles WHERE cycle = :cycle
""")


async def cycle(tx: AsyncConnection, name: CycleId) -> Cycle | None:
    row = (await tx.execute(_CYCLE, {"cycle": name})).one_or_none()
    if row is None:
        return None
    bands = _BANDS.validate_json(row.bands)
    return Cycle(row.cycle, row.state, Period(row.starts_on, row.ends_on), bands, row.scorecards)


_LEARN_CLASSIFICATIONS = text("""
    INSERT INTO classifications (provider_id, cycle, employee, version, band, score, scorecard_version, grade, unit,
                                 client, line_of_business, site, traceparent)
    SELECT :provider, given.*, :traceparent
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:versions AS integer[]),
                CAST(:bands AS text[]), CAST(:scores AS numeric[]), CAST(:scorecard_versions AS integer[]),
                CAST(:grades AS text[]), CAST(:units AS text[]), CAST(:clients AS text[]),
                CAST(:lines_of_business AS text[]), CAST(:sites AS text[]))
         AS given (cycle, employee, version, band, score, scorecard_version, grade, unit, client, line_of_business,
                   site)
    ORDER BY cycle, employee
    ON CONFLICT (provider_id, cycle, employee) DO UPDATE
    SET version = excluded.version, band = excluded.band, score = excluded.score,
        scorecard_version = excluded.scorecard_version, grade = excluded.grade, unit = excluded.unit,
        client = excluded.client, line_of_business = excluded.line_of_business, site = excluded.site,
        traceparent = excluded.traceparent
    WHERE classifications.version < excluded.version
    RETURNING cycle, employee
""")


@dataclass(frozen=True, slots=True)
class ClassificationRow:
    cycle: CycleId
    employee: EmployeeId
    classification: Classification
    client: str
    line_of_business: str
    site: str


async def learn_classifications(
    tx: AsyncConnection, provider: ProviderId, rows: Sequence[ClassificationRow]
) -> set[tuple[CycleId, EmployeeId]]:
    """Keep newer versions; the (cycle, employee) that changed. No pair may be given twice."""
    found: list[Classification] = [row.classification for row in rows]
    scores: list[Decimal | None] = [each.score for each in found]
    values = {
        "provider": provider,
        "cycles": [row.cycle for row in rows],
        "employees": [row.employee for row in rows],
        "versions": [each.version for each in found],
        "bands": [each.band for each in found],
        "scores": scores,
        "scorecard_versions": [each.scorecard_version for each in found],
        "grades": [each.grade for each in found],
        "units": [each.unit for each in found],
        "clients": [row.client for row in rows],
        "lines_of_business": [row.line_of_business for row in rows],
        "sites": [row.site for row in rows],
        "traceparent": telemetry.current_traceparent(),
    }
    changed = await tx.execute(_LEARN_CLASSIFICATIONS, values)
    return {(CycleId(row.cycle), EmployeeId(row.employee)) for row in changed}


_BROUGHT_BY = text("""
    SELECT DISTINCT traceparent FROM classifications WHERE cycle = :cycle AND traceparent IS NOT NULL
    ORDER BY traceparent
""")


async def classifications_brought_by(tx: AsyncConnection, name: CycleId) -> Sequence[str]:
    """The trace contexts of the batches that brought the classifications of a cycle."""
    return (await tx.scalars(_BROUGHT_BY, {"cycle": name})).all()


_COUNT_CLASSIFIED = text("SELECT count(*) FROM classifications WHERE cycle = :cycle")


async def classified(tx: AsyncConnection, name: CycleId) -> int:
    return int(await tx.scalar(_COUNT_CLASSIFIED, {"cycle": name}) or 0)
