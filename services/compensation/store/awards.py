"""Awards as they stand: who was awarded by which run, at what, and how it was computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import Classification, Component, Item, LeftOut, Line
from services.compensation.model.ledger import Chain
from services.compensation.model.run import Award, Calculation, Decided
from services.compensation.store.documents import LEFT_OUT, LINES, SUBJECT
from shared.contracts.ids import Band, CycleId, EmployeeId, PlanId, ProviderId, RunId

_CLASSIFICATION = TypeAdapter(Classification)

_DECIDE = text("""
    INSERT INTO awards (provider_id, employee, plan, cycle, run, version, classification_version, scorecard_version,
                        band)
    SELECT provider_id, employee, :plan, :cycle, run, 1,
           CAST(inputs -> 'classification' ->> 'version' AS integer),
           CAST(inputs -> 'classification' ->> 'scorecard_version' AS integer),
           inputs -> 'classification' ->> 'band'
    FROM run_subjects WHERE run = :run AND status = 'eligible' ORDER BY employee
    ON CONFLICT (provider_id, employee, plan, cycle) DO NOTHING
    RETURNING employee, classification_version
""")
_DECIDE_AMOUNTS = text("""
    INSERT INTO award_amounts (provider_id, employee, plan, cycle, component, amount)
    SELECT provider_id, employee, :plan, :cycle, component, amount FROM run_items WHERE run = :run
""")
_COUNT_ELIGIBLE = text("SELECT count(*) FROM run_subjects WHERE run = :run AND status = 'eligible'")
_CONTAINS = text("SELECT EXISTS (SELECT FROM run_subjects WHERE run = :run AND employee = :employee)")


async def contains(tx: AsyncConnection, run: RunId, employee: EmployeeId) -> bool:
    return bool(await tx.scalar(_CONTAINS, {"run": run, "employee": employee}))


async def decide(
    tx: AsyncConnection, run: RunId, plan: PlanId, cycle: CycleId
) -> tuple[list[tuple[EmployeeId, int]], int]:
    """Award everybody eligible in the run: who was, by which classification version, and how many already had been."""
    values = {"run": run, "plan": plan, "cycle": cycle}
    decided = sorted((EmployeeId(row[0]), int(row[1])) for row in await tx.execute(_DECIDE, values))
    eligible = int(await tx.scalar(_COUNT_ELIGIBLE, {"run": run}) or 0)
    if len(decided) == eligible:
        await tx.execute(_DECIDE_AMOUNTS, values)
    return decided, eligible - len(decided)


_LOCK_AWARDS = text("""
    SELECT award.employee, award.plan, award.cycle, award.run, award.version, award.classification_version,
           award.scorecard_version, award.band,
           CAST(jsonb_build_object('version', found.version, 'band', found.band, 'score', CAST(found.score AS text),
                                   'scorecard_version', found.scorecard_version, 'grade', found.grade,
                                   'unit', found.unit) AS text) AS classification
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[])) AS changed (cycle, employee)
    JOIN awards AS award ON award.cycle = changed.cycle AND award.employee = changed.employee
    JOIN classifications AS found ON found.cycle = changed.cycle AND found.employee = changed.employee
    WHERE award.provider_id = :provider AND found.provider_id = :provider
      AND award.classification_version < found.version
    ORDER BY award.cycle, award.employee, award.plan
    FOR UPDATE OF award
""")
_DECIDED = text("""
    SELECT subject.employee, CAST(subject.inputs AS text) AS inputs,
           item.component, item.raw, item.minimum, item.maximum, item.amount
    FROM run_subjects AS subject JOIN run_items AS item USING (provider_id, run, employee)
    WHERE subject.provider_id = :provider AND subject.run = :run AND subject.employee = ANY(:employees)
