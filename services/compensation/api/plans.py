"""Plans, their published versions, and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field

from services.compensation.api.fields import (
    Administrator,
    BudgetName,
    Client,
    Currency,
    CycleName,
    Line,
    MinorUnits,
    Name,
    Percent,
    PlanName,
    Reader,
    Score,
    Share,
    Unit,
)
from services.compensation.commands import reference
from services.compensation.model.plan import Absences, Combination, CurveKind, Plan, Rounding, Zone
from services.compensation.model.run import Budget, Scope, Terms
from services.compensation.rules.plans import CAP_ORDER
from services.compensation.store import plans as store
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, IfMatch, Once, Page, Paging, Router

router = Router(tags=["plans"])


class CellBody(Body):
    minimum: Percent
    default: Percent
    maximum: Percent


class RowBody(Body):
    band: Name
    cells: Mapping[Zone, CellBody]


class PointBody(Body):
    score: Score
    percent: Percent


class AcceleratorBody(Body):
    slope: Percent
    hard_cap: Percent


class CurveBody(Body):
    kind: CurveKind
    points: Annotated[tuple[PointBody, ...], Field(max_length=100)]
    accelerator: AcceleratorBody | None = None


class BonusBody(Body):
    type: Combination
    team_weight: Share | None = None
    individual_weight: Share | None = None
    team_curve: CurveBody
    individual_curve: CurveBody
    cap_percent: Percent
    gate_band: Name | None = None


class PlanBody(Body):
    name: Name
    currency: Currency
    bands: Annotated[tuple[Name, ...], Field(max_length=50)]
    merit: Annotated[tuple[RowBody, ...], Field(max_length=51)]
    lump_sum_above_maximum: bool
    absences: Absences
    rounding: Rounding
    bonus: BonusBody | None

    def plan(self) -> Plan:
        return store.PLAN.validate_python(self.model_dump())

    @classmethod
    def of(cls, plan: Plan) -> PlanBody:
        return cls.model_validate(store.PLAN.dump_python(plan))


class PlanOut(Body):
    id: PlanName
    version: int
    published_version: int | None
    draft: PlanBody
    cap_order: tuple[str, ...] = CAP_ORDER

    @classmethod
    def of(cls, found: store.Draft) -> PlanOut:
        return cls(
            id=found.plan,
            version=found.version,
            published_version=found.published_version,
            draft=PlanBody.of(found.draft),
        )


class VersionOut(Body):
    plan: PlanName
    version: int
    published_at: datetime
    published_by: str
    content: PlanBody

    @classmethod
    def of(cls, found: store.PlanVersion) -> VersionOut:
        return cls(
            plan=found.plan,
            version=found.version,
            published_at=found.published_at,
            published_by=found.published_by,
            content=PlanBody.of(found.content),
        )


@router.put("/plans/{plan}")
async def put_plan(
    plan: PlanName, body: PlanBody, who: Administrator, app: App, if_match: IfMatch, response: Response
) -> PlanOut:
    async with app.database.begin(who.tenant) as tx:
        saved = await reference.set_plan(tx, who, plan, body.plan(), if_match, app.clock())
    response.headers["ETag"] = etag(saved.version)
    return PlanOut.of(saved)


@router.get("/plans/{plan}")
async def get_plan(plan: PlanName, who: Reader, app: App, response: Response) -> PlanOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.draft(tx, plan)
    if found is None:
        raise NotFound(f"there is no plan {plan}")
    response.headers["ETag"] = etag(found.version)
    return PlanOut.of(found)


@router.get("/plans", response_model=Page[PlanOut])
async def list_plans(who: Reader, app: App, paging: Paging) -> Page[PlanOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await store.drafts(tx, after[0] if after else None, paging.fetch)
    return paging.page(PlanOut, [PlanOut.of(each) for each in found], key=lambda each: (each.id,))


@router.post("/plans/{plan}/publish", status_code=201, response_model=VersionOut)
async def publish_plan(plan: PlanName, who: Administrator, app: App, if_match: IfMatch, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> VersionOut:
            return VersionOut.of(await reference.publish_plan(tx, who, plan, if_match, app.clock()))

        return await once(tx, who, work)


@router.get("/plans/{plan}/versions/{version}")
async def get_plan_version(
    plan: PlanName, version: Annotated[int, Field(ge=1, le=2**31 - 1)], who: Reader, app: App
) -> VersionOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.plan_version(tx, plan, version)
    if found is None:
        raise NotFound(f"plan {plan} has no version {version}")
    return VersionOut.of(found)


class ScopeBody(Body):
    """An empty list is everybody; filled ones are combined."""

    clients: Annotated[tuple[Client, ...], Field(max_length=1_000)] = ()
    units: Annotated[tuple[Unit, ...], Field(max_length=10_000)] = ()
    lines_of_business: Annotated[tuple[Line, ...], Field(max_length=1_000)] = ()
    sites: Annotated[tuple[Name, ...], Field(max_length=1_000)] = ()


class BudgetBody(Body):
    cycle: CycleName
    plan: PlanName
    currency: Currency
    merit_pool: MinorUnits
    bonus_pool: MinorUnits
    scope: ScopeBody = ScopeBody()
    scale_up: bool = False

    def budget(self, name: BudgetName) -> Budget:
        scope = Scope(self.scope.clients, self.scope.units, self.scope.lines_of_business, self.scope.sites)
        terms = Terms(self.merit_pool, self.bonus_pool, scope, self.scale_up)
        return Budget(name, 0, self.cycle, self.plan, self.currency, terms)


class BudgetOut(BudgetBody):
    id: BudgetName
    version: int

    @classmethod
    def of(cls, found: Budget) -> BudgetOut:
        return cls(
            id=found.budget,
            version=found.version,
            cycle=found.cycle,
            plan=found.plan,
            currency=found.currency,
            merit_pool=found.terms.merit_pool,
            bonus_pool=found.terms.bonus_pool,
            scope=ScopeBody.model_validate(found.terms.scope, from_attributes=True),
            scale_up=found.terms.scale_up,
        )


@router.put("/budgets/{budget}")
async def put_budget(
    budget: BudgetName, body: BudgetBody, who: Administrator, app: App, if_match: IfMatch, response: Response
) -> BudgetOut:
    async with app.database.begin(who.tenant) as tx:
        saved = await reference.set_budget(tx, who, body.budget(budget), if_match, app.clock())
    response.headers["ETag"] = etag(saved.version)
    return BudgetOut.of(saved)


@router.get("/budgets/{budget}")
async def get_budget(budget: BudgetName, who: Reader, app: App, response: Response) -> BudgetOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.budget(tx, budget)
    if found is None:
        raise NotFound(f"there is no budget {budget}")
    response.headers["ETag"] = etag(found.version)
    return BudgetOut.of(found)


@router.get("/budgets", response_model=Page[BudgetOut])
async def list_budgets(
    who: Reader, app: App, paging: Paging, cycle: CycleName | None = None
) -> Page[BudgetOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await store.budgets(tx, cycle, after[0] if after else None, paging.fetch)
    return paging.page(BudgetOut, [BudgetOut.of(each) for each in found], key=lambda each: (each.id,))
