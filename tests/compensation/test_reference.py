"""Pay, ranges, rates, plans and budgets: edits with what was seen, and bad input that names its place."""

from __future__ import annotations

import gzip
import json

import pytest
from pydantic import JsonValue

from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import Json


def _pointers(answer: Json) -> list[str]:
    errors = answer["errors"]
    assert isinstance(errors, list)
    return [str(error["pointer"]) for error in errors if isinstance(error, dict)]


async def test_pay_is_changed_only_by_who_saw_it(house: House) -> None:
    early = await house.admin.put("/pay/ada", {"entries": [events.pay()]}, seen=1)
    created = await house.admin.put("/pay/ada", {"entries": [events.pay()]})
    blind = await house.admin.put("/pay/ada", {"entries": [events.pay(1)]})
    late = await house.admin.put("/pay/ada", {"entries": [events.pay(1)]}, seen=7)
    changed = await house.admin.put("/pay/ada", {"entries": [events.pay(5)]}, seen=1)

    assert (created.status_code, created.headers["etag"]) == (200, '"1"')
    assert (early.status_code, blind.status_code, late.status_code) == (412, 428, 412)
    assert (changed.json()["version"], changed.headers["etag"]) == (2, '"2"')
    assert (await house.admin.get("/pay/ada")).json()["entries"][0]["base"] == 5


@pytest.mark.parametrize(
    ("entries", "pointer"),
    [
        ([events.pay() | {"base": 4800000.5}], "/entries/0/base"),
        ([events.pay() | {"base": "4800000"}], "/entries/0/base"),
        ([events.pay() | {"base": -1}], "/entries/0/base"),
        ([events.pay() | {"fte": "1.01"}], "/entries/0/fte"),
        ([events.pay() | {"fte": 0}], "/entries/0/fte"),
        ([events.pay() | {"currency": "euro"}], "/entries/0/currency"),
        ([events.pay() | {"currency": "XXX"}], "/entries/0/currency"),
        ([events.pay() | {"bonus": 1}], "/entries/0/bonus"),
        ([events.pay(last="2019-01-01")], "/entries/0/valid_to"),
        ([events.pay(), events.pay(first="2025-01-01")], "/entries/1/valid_from"),
        ([events.pay(last="2025-01-01"), events.pay(first="2025-01-01")], "/entries/1/valid_from"),
    ],
)
async def test_pay_that_cannot_be_right_is_refused_at_its_place(
    house: House, entries: list[Json], pointer: str
) -> None:
    body: JsonValue = {"entries": list(entries)}

    answer = await house.admin.put("/pay/ada", body)

    assert (answer.status_code, _pointers(answer.json())) == (422, [pointer])
    assert (await house.admin.get("/pay/ada")).status_code == 404


async def test_pay_of_many_is_loaded_whole_or_not_at_all(house: House) -> None:
    people: list[JsonValue] = [{"employee": f"e-{n}", "entries": [events.pay(n + 1)]} for n in range(300)]
    wrong: list[JsonValue] = [*people, {"employee": "e-7", "entries": [events.pay(fte="2")]}]

    refused = await house.admin.post("/pay", {"employees": wrong})
    twice = await house.admin.post("/pay", {"employees": [*people, people[0]]})
    empty = await house.rows("SELECT count(*) FROM pay")
    packed = gzip.compress(json.dumps({"employees": people}).encode())
    headers = house.admin.headers | {"content-encoding": "gzip", "content-type": "application/json"}
    loaded = await house.http.post("/pay", content=packed, headers=headers)
    again = await house.admin.post("/pay", {"employees": people})

    assert (refused.status_code, _pointers(refused.json())) == (422, ["/employees/300/entries/0/fte"])
    assert (twice.status_code, _pointers(twice.json())) == (422, ["/employees/300/employee"])
    assert empty == [(0,)]
    assert loaded.json() == {"stored": 300, "unchanged": 0}
    assert again.json() == {"stored": 0, "unchanged": 300}


async def test_a_load_of_pay_is_json_of_up_to_four_mebibytes(house: House) -> None:
    people: list[JsonValue] = [{"employee": "ada", "entries": [events.pay()]}]
    load = json.dumps({"employees": people})

    async def post(body: str, kind: str) -> int:
        answer = await house.http.post("/pay", content=body, headers=house.admin.headers | {"content-type": kind})
        return answer.status_code

    assert await post(load, "text/csv") == 422
    assert await post(load.replace('"base"', '"base": 1, "base"'), "application/json") == 400
    assert await post(load + " " * (5 << 20), "application/json") == 413
    assert await house.rows("SELECT count(*) FROM pay") == [(0,)]
    assert await post(load + " " * (3 << 20), "application/json") == 200


