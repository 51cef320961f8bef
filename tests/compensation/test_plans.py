"""Several plans for one cycle: different components side by side, and nobody's component twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.local.databases import DatabaseUrls
from services.compensation.api.runs import RunOut
from shared.messaging.schema import statements
from shared.web.problems import Problem
from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import ACME, BANDS, CYCLE, Json

NO_RISE: Json = {"merit": [events.row(band, events.cell("0", "0", "0")) for band in (*BANDS, "unrated")]}
GATED: Json = NO_RISE | {"bonus": events.bonus(gate_band="exceeds")}


async def _second(house: House, plan: Json | None = None) -> RunOut:
    """Another plan with a budget of its own for the same cycle and the same people, computed as r-2."""
    await house.published("extra", plan or events.plan(), "b-2", events.budget(plan="extra"))
    return await house.computed("r-2", plan="extra", budget="b-2")


@pytest.fixture
async def gated(trio: House) -> House:
    """A plan of bonuses alone, approved first: ada gets one, the gate leaves ben and cyd nothing."""
    await _second(trio, events.plan(**GATED))
    assert (await trio.approved("r-2", key="gated")).status_code == 200
    return trio


async def _paid(house: House, component: str) -> dict[tuple[object, object], object]:
    """What stands posted, by person and plan."""
    rows = await house.rows(
        f"""SELECT employee, plan, sum(amount) FROM ledger_entries WHERE component = '{component}'
            GROUP BY employee, plan ORDER BY employee, plan"""  # noqa: S608 - no one's input
    )
    return {(employee, plan): amount for employee, plan, amount in rows}


async def test_a_second_plan_is_refused_and_told_whose_award_which_plan_holds(trio: House) -> None:
    await trio.computed()
    await _second(trio)
    assert (await trio.approved()).status_code == 200
    before = await trio.ledger()

    refused = await trio.approved("r-2", key="second")

    problem = Problem.model_validate(refused.json())
    assert (problem.status, problem.type.rpartition(":")[2]) == (409, "awarded-by-another-plan")
    assert "5 components" in problem.detail and "recompute" in problem.detail
    assert [each.pointer for each in problem.errors or ()] == [
        "/awards/ada/bonus",
        "/awards/ada/merit",
        "/awards/ben/bonus",
        "/awards/ben/merit",
        "/awards/cyd/merit",
    ]
    assert all("plan annual" in each.detail for each in problem.errors or ())
    assert await trio.ledger() == before
    assert (await trio.run("r-2")).state == "computed"


async def test_a_refusal_names_a_hundred_and_counts_all(house: House) -> None:
    people = [f"e-{number:03d}" for number in range(101)]
    await house.told(
        events.cycle(scorecards=len(people)),
        *(events.employee(name) for name in people),
        *(events.published(name) for name in people),
    )
    paid: Json = {"employees": [{"employee": name, "entries": [events.pay()]} for name in people]}
    assert (await house.admin.post("/pay", paid)).status_code == 200
    await house.planned()
    await house.computed()
    await _second(house)
    assert (await house.approved()).status_code == 200

    problem = Problem.model_validate((await house.approved("r-2", key="second")).json())

    assert "202 components" in problem.detail
    assert len(problem.errors or ()) == 100


async def test_a_run_leaves_out_what_another_plan_awards_and_says_so(trio: House) -> None:
    await trio.computed()
    assert (await trio.approved()).status_code == 200

    run = await _second(trio)

    assert {(each.component, each.code, each.people) for each in run.left_out} == {
        ("merit", "awarded-by-another-plan", 3),
        ("bonus", "awarded-by-another-plan", 2),
    }
    assert [pool.awarded for pool in run.pools] == [0, 0]
    assert (await trio.approved("r-2", key="second")).status_code == 200
    assert len(await trio.ledger()) == 5
    assert await trio.verified()


async def test_recomputing_is_the_way_out_of_the_refusal(trio: House) -> None:
    await trio.admin.put("/budgets/b-1", events.budget(scope={"units": ["u-2"]}), seen=1)
    await trio.told(events.revised("ada", 2, "exceeds", "120", unit="u-2"))
    await trio.computed()
    second = await _second(trio)
    assert (await trio.approved()).status_code == 200
    assert (await trio.approved("r-2", key="too-soon")).status_code == 409

    await trio.admin.post("/runs/r-2/recompute", key="again", seen=second.version)
    await trio.worked()

    assert (await trio.approved("r-2", key="second")).status_code == 200
    assert (await _paid(trio, "merit")).keys() == {("ada", "annual"), ("ben", "extra"), ("cyd", "extra")}
    assert await trio.verified()


async def test_a_plan_for_rises_and_a_plan_for_bonuses_pay_side_by_side(trio: House) -> None:
    await trio.published("rises", events.plan(bonus=None), "b-r", events.budget(plan="rises"))
    await trio.computed("r-r", plan="rises", budget="b-r")
    await _second(trio, events.plan(**NO_RISE))

    answers = await asyncio.gather(trio.approved("r-r", key="rises"), trio.approved("r-2", key="bonuses"))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await _paid(trio, "merit")).keys() == {(name, "rises") for name in ("ada", "ben", "cyd")}
    assert (await _paid(trio, "bonus")).keys() == {("ada", "extra"), ("ben", "extra")}
    assert await trio.verified()


async def test_an_award_of_nothing_holds_nothing(gated: House) -> None:
    await gated.computed()
    assert (await gated.approved()).status_code == 200

    assert await _paid(gated, "bonus") == {("ada", "extra"): 864_000, ("ben", "annual"): 576_000}
    assert await gated.verified()


async def test_of_two_plans_approved_at_once_one_has_the_award(trio: House) -> None:
    runs = [await trio.computed(), await _second(trio)]

    answers = await asyncio.gather(
        *(trio.approver.post(f"/runs/{run.id}/approve", key=run.id, seen=run.version) for run in runs)
    )

    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert (won.status_code, lost.status_code) == (200, 409), lost.text
    assert lost.json()["type"].endswith("awarded-by-another-plan")
    assert {plan for _, plan in await _paid(trio, "merit")} == {won.json()["plan"]}
    assert len(await trio.ledger()) == 5


async def test_a_revision_moves_the_plan_that_awards_and_no_other(gated: House) -> None:
    await gated.computed()
    assert (await gated.approved()).status_code == 200

    await gated.told(events.revised("ben", 2, "exceeds", "120"))

    assert await _paid(gated, "bonus") == {("ada", "extra"): 864_000, ("ben", "annual"): 864_000}
    held = await gated.statement("ben", "&plan=extra")
    assert [each.amount for each in held.components if each.component == "bonus"] == [0]
    assert "plan annual awards the bonus of this cycle" in [line.label for line in held.calculations[-1].lines]
    assert await gated.verified()


async def test_a_revision_that_lifts_two_awards_of_nothing_pays_one_of_them(gated: House) -> None:
    await gated.published("third", events.plan(**GATED), "b-3", events.budget(plan="third"))
    await gated.computed("r-3", plan="third", budget="b-3")
    assert (await gated.approved("r-3", key="third")).status_code == 200

    await gated.told(events.revised("ben", 2, "exceeds", "120"))

    assert await _paid(gated, "bonus") == {("ada", "extra"): 864_000, ("ben", "extra"): 864_000}
    assert await gated.verified()


async def test_a_revision_and_an_approval_at_once_leave_one_plan_with_the_award(gated: House) -> None:
    """Either the revision lifts the plan that awarded nothing so far, or the other one was approved before."""
    run = await gated.computed()

    approval, _ = await asyncio.gather(
        gated.approver.post("/runs/r-1/approve", key="at-once", seen=run.version),
        gated.told(events.revised("ben", 2, "exceeds", "120")),
    )

    holder = {200: "annual", 409: "extra", 412: "extra"}[approval.status_code]
    assert [plan for employee, plan in await _paid(gated, "bonus") if employee == "ben"] == [holder]
    assert await gated.verified()


async def test_what_was_taken_back_is_still_held(trio: House) -> None:
    await trio.computed()
    assert (await trio.approved()).status_code == 200
    await trio.told(events.revised("ben", 2, "below", "100"))
    (recovery,) = (await trio.admin.get("/recoveries?state=proposed")).json()["items"]
    await trio.admin.post(f"/recoveries/{recovery['id']}/accept", {"reason": "agreed with Ben"}, key="k")

    await _second(trio)

    ben = (await trio.awards("r-2"))["ben"]
    assert [(each.component, each.code) for each in ben.left_out] == [
        ("merit", "awarded-by-another-plan"),
        ("bonus", "awarded-by-another-plan"),
    ]


_BEGINS = """
    INSERT INTO ledger_entries (provider_id, employee, plan, cycle, component, sequence, before, amount, after,
                                currency, run, cause, comment, posted_at, posted_by, second_plan)
    SELECT provider_id, employee, 'extra', cycle, 'merit', 1, 0, 5, 5,
           'EUR', run, 'by hand', 'by hand', now(), 'nobody', :marked
    FROM awards WHERE plan = 'annual' AND employee = 'ben'
