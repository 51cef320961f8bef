"""Nobody sees or decides their own case; managers reach their own line only (F38)."""

from __future__ import annotations

from datetime import date, timedelta

import httpx
import pytest

from shared.contracts.scoring import ScorecardStatus
from tests.calibration.conftest import WORDS, House, Json, Person
from tests.calibration.events import CYCLE, LAST_DAY, assignment, employee, rating, scorecard


def refused(answer: httpx.Response, kind: str) -> bool:
    assert (answer.status_code, answer.json()["type"]) == (403, f"urn:plumbline:problem:{kind}"), answer.text
    return True


async def asked_about(who: Person, employee: str) -> list[httpx.Response]:
    """Every route that shows or decides one person's case before publication."""
    return [
        await who.get(f"/sessions/s-1/subjects/{employee}"),
        await who.confirm(employee),
        await who.change(employee, "B5"),
        await who.approve(employee, seen=1),
        await who.post(
            "/sessions/s-1/confirmations",
            {"subjects": [{"employee": "e-2", "version": 1}, {"employee": employee, "version": 1}]},
        ),
    ]


@pytest.mark.parametrize("roles", [("hr_admin",), ("facilitator",), ("manager",), ("manager", "hr_admin")])
async def test_nobody_sees_or_decides_their_own_case_whatever_their_role(team: House, roles: tuple[str, ...]) -> None:
    who = team.person(*roles, employee="e-m1")
    answers = await asked_about(who, "e-m1")
    assert all(refused(answer, "own-case") for answer in answers)
    assert await team.rows("SELECT employee FROM decisions") == []
    refusals = [row for row in await team.audited() if row == ("access.refused", "refused")]
    assert len(refusals) == len(answers)


async def test_an_auditor_does_not_see_their_own_case_either(team: House) -> None:
    auditor = team.person("auditor", employee="e-m1")
    assert refused(await auditor.get("/sessions/s-1/subjects/e-m1"), "own-case")


async def test_ones_own_row_is_missing_from_lists_exports_and_counts(team: House) -> None:
    await team.facilitator.change("e-m1", "B3")
    who = team.person("hr_admin", employee="e-m1")
    listed = (await who.get("/sessions/s-1/subjects")).json()["items"]
    assert [subject["employee"] for subject in listed] == ["e-1", "e-2", "e-3", "e-4"]
    assert "e-m1," not in (await who.get("/sessions/s-1/subjects", accept="text/csv")).text.replace(",e-m1,", "")
    assert (await who.get("/sessions/s-1/distribution")).json()["subjects"] == 4
    assert (await who.get("/sessions/s-1")).json()["counts"]["changed"] == 0
    assert (await who.get("/sessions")).json()["items"][0]["counts"]["subjects"] == 4


async def test_the_audit_says_that_a_case_was_decided_and_not_what(team: House) -> None:
    await team.facilitator.change("e-m1", "B4")
    await team.admin.approve("e-m1", seen=2)
    entries = (await team.person("hr_admin", employee="e-m1").get("/audit")).json()["items"]
    about = [entry for entry in entries if entry["object"] == "session/s-1/subjects/e-m1"]
    assert sorted(entry["action"] for entry in about) == ["session.decided", "session.judged"]
    assert "B4" not in str(about)


async def test_who_is_a_subject_of_a_session_does_not_publish_it(team: House) -> None:
    await team.told(employee("e-fac", manager="e-dir"))
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.admin.post("/sessions/s-1/lock")
    who = team.person("hr_admin", employee="e-m1")
    assert refused(await who.post("/sessions/s-1/publish", key="k"), "own-case")
    assert await team.rows("SELECT version FROM classifications") == []


async def test_a_published_person_sees_no_revision_of_their_own_case(team: House) -> None:
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.published()
    await team.told(scorecard("e-m1", "B5", 2, ScorecardStatus.ACCEPTED))
    who = team.person("hr_admin", employee="e-m1")
    body: Json = {"cycle": CYCLE, "approve": True, "reason": WORDS}
    assert refused(await who.get(f"/revisions/e-m1?cycle={CYCLE}"), "own-case")
    assert refused(await who.revise("e-m1", "B5", seen=3), "own-case")
    confirmation: Json = {"cycle": CYCLE, "kind": "confirm"}
    assert refused(await who.post("/revisions/e-m1/decision", confirmation, seen=3), "own-case")
    assert refused(await who.post("/revisions/e-m1/approval", body, seen=3), "own-case")
    assert (await who.get("/revisions")).json()["items"] == []
    assert len((await team.admin.get("/revisions")).json()["items"]) == 1


async def test_the_database_itself_refuses_a_decision_on_ones_own_case(team: House) -> None:
    with pytest.raises(Exception, match="decisions_check"):
        await team.rows("""
            INSERT INTO decisions (provider_id, session, employee, version, stage, act, actor, actor_employee, at,
                                   before_state, after_state, scorecard_version)
            VALUES ('acme', 's-1', 'e-1', 2, 'session', 'confirm', 'x', 'e-1', now(), 'undecided', 'confirmed', 1)
            RETURNING version
        """)


