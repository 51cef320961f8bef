"""Plans with their immutable versions, and budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.plan import Plan
from services.compensation.model.run import Budget, Scope, Terms
from shared.contracts.ids import CycleId, PlanId, PoolId, ProviderId

PLAN = TypeAdapter(Plan)
_SCOPE = TypeAdapter(Scope)


@dataclass(frozen=True, slots=True)
class Draft:
    plan: PlanId
    version: int
    published_version: int | None
    draft: Plan


@dataclass(frozen=True, slots=True)
class PlanVersion:
    plan: PlanId
    version: int
    content: Plan
    published_at: datetime
    published_by: str


_DRAFT_COLUMNS = "plan, version, published_version, CAST(draft AS text) AS draft"
_DRAFT = text(f"SELECT {_DRAFT_COLUMNS} FROM plans WHERE plan = :plan")  # noqa: S608 - own columns
_LOCK_DRAFT = text(f"SELECT {_DRAFT_COLUMNS} FROM plans WHERE plan = :plan FOR UPDATE")  # noqa: S608 - own columns
_DRAFTS = text(f"""
    SELECT {_DRAFT_COLUMNS} FROM plans WHERE plan > coalesce(CAST(:after AS text), '') ORDER BY plan LIMIT :limit
""")  # noqa: S608 - own columns
_SAVE_DRAFT = text("""
    INSERT INTO plans (provider_id, plan, version, draft) VALUES (:provider, :plan, 1, CAST(:draft AS jsonb))
    ON CONFLICT (provider_id, plan) DO UPDATE SET version = plans.version + 1, draft = excluded.draft
    RETURNING version, published_version
""")
_PUBLISH = text("""
    WITH next AS (
        UPDATE plans SET published_version = coalesce(published_version, 0) + 1 WHERE plan = :plan
        RETURNING provider_id, plan, published_version, draft
    )
    INSERT INTO plan_versions (provider_id, plan, version, content, published_at, published_by)
    SELECT provider_id, plan, published_version, draft, :now, :by FROM next
    RETURNING plan, version, CAST(content AS text) AS content, published_at, published_by
""")
_VERSION = text("""
    SELECT plan, version, CAST(content AS text) AS content, published_at, published_by
    FROM plan_versions WHERE plan = :plan AND version = :version
""")


def _draft(row: Row[tuple[str, int, int | None, str]]) -> Draft:
    return Draft(PlanId(row.plan), row.version, row.published_version, PLAN.validate_json(row.draft))


def _version(row: Row[tuple[str, int, str, datetime, str]]) -> PlanVersion:
    content = PLAN.validate_json(row.content)
    return PlanVersion(PlanId(row.plan), row.version, content, row.published_at, row.published_by)


async def draft(tx: AsyncConnection, plan: PlanId, *, lock: bool = False) -> Draft | None:
    row = (await tx.execute(_LOCK_DRAFT if lock else _DRAFT, {"plan": plan})).one_or_none()
    return _draft(row) if row else None


async def drafts(tx: AsyncConnection, after: str | None, limit: int) -> list[Draft]:
    return [_draft(row) for row in await tx.execute(_DRAFTS, {"after": after, "limit": limit})]


async def save_draft(tx: AsyncConnection, provider: ProviderId, plan: PlanId, content: Plan) -> Draft:
    values = {"provider": provider, "plan": plan, "draft": PLAN.dump_json(content).decode()}
    row = (await tx.execute(_SAVE_DRAFT, values)).one()
    return Draft(plan, row.version, row.published_version, content)


async def publish(tx: AsyncConnection, plan: PlanId, now: datetime, by: str) -> PlanVersion:
    """Make the draft as it stands the next version. The draft's row must be locked."""
    return _version((await tx.execute(_PUBLISH, {"plan": plan, "now": now, "by": by})).one())


async def plan_version(tx: AsyncConnection, plan: PlanId, version: int) -> PlanVersion | None:
    row = (await tx.execute(_VERSION, {"plan": plan, "version": version})).one_or_none()
    return _version(row) if row else None


_BUDGET_COLUMNS = """
    budget, version, cycle, plan, currency, merit_pool, bonus_pool, CAST(scope AS text) AS scope, scale_up
"""
_BUDGET = text(f"SELECT {_BUDGET_COLUMNS} FROM budgets WHERE budget = :budget")  # noqa: S608 - own columns
_LOCK_BUDGET = text(f"SELECT {_BUDGET_COLUMNS} FROM budgets WHERE budget = :budget FOR UPDATE")  # noqa: S608 - own columns
_BUDGETS = text(f"""
    SELECT {_BUDGET_COLUMNS} FROM budgets
    WHERE cycle = coalesce(CAST(:cycle AS text), cycle) AND budget > coalesce(CAST(:after AS text), '')
    ORDER BY budget LIMIT :limit
""")  # noqa: S608 - own columns
_SAVE_BUDGET = text("""
    INSERT INTO budgets (provider_id, budget, version, cycle, plan, currency, merit_pool, bonus_pool, scope, scale_up)
    VALUES (:provider, :budget, 1, :cycle, :plan, :currency, :merit_pool, :bonus_pool, CAST(:scope AS jsonb), :scale_up)
    ON CONFLICT (provider_id, budget) DO UPDATE
    SET version = budgets.version + 1, cycle = excluded.cycle, plan = excluded.plan, currency = excluded.currency,
        merit_pool = excluded.merit_pool, bonus_pool = excluded.bonus_pool, scope = excluded.scope,
        scale_up = excluded.scale_up
    RETURNING version
""")
_SPENT = text("SELECT run FROM runs WHERE budget = :budget AND state = 'approved'")


def _budget(row: Row[tuple[str, int, str, str, str, int, int, str, bool]]) -> Budget:
    terms = Terms(row.merit_pool, row.bonus_pool, _SCOPE.validate_json(row.scope), row.scale_up)
    return Budget(PoolId(row.budget), row.version, CycleId(row.cycle), PlanId(row.plan), row.currency, terms)


async def budget(tx: AsyncConnection, name: PoolId, *, lock: bool = False) -> Budget | None:
    row = (await tx.execute(_LOCK_BUDGET if lock else _BUDGET, {"budget": name})).one_or_none()
    return _budget(row) if row else None


async def budgets(tx: AsyncConnection, cycle: CycleId | None, after: str | None, limit: int) -> list[Budget]:
    return [_budget(row) for row in await tx.execute(_BUDGETS, {"cycle": cycle, "after": after, "limit": limit})]


async def save_budget(tx: AsyncConnection, provider: ProviderId, given: Budget) -> int:
    """The version it has from here on; the one in `given` is not looked at."""
    values = {
        "provider": provider,
        "budget": given.budget,
        "cycle": given.cycle,
        "plan": given.plan,
        "currency": given.currency,
        "merit_pool": given.terms.merit_pool,
        "bonus_pool": given.terms.bonus_pool,
        "scope": _SCOPE.dump_json(given.terms.scope).decode(),
        "scale_up": given.terms.scale_up,
    }
    return int(await tx.scalar(_SAVE_BUDGET, values) or 0)


async def spent_by(tx: AsyncConnection, budget: PoolId) -> str | None:
    """The approved run that has spent the budget."""
    found: str | None = await tx.scalar(_SPENT, {"budget": budget})
    return found
