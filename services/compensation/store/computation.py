"""What a run gathered of its people, what each asks, and what each gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import (
    Assessment,
    Component,
    LeftOut,
    Line,
    PayRange,
    Period,
    Rate,
    Reference,
    Subject,
    TeamScore,
)
from services.compensation.model.pool import Claim, Share
from services.compensation.model.run import PoolResult, Run, RunState, Terms
from shared import telemetry
from shared.contracts.ids import EmployeeId, ProviderId, RunId, UnitId

LINES = TypeAdapter(tuple[Line, ...])
LEFT_OUT = TypeAdapter(tuple[LeftOut, ...])
SUBJECT = TypeAdapter(Subject)


@dataclass(frozen=True, slots=True)
class Context:
    """What a run looked up once for all of its people."""

    period: Period
    terms: Terms
    reference: Reference


_CONTEXT = TypeAdapter(Context)

_RANGES = text("""
    SELECT DISTINCT ON (grade, currency) grade, currency, minimum, midpoint, maximum, valid_from
    FROM pay_ranges WHERE valid_from <= :last ORDER BY grade, currency, valid_from DESC
""")
_RATES = text("""
    SELECT DISTINCT ON (source) on_day, source, target, rate
    FROM exchange_rates WHERE target = :currency AND on_day <= :last ORDER BY source, on_day DESC
""")
_TEAMS = text("""
    SELECT unit, count(*) AS people, sum(score) AS total
    FROM classifications WHERE cycle = :cycle AND score IS NOT NULL GROUP BY unit ORDER BY unit
""")


async def reference(tx: AsyncConnection, run: Run, last: date) -> Reference:
    """Ranges and rates in force on the reference date, and the mean score of every unit of the cycle."""
    ranges = await tx.execute(_RANGES, {"last": last})
    rates = await tx.execute(_RATES, {"currency": run.currency, "last": last})
    teams = await tx.execute(_TEAMS, {"cycle": run.cycle})
    return Reference(
        tuple(PayRange(*row) for row in ranges),
        tuple(Rate(*row) for row in rates),
        tuple(TeamScore(UnitId(row.unit), row.people, Fraction(row.total) / row.people) for row in teams),
    )


_FORGET = (
    text("DELETE FROM run_subjects WHERE run = :run"),
    text("DELETE FROM run_pools WHERE run = :run"),
)
# Everybody who is classified in the cycle and in scope by that classification, and everybody who works in scope on the
# reference date but is not classified: the latter take no part, and the run says so by name.
_GATHER = text("""
    INSERT INTO run_subjects (provider_id, run, employee, inputs, status)
    SELECT :provider, :run, subject.employee,
           jsonb_build_object(
               'employee', subject.employee,
               'classification', CASE WHEN classified.employee IS NULL THEN NULL ELSE jsonb_build_object(
                   'version', classified.version, 'band', classified.band, 'score', CAST(classified.score AS text),
                   'scorecard_version', classified.scorecard_version, 'grade', classified.grade,
                   'unit', classified.unit) END,
               'pay', coalesce(pay.entries, '[]'),
               'employed', coalesce(person.employed, '[]'),
               'absences', coalesce(person.absences, '[]'),
               'awarded_by', award.run,
               'held', coalesce(held.plans, '{}')),
           'gathered'
    FROM (
        SELECT employee FROM classifications AS place
        WHERE place.provider_id = :provider AND place.cycle = :cycle
          AND (cardinality(CAST(:clients AS text[])) = 0 OR place.client = ANY(:clients))
          AND (cardinality(CAST(:units AS text[])) = 0 OR place.unit = ANY(:units))
          AND (cardinality(CAST(:lines AS text[])) = 0 OR place.line_of_business = ANY(:lines))
          AND (cardinality(CAST(:sites AS text[])) = 0 OR place.site = ANY(:sites))
        UNION
        SELECT known.employee
        FROM employees AS known,
             jsonb_to_recordset(known.assignments) AS place (
                 valid_from date, valid_to date, client text, unit text, line_of_business text, site text)
        WHERE known.provider_id = :provider
          AND place.valid_from <= :last AND coalesce(place.valid_to, 'infinity') >= :last
          AND (cardinality(CAST(:clients AS text[])) = 0 OR place.client = ANY(:clients))
          AND (cardinality(CAST(:units AS text[])) = 0 OR place.unit = ANY(:units))
          AND (cardinality(CAST(:lines AS text[])) = 0 OR place.line_of_business = ANY(:lines))
          AND (cardinality(CAST(:sites AS text[])) = 0 OR place.site = ANY(:sites))
          AND NOT EXISTS (SELECT FROM classifications AS other
                          WHERE other.provider_id = :provider AND other.cycle = :cycle
                            AND other.employee = known.employee)
    ) AS subject
    LEFT JOIN classifications AS classified
        ON classified.provider_id = :provider AND classified.cycle = :cycle AND classified.employee = subject.employee
    LEFT JOIN employees AS person ON person.provider_id = :provider AND person.employee = subject.employee
    LEFT JOIN pay ON pay.provider_id = :provider AND pay.employee = subject.employee
    LEFT JOIN awards AS award
        ON award.provider_id = :provider AND award.employee = subject.employee
       AND award.plan = :plan AND award.cycle = :cycle
    LEFT JOIN (
        SELECT employee, jsonb_object_agg(component, plan) AS plans FROM ledger_entries
        WHERE provider_id = :provider AND cycle = :cycle AND plan <> :plan AND sequence = 1 AND NOT second_plan
        GROUP BY employee
    ) AS held ON held.employee = subject.employee