""")


async def lock_outdated(
    tx: AsyncConnection, provider: ProviderId, changed: Collection[tuple[CycleId, EmployeeId]]
) -> list[tuple[Award, Classification]]:
    """Awards that rest on an older classification than the one that is known now, with that one."""
    keys = sorted(changed)
    values = {"provider": provider, "cycles": [key[0] for key in keys], "employees": [key[1] for key in keys]}
    found = []
    for *award, classification in await tx.execute(_LOCK_AWARDS, values):
        found.append((Award(*award), _CLASSIFICATION.validate_json(classification)))
    return found


async def decided(
    tx: AsyncConnection, provider: ProviderId, run: RunId, employees: Collection[EmployeeId]
) -> Mapping[EmployeeId, Decided]:
    """What the run computed from and decided, per person."""
    inputs: dict[EmployeeId, str] = {}
    items: defaultdict[EmployeeId, dict[Component, tuple[Item, int]]] = defaultdict(dict)
    for row in await tx.execute(_DECIDED, {"provider": provider, "run": run, "employees": sorted(employees)}):
        component = Component(row.component)
        item = Item(component, Fraction(row.raw), Fraction(row.minimum), Fraction(row.maximum))
        inputs[row.employee] = row.inputs
        items[row.employee][component] = (item, row.amount)
    return {employee: Decided(SUBJECT.validate_json(inputs[employee]), items[employee]) for employee in inputs}


@dataclass(frozen=True, slots=True)
class Readjustment:
    """An award under a newer classification: amounts of every component, and the lines that lead to them."""

    award: Award
    amounts: Mapping[Component, int]
    lines: tuple[Line, ...]


_SAVE_AWARDS = text("""
    UPDATE awards AS award
    SET version = given.version, classification_version = given.classification_version,
        scorecard_version = given.scorecard_version, band = given.band
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]),
                CAST(:versions AS integer[]), CAST(:classification_versions AS integer[]),
                CAST(:scorecard_versions AS integer[]),
                CAST(:bands AS text[]))
         AS given (employee, plan, cycle, version, classification_version, scorecard_version, band)
    WHERE award.provider_id = :provider AND award.employee = given.employee AND award.plan = given.plan
      AND award.cycle = given.cycle
""")
_SAVE_AMOUNTS = text("""
    INSERT INTO award_amounts (provider_id, employee, plan, cycle, component, amount)
    SELECT :provider, given.*
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]),
                CAST(:components AS text[]), CAST(:amounts AS bigint[])) AS given
    ON CONFLICT (provider_id, employee, plan, cycle, component) DO UPDATE SET amount = excluded.amount
""")
_SAVE_ADJUSTMENTS = text("""
    INSERT INTO adjustments (provider_id, employee, plan, cycle, classification_version, lines, decided_at)
    SELECT :provider, given.*, :now
    FROM unnest(CAST(:employees AS text[]), CAST(:plans AS text[]), CAST(:cycles AS text[]),
                CAST(:classification_versions AS integer[]), CAST(:lines AS jsonb[])) AS given
""")


async def save_readjusted(
    tx: AsyncConnection, provider: ProviderId, found: Sequence[Readjustment], now: datetime
) -> None:
    awards = [each.award for each in found]
    keys = {
        "provider": provider,
        "employees": [award.employee for award in awards],
        "plans": [award.plan for award in awards],
        "cycles": [award.cycle for award in awards],
        "classification_versions": [award.classification_version for award in awards],
    }
    changed = {
        "versions": [award.version for award in awards],
        "scorecard_versions": [award.scorecard_version for award in awards],
        "bands": [award.band for award in awards],
    }
    await tx.execute(_SAVE_AWARDS, keys | changed)
    lines = [LINES.dump_json(each.lines).decode() for each in found]
    await tx.execute(_SAVE_ADJUSTMENTS, keys | {"lines": lines, "now": now})
    amounts = [(each.award, component, amount) for each in found for component, amount in each.amounts.items()]
    await tx.execute(
        _SAVE_AMOUNTS,
        {
            "provider": provider,
            "employees": [award.employee for award, _, _ in amounts],
            "plans": [award.plan for award, _, _ in amounts],
            "cycles": [award.cycle for award, _, _ in amounts],
            "components": [component for _, component, _ in amounts],
            "amounts": [amount for _, _, amount in amounts],
        },
    )


@dataclass(frozen=True, slots=True)
class RunAward:
    """A person's line in a run's list; amounts stand once the pools are shared out."""

    employee: EmployeeId
    status: str
    left_out: tuple[LeftOut, ...]
    band: Band | None
    classification_version: int | None
    merit: int | None
    lump_sum: int | None
    bonus: int | None


_RUN_AWARDS = text("""
    SELECT subject.employee, subject.status, CAST(subject.left_out AS text) AS left_out,
           subject.inputs -> 'classification' ->> 'band' AS band,
           CAST(subject.inputs -> 'classification' ->> 'version' AS integer) AS classification_version,
           item.merit, item.lump_sum, item.bonus
    FROM run_subjects AS subject
    LEFT JOIN LATERAL (
        SELECT max(amount) FILTER (WHERE component = 'merit') AS merit,
               max(amount) FILTER (WHERE component = 'lump-sum') AS lump_sum,
               max(amount) FILTER (WHERE component = 'bonus') AS bonus
        FROM run_items
        WHERE run_items.provider_id = subject.provider_id AND run_items.run = subject.run
          AND run_items.employee = subject.employee
    ) AS item ON true
    WHERE subject.run = :run AND subject.employee = coalesce(CAST(:employee AS text), subject.employee)
      AND subject.status = coalesce(CAST(:status AS text), subject.status)
      AND subject.employee > coalesce(CAST(:after AS text), '')
    ORDER BY subject.employee LIMIT :limit
