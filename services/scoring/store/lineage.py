"""The facts behind a version, as that version saw them: those numbered up to its watermark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.facts import Leaf
from services.scoring.model.scorecards import ScorecardVersion
from services.scoring.model.templates import PartKind
from shared.contracts.ids import ProviderId

_LEAVES = text("""
    SELECT kind, source, starts_on, event, effective_event, revision, occurred_on, numerator, denominator
    FROM (SELECT 'metric' AS kind, counted.metric AS source, wanted.starts_on, counted.root AS event,
                 counted.event AS effective_event, counted.revision, counted.occurred_on, counted.numerator,
                 counted.denominator
          FROM (SELECT DISTINCT ON (root) root, event, revision, metric, occurred_on, numerator, denominator
                FROM facts
                WHERE provider_id = :provider AND employee = :employee AND sequence <= :watermark
                ORDER BY root, revision DESC, event DESC) AS counted
          JOIN unnest(CAST(:metrics AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]))
               AS wanted (metric, starts_on, ends_on)
            ON wanted.metric = counted.metric AND counted.occurred_on BETWEEN wanted.starts_on AND wanted.ends_on
          WHERE counted.numerator IS NOT NULL
          UNION ALL
          SELECT 'feedback', counted.category, NULL, counted.feedback, counted.feedback, counted.revision,
                 CAST(counted.submitted_at AS date), counted.rating, 1
          FROM (SELECT DISTINCT ON (category, rater) category, feedback, revision, submitted_at, rating
                FROM ratings
                WHERE provider_id = :provider AND cycle = :cycle AND employee = :employee AND sequence <= :watermark
                ORDER BY category, rater, revision DESC) AS counted
          WHERE counted.category = ANY(CAST(:categories AS text[]))) AS leaf
    WHERE (occurred_on, kind, source, event) > (:after_day, :after_kind, :after_source, :after_event)
    ORDER BY occurred_on, kind, source, event LIMIT :limit
""")


class Behind(NamedTuple):
    """Where the last leaf that was shown stands in the order of all."""

    day: date
    kind: str
    source: str
    event: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A metric over the days of one segment."""

    metric: str
    starts_on: date
    ends_on: date


async def leaves(
    tx: AsyncConnection,
    provider: ProviderId,
    card: ScorecardVersion,
    wanted: Sequence[Wanted],
    categories: Sequence[str],
    *,
    after: Behind | None,
    limit: int,
) -> list[Leaf]:
    """What counted of the wanted metrics and feedback categories, by day."""
    last = after or Behind(date.min, "", "", "")
    values = {
        "provider": provider,
        "cycle": card.cycle,
        "employee": card.employee,
        "watermark": card.watermark,
        "metrics": [each.metric for each in wanted],
        "starts": [each.starts_on for each in wanted],
        "ends": [each.ends_on for each in wanted],
        "categories": list(categories),
        "after_day": last.day,
        "after_kind": last.kind,
        "after_source": last.source,
        "after_event": last.event,
        "limit": limit,
    }
    return [Leaf(PartKind(row.kind), *row[1:]) for row in await tx.execute(_LEAVES, values)]
