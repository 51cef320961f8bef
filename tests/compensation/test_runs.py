"""From classifications to approved awards, over HTTP and the timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from pydantic import JsonValue

from shared.contracts.outcomes import AwardDecided, NoticeRequested
from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import CYCLE, Json


async def test_a_run_pays_by_band_and_closes_both_pools(trio: House) -> None:
    run = await trio.computed()

    assert run.state == "computed", run
    merit, bonus = run.pools
    assert (merit.pool, merit.awarded, merit.undistributed, merit.closes) == ("merit", 432_000, 9_568_000, True)
    # Unit mean 110: 150 %. Ada 0.4 × 150 + 0.6 × 200 = 180 %, Ben 0.4 × 150 + 0.6 × 100 = 120 %.
    assert (bonus.awarded, bonus.closes) == (864_000 + 576_000, True)
    awards = await trio.awards()
    assert {name: (a.merit, a.lump_sum, a.bonus) for name, a in awards.items()} == {
        "ada": (240_000, None, 864_000),
        "ben": (144_000, None, 576_000),
        "cyd": (48_000, None, 0),
    }


async def test_an_approved_run_posts_once_and_announces_ids_only(trio: House) -> None:
    await trio.computed()

    answer = await trio.approved()

    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "approved"
    assert [row[:6] for row in await trio.ledger()] == [
        ("ada", "bonus", 1, 0, 864_000, 864_000),
        ("ada", "merit", 1, 0, 240_000, 240_000),
        ("ben", "bonus", 1, 0, 576_000, 576_000),
        ("ben", "merit", 1, 0, 144_000, 144_000),
        ("cyd", "merit", 1, 0, 48_000, 48_000),
    ]
    notice, *decided = await trio.announced()
    assert isinstance(notice, NoticeRequested) and notice.role == "compensation_admin"
    assert [event.employee for event in decided if isinstance(event, AwardDecided)] == ["ada", "ben", "cyd"]
    assert await trio.verified()


async def test_a_pool_that_binds_is_used_up_to_the_cent(trio: House) -> None:
    answer = await trio.admin.put("/budgets/b-1", events.budget(300_001, 1_000_003), seen=1)
    assert answer.status_code == 200, answer.text

    run = await trio.computed()

    assert [(pool.binds, pool.awarded, pool.undistributed) for pool in run.pools] == [
        (True, 300_001, 0),
        (True, 1_000_003, 0),
    ]
    awards = await trio.awards()
    assert sum(award.merit or 0 for award in awards.values()) == 300_001
    assert sum(award.bonus or 0 for award in awards.values()) == 1_000_003
    assert awards["cyd"].bonus == 0


async def test_a_pool_below_the_minima_is_refused_with_both_sums_and_cannot_be_approved(trio: House) -> None:
    await trio.admin.put("/budgets/b-1", events.budget(1_000), seen=1)

    run = await trio.computed()

    assert run.state == "infeasible"
    merit = run.pools[0]
    assert (merit.amount, merit.minimum, merit.maximum, merit.awarded) == (1_000, "144000", "720000", None)
    assert (await trio.approved()).status_code == 409
    assert await trio.ledger() == []


async def test_the_author_of_a_run_does_not_approve_it(trio: House) -> None:
    run = await trio.computed()

    answer = await trio.admin.post("/runs/r-1/approve", key="k", seen=run.version)

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "own-run")


async def test_who_recomputed_a_run_does_not_approve_it_either(trio: House) -> None:
    run = await trio.computed()
    answer = await trio.approver.post("/runs/r-1/recompute", key="again", seen=run.version)
    assert answer.status_code == 202, answer.text
    await trio.worked()

    assert (await trio.approved()).json()["type"].endswith("own-run")


async def test_nobody_approves_a_run_that_contains_themself(trio: House) -> None:
    run = await trio.computed()
    cyd = trio.person("compensation_admin", employee="cyd")

    answer = await cyd.post("/runs/r-1/approve", key="k", seen=run.version)

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "own-case")
    assert ("access.refused",) in await trio.rows("SELECT action FROM audit_entries")


async def test_an_approval_of_what_somebody_did_not_see_is_refused(trio: House) -> None:
    run = await trio.computed()

    assert (await trio.approver.post("/runs/r-1/approve", key="a")).status_code == 428
    assert (await trio.approver.post("/runs/r-1/approve", key="b", seen=run.version - 1)).status_code == 412
    assert (await trio.approver.post("/runs/r-1/approve", seen=run.version)).status_code == 400


async def test_twenty_approvals_at_once_post_once(trio: House) -> None:
    run = await trio.computed()

    answers = await asyncio.gather(
        *(
            trio.person("compensation_admin", subject=f"ca-{n}").post("/runs/r-1/approve", key="k", seen=run.version)
            for n in range(2, 22)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    assert len(await trio.ledger()) == 5
    assert sum(isinstance(event, AwardDecided) for event in await trio.announced()) == 3


async def test_two_runs_of_one_budget_are_not_both_approved(trio: House) -> None:
    first, second = await trio.computed("r-1"), await trio.computed("r-2")

    answers = await asyncio.gather(
        trio.approver.post("/runs/r-1/approve", key="1", seen=first.version),
        trio.approver.post("/runs/r-2/approve", key="2", seen=second.version),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(await trio.ledger()) == 5


async def test_a_second_run_of_another_budget_leaves_out_who_was_awarded(trio: House) -> None:
    await trio.admin.put("/budgets/b-2", events.budget())
    first, second = await trio.computed("r-1"), await trio.computed("r-2", budget="b-2")
    assert (await trio.approver.post("/runs/r-1/approve", key="1", seen=first.version)).status_code == 200

    refused = await trio.approver.post("/runs/r-2/approve", key="2", seen=second.version)
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "already-awarded")
    await trio.admin.post("/runs/r-2/recompute", key="3", seen=second.version)
    await trio.worked()

    run = await trio.run("r-2")
    assert [(each.code, each.people) for each in run.left_out] == [("already-awarded", 3)]
    assert [pool.awarded for pool in run.pools] == [0, 0]


async def test_the_same_approval_sent_again_answers_as_before(trio: House) -> None:
    run = await trio.computed()
    first = await trio.approver.post("/runs/r-1/approve", key="same", seen=run.version)

    again = await trio.approver.post("/runs/r-1/approve", key="same", seen=run.version)

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_run_waits_for_the_freeze_and_for_every_classification(house: House) -> None:
    await house.planned()
    body: JsonValue = {"cycle": CYCLE, "plan": "annual", "budget": "b-1"}
    assert (await house.admin.post("/runs", body, key="0")).status_code == 404

    await house.told(events.cycle(scorecards=None, state="open", version=1))
    open_cycle = await house.admin.post("/runs", body, key="1")
    await house.told(events.cycle(scorecards=2), events.employee("ada"), events.published("ada"))
    missing = await house.admin.post("/runs", body, key="2")

    assert (open_cycle.status_code, open_cycle.json()["type"].rpartition(":")[2]) == (409, "cycle-not-frozen")
    assert (missing.status_code, missing.json()["type"].rpartition(":")[2]) == (409, "classifications-missing")
    assert "1 of 2" in missing.json()["detail"]


async def test_a_partial_run_says_why_and_names_who_is_not_classified(house: House) -> None:
    await house.told(events.cycle(scorecards=2), events.employee("ada"), events.employee("ben"))
    await house.told(events.published("ada"))
    await house.paid("ada")
    await house.planned()

    without = await house.admin.post(
        "/runs", {"cycle": CYCLE, "plan": "annual", "budget": "b-1", "partial": True}, key="k"
    )
    run = await house.computed(partial="Ben's session is still open")

    assert without.status_code == 422
    assert run.partial_reason == "Ben's session is still open"
    awards = await house.awards()
    assert (awards["ben"].status, awards["ben"].left_out[0].code) == ("ineligible", "not-classified")


async def test_who_is_not_employed_or_not_paid_is_left_out_with_the_reason(house: House) -> None:
    await house.told(
        events.cycle(scorecards=3),
        events.employee("gone", last=events.LAST.replace(month=11, day=30)),
        events.employee("unpaid"),
        events.employee("abroad"),
        *(events.published(name) for name in ("gone", "unpaid", "abroad")),
    )
    await house.paid("gone")
    await house.paid("abroad", events.pay(currency="USD"))
    await house.planned()

    run = await house.computed()

    assert {(each.code, each.people) for each in run.left_out} == {("not-employed", 1), ("no-pay", 1), ("no-rate", 1)}
    assert (await house.approved()).status_code == 200
    assert await house.ledger() == []


async def test_without_a_pay_range_only_the_rise_is_left_out(house: House) -> None:
    await house.told(events.cycle(scorecards=1), events.employee("ada"), events.published("ada"))
    await house.paid("ada")
    await house.planned(ranges=False)

    run = await house.computed()

    assert [(each.component, each.code) for each in run.left_out] == [("merit", "no-range")]
    award = (await house.awards())["ada"]
    assert (award.status, award.merit, award.bonus) == ("eligible", None, 480_000)


async def test_a_budget_reaches_only_its_scope(trio: House) -> None:
    await trio.told(events.employee("dee", unit="u-2"), events.published("dee", unit="u-2"))
    await trio.paid("dee")
    scope: Json = {"units": ["u-2"]}
    await trio.admin.put("/budgets/b-2", events.budget(scope=scope))

    await trio.computed(budget="b-2")

    assert list(await trio.awards()) == ["dee"]


async def test_whatever_a_computed_run_rests_on_makes_it_stale(trio: House) -> None:
    changes: list[Callable[[], Awaitable[httpx.Response | None]]] = [
        lambda: trio.told(events.revised("ben", 2, "exceeds")),
        lambda: trio.told(events.employee("ben", version=2, last=events.LAST)),
        lambda: trio.admin.put("/pay/ben", {"entries": [events.pay(5_000_000)]}, seen=1),
        lambda: trio.admin.put("/pay-ranges/g5", events.pay_range(maximum=7_000_000), seen=1),
        lambda: trio.admin.put("/budgets/b-1", events.budget(1), seen=1),
        lambda: trio.admin.post(
            "/exchange-rates", {"rates": [{"on": "2025-01-01", "source": "USD", "target": "EUR", "rate": "0.9"}]}
        ),
    ]
    for number, change in enumerate(changes):
        await trio.computed(f"r-{number}")
        answer = await change()
        assert answer is None or answer.status_code == 200
        assert (await trio.run(f"r-{number}")).state == "stale", number
        assert (await trio.approved(f"r-{number}", key=f"k-{number}")).status_code == 409


async def test_a_change_while_a_run_is_computed_makes_it_stale_and_ends_the_work(trio: House) -> None:
    body: Json = {"id": "r-1", "cycle": CYCLE, "plan": "annual", "budget": "b-1"}
    await trio.admin.post("/runs", body, key="k")
    await trio.step()

    await trio.told(events.revised("ben", 2, "exceeds"))
    await trio.worked()

    run = await trio.run()
    assert (run.state, run.subjects, run.assessed) == ("stale", 3, 0)
    await trio.admin.post("/runs/r-1/recompute", key="again", seen=run.version)
    await trio.worked()
    assert ((await trio.run()).state, (await trio.awards())["ben"].merit) == ("computed", 240_000)


async def test_a_plan_that_is_not_published_or_does_not_fit_the_cycle_pays_nobody(house: House) -> None:
    await house.told(events.cycle(scorecards=0))
    await house.admin.put("/plans/annual", events.plan())
    await house.admin.put("/budgets/b-1", events.budget())
    body: JsonValue = {"cycle": CYCLE, "plan": "annual", "budget": "b-1"}
    unpublished = await house.admin.post("/runs", body, key="1")
    rows: JsonValue = [events.row(band, events.cell("0", "1", "2")) for band in ("low", "high", "unrated")]
    await house.admin.put("/plans/annual", events.plan(bands=["low", "high"], merit=rows), seen=1)
    await house.admin.post("/plans/annual/publish", key="p", seen=2)

    foreign = await house.admin.post("/runs", body, key="2")

    assert (unpublished.status_code, unpublished.json()["type"].rpartition(":")[2]) == (409, "plan-not-published")
    assert (foreign.status_code, foreign.json()["type"].rpartition(":")[2]) == (409, "bands-differ")


async def test_awards_can_be_paged_filtered_and_taken_as_csv(trio: House) -> None:
    await trio.computed()

    first = (await trio.admin.get("/runs/r-1/awards?limit=2")).json()
    rest = (await trio.admin.get(f"/runs/r-1/awards?limit=2&cursor={first['next']}")).json()
    csv = await trio.admin.get("/runs/r-1/awards", accept="text/csv")
    one = (await trio.admin.get("/runs/r-1/awards?employee=ben")).json()

    assert [item["employee"] for item in first["items"] + rest["items"]] == ["ada", "ben", "cyd"]
    assert rest["next"] is None
    assert csv.text.splitlines()[0].startswith("employee,status") and len(csv.text.splitlines()) == 4
    assert [item["employee"] for item in one["items"]] == ["ben"]
