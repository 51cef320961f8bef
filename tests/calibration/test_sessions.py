"""A session as a whole: preparing, opening on a complete copy, locking by hand and by deadline, reopening (F30, F44,
F45)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import JsonValue

from shared.contracts.scoring import CycleState, ScorecardStatus
from tests.calibration.conftest import WORDS, House, Json
from tests.calibration.events import CYCLE, NOW, cycle, scorecard

LATER = (NOW + timedelta(days=30)).isoformat()
BODY: Json = {"name": "All", "cycle": CYCLE, "facilitator": "e-fac", "deadline": LATER}


async def test_a_prepared_session_says_what_it_was_given(house: House) -> None:
    await house.told(cycle(1))
    made = await house.admin.post("/sessions", BODY | {"participants": ["e-m2", "e-m1", "e-m1"]})
    assert made.status_code == 201
    said = made.json()
    assert (said["state"], said["owner"], said["participants"]) == ("prepared", "e-hr", ["e-m1", "e-m2"])
    assert said["scope"] == {"units": [], "clients": [], "lines_of_business": [], "grades": []}
    read = await house.admin.get(f"/sessions/{said['id']}")
    assert read.json() == said
    assert read.headers["etag"] == made.headers["etag"] == '"1"'


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"cycle": "unheard-of"}, "/cycle"),
        ({"deadline": NOW.isoformat()}, "/deadline"),
        ({"deadline": "2026-05-01T10:00:00"}, "/deadline"),
        ({"deadline": "9999-12-31T23:59:59-12:00"}, "/deadline"),
        ({"name": "  "}, "/name"),
        ({"facilitator": None}, "/facilitator"),
        ({"participants": ["no spaces here"]}, "/participants/0"),
        ({"scope": {"units": "u-1"}}, "/scope/units"),
        ({"scope": {"grades": [""]}}, "/scope/grades/0"),
        ({"id": "a/b"}, "/id"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_bad_input_is_named(house: House, change: Json, pointer: str) -> None:
    await house.told(cycle(1))
    answer = await house.admin.post("/sessions", BODY | change)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert await house.rows("SELECT session FROM sessions") == []


async def test_an_id_is_given_once(house: House) -> None:
    await house.told(cycle(1))
    await house.prepared()
    answer = await house.admin.post("/sessions", BODY | {"id": "s-1"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:id-taken")


async def test_a_session_opens_only_when_the_copy_is_complete(house: House) -> None:
    await house.told(cycle(None, version=1, state=CycleState.OPEN), scorecard("e-1", "B3"))
    await house.prepared()

    async def opening() -> str:
        answer = await house.admin.post("/sessions/s-1/open")
        return str(answer.json().get("detail", answer.json().get("state")))

    assert await opening() == "the cycle is not frozen"
    await house.told(cycle(3))
    assert await opening() == "2 of the cycle's 3 scorecards are missing"
    # Late and accepted versions of people who were not scored at the freeze are none of those it counted.
    await house.told(
        scorecard("e-2", "B3", 4, ScorecardStatus.LATE), scorecard("e-9", "B1", 4, ScorecardStatus.ACCEPTED)
    )
    assert await opening() == "2 of the cycle's 3 scorecards are missing"
    await house.told(scorecard("e-2", "B3", 2), scorecard("e-3", "B2"), scorecard("e-3", "B2"))
    assert await opening() == "open"
    subjects = (await house.admin.get("/sessions/s-1/subjects")).json()["items"]
    assert [subject["employee"] for subject in subjects] == ["e-1", "e-2", "e-3", "e-9"]


async def test_more_scorecards_than_announced_do_not_open_either(house: House) -> None:
    await house.told(cycle(1), scorecard("e-1", "B3"), scorecard("e-2", "B3"))
    await house.prepared()
    answer = await house.admin.post("/sessions/s-1/open")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:copy-incomplete")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, ["e-1", "e-2", "e-3"]),
        ({"units": ["u-1"]}, ["e-1", "e-2"]),
        ({"units": ["u-1"], "clients": ["c-2"]}, ["e-2"]),
        ({"grades": ["g9"]}, ["e-3"]),
        ({"units": ["u-1", "u-2"], "lines_of_business": ["support"]}, ["e-1", "e-2", "e-3"]),
    ],
)
async def test_the_scope_is_taken_from_the_placement_on_the_scorecard(
    house: House, scope: JsonValue, expected: list[str]
) -> None:
    await house.frozen(
        scorecard("e-1", "B3"),
        scorecard("e-2", "B3", client="c-2"),
        scorecard("e-3", "B3", unit="u-2", grade="g9"),
    )
    await house.opened(scope=scope)
    subjects = (await house.admin.get("/sessions/s-1/subjects")).json()["items"]
    assert [subject["employee"] for subject in subjects] == expected


async def test_nobody_sits_in_two_sessions_of_a_cycle(house: House) -> None:
    await house.frozen(scorecard("e-1", "B3"), scorecard("e-2", "B3", unit="u-2"))
    await house.opened("s-1", scope={"units": ["u-2"]})
    await house.prepared("s-2")
    refused = await house.admin.post("/sessions/s-2/open")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "1 people of this scope are in another session of the cycle: e-2"
    opened = await house.admin.post("/sessions/s-2/open", {"leave_out_taken": True})
    assert opened.json()["counts"]["subjects"] == 1


async def test_a_cancelled_session_gives_its_subjects_free_and_keeps_what_was_decided(team: House) -> None:
    await team.facilitator.change("e-1", "B4")
    await team.admin.post("/sessions/s-1/cancel", {"reason": WORDS})
    await team.opened("s-2")
    assert (await team.facilitator.confirm("e-1", session="s-2")).status_code == 200
    assert (await team.facilitator.confirm("e-1", seen=2)).status_code == 409
    assert await team.rows("SELECT session, act FROM decisions ORDER BY session") == [
        ("s-1", "change"),
        ("s-2", "confirm"),
    ]


async def test_sessions_opened_at_once_share_nobody(house: House) -> None:
    await house.frozen(*(scorecard(f"e-{n}", "B3") for n in range(30)))
    for session in ("s-1", "s-2", "s-3"):
        await house.prepared(session)
    answers = await asyncio.gather(*(house.admin.post(f"/sessions/s-{n}/open") for n in (1, 2, 3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert len(await house.rows("SELECT employee FROM subjects")) == 30


async def test_a_scope_without_anybody_does_not_open(house: House) -> None:
    await house.frozen(scorecard("e-1", "B3"))
    await house.prepared(scope={"units": ["u-nowhere"]})
    answer = await house.admin.post("/sessions/s-1/open")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:nobody-in-scope")


async def test_the_deadline_locks(team: House) -> None:
    await team.passed(days=6)
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "open"
    await team.passed(days=1)
    locked = (await team.admin.get("/sessions/s-1")).json()
    assert (locked["state"], locked["locked_at"]) == ("locked", "2026-04-17T09:00:00Z")
    assert (await team.facilitator.confirm("e-1")).status_code == 409
    actors = await team.rows("SELECT actor FROM audit_entries WHERE action = 'session.locked'")
    assert actors == [("deadline",)]


async def test_a_deadline_that_was_moved_locks_when_it_comes(team: House) -> None:
    session = (await team.admin.get("/sessions/s-1")).json()
    body: Json = {name: session[name] for name in ("name", "facilitator", "participants", "owner")}
    moved = await team.admin.put("/sessions/s-1", body | {"deadline": LATER}, seen=session["version"])
    assert moved.status_code == 200, moved.text
    await team.passed(days=8)
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "open"
    await team.passed(days=22)
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "locked"


async def test_an_edit_needs_the_version_that_was_read(team: House) -> None:
    body: Json = {"name": "New", "facilitator": "e-fac", "deadline": LATER}
    assert (await team.admin.put("/sessions/s-1", body)).status_code == 428
    assert (await team.admin.put("/sessions/s-1", body, seen=1)).status_code == 412
    edited = await team.admin.put("/sessions/s-1", body, seen=2)
    assert (edited.status_code, edited.headers["etag"]) == (200, '"3"')


async def test_the_scope_is_fixed_once_the_session_is_open(team: House) -> None:
    body: Json = {"name": "New", "facilitator": "e-fac", "deadline": LATER, "scope": {"units": ["u-2"]}}
    answer = await team.admin.put("/sessions/s-1", body, seen=2)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:session-state")


async def test_a_prepared_session_whose_deadline_has_passed_needs_a_new_one_first(house: House) -> None:
    await house.frozen(scorecard("e-1", "B3"))
    await house.prepared()
    await house.passed(days=8)
    answer = await house.admin.post("/sessions/s-1/open")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:deadline-passed")
    body: Json = {"name": "New", "facilitator": "e-fac", "deadline": LATER}
    assert (await house.admin.put("/sessions/s-1", body, seen=1)).status_code == 200
    assert (await house.admin.post("/sessions/s-1/open")).status_code == 200


async def test_reopening_needs_the_role_a_reason_and_a_deadline_ahead(team: House) -> None:
    await team.admin.post("/sessions/s-1/lock")
    path = "/sessions/s-1/reopen"
    body: Json = {"reason": WORDS, "deadline": LATER}
    assert (await team.facilitator.post(path, body)).status_code == 403
    assert (await team.admin.post(path, {"deadline": LATER})).status_code == 422
    assert (await team.admin.post(path, body | {"reason": "          x"})).status_code == 422
    assert (await team.admin.post(path, body | {"deadline": NOW.isoformat()})).status_code == 422
    assert (await team.admin.post(path, body)).json()["state"] == "open"
    assert (await team.admin.post(path, body)).status_code == 409
    assert (await team.facilitator.confirm("e-1")).status_code == 200
    (detail,) = await team.rows("SELECT detail FROM audit_entries WHERE action = 'session.reopened'")
    assert WORDS in str(detail[0])


async def test_a_reopened_session_locks_again_by_its_new_deadline(team: House) -> None:
    await team.passed(days=7)
    await team.admin.post("/sessions/s-1/reopen", {"reason": WORDS, "deadline": LATER})
    await team.passed(days=22)
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "open"
    await team.passed(days=1)
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "locked"


async def test_what_happens_to_a_session_is_audited(team: House) -> None:
    await team.admin.post("/sessions/s-1/lock")
    await team.admin.post("/sessions/s-1/reopen", {"reason": WORDS, "deadline": LATER})
    await team.admin.post("/sessions/s-1/cancel", {"reason": WORDS})
    done = [action for action, outcome in await team.audited() if outcome == "done"]
    assert done == ["session.created", "session.opened", "session.locked", "session.reopened", "session.cancelled"]


async def test_sessions_are_listed_to_whom_they_concern(team: House) -> None:
    await team.prepared("s-2", facilitator="e-other", participants=[])

    async def seen(who: object) -> list[str]:
        answer = await who.get("/sessions")  # type: ignore[attr-defined]
        return [session["id"] for session in answer.json()["items"]]

    assert await seen(team.admin) == ["s-1", "s-2"]
    assert await seen(team.person("auditor")) == ["s-1", "s-2"]
    assert await seen(team.facilitator) == ["s-1"]
    assert await seen(team.manager("e-m1")) == ["s-1"]
    assert await seen(team.manager("e-nobody")) == []
    assert await seen(team.person("manager")) == []
    first = (await team.admin.get("/sessions?limit=1")).json()
    rest = (await team.admin.get(f"/sessions?limit=1&cursor={first['next']}")).json()
    assert [page["items"][0]["id"] for page in (first, rest)] == ["s-1", "s-2"]
    assert [s["id"] for s in (await team.admin.get("/sessions?state=open")).json()["items"]] == ["s-1"]


async def test_another_provider_sees_no_session(team: House) -> None:
    stranger = team.person("hr_admin", provider="globex")
    assert (await stranger.get("/sessions")).json()["items"] == []
    assert (await stranger.get("/sessions/s-1")).status_code == 404
    assert (await stranger.post("/sessions/s-1/lock")).status_code == 404