""")
_COUNT = text("SELECT count(*) FROM run_subjects WHERE run = :run")


async def gather(tx: AsyncConnection, provider: ProviderId, run: Run, found: Context) -> None:
    """Copy everything the run will compute from, in place of what an earlier computation gathered."""
    for statement in _FORGET:
        await tx.execute(statement, {"run": run.run})
    scope = found.terms.scope
    values = {
        "provider": provider,
        "run": run.run,
        "cycle": run.cycle,
        "plan": run.plan,
        "last": found.period.last,
        "clients": list(scope.clients),
        "units": list(scope.units),
        "lines": list(scope.lines_of_business),
        "sites": list(scope.sites),
    }
    await tx.execute(_GATHER, values)
    subjects = await tx.scalar(_COUNT, {"run": run.run})
    saved = {"run": run.run, "context": _CONTEXT.dump_json(found).decode(), "subjects": subjects}
    await tx.execute(_SAVE_CONTEXT, saved)


_ITEMS = text("""
    SELECT employee, component, raw, minimum, maximum FROM run_items WHERE run = :run ORDER BY employee, component
""")
_NEXT = text("""
    SELECT CAST(inputs AS text) AS inputs FROM run_subjects
    WHERE run = :run AND status = 'gathered' ORDER BY employee LIMIT :limit
""")
_CONTEXT_OF = text("SELECT CAST(context AS text) AS context FROM runs WHERE run = :run")


async def context(tx: AsyncConnection, name: RunId) -> Context | None:
    """What the run gathered, or `None` before it did."""
    found: str | None = await tx.scalar(_CONTEXT_OF, {"run": name})
    return _CONTEXT.validate_json(found) if found else None


async def next_subjects(tx: AsyncConnection, name: RunId, limit: int) -> list[Subject]:
    return [SUBJECT.validate_json(inputs) for inputs in await tx.scalars(_NEXT, {"run": name, "limit": limit})]


_SAVE_CONTEXT = text("""
    UPDATE runs SET version = version + 1, context = CAST(:context AS jsonb), subjects = :subjects WHERE run = :run
""")
_SAVE_SUBJECTS = text("""
    UPDATE run_subjects AS subject SET status = given.status, left_out = given.left_out, lines = given.lines
    FROM unnest(CAST(:employees AS text[]), CAST(:statuses AS text[]), CAST(:left_out AS jsonb[]),
                CAST(:lines AS jsonb[])) AS given (employee, status, left_out, lines)
    WHERE subject.provider_id = :provider AND subject.run = :run AND subject.employee = given.employee
""")
_SAVE_ITEMS = text("""
    INSERT INTO run_items (provider_id, run, employee, component, raw, minimum, maximum)
    SELECT :provider, :run, given.*
    FROM unnest(CAST(:employees AS text[]), CAST(:components AS text[]), CAST(:raw AS text[]),
                CAST(:minimum AS text[]), CAST(:maximum AS text[])) AS given
