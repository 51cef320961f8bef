"""What a run looks up and copies before it computes; later changes do not reach it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import PayRange, Period, Rate, Reference, TeamScore
from services.compensation.model.run import Run, Terms
from shared.contracts.ids import ProviderId, RunId, UnitId


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
_SAVE_CONTEXT = text("""
    UPDATE runs SET version = version + 1, context = CAST(:context AS jsonb), subjects = :subjects WHERE run = :run
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


_CONTEXT_OF = text("SELECT CAST(context AS text) AS context FROM runs WHERE run = :run")


async def context(tx: AsyncConnection, name: RunId) -> Context | None:
    """What the run gathered, or `None` before it did."""
    found: str | None = await tx.scalar(_CONTEXT_OF, {"run": name})
    return _CONTEXT.validate_json(found) if found else None