"""
_AWARD = """
    INSERT INTO awards (provider_id, employee, plan, cycle, run, version, classification_version, scorecard_version)
    SELECT provider_id, employee, 'extra', cycle, run, 1, 1, 1 FROM awards WHERE plan = 'annual' AND employee = 'ben'
"""


@pytest.mark.parametrize(
    ("marked", "constraint"), [(False, "one_plan_per_component"), (True, "no_second_plan")], ids=["plain", "marked"]
)
async def test_the_database_refuses_a_second_plan_whatever_the_code_does(
    trio: House, marked: bool, constraint: str
) -> None:
    await trio.computed()
    assert (await trio.approved()).status_code == 200

    with pytest.raises(IntegrityError, match=constraint):
        async with trio.database.begin(ACME) as tx:
            await tx.execute(text(_AWARD))
            await tx.execute(text(_BEGINS), {"marked": marked})


async def test_what_two_plans_paid_before_that_was_refused_stays_is_named_and_can_be_taken_back(
    trio: House, urls: DatabaseUrls
) -> None:
    migration = import_module("services.compensation.migrations.versions.0004_one_plan_per_component")
    await trio.computed()
    assert (await trio.approved()).status_code == 200
    await _as_owner(urls, ["ALTER TABLE ledger_entries DROP COLUMN second_plan"])
    async with trio.database.begin(ACME) as tx:
        await tx.execute(text(_AWARD))
        await tx.execute(text(_BEGINS.replace(", second_plan", "").replace(", :marked", "")))
    before = await trio.ledger()

    await _as_owner(urls, statements(migration.ONE_PLAN_PER_COMPONENT))

    assert await trio.ledger() == before
    found = (await trio.admin.get("/ledger/verification")).json()["broken"]
    assert {"employee": "ben", "plan": "extra", "cycle": CYCLE, "component": "merit", "reason": "second-plan"} in found
    assert await trio.rows("SELECT plan FROM ledger_entries WHERE second_plan") == [("extra",)]
    await trio.told(events.revised("ben", 2, "exceeds", "100"))
    (recovery,) = (await trio.admin.get("/recoveries?state=proposed")).json()["items"]
    assert (recovery["plan"], recovery["component"], recovery["amount"]) == ("extra", "merit", -5)
    accepted = await trio.admin.post(f"/recoveries/{recovery['id']}/accept", {"reason": "paid twice"}, key="k")
    assert accepted.status_code == 200, accepted.text
    assert await trio.verified()


async def _as_owner(urls: DatabaseUrls, ddl: Sequence[str]) -> None:
    engine = create_async_engine(urls.owner)
    async with engine.begin() as owner:
        for statement in ddl:
            await owner.execute(text(statement))
    await engine.dispose()