async def test_a_grade_has_one_range_per_currency_and_day(house: House) -> None:
    await house.admin.put("/pay-ranges/one", events.pay_range())

    taken = await house.admin.put("/pay-ranges/two", events.pay_range())
    inverted = await house.admin.put("/pay-ranges/two", events.pay_range(minimum=5, maximum=4))
    dollars = await house.admin.put("/pay-ranges/two", events.pay_range("USD"))

    assert (taken.status_code, _pointers(taken.json())) == (409, ["/valid_from"])
    assert (inverted.status_code, _pointers(inverted.json())) == (422, ["/maximum"])
    assert dollars.status_code == 200
    assert [item["id"] for item in (await house.admin.get("/pay-ranges?grade=g5")).json()["items"]] == ["one", "two"]


async def test_rates_are_listed_as_they_were_given(house: House) -> None:
    rates: list[JsonValue] = [
        {"on": f"2025-0{month}-01", "source": "JPY", "target": "EUR", "rate": "0.0061"} for month in (1, 2, 3)
    ]

    assert (await house.admin.post("/exchange-rates", {"rates": rates})).json() == {"stored": 3}
    assert (await house.admin.post("/exchange-rates", {"rates": rates})).json() == {"stored": 0}
    first = (await house.admin.get("/exchange-rates?source=JPY&limit=2")).json()
    rest = (await house.admin.get(f"/exchange-rates?source=JPY&limit=2&cursor={first['next']}")).json()
    assert first["items"] + rest["items"] == rates
    same = await house.admin.post(
        "/exchange-rates", {"rates": [{"on": "2025-01-01", "source": "EUR", "target": "EUR", "rate": 1}]}
    )
    assert _pointers(same.json()) == ["/rates/0/target"]


async def test_a_plan_names_everything_that_is_wrong_with_it_at_once(house: House) -> None:
    rows: list[JsonValue] = [
        events.row("below", events.cell("0", "4", "5")),
        events.row("meets", events.cell("1", "3", "2")),
        events.row("exceeds", {"below-minimum": events.cell("2", "5", "8"), **events.cell("3", "6", "9")}),
    ]
    answer = await house.admin.put("/plans/annual", events.plan(merit=rows, bonus=events.bonus(team_weight="0.5")))

    assert answer.status_code == 422
    assert {
        "/merit",
        "/merit/1/cells/first-quartile",
        "/merit/1/cells/first-quartile/default",
        "/merit/2/cells/first-quartile/minimum",
        "/bonus/team_weight",
    } <= set(_pointers(answer.json()))


async def test_a_published_plan_stands_while_its_draft_goes_on(house: House) -> None:
    await house.admin.put("/plans/annual", events.plan())
    published = await house.admin.post("/plans/annual/publish", key="p", seen=1)
    again = await house.admin.post("/plans/annual/publish", key="p", seen=1)
    unchanged = await house.admin.post("/plans/annual/publish", key="o", seen=1)
    await house.admin.put("/plans/annual", events.plan(name="Next year", bonus=None), seen=1)
    stale = await house.admin.post("/plans/annual/publish", key="q", seen=1)

    assert (published.status_code, published.json()) == (201, again.json())
    assert (unchanged.status_code, stale.status_code) == (409, 412)
    version = (await house.admin.get("/plans/annual/versions/1")).json()
    draft = (await house.admin.get("/plans/annual")).json()
    assert (version["content"]["name"], draft["draft"]["name"]) == ("Annual review", "Next year")
    assert (draft["published_version"], draft["version"]) == (1, 2)
    assert (await house.admin.get("/plans/annual/versions/2")).status_code == 404
    assert draft["cap_order"] == ["curve", "combination", "range-maximum", "pool"]


async def test_only_a_compensation_administrator_edits(house: House) -> None:
    for who in (house.person("auditor"), house.person("hr_admin"), house.person("manager", employee="m")):
        assert (await who.put("/pay/ada", {"entries": [events.pay()]})).status_code == 403
        assert (await who.put("/plans/annual", events.plan())).status_code == 403
        assert (await who.put("/budgets/b", events.budget())).status_code == 403
        assert (await who.post("/runs", {"cycle": "c", "plan": "p", "budget": "b"}, key="k")).status_code == 403


async def test_a_budget_is_edited_by_who_saw_it_and_listed_by_cycle(house: House) -> None:
    await house.admin.put("/budgets/b-1", events.budget())

    assert (await house.admin.put("/budgets/b-1", events.budget(5))).status_code == 428
    assert (await house.admin.put("/budgets/b-1", events.budget(5), seen=1)).json()["merit_pool"] == 5
    assert (await house.admin.put("/budgets/b-2", events.budget(currency="EURO"))).status_code == 422
    assert [b["id"] for b in (await house.admin.get("/budgets?cycle=fy2025")).json()["items"]] == ["b-1"]
    assert (await house.admin.get("/budgets?cycle=other")).json()["items"] == []


async def test_every_edit_is_audited(trio: House) -> None:
    await trio.computed()
    await trio.approved()

    actions = {row[0] for row in await trio.rows("SELECT action FROM audit_entries")}

    assert actions == {
        "pay.changed",
        "pay-range.changed",
        "plan.drafted",
        "plan.published",
        "budget.changed",
        "run.requested",
        "run.approved",
    }