""")
_COUNT_ASSESSED = text("UPDATE runs SET version = version + 1, assessed = assessed + :count WHERE run = :run")


async def save_assessments(
    tx: AsyncConnection, provider: ProviderId, name: RunId, found: Sequence[tuple[EmployeeId, Assessment]]
) -> None:
    await tx.execute(
        _SAVE_SUBJECTS,
        {
            "provider": provider,
            "run": name,
            "employees": [employee for employee, _ in found],
            "statuses": ["eligible" if each.items else "ineligible" for _, each in found],
            "left_out": [LEFT_OUT.dump_json(each.left_out).decode() for _, each in found],
            "lines": [LINES.dump_json(each.lines).decode() for _, each in found],
        },
    )
    items = [(employee, item) for employee, each in found for item in each.items]
    await tx.execute(
        _SAVE_ITEMS,
        {
            "provider": provider,
            "run": name,
            "employees": [employee for employee, _ in items],
            "components": [item.component for _, item in items],
            "raw": [str(item.raw) for _, item in items],
            "minimum": [str(item.minimum) for _, item in items],
            "maximum": [str(item.maximum) for _, item in items],
        },
    )
    await tx.execute(_COUNT_ASSESSED, {"run": name, "count": len(found)})


async def claims(tx: AsyncConnection, name: RunId) -> list[Claim]:
    return [
        Claim(
            EmployeeId(row.employee),
            Component(row.component),
            Fraction(row.raw),
            Fraction(row.minimum),
            Fraction(row.maximum),
        )
        for row in await tx.execute(_ITEMS, {"run": name})
    ]


_SAVE_SHARES = text("""
    UPDATE run_items AS item SET amount = given.amount, closing = given.closing
    FROM unnest(CAST(:employees AS text[]), CAST(:components AS text[]), CAST(:amounts AS bigint[]),
                CAST(:closing AS jsonb[])) AS given (employee, component, amount, closing)
    WHERE item.provider_id = :provider AND item.run = :run
      AND item.employee = given.employee AND item.component = given.component
""")
_SAVE_POOLS = text("""
    INSERT INTO run_pools (provider_id, run, pool, amount, requested, minimum, maximum, scale, binds, awarded,
                           undistributed)
    SELECT :provider, :run, given.*
    FROM unnest(CAST(:pools AS text[]), CAST(:amounts AS bigint[]), CAST(:requested AS text[]),
                CAST(:minimum AS text[]), CAST(:maximum AS text[]), CAST(:scales AS text[]), CAST(:binds AS boolean[]),
                CAST(:awarded AS bigint[]), CAST(:undistributed AS bigint[])) AS given
""")
_FINISH = text("""
    UPDATE runs SET version = version + 1, state = :state, computed_at = :now, traceparent = :traceparent
    WHERE run = :run
""")


_COMPUTED_BY = text("SELECT traceparent FROM runs WHERE run = :run")


async def computed_by(tx: AsyncConnection, name: RunId) -> str | None:
    """The trace context of the step that closed the run's pools."""
    found: str | None = await tx.scalar(_COMPUTED_BY, {"run": name})
    return found


async def save_shares(
    tx: AsyncConnection, provider: ProviderId, name: RunId, shares: Sequence[tuple[Share, tuple[Line, ...]]]
) -> None:
    await tx.execute(
        _SAVE_SHARES,
        {
            "provider": provider,
            "run": name,
            "employees": [share.claim.employee for share, _ in shares],
            "components": [share.claim.component for share, _ in shares],
            "amounts": [share.amount for share, _ in shares],
            "closing": [LINES.dump_json(lines).decode() for _, lines in shares],
        },
    )


async def finish(
    tx: AsyncConnection, provider: ProviderId, name: RunId, pools: Sequence[PoolResult], state: RunState, now: datetime
) -> None:
    await tx.execute(
        _SAVE_POOLS,
        {
            "provider": provider,
            "run": name,
            "pools": [found.pool for found in pools],
            "amounts": [found.amount for found in pools],
            "requested": [str(found.requested) for found in pools],
            "minimum": [str(found.minimum) for found in pools],
            "maximum": [str(found.maximum) for found in pools],
            "scales": [None if found.scale is None else str(found.scale) for found in pools],
            "binds": [found.binds for found in pools],
            "awarded": [found.awarded for found in pools],
            "undistributed": [found.undistributed for found in pools],
        },
    )
    traceparent = telemetry.current_traceparent()
    await tx.execute(_FINISH, {"run": name, "state": state, "now": now, "traceparent": traceparent})
