"""What people said of each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.facts import Source, Sums
from services.scoring.model.templates import PartKind
from shared.contracts.ids import ProviderId

_INSERT_RATINGS = text("""
    INSERT INTO ratings (provider_id, cycle, employee, category, rater, revision, feedback, rating, sequence,
                         submitted_at)
    SELECT :provider, row.*
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[]), CAST(:categories AS text[]),
                CAST(:raters AS text[]), CAST(:revisions AS integer[]), CAST(:feedback AS text[]),
                CAST(:ratings AS numeric[]), CAST(:sequences AS bigint[]), CAST(:submitted AS timestamptz[])) AS row
    ON CONFLICT DO NOTHING
""")
_RATING_SUMS = text("""
    SELECT cycle, employee, category, sum(rating) AS numerator, count(*) AS raters,
           CAST(max(submitted_at) AS date) AS latest_day
    FROM (SELECT DISTINCT ON (cycle, employee, category, rater) cycle, employee, category, rating, submitted_at
          FROM ratings
          WHERE provider_id = :provider AND cycle = ANY(CAST(:cycles AS text[]))
            AND employee = ANY(CAST(:employees AS text[]))
          ORDER BY cycle, employee, category, rater, revision DESC) AS latest
    GROUP BY cycle, employee, category
""")


@dataclass(frozen=True, slots=True)
class Rating:
    cycle: str
    employee: str
    category: str
    rater: str
    revision: int
    feedback: str
    rating: Decimal
    submitted_at: datetime


async def insert(
    tx: AsyncConnection, provider: ProviderId, ratings: Sequence[Rating], sequences: Sequence[int]
) -> None:
    values = {
        "provider": provider,
        "cycles": [rating.cycle for rating in ratings],
        "employees": [rating.employee for rating in ratings],
        "categories": [rating.category for rating in ratings],
        "raters": [rating.rater for rating in ratings],
        "revisions": [rating.revision for rating in ratings],
        "feedback": [rating.feedback for rating in ratings],
        "ratings": [rating.rating for rating in ratings],
        "sequences": sequences,
        "submitted": [rating.submitted_at for rating in ratings],
    }
    await tx.execute(_INSERT_RATINGS, values)


async def sums(
    tx: AsyncConnection, provider: ProviderId, cycles: Sequence[str], employees: Sequence[str]
) -> Mapping[tuple[str, str], dict[Source, Sums]]:
    """By cycle and employee, the sums of every category over its raters, each with their latest word."""
    found: dict[tuple[str, str], dict[Source, Sums]] = defaultdict(dict)
    values = {"provider": provider, "cycles": sorted(cycles), "employees": sorted(employees)}
    for cycle, employee, category, numerator, raters, latest_day in await tx.execute(_RATING_SUMS, values):
        found[cycle, employee][PartKind.FEEDBACK, category] = Sums(numerator, Decimal(raters), raters, latest_day)
    return found
