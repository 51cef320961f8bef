"""Scorecard versions, and the newest of each person for lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.cycles import Cycle
from services.scoring.model.scorecards import Acceptance, Scorecard, ScorecardVersion, Status, Unrated
from services.scoring.store.documents import ATTAINMENTS, GATE_RESULTS, PLACEMENT, SEGMENTS, digest
from shared import telemetry
from shared.contracts.ids import ProviderId

_LATEST = text("""
    SELECT cycle, employee, version, digest FROM scorecards
    WHERE provider_id = :provider AND cycle = ANY(CAST(:cycles AS text[]))
      AND employee = ANY(CAST(:employees AS text[]))
    ORDER BY cycle, employee FOR UPDATE
""")
_INSERT = text("""
    INSERT INTO scorecard_versions (
        provider_id, cycle, employee, version, status, score, coverage, band_before_gates, proposed_band, unrated,
        parts, gates, segments, placement, watermark, as_of, accepted_version, accepted_by, accepted_because,
        traceparent)
    SELECT :provider, cycle, employee, version, status, score, coverage, before, band, unrated, CAST(parts AS jsonb),
           CAST(gates AS jsonb), CAST(segments AS jsonb), CAST(placement AS jsonb), watermark, as_of, of_version,
           accepted_by, because, :traceparent
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:versions AS integer[]),
                CAST(:statuses AS text[]), CAST(:scores AS numeric[]), CAST(:coverages AS numeric[]),
                CAST(:before AS text[]), CAST(:bands AS text[]), CAST(:unrated AS text[]), CAST(:parts AS text[]),
                CAST(:gates AS text[]), CAST(:segments AS text[]), CAST(:placements AS text[]),
                CAST(:watermarks AS bigint[]), CAST(:as_of AS timestamptz[]), CAST(:of_versions AS integer[]),
                CAST(:accepted_by AS text[]), CAST(:because AS text[]))
         AS row (cycle, employee, version, status, score, coverage, before, band, unrated, parts, gates, segments,
                 placement, watermark, as_of, of_version, accepted_by, because)
""")
_SHOW = text("""
    INSERT INTO scorecards AS shown (provider_id, cycle, employee, version, status, score, coverage, proposed_band,
                                     role, unit, manager, client, line_of_business, as_of, digest)
    SELECT :provider, row.*
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:versions AS integer[]),
                CAST(:statuses AS text[]), CAST(:scores AS numeric[]), CAST(:coverages AS numeric[]),
                CAST(:bands AS text[]), CAST(:roles AS text[]), CAST(:units AS text[]), CAST(:managers AS text[]),
                CAST(:clients AS text[]), CAST(:lines AS text[]), CAST(:as_of AS timestamptz[]),
                CAST(:digests AS bytea[])) AS row
    ON CONFLICT (provider_id, cycle, employee) DO UPDATE
    SET version = excluded.version, status = excluded.status, score = excluded.score, coverage = excluded.coverage,
        proposed_band = excluded.proposed_band, role = excluded.role, unit = excluded.unit,
        manager = excluded.manager, client = excluded.client, line_of_business = excluded.line_of_business,
        as_of = excluded.as_of, digest = excluded.digest
""")
_MADE_BY = text("""
    SELECT traceparent FROM scorecard_versions
    WHERE provider_id = :provider AND cycle = :cycle AND employee = :employee AND version = :version
""")
_COUNT = text("SELECT count(*) FROM scorecards WHERE provider_id = :provider AND cycle = :cycle")
# A rescore that has begun deletes its timer and holds it until it commits: who has no timer here has been scored with
# everything that was stored before this statement.
_BEHIND = text("""
    SELECT DISTINCT place.employee FROM assignments AS place
    WHERE place.provider_id = :provider AND place.employee > :after AND place.valid_from <= :ends_on
      AND coalesce(place.valid_to, 'infinity') >= :starts_on
      AND (NOT EXISTS (SELECT FROM scorecards AS card WHERE card.provider_id = :provider AND card.cycle = :cycle
                                                        AND card.employee = place.employee)
           OR EXISTS (SELECT FROM timers WHERE timers.kind = :kind AND timers.provider_id = :provider
                                           AND timers.key = place.employee))
    ORDER BY place.employee LIMIT :limit
