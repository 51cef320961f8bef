"""The same day sums twice: as they are kept, and from the facts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.ids import ProviderId

_HEADS = text("""
    SELECT employee FROM employee_heads WHERE provider_id = :provider AND employee > :after
    ORDER BY employee LIMIT :limit
""")
_KEPT = text("""
    SELECT employee, day, metric, trim_scale(numerator), trim_scale(denominator), events FROM day_sums
    WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[])) AND events <> 0
    ORDER BY employee, day, metric
""")
_RECOMPUTED = text("""
    SELECT employee, occurred_on, metric, trim_scale(sum(numerator)), trim_scale(sum(denominator)), count(*)
    FROM (SELECT DISTINCT ON (employee, root) employee, occurred_on, metric, numerator, denominator FROM facts
          WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[]))
          ORDER BY employee, root, revision DESC, event DESC) AS counted
    WHERE numerator IS NOT NULL
    GROUP BY employee, occurred_on, metric ORDER BY employee, occurred_on, metric
""")
_WAITING = text("""
    SELECT key FROM timers WHERE kind = :kind AND provider_id = :provider AND key = ANY(CAST(:employees AS text[]))
""")


@dataclass(frozen=True, slots=True)
class DaySum:
    employee: str
    day: date
    metric: str
    numerator: Decimal
    denominator: Decimal
    events: int


async def people(tx: AsyncConnection, provider: ProviderId, *, after: str, limit: int) -> list[str]:
    """The next people behind `after` of whom anything is known."""
    return list((await tx.execute(_HEADS, {"provider": provider, "after": after, "limit": limit})).scalars())


async def kept(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str]) -> list[DaySum]:
    return await _sums(tx, provider, employees, _KEPT)


async def recomputed(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str]) -> list[DaySum]:
    return await _sums(tx, provider, employees, _RECOMPUTED)


async def waiting(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str], *, kind: str) -> set[str]:
    """Who has a timer of `kind`."""
    return set((await tx.execute(_WAITING, {"provider": provider, "employees": employees, "kind": kind})).scalars())


async def _sums(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str], query: TextClause) -> list[DaySum]:
    return [DaySum(*row) for row in await tx.execute(query, {"provider": provider, "employees": employees})]
