"""Edits of pay, ranges, rates, plans and budgets. None of them reaches a run that is approved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import PayEntry, PayRange, Rate
from services.compensation.model.plan import Plan
from services.compensation.model.run import Budget
from services.compensation.rules.plans import currency_problems, plan_problems
from services.compensation.store import pay as pay_store
from services.compensation.store import plans, runs
from services.compensation.store.pay import NamedRange, Pay
from services.compensation.store.plans import Draft, PlanVersion
from shared import audit
from shared.auth import Principal
from shared.contracts.ids import EmployeeId, PlanId
from shared.errors import Conflict, NotFound, PreconditionRequired, refuse_any
from shared.field_problems import FieldProblem
from shared.versions import Precondition

_LATEST = date.max


def _pay_problems(entries: Sequence[PayEntry], pointer: str) -> Iterator[FieldProblem]:
    free_from = date.min
    for index, entry in enumerate(entries):
        here = f"{pointer}/entries/{index}"
        yield from currency_problems(entry.currency, f"{here}/currency")
        last = entry.valid_to or _LATEST
        if last < entry.valid_from:
            yield FieldProblem(f"{here}/valid_to", "before-start", "the last day is not before the first")
        if index and (free_from == _LATEST or entry.valid_from < free_from):
            yield FieldProblem(f"{here}/valid_from", "overlap", "entries are sorted by date and do not overlap")
        free_from = max(free_from, last if last == _LATEST else last + timedelta(days=1))


async def set_pay(
    tx: AsyncConnection,
    who: Principal,
    employee: EmployeeId,
    entries: Sequence[PayEntry],
    if_match: Precondition,
    now: datetime,
) -> Pay:
    refuse_any(_pay_problems(entries, ""), "pay-entries")
    current = await pay_store.pay(tx, employee, lock=True)
    if_match.check(current.version if current else 0)
    changed = await pay_store.save_pay(tx, who.tenant, [(employee, entries)], now, who.subject)
    saved = await pay_store.pay(tx, employee)
    if saved is None or (current is None and saved.version > 1):
        raise PreconditionRequired("somebody recorded this person's pay in the meantime; read it first")
    if changed:
        await runs.make_stale(tx, employees=changed)
        await audit.record(tx, who.subject, now, "pay.changed", f"pay/{employee}", version=saved.version)
    return saved


async def load_pay(
    tx: AsyncConnection, who: Principal, people: Sequence[tuple[EmployeeId, Sequence[PayEntry]]], now: datetime
) -> int:
    """Replace the pay of many at once, or of nobody; how many of them changed."""
    problems: list[FieldProblem] = []
    seen: set[EmployeeId] = set()
    for index, (employee, entries) in enumerate(people):
        problems.extend(_pay_problems(entries, f"/employees/{index}"))
        if employee in seen:
            problems.append(FieldProblem(f"/employees/{index}/employee", "twice", "this person is in the list already"))
        seen.add(employee)
    refuse_any(problems, "pay-entries")
    changed = await pay_store.save_pay(tx, who.tenant, people, now, who.subject)
    if changed:
        await runs.make_stale(tx, employees=changed)
        await audit.record(tx, who.subject, now, "pay.loaded", "pay", people=len(changed))
    return len(changed)


async def set_range(
    tx: AsyncConnection, who: Principal, id_: str, pay_range: PayRange, if_match: Precondition, now: datetime
) -> NamedRange:
    refuse_any([*_range_problems(pay_range)], "pay-range")
    current = await pay_store.pay_range(tx, id_, lock=True)
    if_match.check(current.version if current else 0)
    other = await pay_store.range_in_the_way(tx, id_, pay_range)
    if other is not None:
        taken = FieldProblem("/valid_from", "taken", f"range {other} begins on this day for this grade and currency")
        raise Conflict("a grade has one range per currency and first day", code="range-exists", problems=[taken])
    saved = await pay_store.save_range(tx, who.tenant, id_, pay_range)
    _refuse_overtaken(current is None, saved.version)
    await runs.make_stale(tx)
    await audit.record(tx, who.subject, now, "pay-range.changed", f"pay-range/{id_}", version=saved.version)
    return saved


def _range_problems(pay_range: PayRange) -> Iterator[FieldProblem]:
    yield from currency_problems(pay_range.currency, "/currency")
    if pay_range.maximum <= pay_range.minimum:
        yield FieldProblem("/maximum", "too-small", "the maximum is above the minimum")
    elif not pay_range.minimum <= pay_range.midpoint <= pay_range.maximum:
        yield FieldProblem("/midpoint", "outside", "the midpoint lies between minimum and maximum")


def _refuse_overtaken(creates: bool, version: int) -> None:
    """A first edit that turns out not to be the first would silently undo somebody else's."""
    if creates and version > 1:
        raise PreconditionRequired("somebody created this in the meantime; read it first")


