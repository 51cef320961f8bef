"""Runs: their rows, their states, and how their pools closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Pool
from services.compensation.model.run import PoolResult, Run, RunState
from shared.contracts.ids import CycleId, EmployeeId, PlanId, PoolId, ProviderId, RunId

_COLUMNS = """
    run, version, state, cycle, plan, plan_version, budget, currency, partial_reason, created_at, created_by, authors,
    author_people, computation, subjects, assessed, computed_at, approved_at, approved_by
"""
_RUN = text(f"SELECT {_COLUMNS} FROM runs WHERE run = :run")  # noqa: S608 - own columns
_LOCK_RUN = text(f"SELECT {_COLUMNS} FROM runs WHERE run = :run FOR UPDATE")  # noqa: S608 - own columns
_RUNS = text(f"""
    SELECT {_COLUMNS} FROM runs
    WHERE cycle = coalesce(CAST(:cycle AS text), cycle) AND state = coalesce(CAST(:state AS text), state)
      AND run > coalesce(CAST(:after AS text), '')
    ORDER BY run LIMIT :limit
""")  # noqa: S608 - own columns
_CREATE = text(f"""
    INSERT INTO runs (provider_id, run, version, state, cycle, plan, plan_version, budget, currency, partial_reason,
                      created_at, created_by, authors, author_people, computation)
    VALUES (:provider, coalesce(CAST(:run AS text), CAST(uuidv7() AS text)), 1, 'computing', :cycle, :plan,
            :plan_version, :budget, :currency, :partial_reason, :now, :by, ARRAY[CAST(:by AS text)],
            array_remove(ARRAY[CAST(:person AS text)], NULL), 1)
    ON CONFLICT (provider_id, run) DO NOTHING
    RETURNING {_COLUMNS}
""")  # noqa: S608 - own columns
_RESTART = text("""
    UPDATE runs
    SET version = version + 1, state = 'computing', computation = computation + 1, plan_version = :plan_version,
        currency = :currency, context = NULL, subjects = 0, assessed = 0, computed_at = NULL,
        authors = CASE WHEN :by = ANY(authors) THEN authors ELSE authors || CAST(:by AS text) END,
        author_people = CASE WHEN CAST(:person AS text) IS NULL OR :person = ANY(author_people) THEN author_people
                             ELSE author_people || CAST(:person AS text) END
    WHERE run = :run
""")


def _run(row: Row[tuple[object, ...]]) -> Run:
    found = row._mapping
    return Run(
        **{
            **found,
            "state": RunState(found["state"]),
            "authors": tuple(found["authors"]),
            "author_people": tuple(found["author_people"]),
        }
    )


async def run(tx: AsyncConnection, name: RunId, *, lock: bool = False) -> Run | None:
    row = (await tx.execute(_LOCK_RUN if lock else _RUN, {"run": name})).one_or_none()
    return _run(row) if row else None


async def runs(
    tx: AsyncConnection, cycle: CycleId | None, state: RunState | None, after: str | None, limit: int
) -> list[Run]:
    values = {"cycle": cycle, "state": state, "after": after, "limit": limit}
    return [_run(row) for row in await tx.execute(_RUNS, values)]


@dataclass(frozen=True, slots=True)
class NewRun:
    """`run` is made when it is not named; `person` is the employee behind the author, where the token names one."""

    run: RunId | None
    cycle: CycleId
    plan: PlanId
    plan_version: int
    budget: PoolId
    currency: str
    partial_reason: str | None
    by: str
    person: EmployeeId | None


async def create_run(tx: AsyncConnection, provider: ProviderId, new: NewRun, now: datetime) -> Run | None:
    """`None` when the name is taken."""
    values = {
        "provider": provider,
        "run": new.run,
        "cycle": new.cycle,
        "plan": new.plan,
        "plan_version": new.plan_version,
        "budget": new.budget,
        "currency": new.currency,
        "partial_reason": new.partial_reason,
        "by": new.by,
        "person": new.person,
        "now": now,
    }
    row = (await tx.execute(_CREATE, values)).one_or_none()
    return _run(row) if row else None


async def restart(
    tx: AsyncConnection, name: RunId, plan_version: int, currency: str, by: str, person: EmployeeId | None
) -> None:
    values = {"run": name, "plan_version": plan_version, "currency": currency, "by": by, "person": person}
    await tx.execute(_RESTART, values)


_APPROVE = text("""
    UPDATE runs SET version = version + 1, state = 'approved', approved_at = :now, approved_by = :by WHERE run = :run
""")


async def approve(tx: AsyncConnection, name: RunId, now: datetime, by: str) -> None:
    """From here on the database lets nobody change the run."""
    await tx.execute(_APPROVE, {"run": name, "now": now, "by": by})


# Locked whatever the state, or a run that is being gathered right now would miss the change without becoming stale.
_LOCK_OPEN = text("""
    SELECT run FROM runs
    WHERE cycle = coalesce(CAST(:cycle AS text), cycle) AND state IN ('computing', 'computed', 'infeasible')
    ORDER BY run FOR UPDATE
""")
_STALE = text("""
    UPDATE runs SET state = 'stale', version = version + 1
    WHERE run = ANY(:runs) AND context IS NOT NULL
      AND (CAST(:budget AS text) IS NULL OR budget = :budget)
      AND (CAST(:employees AS text[]) IS NULL OR EXISTS (
            SELECT FROM run_subjects AS subject
            WHERE subject.provider_id = runs.provider_id AND subject.run = runs.run
              AND subject.employee = ANY(:employees)))
""")


async def make_stale(
    tx: AsyncConnection,
    *,
    cycle: CycleId | None = None,
    budget: PoolId | None = None,
    employees: Sequence[EmployeeId] | None = None,
) -> None:
    """Runs that gathered what has changed since must be computed again before anyone may approve them."""
    locked = list(await tx.scalars(_LOCK_OPEN, {"cycle": cycle}))
    if locked:
        await tx.execute(_STALE, {"runs": locked, "budget": budget, "employees": employees})


_POOLS = text("""
    SELECT pool, amount, requested, minimum, maximum, scale, binds, awarded, undistributed
    FROM run_pools WHERE run = :run ORDER BY pool DESC
""")
_LEFT_OUT_COUNTS = text("""
    SELECT reason ->> 'component' AS component, reason ->> 'code' AS code, count(*) AS people
    FROM run_subjects, jsonb_array_elements(left_out) AS reason
    WHERE run = :run GROUP BY 1, 2 ORDER BY 2, 1
""")


async def pools(tx: AsyncConnection, name: RunId) -> list[PoolResult]:
    return [
        PoolResult(
            Pool(row.pool),
            row.amount,
            Fraction(row.requested),
            Fraction(row.minimum),
            Fraction(row.maximum),
            None if row.scale is None else Fraction(row.scale),
            row.binds,
            row.awarded,
            row.undistributed,
        )
        for row in await tx.execute(_POOLS, {"run": name})
    ]


async def left_out(tx: AsyncConnection, name: RunId) -> list[tuple[str | None, str, int]]:
    """How many people take no part, by component (`None`: at all) and code."""
    return [(row.component, row.code, row.people) for row in await tx.execute(_LEFT_OUT_COUNTS, {"run": name})]
