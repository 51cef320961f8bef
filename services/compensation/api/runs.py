"""Runs: asked for, read while they compute, recomputed, approved by another person."""

from __future__ import annotations

from datetime import datetime

from fastapi import Response
from pydantic import model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.api.fields import (
    Administrator,
    BudgetName,
    CycleName,
    Employee,
    PlanName,
    Reader,
    RunName,
    Text,
)
from services.compensation.commands import approvals
from services.compensation.commands import runs as commands
from services.compensation.model.award import LeftOut, Pool
from services.compensation.model.run import PoolResult, Run, RunState
from services.compensation.store import awards, runs
from shared.errors import NotFound
from shared.versions import etag
from shared.web import App, Body, IfMatch, Once, Page, Paging, Router

router = Router(prefix="/runs", tags=["runs"])


class RunBody(Body):
    """A partial run is asked for knowingly, and says why."""

    id: RunName | None = None
    cycle: CycleName
    plan: PlanName
    budget: BudgetName
    partial: bool = False
    reason: Text | None = None

    @model_validator(mode="after")
    def _reasoned(self) -> RunBody:
        if self.partial != (self.reason is not None):
            raise ValueError("a partial run has a reason, and only a partial run has one")
        return self

    def request(self) -> commands.Request:
        return commands.Request(self.id, self.cycle, self.plan, self.budget, self.reason)


class LeftOutCount(Body):
    component: str | None
    code: str
    people: int


class PoolOut(Body):
    """`requested`, `minimum`, `maximum`: what all claims come to, in exact minor units."""

    pool: Pool
    amount: int
    requested: str
    minimum: str
    maximum: str
    scale: str | None
    binds: bool | None
    awarded: int | None
    undistributed: int | None
    closes: bool

    @classmethod
    def of(cls, found: PoolResult) -> PoolOut:
        return cls(
            pool=found.pool,
            amount=found.amount,
            requested=str(found.requested),
            minimum=str(found.minimum),
            maximum=str(found.maximum),
            scale=None if found.scale is None else str(found.scale),
            binds=found.binds,
            awarded=found.awarded,
            undistributed=found.undistributed,
            closes=found.awarded is not None
            and found.undistributed is not None
            and found.awarded + found.undistributed == found.amount,
        )


class RunSummary(Body):
    id: RunName
    version: int
    state: RunState
    cycle: CycleName
    plan: PlanName
    plan_version: int
    budget: BudgetName
    currency: str
    partial_reason: str | None
    created_at: datetime
    created_by: str
    authors: tuple[str, ...]
    computation: int
    subjects: int
    assessed: int
    computed_at: datetime | None
    approved_at: datetime | None
    approved_by: str | None

    @classmethod
    def of(cls, run: Run) -> RunSummary:
        return cls(**_summary(run))


def _summary(run: Run) -> dict[str, object]:
    names = (name for name in RunSummary.model_fields if name != "id")
    return {"id": run.run, **{name: getattr(run, name) for name in names}}


class RunOut(RunSummary):
    left_out: list[LeftOutCount]
    pools: list[PoolOut]


async def _whole(tx: AsyncConnection, run: Run) -> RunOut:
    left_out = [
        LeftOutCount(component=component, code=code, people=people)
        for component, code, people in await runs.left_out(tx, run.run)
    ]
    pools = [PoolOut.of(found) for found in await runs.pools(tx, run.run)]
    return RunOut.model_validate({**_summary(run), "left_out": left_out, "pools": pools})


@router.post("", status_code=202, response_model=RunOut)
async def post_run(body: RunBody, who: Administrator, app: App, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> RunOut:
            return await _whole(tx, await commands.request_run(tx, who, body.request(), app.clock()))

        return await once(tx, who, work)


@router.get("", response_model=Page[RunSummary])
async def list_runs(
    who: Reader, app: App, paging: Paging, cycle: CycleName | None = None, state: RunState | None = None
) -> Page[RunSummary] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await runs.runs(tx, cycle, state, after[0] if after else None, paging.fetch)
    return paging.page(RunSummary, [RunSummary.of(run) for run in found], key=lambda run: (run.id,))


@router.get("/{run}")
async def get_run(run: RunName, who: Reader, app: App, response: Response) -> RunOut:
    async with app.database.begin(who.tenant) as tx:
        found = await runs.run(tx, run)
        if found is None:
            raise NotFound(f"there is no run {run}")
        answer = await _whole(tx, found)
    response.headers["ETag"] = etag(found.version)
    return answer


@router.post("/{run}/recompute", status_code=202, response_model=RunOut)
async def recompute_run(run: RunName, who: Administrator, app: App, if_match: IfMatch, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> RunOut:
            return await _whole(tx, await commands.recompute(tx, who, run, if_match, app.clock()))

        return await once(tx, who, work)


@router.post("/{run}/approve", response_model=RunOut)
async def approve_run(run: RunName, who: Administrator, app: App, if_match: IfMatch, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def work() -> RunOut:
            return await _whole(tx, await approvals.approve(tx, who, run, if_match, app.clock()))

        return await once(tx, who, work)


class LeftOutBody(Body):
    component: str | None
    code: str
    detail: str

    @classmethod
    def of(cls, found: LeftOut) -> LeftOutBody:
        return cls(component=found.component, code=found.code, detail=found.detail)


class AwardOut(Body):
    """The run's own figures; what later classifications changed stands in the statement."""

    employee: Employee
    status: str
    left_out: list[LeftOutBody]
    band: str | None
    classification_version: int | None
    currency: str
    merit: int | None
    lump_sum: int | None
    bonus: int | None
    total: int

    @classmethod
    def of(cls, found: awards.RunAward, currency: str) -> AwardOut:
        return cls(
            employee=found.employee,
            status=found.status,
            left_out=[LeftOutBody.of(each) for each in found.left_out],
            band=found.band,
            classification_version=found.classification_version,
            currency=currency,
            merit=found.merit,
            lump_sum=found.lump_sum,
            bonus=found.bonus,
            total=sum(part or 0 for part in (found.merit, found.lump_sum, found.bonus)),
        )


@router.get("/{run}/awards", response_model=Page[AwardOut])
async def list_awards(
    run: RunName,
    who: Reader,
    app: App,
    paging: Paging,
    employee: Employee | None = None,
    status: str | None = None,
) -> Page[AwardOut] | Response:
    after = paging.after(tuple[str])
    async with app.database.begin(who.tenant) as tx:
        found = await runs.run(tx, run)
        if found is None:
            raise NotFound(f"there is no run {run}")
        rows = await awards.run_awards(tx, run, employee, status, after[0] if after else None, paging.fetch)
    items = [AwardOut.of(row, found.currency) for row in rows]
    return paging.page(AwardOut, items, key=lambda award: (award.employee,))