async def load_rates(tx: AsyncConnection, who: Principal, rates: Sequence[Rate], now: datetime) -> int:
    problems: list[FieldProblem] = []
    seen: set[tuple[str, str, date]] = set()
    for index, rate in enumerate(rates):
        problems.extend(currency_problems(rate.source, f"/rates/{index}/source"))
        problems.extend(currency_problems(rate.target, f"/rates/{index}/target"))
        if rate.source == rate.target:
            problems.append(FieldProblem(f"/rates/{index}/target", "same", "a rate leads to another currency"))
        if (rate.source, rate.target, rate.on) in seen:
            problems.append(FieldProblem(f"/rates/{index}", "twice", "this rate is in the list already"))
        seen.add((rate.source, rate.target, rate.on))
    refuse_any(problems, "exchange-rates")
    changed = await pay_store.save_rates(tx, who.tenant, rates)
    if changed:
        await runs.make_stale(tx)
        await audit.record(tx, who.subject, now, "exchange-rates.loaded", "exchange-rates", rates=changed)
    return changed


async def set_plan(
    tx: AsyncConnection, who: Principal, plan: PlanId, content: Plan, if_match: Precondition, now: datetime
) -> Draft:
    refuse_any(plan_problems(content), "plan")
    current = await plans.draft(tx, plan, lock=True)
    if_match.check(current.version if current else 0)
    saved = await plans.save_draft(tx, who.tenant, plan, content)
    _refuse_overtaken(current is None, saved.version)
    await audit.record(tx, who.subject, now, "plan.drafted", f"plan/{plan}", version=saved.version)
    return saved


async def publish_plan(
    tx: AsyncConnection, who: Principal, plan: PlanId, if_match: Precondition, now: datetime
) -> PlanVersion:
    current = await plans.draft(tx, plan, lock=True)
    if current is None:
        raise NotFound(f"there is no plan {plan}")
    if_match.check(current.version)
    if current.published_version is not None:
        newest = await plans.plan_version(tx, plan, current.published_version)
        if newest is not None and newest.content == current.draft:
            raise Conflict(
                f"nothing has changed since version {newest.version} was published", code="nothing-to-publish"
            )
    published = await plans.publish(tx, plan, now, who.subject)
    await audit.record(tx, who.subject, now, "plan.published", f"plan/{plan}", version=published.version)
    return published


async def set_budget(
    tx: AsyncConnection, who: Principal, budget: Budget, if_match: Precondition, now: datetime
) -> Budget:
    """Create or change a budget. What a run of it has approved stands; runs still open must be computed again."""
    refuse_any(currency_problems(budget.currency, "/currency"), "budget")
    current = await plans.budget(tx, budget.budget, lock=True)
    if_match.check(current.version if current else 0)
    version = await plans.save_budget(tx, who.tenant, budget)
    _refuse_overtaken(current is None, version)
    await runs.make_stale(tx, budget=budget.budget)
    await audit.record(tx, who.subject, now, "budget.changed", f"budget/{budget.budget}", version=version)
    return Budget(budget.budget, version, budget.cycle, budget.plan, budget.currency, budget.terms)
