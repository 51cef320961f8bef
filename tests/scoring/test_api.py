"""Who may ask for what, what is refused, and what a scorecard can be traced back to."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal

import pytest
from pydantic import JsonValue

from services.scoring.api.lineage import LeafOut, LineageOut
from services.scoring.api.scorecards import ScorecardOut
from services.scoring.model.scorecards import PartResult, PartState
from services.scoring.model.templates import MissingData, PartKind
from tests.scoring.conftest import SCORECARDS, House
from tests.scoring.events import (
    AHT,
    BETA,
    CSAT,
    CYCLE,
    CYCLE_BODY,
    Json,
    correction,
    employee,
    feedback,
    kpi,
    metric,
    part,
    stay,
    version,
    void,
)

D = Decimal


async def _refusals(house: House, path: str, body: JsonValue) -> list[tuple[str, str]]:
    answer = await house.admin.post(path, body)
    assert answer.status_code == 422, answer.text
    return sorted((each["pointer"], each["code"]) for each in answer.json()["errors"])


@pytest.fixture
async def scored(team: House) -> House:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"), employee("e-3", manager="e-m9"))
    await team.settled()
    return team


# Templates


async def test_a_template_and_its_versions_can_be_read_back(team: House) -> None:
    answer = await team.admin.get("/templates/agent")
    assert answer.json() == {
        "template": "agent",
        "name": "agent",
        "selector": {"role": "agent", "client": None, "line_of_business": None},
        "versions": 1,
        "published": [1],
    }
    one = (await team.admin.get("/templates/agent/versions/1")).json()
    assert (one["state"], one["coverage_minimum"], one["weight_maximum"]) == ("published", "0.70", "0.50")
    assert one["parts"][0]["curve"]["points"] == [["420", "50"], ["360", "100"], ["300", "150"]]
    assert one["metrics"]["aht"]["higher_is_better"] is False
    assert (await team.admin.get("/templates/agent/versions")).json()["items"] == [one]
    assert [each["template"] for each in (await team.admin.get("/templates")).json()["items"]] == ["agent"]
    for path in ("/templates/none", "/templates/none/versions", "/templates/agent/versions/9"):
        assert (await team.admin.get(path)).status_code == 404


async def test_one_selector_belongs_to_one_template(team: House) -> None:
    same: Json = {"template": "other", "name": "Other", "selector": {"role": "agent"}}
    answer = await team.admin.post("/templates", same)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:selector-taken")
    answer = await team.admin.post("/templates", {"template": "agent", "name": "Again", "selector": {}})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:template-exists")


async def test_what_is_wrong_with_a_version_is_named_by_field(team: House) -> None:
    path = "/templates/agent/versions"
    broken = part("aht", "60", [["360", "100"]]), part("csat", "39.99", [["1", "100"], ["1", "90"]])
    assert await _refusals(team, path, version(*broken)) == [
        ("/parts", "weights-total"),
        ("/parts/0/curve/points", "too-few-points"),
        ("/parts/1/curve/points/1/0", "equal-x"),
        ("/parts/1/curve/points/1/1", "falling-y"),
    ]
    assert await _refusals(team, path, {"effective_from": "soon", "parts": [{"kind": "guess"}], "more": 1}) == [
        ("/effective_from", "value-error"),
        ("/more", "extra-forbidden"),
        ("/parts/0", "union-tag-invalid"),
    ]
    assert (await team.admin.post("/templates/none/versions", version())).status_code == 404


async def test_publication_refuses_unknown_and_developmental_metrics_and_curves_of_the_wrong_direction(
    team: House,
) -> None:
    await team.told(metric("practice", developmental=True))
    rising = [["1", "0"], ["2", "100"]]
    body = version(
        part("aht", "40", rising),
        part("practice", "30", rising),
        part("unheard", "30", rising),
        gates=[{"metric": "practice", "at_least": 1, "band_cap": "nowhere"}],
    )
    assert (await team.admin.post("/templates/agent/versions", body)).status_code == 201
    assert await _refusals(team, "/templates/agent/versions/2/publish", None) == [
        ("/gates/0/band_cap", "gate-band-unknown"),
        ("/gates/0/metric", "developmental-metric"),
        ("/parts/0/curve/points/1/0", "wrong-order"),
        ("/parts/1/metric", "developmental-metric"),
        ("/parts/2/metric", "unknown-metric"),
    ]


async def test_a_published_version_is_published_once(team: House) -> None:
    answer = await team.admin.post("/templates/agent/versions/1/publish", key="again")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:already-published")
    answer = await team.http.post("/templates/agent/versions/1/publish", headers=team.admin.headers)
    assert answer.status_code == 400, "without an idempotency key"


# Cycles


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ends_on": "2025-12-31"}, [("/ends_on", "before-start")]),
        ({"bands": [{"band": "one", "cut_score": 0}]}, [("/bands", "too-few-bands")]),
        (
            {"bands": [{"band": "one", "cut_score": 5}, {"band": "one", "cut_score": "5.0"}]},
            [("/bands/1/band", "repeated"), ("/bands/1/cut_score", "not-rising")],
        ),
        ({"cycle": "a/b"}, [("/cycle", "string-pattern-mismatch")]),
        (
            {"bands": [{"band": "a", "cut_score": "0e-20000"}, {"band": "b", "cut_score": "-0.0"}]},
            [("/bands/1/cut_score", "not-rising")],
        ),
    ],
)
async def test_a_cycle_that_is_none_is_refused(house: House, change: Json, found: list[tuple[str, str]]) -> None:
    assert await _refusals(house, "/cycles", CYCLE_BODY | {"cycle": "q2"} | change) == found


@pytest.mark.parametrize("zero", ["0e-20000", "-0.0", "0." + "0" * 20_000])
async def test_zeros_that_say_nothing_are_not_kept(team: House, zero: str) -> None:
    body = CYCLE_BODY | {"cycle": "q2", "bands": [{"band": "a", "cut_score": zero}, {"band": "b", "cut_score": "1.50"}]}
    answer = await team.admin.post("/cycles", body)
    assert answer.status_code == 201, answer.text
    assert [band["cut_score"] for band in answer.json()["bands"]] == ["0", "1.5"]


async def test_a_cycle_must_have_the_bands_its_gates_cap_at(team: House) -> None:
    await team.published(version(gates=[{"metric": "csat", "at_least": "0.5", "band_cap": "below"}]))
    other = CYCLE_BODY | {"cycle": "q2", "bands": [{"band": "a", "cut_score": 0}, {"band": "b", "cut_score": 1}]}
    assert await _refusals(team, "/cycles", other) == [("/bands", "gate-band-unknown")]


async def test_a_cycle_exists_once_and_is_frozen_and_closed_in_order(team: House) -> None:
    again = await team.admin.post("/cycles", CYCLE_BODY)
    assert (again.status_code, again.json()["type"]) == (409, "urn:plumbline:problem:cycle-exists")
    closed = await team.admin.post(f"/cycles/{CYCLE}/close", key="c")
    assert (closed.status_code, closed.json()["type"]) == (409, "urn:plumbline:problem:not-frozen")
    await team.freeze()
    replayed = await team.admin.post(f"/cycles/{CYCLE}/freeze", key="freeze")
    assert (replayed.status_code, replayed.headers["idempotency-replayed"]) == (202, "true")
    twice = await team.admin.post(f"/cycles/{CYCLE}/freeze", key="other")
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:plumbline:problem:not-open")
    listed = (await team.admin.get("/cycles?state=freezing")).json()["items"]
    assert [each["cycle"] for each in listed] == [CYCLE]
    assert (await team.admin.get("/cycles?state=open")).json()["items"] == []
    assert (await team.admin.get(f"/cycles/{CYCLE}")).headers["etag"] == '"2"'


# Who sees what


@pytest.mark.parametrize(
    ("roles", "employee_", "target", "status"),
    [
        (["hr_admin"], None, "e-1", 200),
        (["auditor"], None, "e-1", 200),
        (["compensation_admin"], None, "e-1", 200),
        (["manager"], "e-m1", "e-1", 200),
        (["manager"], "e-dir", "e-1", 200),
        (["manager"], "e-m1", "e-3", 403),
        (["manager"], "e-m1", "e-m1", 403),
        (["manager"], "e-m1", "e-nobody", 403),
        (["manager", "employee"], "e-m1", "e-m1", 200),
        (["manager"], None, "e-1", 403),
        (["employee"], "e-1", "e-1", 200),
        (["employee"], "e-1", "e-2", 403),
        (["employee"], "e-m1", "e-1", 403),
        (["facilitator"], "e-1", "e-1", 403),
        (["operator"], None, "e-1", 403),
        (["client"], None, "e-1", 403),
        (["client", "hr_admin"], None, "e-1", 403),
    ],
)
async def test_a_scorecard_is_shown_to_whom_it_concerns(
    scored: House, roles: list[str], employee_: str | None, target: str, status: int
) -> None:
    who = scored.person(*roles, employee=employee_)
    for path in ("", "/versions", "/lineage"):
        assert (await who.get(f"{SCORECARDS}/{target}{path}")).status_code == status, path


async def test_a_managers_line_is_that_of_the_day_in_question(scored: House) -> None:
    await scored.told(
        employee("e-1", stay(date(2020, 1, 1), date(2026, 2, 28)), stay(date(2026, 3, 1), manager="e-m9"), version=2)
    )
    former, later = scored.person("manager", employee="e-m1"), scored.person("manager", employee="e-m9")
    path = f"{SCORECARDS}/e-1"
    assert ((await former.get(path)).status_code, (await later.get(path)).status_code) == (200, 403)
    scored.clock.now = scored.clock.now.replace(month=7)
    former, later = scored.person("manager", employee="e-m1"), scored.person("manager", employee="e-m9")
    assert ((await former.get(path)).status_code, (await later.get(path)).status_code) == (403, 200)


async def test_a_circle_of_managers_ends(scored: House) -> None:
    await scored.told(employee("e-a", manager="e-b"), employee("e-b", manager="e-a"))
    await scored.settled()
    who = scored.person("manager", employee="e-a")
    assert (await who.get(f"{SCORECARDS}/e-b")).status_code == 200
    assert (await who.get(f"{SCORECARDS}/e-1")).status_code == 403
    assert [each["employee"] for each in (await who.get(SCORECARDS)).json()["items"]] == ["e-b"]


async def test_another_providers_objects_are_absent(scored: House) -> None:
    stranger = scored.person("hr_admin", provider=BETA)
    for path in (f"/cycles/{CYCLE}", f"{SCORECARDS}/e-1", SCORECARDS, "/templates/agent", "/templates/agent/versions"):
        assert (await stranger.get(path)).status_code == 404, path
    assert (await stranger.get("/cycles")).json()["items"] == []
    answer = await stranger.post(f"/cycles/{CYCLE}/freeze")
    assert answer.status_code == 404


async def test_only_hr_decides(scored: House) -> None:
    for who in (scored.person("manager", employee="e-m1"), scored.person("compensation_admin")):
        for path in (
            "/templates",
            "/templates/agent/versions",
            "/templates/agent/versions/1/publish",
            "/cycles",
            f"/cycles/{CYCLE}/freeze",
            f"/cycles/{CYCLE}/close",
            f"{SCORECARDS}/e-1/acceptances",
        ):
            assert (await who.post(path, {})).status_code == 403, path
    refused = await scored.rows("SELECT count(*) FROM audit_entries WHERE action = 'access.refused'")
    assert refused == [(14,)]


# Lists


async def test_the_list_is_filtered_paged_and_exported(scored: House) -> None:
    async def names(query: str = "", who: str = "hr_admin", employee_: str | None = None) -> list[str]:
        answer = await scored.person(who, employee=employee_).get(f"{SCORECARDS}{query}")
        assert answer.status_code == 200, answer.text
        return [each["employee"] for each in answer.json()["items"]]

    assert await names() == ["e-1", "e-2", "e-3", "e-m1"]
    assert await names("?band=meets") == ["e-1"]
    assert await names("?band=unrated") == ["e-2", "e-3", "e-m1"]
    assert await names("?manager=e-m9") == ["e-3"]
    assert await names("?unit=u-2") == []
    assert await names("?status=late") == []
    assert await names(who="manager", employee_="e-m1") == ["e-1", "e-2"]
    assert await names(who="manager", employee_="e-dir") == ["e-1", "e-2", "e-m1"]
    first = (await scored.admin.get(f"{SCORECARDS}?limit=3")).json()
    rest = (await scored.admin.get(f"{SCORECARDS}?limit=3&cursor={first['next']}")).json()
    assert [each["employee"] for each in rest["items"]] == ["e-m1"]
    exported = await scored.admin.get(SCORECARDS, accept="text/csv")
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert (rows[0]["employee"], rows[0]["score"], rows[0]["proposed_band"]) == ("e-1", "100.000000000000", "meets")
    assert (await scored.admin.get(f"{SCORECARDS}?status=bogus")).status_code == 422
    assert (await scored.admin.get(f"{SCORECARDS}?cursor=bogus")).status_code == 400


async def test_a_scorecard_shows_its_time_its_versions_and_how_it_came_about(scored: House) -> None:
    card = await scored.admin.card("e-1")
    assert (card["version"], card["status"], card["watermark"]) == (2, "current", 2)
    assert card["as_of"] == (await scored.versions("e-1"))[-1].as_of.isoformat().replace("+00:00", "Z")
    (segment,) = ScorecardOut.model_validate(card).segments
    assert (segment.template, segment.template_version, segment.days) == ("agent", 1, 90)
    assert segment.parts[1] == PartResult(
        part="csat",
        kind=PartKind.METRIC,
        source="csat",
        weight=D(50),
        applied_weight=D(50),
        state=PartState.VALID,
        insufficient=False,
        rule=MissingData.EXCLUDE_AND_REWEIGHT,
        minimum_volume=D(0),
        numerator=D(9),
        denominator=D(10),
        events=1,
        latest_day=date(2026, 1, 7),
        value=D("0.9"),
        attainment=D(100),
    )
    old = await scored.admin.card("e-1", version=1)
    assert (old["score"], old["unrated"]) == (None, "no-rated-days")
    listed = (await scored.admin.get(f"{SCORECARDS}/e-1/versions")).json()["items"]
    assert listed == [old, card]
    assert (await scored.admin.get(f"{SCORECARDS}/e-1?version=9")).status_code == 404
    assert (await scored.admin.get(f"{SCORECARDS}/e-nobody")).status_code == 404


# Lineage


async def _lineage(house: House, query: str = "", who: str = "hr_admin", employee_: str | None = None) -> LineageOut:
    answer = await house.person(who, employee=employee_).get(f"{SCORECARDS}/e-1/lineage{query}")
    assert answer.status_code == 200, answer.text
    return LineageOut.model_validate(answer.json())


@pytest.fixture
async def traced(house: House) -> House:
    """One person under two managers, with corrections, a void, feedback and a gate, in several versions."""
    peers: Json = {
        "part": "peers",
        "kind": "feedback",
        "category": "peer",
        "weight": "20",
        "curve": {"points": [["1", "0"], ["5", "100"]]},
    }
    await house.told(metric("aht", lower=True), metric("csat"), metric("adherence"), employee("e-1"))
    gates: JsonValue = [{"metric": "adherence", "at_least": "0.9", "band_cap": "meets"}]
    await house.published(version(AHT | {"weight": "40"}, CSAT | {"weight": "40"}, peers, gates=gates))
    await house.opened()
    before, after = stay(date(2020, 1, 1), date(2026, 1, 20)), stay(date(2026, 1, 21), manager="e-m2")
    await house.told(employee("e-1", before, after, version=2))
    first = [kpi(str(n), str(330 + n), day=date(2026, 1, 11 + n)) for n in range(20)]
    await house.told(*first, kpi("c", "9", "10", metric="csat"), kpi("g", "8", "10", metric="adherence"))
    await house.told(*(feedback(f"e-{n}", "4", category="peer") for n in range(3)))
    await house.settled()
    await house.told(correction(first[0], 1, "300.25"), void(first[1], 1))
    await house.told(correction(first[2], 1, "1", day=date(2026, 2, 9)))
    await house.settled()
    await house.told(kpi("later", "400"), kpi("outside", "1", day=date(2026, 4, 1)), kpi("other", "1", metric="other"))
    await house.settled()
    return house


async def test_the_leaves_of_every_version_add_up_to_what_it_used(traced: House) -> None:
    last = (await traced.versions("e-1"))[-1].version
    assert last == 3
    for number in range(1, last + 1):
        whole = await _lineage(traced, f"?version={number}&limit=200")
        for branch in whole.parts:
            own = [
                leaf
                for leaf in whole.items
                if leaf.source == branch.source and (branch.kind != "metric" or leaf.starts_on == branch.starts_on)
            ]
            assert sum(leaf.numerator for leaf in own) == branch.numerator
            assert sum(leaf.denominator for leaf in own) == branch.denominator
            assert len(own) == branch.events


async def test_a_leaf_names_the_event_and_the_correction_that_counts(traced: House) -> None:
    whole = await _lineage(traced, "?limit=200")
    leaves = {leaf.event: leaf for leaf in whole.items}
    assert (leaves["acd/0"].effective_event, leaves["acd/0"].numerator) == ("acd/0-r1", D("300.25"))
    assert "acd/1" not in leaves, "voided"
    assert leaves["acd/2"].starts_on == date(2026, 1, 21), "moved to another segment"
    assert not leaves.keys() & {"acd/outside", "acd/other"}
    assert {leaf.source for leaf in whole.items} == {"aht", "csat", "adherence", "peer"}
    old = await _lineage(traced, "?limit=200&version=1")
    assert {leaf.event: leaf for leaf in old.items}["acd/0"].effective_event == "acd/0"


async def test_lineage_is_paged_narrowed_and_kept_from_those_who_are_rated(traced: House) -> None:
    whole = await _lineage(traced, "?limit=200")
    pages, cursor = list[LeafOut](), ""
    while True:
        page = await _lineage(traced, f"?limit=7{cursor}")
        pages += page.items
        if page.next is None:
            break
        cursor = f"&cursor={page.next}"
    assert pages == whole.items
    only = await _lineage(traced, "?metric=csat")
    assert ([leaf.event for leaf in only.items], only.parts[0].part) == (["acd/c"], "csat")
    mine = await _lineage(traced, who="employee", employee_="e-1")
    assert "peer" not in {leaf.source for leaf in mine.items}


async def test_a_gate_that_is_missed_caps_the_proposed_band(team: House) -> None:
    await team.published(version(gates=[{"metric": "csat", "at_least": "0.95", "band_cap": "below"}]))
    await team.told(kpi("1", "300"), kpi("2", "9", "10", metric="csat"))
    await team.settled()
    card = await team.admin.card("e-1")
    assert (card["score"], card["band_before_gates"], card["proposed_band"]) == ("125.000000000000", "exceeds", "below")
