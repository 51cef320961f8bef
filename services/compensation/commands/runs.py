"""Runs: asked for, gathered and computed step by step by a timer, computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import POOL_OF, Assessment, Line, Pool, Subject
from services.compensation.model.plan import Plan, Rounding
from services.compensation.model.pool import Claim, Distribution, Infeasible, Share
from services.compensation.model.run import Budget, Cycle, PoolResult, Run, RunState, Terms
from services.compensation.rules.awards import Lookup, assess, closing_lines
from services.compensation.rules.budget import distribute
from services.compensation.store import computation, copies, gathering, plans, runs
from services.compensation.store.gathering import Context
from services.compensation.store.plans import PlanVersion
from services.compensation.store.runs import NewRun
from shared import audit, telemetry
from shared.auth import Principal
from shared.contracts.ids import CycleId, EmployeeId, PlanId, PoolId, ProviderId, RunId
from shared.contracts.outcomes import NoticeKind, NoticeRequested
from shared.errors import Conflict, NotFound
from shared.field_problems import FieldProblem
from shared.messaging import outbox, timers
from shared.versions import Precondition

TIMER = "run"
STEP = 500
"""People assessed in one transaction: short enough that requests of the same process do not wait."""
_COMPLETE = ("frozen", "closed")


@dataclass(frozen=True, slots=True)
class Request:
    run: RunId | None
    cycle: CycleId
    plan: PlanId
    budget: PoolId
    partial_reason: str | None


async def request_run(tx: AsyncConnection, who: Principal, asked: Request, now: datetime) -> Run:
    """Record a run and have the timer compute it."""
    cycle = await copies.cycle(tx, asked.cycle)
    if cycle is None:
        raise _missing("cycle", f"there is no cycle {asked.cycle}")
    budget = await plans.budget(tx, asked.budget)
    if budget is None or (budget.cycle, budget.plan) != (asked.cycle, asked.plan):
        raise _missing("budget", f"there is no budget {asked.budget} for this cycle and plan")
    await _refuse_incomplete(tx, cycle, asked.partial_reason)
    version = await _payable_version(tx, cycle, budget)
    new = NewRun(
        run=asked.run,
        cycle=asked.cycle,
        plan=asked.plan,
        plan_version=version.version,
        budget=asked.budget,
        currency=budget.currency,
        partial_reason=asked.partial_reason,
        by=who.subject,
        person=who.employee,
    )
    run = await runs.create_run(tx, who.tenant, new, now)
    if run is None:
        taken = FieldProblem("/id", "taken", "choose another id, or none")
        raise Conflict(f"there is a run {asked.run} already", code="run-exists", problems=[taken])
    await timers.schedule(tx, TIMER, who.tenant, [run.run], now)
    detail = {"cycle": run.cycle, "plan": run.plan, "budget": run.budget, "partial": run.partial_reason}
    await audit.record(tx, who.subject, now, "run.requested", f"run/{run.run}", **detail)
    return run


async def recompute(tx: AsyncConnection, who: Principal, name: RunId, if_match: Precondition, now: datetime) -> Run:
    """Compute a run anew from what holds now, with the newest published plan and the budget as it stands."""
    await timers.schedule(tx, TIMER, who.tenant, [name], now)
    run = await locked(tx, name)
    if_match.check(run.version)
    if run.state is RunState.APPROVED:
        raise Conflict("an approved run stands; later classifications move it by differences", code="run-approved")
    cycle, budget = await copies.cycle(tx, run.cycle), await plans.budget(tx, run.budget)
    if cycle is None or budget is None:
        raise NotFound("the run's cycle or budget is gone")
    await _refuse_incomplete(tx, cycle, run.partial_reason)
    version = await _payable_version(tx, cycle, budget)
    await runs.restart(tx, name, version.version, budget.currency, who.subject, who.employee)
    await audit.record(tx, who.subject, now, "run.recomputed", f"run/{name}")
    return await locked(tx, name)


async def locked(tx: AsyncConnection, name: RunId) -> Run:
    run = await runs.run(tx, name, lock=True)
    if run is None:
        raise NotFound(f"there is no run {name}")
    return run


def _missing(field: str, detail: str) -> NotFound:
    return NotFound(detail, problems=[FieldProblem(f"/{field}", "unknown", detail)])


async def _refuse_incomplete(tx: AsyncConnection, cycle: Cycle, partial_reason: str | None) -> None:
    """Money waits for the end of rating: nobody is left out because an event was still on its way."""
    if cycle.state not in _COMPLETE:
        raise Conflict(f"cycle {cycle.cycle} is {cycle.state}; it must be frozen or closed", code="cycle-not-frozen")
    if partial_reason is not None:
        return
    known = await copies.classified(tx, cycle.cycle)
    if cycle.scorecards is None or known < cycle.scorecards:
        expected = "an unknown number" if cycle.scorecards is None else cycle.scorecards
        raise Conflict(
            f"{known} of {expected} classifications of the cycle are here; "
            "wait for the others, or ask for a partial run and say why",
            code="classifications-missing",
        )


async def _payable_version(tx: AsyncConnection, cycle: Cycle, budget: Budget) -> PlanVersion:
    spent = await plans.spent_by(tx, budget.budget)
    if spent is not None:
        raise Conflict(f"run {spent} has spent budget {budget.budget}", code="budget-spent")
    draft = await plans.draft(tx, budget.plan)
    if draft is None or draft.published_version is None:
        raise Conflict(f"plan {budget.plan} has no published version", code="plan-not-published")
    version = await plans.plan_version(tx, budget.plan, draft.published_version)
    if version is None:
        raise NotFound(f"plan {budget.plan} has lost version {draft.published_version}")
    if version.content.bands != cycle.bands:
        raise Conflict("the plan's bands are not those of the cycle, in its order", code="bands-differ")
    if version.content.currency != budget.currency:
        raise Conflict(
            f"the plan pays {version.content.currency}, the budget holds {budget.currency}", code="currencies-differ"
        )
    return version


async def work_on(tx: AsyncConnection, provider: ProviderId, name: RunId, now: datetime) -> None:
    """One step of a computation: gather, or assess the next people, or share out the pools. Then the timer again.

    A run that became stale in between is not `computing` any more, and the work ends here.
    """
    run = await runs.run(tx, name, lock=True)
    if run is None or run.state is not RunState.COMPUTING:
        return
    context = await gathering.context(tx, name)
    if context is None:
        await _gather(tx, provider, run)
    else:
        version = await plans.plan_version(tx, run.plan, run.plan_version)
        if version is None:
            raise LookupError(f"run {name} rests on a plan version that is gone")
        subjects = await computation.next_subjects(tx, name, STEP)
        if not subjects:
            await _close(tx, provider, run, context.terms, version.content.rounding, now)
            return
        lookup = Lookup(context.reference, context.period)
        # On another thread: the process has requests to answer meanwhile.
        found = await asyncio.to_thread(_assessed, version.content, lookup, subjects)
        await computation.save_assessments(tx, provider, name, found)
    await timers.schedule(tx, TIMER, provider, [name], now)


def _assessed(plan: Plan, lookup: Lookup, subjects: Sequence[Subject]) -> list[tuple[EmployeeId, Assessment]]:
    return [(subject.employee, assess(plan, lookup, subject)) for subject in subjects]


async def _gather(tx: AsyncConnection, provider: ProviderId, run: Run) -> None:
    cycle, budget = await copies.cycle(tx, run.cycle), await plans.budget(tx, run.budget)
    if cycle is None or budget is None:
        raise LookupError(f"run {run.run} rests on a cycle or budget that is gone")
    reference = await gathering.reference(tx, run, cycle.period.last)
    telemetry.link(await copies.classifications_brought_by(tx, run.cycle))
    await gathering.gather(tx, provider, run, Context(cycle.period, budget.terms, reference))


async def _close(
    tx: AsyncConnection, provider: ProviderId, run: Run, terms: Terms, mode: Rounding, now: datetime
) -> None:
    """Share out both pools; a run with a pool that cannot be shared out can be read, but not approved."""
    claims = await computation.claims(tx, run.run)
    amounts = {Pool.MERIT: terms.merit_pool, Pool.BONUS: terms.bonus_pool}
    # On another thread as well: for a large provider this takes seconds.
    outcomes = await asyncio.to_thread(_shared_out, claims, amounts, mode, terms.scale_up)
    for pool in Pool:
        outcome = outcomes[pool]
        if isinstance(outcome, Distribution):
            explained = await asyncio.to_thread(_explained, outcome, mode)
            await computation.save_shares(tx, provider, run.run, explained)
    results = [_result(pool, amounts[pool], outcomes[pool]) for pool in Pool]
    feasible = all(isinstance(outcome, Distribution) for outcome in outcomes.values())
    state = RunState.COMPUTED if feasible else RunState.INFEASIBLE
    await computation.finish(tx, provider, run.run, results, state, now)
    if feasible:
        outbox.append(tx, [_awaits_approval(provider, run, now)])


def _shared_out(
    claims: Sequence[Claim], amounts: Mapping[Pool, int], mode: Rounding, scale_up: bool
) -> dict[Pool, Distribution | Infeasible]:
    by_pool: dict[Pool, list[Claim]] = {pool: [] for pool in Pool}
    for claim in claims:
        by_pool[POOL_OF[claim.component]].append(claim)
    return {pool: distribute(by_pool[pool], amounts[pool], mode, scale_up=scale_up) for pool in Pool}


def _explained(outcome: Distribution, mode: Rounding) -> list[tuple[Share, tuple[Line, ...]]]:
    return [(share, closing_lines(share, outcome.scale, mode)) for share in outcome.shares]


def _result(pool: Pool, amount: int, outcome: Distribution | Infeasible) -> PoolResult:
    sums = outcome.sums
    if isinstance(outcome, Infeasible):
        return PoolResult(pool, amount, sums.requested, sums.minimum, sums.maximum, None, None, None, None)
    return PoolResult(
        pool,
        amount,
        sums.requested,
        sums.minimum,
        sums.maximum,
        outcome.scale,
        outcome.binds,
        amount - outcome.undistributed,
        outcome.undistributed,
    )


def _awaits_approval(provider: ProviderId, run: Run, now: datetime) -> NoticeRequested:
    return NoticeRequested(
        provider=provider,
        kind=NoticeKind.RUN_AWAITS_APPROVAL,
        cause=f"run/{run.run}/{run.computation}",
        recipient=None,
        role="compensation_admin",
        unit=None,
        subject=None,
        cycle=run.cycle,
        requested_at=now,
    )