""")


async def run_awards(
    tx: AsyncConnection, run: RunId, employee: EmployeeId | None, status: str | None, after: str | None, limit: int
) -> list[RunAward]:
    values = {"run": run, "employee": employee, "status": status, "after": after, "limit": limit}
    return [
        RunAward(**{**row._mapping, "left_out": LEFT_OUT.validate_json(row.left_out)})
        for row in await tx.execute(_RUN_AWARDS, values)
    ]


_AWARDS_OF = text("""
    SELECT employee, plan, cycle, run, version, classification_version, scorecard_version, band
    FROM awards
    WHERE employee = :employee AND cycle = :cycle AND plan = coalesce(CAST(:plan AS text), plan) ORDER BY plan
""")
_AMOUNTS_OF = text("""
    SELECT plan, component, amount FROM award_amounts WHERE employee = :employee AND cycle = :cycle
    ORDER BY plan, component
""")
_RUN_LINES = text("""
    SELECT CAST(subject.inputs -> 'classification' ->> 'version' AS integer) AS classification_version,
           CAST(subject.lines AS text) AS lines,
           ARRAY(SELECT CAST(closing AS text) FROM run_items AS item
                 WHERE item.provider_id = subject.provider_id AND item.run = subject.run
                   AND item.employee = subject.employee ORDER BY item.component) AS closing
    FROM run_subjects AS subject WHERE subject.run = :run AND subject.employee = :employee
""")
_ADJUSTMENT_LINES = text("""
    SELECT classification_version, CAST(lines AS text) AS lines FROM adjustments
    WHERE employee = :employee AND plan = :plan AND cycle = :cycle ORDER BY classification_version
""")


async def awards_of(tx: AsyncConnection, employee: EmployeeId, cycle: CycleId, plan: PlanId | None) -> list[Award]:
    rows = await tx.execute(_AWARDS_OF, {"employee": employee, "cycle": cycle, "plan": plan})
    return [Award(*row) for row in rows]


async def amounts_of(tx: AsyncConnection, employee: EmployeeId, cycle: CycleId) -> Mapping[Chain, int]:
    rows = await tx.execute(_AMOUNTS_OF, {"employee": employee, "cycle": cycle})
    return {Chain(employee, row.plan, cycle, Component(row.component)): row.amount for row in rows}


async def calculations(tx: AsyncConnection, award: Award) -> list[Calculation]:
    """The run's own computation, then one for each later classification."""
    key = {"run": award.run, "employee": award.employee}
    row = (await tx.execute(_RUN_LINES, key)).one()
    lines = LINES.validate_json(row.lines) + tuple(line for part in row.closing for line in LINES.validate_json(part))
    found = [Calculation(f"run/{award.run}", row.classification_version, lines)]
    key = {"employee": award.employee, "plan": award.plan, "cycle": award.cycle}
    for row in await tx.execute(_ADJUSTMENT_LINES, key):
        version = row.classification_version
        found.append(Calculation(f"classification/{version}", version, LINES.validate_json(row.lines)))
    return found
