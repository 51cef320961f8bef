"""Pay: ranges, rates, plans, everybody's pay, budgets, and a run for each currency that a second person approves."""

from __future__ import annotations

from deploy.local.demo import money
from deploy.local.demo.client import Answer, Body, Refused
from deploy.local.demo.context import Course
from deploy.local.demo.money import CURRENCIES
from deploy.local.demo.world import CYCLE, FIRST_DAY


async def prepare_pay(course: Course) -> None:
    analyst = course.desk.analyst
    for name, pay_range in money.ranges().items():
        await _put_once(course, f"/v1/pay-ranges/{name}", pay_range)
    day = FIRST_DAY.isoformat()
    rates = [{"on": day, "source": source, "target": target, "rate": rate} for source, target, rate in money.RATES]
    await course.api.post("compensation", "/v1/exchange-rates", analyst, {"rates": rates})
    people = [{"employee": employee, "entries": [_entry(pay)]} for employee, pay in course.expected.pay.items()]
    await course.api.post("compensation", "/v1/pay", analyst, {"employees": people})
    for currency in CURRENCIES:
        path = f"/v1/plans/{money.plan_of(currency)}"
        await _put_once(course, path, money.plan(currency))
        draft = (await course.api.get("compensation", path, analyst)).body
        if draft["published_version"] is None:
            key = f"{course.world.provider}-{money.plan_of(currency)}"
            await course.api.edit("POST", "compensation", f"{path}/publish", analyst, None, draft["version"], key)
        budget = money.budget(currency, course.expected.pools(currency), CYCLE)
        await _put_once(course, f"/v1/budgets/{money.budget_of(currency)}", budget)


async def pay(course: Course) -> None:
    """The analyst has each run computed; the approver turns it into awards."""
    for currency in CURRENCIES:
        run = await _computed(course, currency)
        if run["state"] != "approved":
            await _approve(course, currency, run)


async def _computed(course: Course, currency: str) -> Body:
    name, analyst = money.run_of(currency), course.desk.analyst
    wanted = {"id": name, "cycle": CYCLE, "plan": money.plan_of(currency), "budget": money.budget_of(currency)}
    key = f"{course.world.provider}-{name}"

    async def create() -> Answer:
        return await course.api.post("compensation", "/v1/runs", analyst, wanted, key=key)

    async def done() -> Body | None:
        run = (await course.api.get("compensation", f"/v1/runs/{name}", analyst)).body
        return None if run["state"] == "computing" else run

    if await course.found("compensation", f"/v1/runs/{name}", analyst) is None:
        early = ("classifications-missing", "cycle-not-frozen", "not-found")
        await course.when_ready("compensation knows every classification", create, *early)
    run = await course.screen.until(f"{name} is computed", done)
    if run["state"] not in ("computed", "approved"):
        raise ValueError(f"{name} is {run['state']}, and cannot be approved: {run['pools']}")
    return run


async def _approve(course: Course, currency: str, run: Body) -> None:
    name = money.run_of(currency)
    path, key = f"/v1/runs/{name}/approve", f"{course.world.provider}-{name}-approval"
    await course.api.edit("POST", "compensation", path, course.desk.approver, None, run["version"], key)


async def _put_once(course: Course, path: str, body: object) -> None:
    """Written unless it is there, from an earlier run or from a request whose answer was lost."""
    if await course.found("compensation", path, course.desk.analyst) is not None:
        return
    try:
        await course.api.put("compensation", path, course.desk.analyst, body)
    except Refused as refused:
        if refused.status != 428:
            raise


def _entry(pay: money.Pay) -> dict[str, object]:
    return {
        "valid_from": money.VALID_FROM,
        "valid_to": None,
        "base": pay.base,
        "currency": pay.currency,
        "fte": pay.fte,
        "target_bonus_percent": pay.target_bonus,
    }
