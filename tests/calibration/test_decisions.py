"""Deciding on subjects: confirming, changing, the second person, and what is remembered of it (F34, F35, F46, F47)."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.scoring import ScorecardStatus
from tests.calibration.conftest import RATIONALE, WORDS, House, Json
from tests.calibration.events import rating, scorecard

SUBJECT = "/sessions/s-1/subjects/e-1"


async def subject(house: House, employee: str = "e-1") -> Json:
    answer = await house.admin.get(f"/sessions/s-1/subjects/{employee}")
    found: Json = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    return found


async def test_a_move_by_one_band_stands_with_its_rationale_and_everything_is_remembered(team: House) -> None:
    answer = await team.facilitator.change("e-1", "B4")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    found = await subject(team)
    assert (found["state"], found["calibrated_band"], found["proposed_band"]) == ("changed", "B4", "B3")
    assert found["history"] == [
        {
            "version": 2,
            "stage": "session",
            "act": "change",
            "by": "e-fac",
            "by_employee": "e-fac",
            "at": "2026-04-10T09:00:00Z",
            "before": {"state": "undecided", "band": None},
            "after": {"state": "changed", "band": "B4"},
            "rationale": RATIONALE,
            "reason": None,
            "scorecard_version": 1,
        }
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "change", "band": "B4"}, "/change/rationale"),
        ({"kind": "change", "band": "B4", "rationale": {"code": "context-factor"}}, "/change/rationale/text"),
        ({"kind": "change", "band": "B4", "rationale": {"code": "mood", "text": WORDS}}, "/change/rationale/code"),
        ({"kind": "change", "band": "B4", "rationale": RATIONALE | {"text": "  too short "}}, "/change/rationale/text"),
        ({"kind": "change", "band": "B9", "rationale": RATIONALE}, "/band"),
        ({"kind": "change", "band": "B3", "rationale": RATIONALE}, "/band"),
        ({"kind": "change", "rationale": RATIONALE}, "/change/band"),
        ({"kind": "guess"}, ""),
        ({"kind": "confirm", "band": "B4"}, "/confirm/band"),
    ],
)
async def test_a_decision_that_says_too_little_is_refused_by_name(team: House, body: Json, pointer: str) -> None:
    answer = await team.facilitator.put(f"{SUBJECT}/decision", body, seen=1)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert (await subject(team))["version"] == 1


async def test_a_move_by_two_bands_waits_for_another_person(team: House) -> None:
    assert (await team.facilitator.change("e-1", "B5")).json()["state"] == "awaiting-approval"
    found = await subject(team)
    assert (found["calibrated_band"], found["asked_band"]) == (None, "B5")

    refused = await team.facilitator.approve("e-1", seen=2)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:plumbline:problem:second-person-needed")
    same_person_other_account = team.person("hr_admin", employee="e-fac", subject="another-account")
    assert (await same_person_other_account.approve("e-1", seen=2)).status_code == 403

    approved = (await team.admin.approve("e-1", seen=2)).json()
    assert (approved["state"], approved["calibrated_band"], approved["asked_band"]) == ("changed", "B5", None)
    assert [(step["act"], step["by"], step["reason"]) for step in approved["history"]] == [
        ("change", "e-fac", None),
        ("approve", "e-hr", WORDS),
    ]


async def test_a_change_that_is_turned_down_leaves_the_subject_undecided(team: House) -> None:
    await team.facilitator.change("e-1", "B1")
    turned_down = (await team.admin.approve("e-1", seen=2, approve=False)).json()
    assert (turned_down["state"], turned_down["calibrated_band"]) == ("undecided", None)
    assert (await team.admin.approve("e-1", seen=3)).json()["type"] == "urn:plumbline:problem:nothing-to-approve"


async def test_two_small_moves_are_one_large_one(team: House) -> None:
    await team.facilitator.change("e-1", "B4")
    assert (await team.facilitator.change("e-1", "B5", seen=2)).json()["state"] == "awaiting-approval"


async def test_the_approver_answers_what_they_saw(team: House) -> None:
    await team.facilitator.change("e-1", "B5")
    await team.facilitator.change("e-1", "B1", seen=2)
    assert (await team.admin.approve("e-1", seen=2)).status_code == 412
    answer = await team.admin.post(f"{SUBJECT}/approval", {"approve": True, "reason": WORDS})
    assert answer.status_code == 428


@pytest.mark.parametrize(("employee", "band"), [("e-1", None), ("e-4", "B3")])
async def test_into_and_out_of_unrated_needs_a_second_person(team: House, employee: str, band: str | None) -> None:
    assert (await team.facilitator.change(employee, band)).json()["state"] == "awaiting-approval"
    approved = (await team.admin.approve(employee, seen=2)).json()
    assert (approved["state"], approved["calibrated_band"]) == ("changed", band)


async def test_confirming_unrated_is_an_explicit_unrated(team: House) -> None:
    confirmed = (await team.facilitator.confirm("e-4")).json()
    assert (confirmed["state"], confirmed["calibrated_band"]) == ("confirmed", None)


async def test_the_managers_rating_and_the_scored_band_stay_beside_the_result(team: House) -> None:
    await team.told(rating("e-1", "5"), rating("e-2", "2.5"), rating("e-1", "4", revision=2))
    await team.facilitator.change("e-1", "B2")
    first, second = (await team.admin.get("/sessions/s-1/subjects")).json()["items"][:2]
    assert (first["proposed_band"], first["manager_rating"], first["manager_band"]) == ("B3", "4", "B4")
    assert (second["manager_rating"], second["manager_band"]) == ("2.5", None)


async def test_of_several_managers_the_one_on_the_scorecard_speaks_else_the_last(team: House) -> None:
    await team.told(rating("e-1", "2", rater="e-m1", hour=1), rating("e-1", "5", rater="e-old", hour=9))
    await team.told(rating("e-3", "1", rater="e-a", hour=3), rating("e-3", "2", rater="e-b", hour=2))
    assert (await subject(team, "e-1"))["manager_rating"] == "2"
    assert (await subject(team, "e-3"))["manager_rating"] == "1"


async def test_twenty_decisions_on_the_same_version_leave_one(team: House) -> None:
    bands = ["B2", "B4"] * 10
    answers = await asyncio.gather(*(team.facilitator.change("e-1", band) for band in bands))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    found = await subject(team)
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert (found["version"], found["calibrated_band"]) == (2, winner["calibrated_band"])
    assert len(await team.rows("SELECT version FROM decisions")) == 1


async def test_a_decision_needs_the_version_it_was_made_on(team: House) -> None:
    answer = await team.facilitator.put(f"{SUBJECT}/decision", {"kind": "confirm"})
    assert answer.status_code == 428
    assert (await team.facilitator.confirm("e-1", seen=7)).status_code == 412
    assert (await team.facilitator.confirm("e-unknown")).status_code == 404


async def test_many_are_confirmed_at_once_and_each_is_answered(team: House) -> None:
    await team.facilitator.change("e-2", "B2")
    seen: list[Json] = [{"employee": name, "version": 1} for name in ("e-4", "e-1", "e-2", "e-unknown")]
    answer = await team.facilitator.post("/sessions/s-1/confirmations", {"subjects": seen})  # type: ignore[dict-item]
    assert answer.json() == {
        "confirmed": 2,
        "refused": 2,
        "results": [
            {"employee": "e-4", "outcome": "confirmed", "version": 2, "code": None},
            {"employee": "e-1", "outcome": "confirmed", "version": 2, "code": None},
            {"employee": "e-2", "outcome": "refused", "version": 2, "code": "stale"},
            {"employee": "e-unknown", "outcome": "refused", "version": None, "code": "unknown"},
        ],
    }
    assert ((await subject(team, "e-2"))["state"], (await subject(team))["state"]) == ("changed", "confirmed")


@pytest.mark.parametrize(
    "subjects",
    [
        [],
        [{"employee": "e-1", "version": 1}, {"employee": "e-1", "version": 1}],
        [{"employee": "e-1"}],
        [{"employee": "e-1", "version": 0}],
        [{"employee": f"e-{n}", "version": 1} for n in range(1001)],
    ],
)
async def test_confirmations_are_a_list_of_different_people(team: House, subjects: list[Json]) -> None:
    answer = await team.facilitator.post("/sessions/s-1/confirmations", {"subjects": subjects})  # type: ignore[dict-item]
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/subjects")


async def test_a_newer_scorecard_is_taken_up_and_an_older_if_match_fails(team: House) -> None:
    await team.told(scorecard("e-1", "B3", 2, ScorecardStatus.ACCEPTED, manager="e-m1"))
    assert (await team.facilitator.confirm("e-1", seen=1)).status_code == 412
    found = await subject(team)
    assert (found["scorecard_version"], found["version"], found["state"]) == (2, 2, "undecided")


async def test_a_decision_falls_with_the_scored_band_it_was_about(team: House) -> None:
    await team.facilitator.confirm("e-1")
    await team.told(scorecard("e-1", "B3", 2, ScorecardStatus.ACCEPTED))
    assert ((await subject(team))["state"], (await subject(team))["version"]) == ("confirmed", 3)
    await team.told(scorecard("e-1", "B4", 3, ScorecardStatus.ACCEPTED))
    found = await subject(team)
    assert (found["state"], found["calibrated_band"], found["proposed_band"]) == ("undecided", None, "B4")
    assert [(step["act"], step["by"], step["scorecard_version"]) for step in found["history"]] == [  # type: ignore[index,call-overload,union-attr]
        ("confirm", "e-fac", 1),
        ("scorecard", "scoring", 2),
        ("scorecard", "scoring", 3),
    ]


async def test_a_waiting_change_still_knows_who_asked_after_a_newer_scorecard(team: House) -> None:
    await team.facilitator.change("e-1", "B5")
    await team.told(scorecard("e-1", "B3", 2, ScorecardStatus.ACCEPTED))
    assert (await team.facilitator.approve("e-1", seen=3)).status_code == 403
    assert (await team.admin.approve("e-1", seen=3)).json()["state"] == "changed"


async def test_a_late_scorecard_is_shown_and_has_no_effect(team: House) -> None:
    await team.told(scorecard("e-1", "B5", 2, ScorecardStatus.LATE))
    found = await subject(team)
    assert (found["version"], found["proposed_band"], found["scorecard_version"]) == (1, "B3", 1)
    assert found["late"] == {"version": 2, "score": "90", "proposed_band": "B5", "as_of": "2026-04-02T02:00:00Z"}
    await team.told(scorecard("e-1", "B5", 2, ScorecardStatus.ACCEPTED))
    found = await subject(team)
    assert (found["version"], found["proposed_band"], found["late"]) == (2, "B5", None)


async def test_subjects_are_filtered_paged_and_exported(team: House) -> None:
    await team.facilitator.change("e-1", "B4")

    async def listed(query: str) -> list[str]:
        answer = await team.admin.get(f"/sessions/s-1/subjects?{query}")
        assert answer.status_code == 200, answer.text
        return [item["employee"] for item in answer.json()["items"]]

    assert await listed("") == ["e-1", "e-2", "e-3", "e-4", "e-m1"]
    assert await listed("state=changed") == ["e-1"]
    assert await listed("unit=u-2") == ["e-3", "e-4"]
    assert await listed("manager=e-m1") == ["e-1", "e-2"]
    assert await listed("band=B3") == ["e-3"]
    assert await listed("band=B4") == ["e-1"]
    assert await listed("unrated=true") == ["e-4"]
    assert await listed("unrated=false&unit=u-2") == ["e-3"]
    page = (await team.admin.get("/sessions/s-1/subjects?limit=2")).json()
    assert await listed(f"limit=2&cursor={page['next']}") == ["e-3", "e-4"]
    csv = (await team.admin.get("/sessions/s-1/subjects", accept="text/csv")).text.splitlines()
    assert csv[0].startswith("employee,name,role,grade,unit,manager")
    assert len(csv) == 6


@pytest.mark.parametrize("query", ["band=", "unit=a%20b", "state=happy", "cursor=WyJhXHUwMDAwIl0", "limit=0"])
async def test_a_filter_that_means_nothing_is_refused(team: House, query: str) -> None:
    answer = await team.admin.get(f"/sessions/s-1/subjects?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["errors"][0]["pointer"] == query.split("=")[0]


async def test_the_distribution_shows_scored_manager_and_calibrated_side_by_side(team: House) -> None:
    await team.told(rating("e-1", "4"), rating("e-2", "2.5"), rating("e-3", "3", rater="e-m2"))
    await team.facilitator.change("e-1", "B4")
    await team.facilitator.confirm("e-4")
    await team.facilitator.change("e-2", "B3")
    found = (await team.admin.get("/sessions/s-1/distribution")).json()
    assert found["bands"] == [
        {"band": "B1", "scored": 1, "manager": 0, "calibrated": 0},
        {"band": "B2", "scored": 1, "manager": 0, "calibrated": 0},
        {"band": "B3", "scored": 2, "manager": 1, "calibrated": 0},
        {"band": "B4", "scored": 0, "manager": 1, "calibrated": 1},
        {"band": "B5", "scored": 0, "manager": 0, "calibrated": 0},
    ]
    del found["bands"]
    assert found == {
        "session": "s-1",
        "subjects": 5,
        "unrated": {"scored": 1, "calibrated": 1},
        "manager_missing": 2,
        "manager_between_bands": 1,
        "undecided": 2,
        "awaiting_approval": 1,
    }