async def test_a_manager_who_takes_part_reaches_their_own_line_only(team: House) -> None:
    manager = team.manager("e-m1")
    listed = (await manager.get("/sessions/s-1/subjects")).json()["items"]
    assert [subject["employee"] for subject in listed] == ["e-1", "e-2"]
    assert (await manager.get("/sessions/s-1/distribution")).json()["subjects"] == 2
    assert (await manager.change("e-1", "B4")).status_code == 200
    assert all(refused(answer, "not-in-line") for answer in await asked_about(manager, "e-3"))
    assert await team.rows("SELECT employee FROM decisions") == [("e-1",)]


async def test_a_manager_who_takes_no_part_reaches_nobody(team: House) -> None:
    outsider = team.manager("e-dir")
    assert all(refused(answer, "not-in-session") for answer in await asked_about(outsider, "e-1"))
    for path in ("", "/subjects", "/distribution"):
        assert refused(await outsider.get(f"/sessions/s-1{path}"), "not-in-session")


async def test_the_line_is_transitive_and_that_of_the_cycles_last_day(house: House) -> None:
    day_before, day_after = LAST_DAY - timedelta(days=1), LAST_DAY + timedelta(days=1)
    await house.told(
        employee("e-m1", manager="e-dir"),
        employee("e-now", manager="e-m1"),
        employee("e-went", assignment("e-m1", valid_to=day_before), assignment("e-x", LAST_DAY)),
        employee("e-came", assignment("e-x", valid_to=LAST_DAY), assignment("e-m1", day_after)),
        employee("e-left", assignment("e-m1", valid_to=date(2026, 2, 1))),
    )
    people = ("e-now", "e-went", "e-came", "e-left")
    await house.frozen(*(scorecard(name, "B3") for name in people))
    await house.opened(participants=["e-dir"])
    director = house.manager("e-dir")
    listed = (await director.get("/sessions/s-1/subjects")).json()["items"]
    reached = [name for name in people if (await director.get(f"/sessions/s-1/subjects/{name}")).status_code == 200]
    assert [subject["employee"] for subject in listed] == sorted(reached) == ["e-left", "e-now"]


async def test_people_who_report_to_each_other_do_not_hang_a_request(house: House) -> None:
    await house.told(employee("e-a", manager="e-b"), employee("e-b", manager="e-a"))
    await house.frozen(scorecard("e-a", "B3"), scorecard("e-b", "B3"))
    await house.opened(participants=["e-a"])
    listed = (await house.manager("e-a").get("/sessions/s-1/subjects")).json()["items"]
    assert [subject["employee"] for subject in listed] == ["e-b"]
    assert refused(await house.manager("e-a").confirm("e-a"), "own-case")
    assert (await house.manager("e-a").confirm("e-b")).status_code == 200


async def test_a_facilitator_of_another_session_has_no_say(team: House) -> None:
    other = team.person("facilitator", employee="e-fac-2")
    assert refused(await other.confirm("e-1"), "not-in-session")
    assert refused(await other.post("/sessions/s-1/lock"), "not-in-session")
    assert refused(await other.post("/sessions/s-1/publish", key="k"), "not-in-session")


async def test_the_owner_and_an_auditor_read_all_and_decide_nothing(team: House) -> None:
    owner, auditor = team.manager("e-hr"), team.person("auditor")
    for who in (owner, auditor):
        assert len((await who.get("/sessions/s-1/subjects")).json()["items"]) == 5
        assert (await who.get("/sessions/s-1/subjects/e-1")).status_code == 200
        assert (await who.confirm("e-1")).status_code == 403


async def test_an_approver_must_reach_the_subject_too(team: House) -> None:
    await team.manager("e-m1").change("e-1", "B5")
    assert refused(await team.manager("e-m2").approve("e-1", seen=2), "not-in-line")
    assert refused(await team.manager("e-m1").approve("e-1", seen=2), "second-person-needed")
    assert (await team.facilitator.approve("e-1", seen=2)).status_code == 200


@pytest.mark.parametrize("role", ["client", "employee", "source", "compensation_admin", "operator"])
async def test_other_roles_have_no_business_in_a_session(team: House, role: str) -> None:
    who = team.person(role, employee="e-1")
    answers = [
        await who.get("/sessions"),
        await who.get("/sessions/s-1"),
        await who.get("/sessions/s-1/subjects"),
        await who.get("/revisions"),
        await who.confirm("e-2"),
        await who.post("/sessions/s-1/lock"),
    ]
    assert {answer.status_code for answer in answers} == {403}


async def test_a_manager_who_rates_themself_is_refused_as_a_dead_letter(team: House) -> None:
    with pytest.raises(Exception, match="nobody rates their own case"):
        await team.told(rating("e-m1", "5", rater="e-m1"))
    assert await team.rows("SELECT rater FROM manager_ratings") == []


async def test_another_providers_admin_finds_nothing(team: House) -> None:
    stranger = team.person("hr_admin", provider="globex")
    assert {answer.status_code for answer in await asked_about(stranger, "e-1")} == {404}
    assert (await stranger.get("/revisions")).json()["items"] == []
