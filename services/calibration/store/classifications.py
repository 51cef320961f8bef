"""Published classifications: versions that are added and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import Row, Select, exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.store.lines import line_of
from services.calibration.tables import classifications, cycles
from shared.contracts.ids import Band, CycleId, EmployeeId, SessionId, UnitId
from shared.keyset import keyset

Published = Row[tuple[str]]

_PUBLISH = text("""
    INSERT INTO classifications (
        provider_id, cycle, employee, version, supersedes, session, decision, band, proposed_band,
        manager_rating, manager_band, scorecard_version, score, parts,
        role, grade, unit, manager, client, line_of_business, site, decided_at, published_at, published_by)
    SELECT s.provider_id, s.cycle, s.employee, coalesce(last.version, 0) + 1, last.version, s.session, s.decided,
           s.band, s.proposed_band, rating.rating, named.band, s.scorecard_version, card.score, card.parts,
           card.role, card.grade, card.unit, card.manager, card.client, card.line_of_business, card.site,
           made.at, :now, :by
    FROM subjects AS s
    JOIN scorecards AS card ON card.cycle = s.cycle AND card.employee = s.employee
        AND card.version = s.scorecard_version
    JOIN decisions AS made ON made.session = s.session AND made.employee = s.employee AND made.version = s.decided
    LEFT JOIN LATERAL (
        SELECT m.rating FROM manager_ratings AS m WHERE m.cycle = s.cycle AND m.employee = s.employee
        ORDER BY m.rater IS NOT DISTINCT FROM card.manager DESC, m.submitted_at DESC, m.rater LIMIT 1
    ) AS rating ON true
    LEFT JOIN unnest(CAST(:ratings AS numeric[]), CAST(:bands AS text[])) AS named (rating, band)
        ON named.rating = rating.rating
    LEFT JOIN LATERAL (
        SELECT max(c.version) AS version FROM classifications AS c WHERE c.cycle = s.cycle AND c.employee = s.employee
    ) AS last ON true
    WHERE s.session = :session AND (CAST(:employee AS text) IS NULL OR s.employee = :employee)
      AND s.state IN ('confirmed', 'changed')
    ORDER BY s.employee
    RETURNING *
""")


async def publish(
    tx: AsyncConnection,
    session: SessionId,
    employee: EmployeeId | None,
    bands_by_rating: Mapping[int, Band],
    by: str,
    now: datetime,
) -> list[Published]:
    """Add the next version for all subjects of a locked session, or for one; what was added, by employee."""
    added = await tx.execute(
        _PUBLISH,
        {
            "session": session,
            "employee": employee,
            "ratings": list(bands_by_rating),
            "bands": list(bands_by_rating.values()),
            "by": by,
            "now": now,
        },
    )
    return sorted(added, key=lambda row: str(row.employee))


def _versions() -> Select[tuple[str]]:
    following = classifications.alias("following")
    superseded = exists().where(
        following.c.cycle == classifications.c.cycle,
        following.c.employee == classifications.c.employee,
        following.c.supersedes == classifications.c.version,
    )
    return select(classifications, superseded.label("superseded"))


async def current_page(
    tx: AsyncConnection,
    cycle: CycleId,
    *,
    everybody: bool,
    own: EmployeeId | None,
    line: tuple[EmployeeId, date] | None,
    session: SessionId | None,
    unit: UnitId | None,
    band: str | None,
    after: tuple[str, ...] | None,
    limit: int,
) -> Sequence[Published]:
    """The versions that count. Unless `everybody` may be shown: one's own, and those of a manager's line on a day."""
    shown = _versions().where(classifications.c.cycle == cycle).subquery("shown").c
    found = select(*shown).where(~shown.superseded)
    if not everybody:
        reached = [shown.employee == own]
        if line is not None:
            reached.append(shown.employee.in_(line_of(*line)))
        found = found.where(or_(*reached))
    if session is not None:
        found = found.where(shown.session == session)
    if unit is not None:
        found = found.where(shown.unit == unit)
    if band is not None:
        found = found.where(shown.band == band)
    return (await tx.execute(keyset(found, (shown.employee,), after, limit))).all()


async def versions_page(
    tx: AsyncConnection,
    employee: EmployeeId,
    of: Sequence[CycleId],
    *,
    after: tuple[str, int] | None,
    limit: int,
) -> Sequence[Published]:
    """All versions of one person in these cycles, the oldest first."""
    found = _versions().where(classifications.c.employee == employee, classifications.c.cycle.in_(of))
    key = (classifications.c.cycle, classifications.c.version)
    return (await tx.execute(keyset(found, key, after, limit))).all()


async def cycles_published(tx: AsyncConnection, employee: EmployeeId) -> list[tuple[CycleId, date]]:
    """The cycles in which somebody has a published classification, with their last days."""
    found = select(cycles.c.cycle, cycles.c.ends_on).where(
        exists().where(classifications.c.cycle == cycles.c.cycle, classifications.c.employee == employee)
    )
    rows = await tx.execute(found.order_by(cycles.c.cycle))
    return [(CycleId(row.cycle), row.ends_on) for row in rows]