""")
_PENDING = text("""
    SELECT EXISTS (SELECT FROM timers WHERE kind = :kind AND provider_id = :provider AND starts_with(key, :prefix))
""")
_COLUMNS = """cycle, employee, version, status, score, coverage, band_before_gates, proposed_band, unrated,
    CAST(parts AS text) AS parts, CAST(gates AS text) AS gates, CAST(segments AS text) AS segments,
    CAST(placement AS text) AS placement, watermark, as_of, accepted_version, accepted_by, accepted_because
    FROM scorecard_versions WHERE provider_id = :provider AND cycle = :cycle AND employee = :employee"""
_GET = text(f"""
    SELECT {_COLUMNS} AND version = coalesce(CAST(:version AS integer), version) ORDER BY version DESC LIMIT 1
""")
_VERSIONS = text(f"SELECT {_COLUMNS} AND version > :after ORDER BY version LIMIT :limit")
_PAGE = text("""
    WITH RECURSIVE line (employee) AS (
        SELECT place.employee FROM assignments AS place
        WHERE place.provider_id = :provider AND place.manager = :line_of
          AND :day BETWEEN place.valid_from AND coalesce(place.valid_to, 'infinity')
        UNION
        SELECT place.employee FROM line JOIN assignments AS place
            ON place.provider_id = :provider AND place.manager = line.employee
           AND :day BETWEEN place.valid_from AND coalesce(place.valid_to, 'infinity')
    )
    SELECT employee, version, status, score, coverage, proposed_band, role, unit, manager, client, line_of_business,
           as_of
    FROM scorecards
    WHERE provider_id = :provider AND cycle = :cycle AND employee > :after
      AND unit = coalesce(CAST(:unit AS text), unit)
      AND coalesce(proposed_band, 'unrated') = coalesce(CAST(:band AS text), proposed_band, 'unrated')
      AND status = coalesce(CAST(:status AS text), status)
      AND (CAST(:manager AS text) IS NULL OR manager = :manager)
      AND (CAST(:line_of AS text) IS NULL OR (employee <> :line_of AND employee IN (SELECT employee FROM line)))
    ORDER BY employee LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Latest:
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    employee: str
    version: int
    status: str
    score: Decimal | None
    coverage: Decimal
    proposed_band: str | None
    role: str
    unit: str
    manager: str | None
    client: str
    line_of_business: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; `line_of` is a manager, whose reporting line on `day` it then is."""

    unit: str | None
    band: str | None
    status: str | None
    manager: str | None
    line_of: str | None
    day: date


async def lock_latest(
    tx: AsyncConnection, provider: ProviderId, cycles: Sequence[str], employees: Sequence[str]
) -> dict[tuple[str, str], Latest]:
    """By cycle and employee; nobody adds a version to these until the transaction ends."""
    rows = await tx.execute(_LATEST, {"provider": provider, "cycles": cycles, "employees": employees})
    return {(row.cycle, row.employee): Latest(row.version, bytes(row.digest)) for row in rows}


async def save(tx: AsyncConnection, provider: ProviderId, versions: Sequence[ScorecardVersion]) -> None:
    """Add versions and show them as the newest; those before them are locked by `lock_latest`."""
    results = [each.result for each in versions]
    accepted = [each.acceptance for each in versions]
    shared: dict[str, object] = {
        "provider": provider,
        "cycles": [each.cycle for each in versions],
        "employees": [each.employee for each in versions],
        "versions": [each.version for each in versions],
        "statuses": [each.status.value for each in versions],
        "scores": [result.score for result in results],
        "coverages": [result.coverage for result in results],
        "bands": [result.proposed_band for result in results],
        "as_of": [each.as_of for each in versions],
    }
    kept = {
        "before": [result.band_before_gates for result in results],
        "unrated": [result.unrated and result.unrated.value for result in results],
        "parts": [ATTAINMENTS.dump_json(result.parts).decode() for result in results],
        "gates": [GATE_RESULTS.dump_json(result.gates).decode() for result in results],
        "segments": [SEGMENTS.dump_json(result.segments).decode() for result in results],
        "placements": [PLACEMENT.dump_json(result.placement).decode() for result in results],
        "watermarks": [each.watermark for each in versions],
        "of_versions": [each and each.of_version for each in accepted],
        "accepted_by": [each and each.by for each in accepted],
        "because": [each and each.reason for each in accepted],
        "traceparent": telemetry.current_traceparent(),
    }
    await tx.execute(_INSERT, shared | kept)
    places = [result.placement for result in results]
    shown = {
        "roles": [place.role for place in places],
        "units": [place.unit for place in places],
        "managers": [place.manager for place in places],
        "clients": [place.client for place in places],
        "lines": [place.line_of_business for place in places],
        "digests": [digest(result) for result in results],
    }
    await tx.execute(_SHOW, shared | shown)


async def made_by(tx: AsyncConnection, provider: ProviderId, cycle: str, employee: str, version: int) -> str | None:
    """The trace context of the work that made a version."""
    values = {"provider": provider, "cycle": cycle, "employee": employee, "version": version}
    found: str | None = await tx.scalar(_MADE_BY, values)
    return found


async def count(tx: AsyncConnection, provider: ProviderId, cycle: str) -> int:
    return int((await tx.execute(_COUNT, {"provider": provider, "cycle": cycle})).scalar_one())


async def behind(tx: AsyncConnection, provider: ProviderId, cycle: Cycle, *, kind: str, limit: int) -> list[str]:
    """The next people of the cycle who have no scorecard yet or whose timer of `kind` says that something changed."""
    values = {
        "provider": provider,
        "cycle": cycle.cycle,
        "after": cycle.frozen_upto,
        "starts_on": cycle.period.starts_on,
        "ends_on": cycle.period.ends_on,
        "kind": kind,
        "limit": limit,
    }
    return list((await tx.execute(_BEHIND, values)).scalars())


async def pending(tx: AsyncConnection, provider: ProviderId, *, kind: str, prefix: str) -> bool:
    """Whether timers of `kind` wait or run whose key begins with `prefix`."""
    values = {"provider": provider, "kind": kind, "prefix": prefix}
    return bool((await tx.execute(_PENDING, values)).scalar_one())


async def get(
    tx: AsyncConnection, provider: ProviderId, cycle: str, employee: str, version: int | None = None
) -> ScorecardVersion | None:
    """That version, or the newest."""
    values = {"provider": provider, "cycle": cycle, "employee": employee, "version": version}
    row = (await tx.execute(_GET, values)).one_or_none()
    return None if row is None else _version(row)


async def versions(
    tx: AsyncConnection, provider: ProviderId, cycle: str, employee: str, *, after: int, limit: int
) -> list[ScorecardVersion]:
    values = {"provider": provider, "cycle": cycle, "employee": employee, "after": after, "limit": limit}
    return [_version(row) for row in await tx.execute(_VERSIONS, values)]


async def page(
    tx: AsyncConnection, provider: ProviderId, cycle: str, filters: Filters, *, after: str, limit: int
) -> list[Listed]:
    values = {
        "provider": provider,
        "cycle": cycle,
        "after": after,
        "limit": limit,
        "unit": filters.unit,
        "band": filters.band,
        "status": filters.status,
        "manager": filters.manager,
        "line_of": filters.line_of,
        "day": filters.day,
    }
    return [Listed(*row) for row in await tx.execute(_PAGE, values)]


def _version(row: Row[tuple[object, ...]]) -> ScorecardVersion:
    result = Scorecard(
        score=row.score,
        coverage=row.coverage,
        band_before_gates=row.band_before_gates,
        proposed_band=row.proposed_band,
        unrated=None if row.unrated is None else Unrated(row.unrated),
        parts=ATTAINMENTS.validate_json(row.parts),
        gates=GATE_RESULTS.validate_json(row.gates),
        segments=SEGMENTS.validate_json(row.segments),
        placement=PLACEMENT.validate_json(row.placement),
    )
    acceptance = None
    if row.accepted_version is not None:
        acceptance = Acceptance(row.accepted_version, row.accepted_by, row.accepted_because)
    return ScorecardVersion(
        row.cycle, row.employee, row.version, Status(row.status), row.watermark, row.as_of, result, acceptance
    )
