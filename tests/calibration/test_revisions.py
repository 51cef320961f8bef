"""A published band beside a newer scorecard: people confirm or revise; nothing is overwritten."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from shared.contracts.outcomes import ClassificationRevised
from shared.contracts.scoring import ScorecardStatus
from tests.calibration.conftest import RATIONALE, WORDS, House, Json
from tests.calibration.events import CYCLE, employee, scorecard

ACCEPTED = ScorecardStatus.ACCEPTED
PATH = "/revisions/e-1/decision"


@pytest.fixture
async def published(team: House) -> House:
    """e-1 was changed from B3 to B4; the others were confirmed; all is published."""
    await team.facilitator.change("e-1", "B4")
    for subject in ("e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    assert (await team.published()).status_code == 200
    return team


async def revision(house: House, employee: str = "e-1") -> Json:
    answer = await house.admin.get(f"/revisions/{employee}?cycle={CYCLE}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    return found


async def versions(house: House, employee: str = "e-1") -> list[tuple[int, str, str | None, int]]:
    items = (await house.admin.get(f"/classifications/{employee}?cycle={CYCLE}")).json()["items"]
    return [(item["version"], item["state"], item["band"], item["scorecard_version"]) for item in items]


async def revised(house: House) -> list[ClassificationRevised]:
    return [event for event in await house.announced() if isinstance(event, ClassificationRevised)]


async def test_an_accepted_scorecard_of_a_published_person_opens_a_revision(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED, manager="e-m1"))
    found = await revision(published)
    history = found.pop("history")
    assert isinstance(history, list)
    assert found == {
        "employee": "e-1",
        "cycle": CYCLE,
        "number": 1,
        "session": "s-1",
        "state": "open",
        "version": 3,
        "opened_at": "2026-04-10T09:00:00Z",
        "classification_version": 1,
        "current_band": "B4",
        "scorecard_version": 2,
        "score": "90",
        "proposed_band": "B5",
        "asked_band": None,
    }
    assert [(step["stage"], step["act"]) for step in history] == [("session", "change"), ("revision", "scorecard")]  # type: ignore[index,call-overload]
    assert await versions(published) == [(1, "current", "B4", 1)]
    shown = (await published.admin.get("/sessions/s-1/subjects/e-1")).json()
    assert (shown["proposed_band"], shown["scorecard_version"], shown["calibrated_band"]) == ("B3", 1, "B4")


async def test_a_late_scorecard_alone_opens_nothing(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ScorecardStatus.LATE))
    assert (await published.admin.get("/revisions")).json()["items"] == []
    assert (await published.admin.get(f"/revisions/e-1?cycle={CYCLE}")).status_code == 404


async def test_a_revision_makes_a_new_version_and_keeps_the_old_as_retracted(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED, manager="e-m2", score=Decimal("91.5")))
    answer = await published.facilitator.revise("e-1", "B5", seen=3)
    assert (answer.status_code, answer.json()["state"]) == (200, "revised")
    assert await versions(published) == [(1, "retracted", "B4", 1), (2, "current", "B5", 2)]
    (event,) = await revised(published)
    assert (event.version, event.supersedes, event.band, event.proposed_band) == (2, 1, "B5", "B5")
    assert (event.scorecard_version, event.score, event.placement.manager) == (2, Decimal("91.5"), "e-m2")
    assert event.parts[0].attainment == Decimal(90)
    current = (await published.admin.get(f"/classifications?cycle={CYCLE}")).json()["items"]
    assert [(item["employee"], item["version"]) for item in current][:2] == [("e-1", 2), ("e-2", 1)]
    shown = (await published.admin.get("/sessions/s-1/subjects/e-1")).json()
    assert (shown["calibrated_band"], shown["scorecard_version"], shown["score"]) == ("B5", 2, "91.5")


async def test_a_confirmed_revision_leaves_the_version_and_announces_nothing(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    before = await published.announced()
    answer = await published.facilitator.post(PATH, {"cycle": CYCLE, "kind": "confirm"}, seen=3)
    assert answer.json()["state"] == "confirmed"
    assert await versions(published) == [(1, "current", "B4", 1)]
    assert await published.announced() == before


async def test_a_revision_may_keep_the_band_and_take_the_new_score(published: House) -> None:
    await published.told(scorecard("e-1", "B4", 2, ACCEPTED, score=Decimal(75)))
    assert (await published.facilitator.revise("e-1", "B4", seen=3)).json()["state"] == "revised"
    (event,) = await revised(published)
    assert (event.band, event.score) == ("B4", Decimal(75))


@pytest.mark.parametrize("band", ["B2", "B1", None])
async def test_two_bands_from_the_current_one_need_a_second_person(published: House, band: str | None) -> None:
    """The current band is the calibrated B4, not the scored B3."""
    await published.told(scorecard("e-1", "B2", 2, ACCEPTED))
    asked = (await published.facilitator.revise("e-1", band, seen=3)).json()
    assert (asked["state"], asked["asked_band"], asked["current_band"]) == ("awaiting-approval", band, "B4")
    body: Json = {"cycle": CYCLE, "approve": True, "reason": WORDS}
    refused = await published.facilitator.post("/revisions/e-1/approval", body, seen=4)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:plumbline:problem:second-person-needed")
    assert await revised(published) == []
    approved = await published.admin.post("/revisions/e-1/approval", body, seen=4)
    assert approved.json()["state"] == "revised"
    assert [event.band for event in await revised(published)] == [band]


async def test_a_revision_that_is_turned_down_is_open_again(published: House) -> None:
    await published.told(scorecard("e-1", "B2", 2, ACCEPTED))
    await published.facilitator.revise("e-1", "B2", seen=3)
    body: Json = {"cycle": CYCLE, "approve": False, "reason": WORDS}
    answer = await published.admin.post("/revisions/e-1/approval", body, seen=4)
    assert (answer.json()["state"], answer.json()["version"]) == ("open", 5)
    again = await published.admin.post("/revisions/e-1/approval", body, seen=5)
    assert (again.status_code, again.json()["type"]) == (409, "urn:plumbline:problem:nothing-to-approve")


async def test_a_newer_scorecard_joins_the_open_revision_and_undoes_what_was_asked(published: House) -> None:
    await published.told(scorecard("e-1", "B2", 2, ACCEPTED))
    await published.facilitator.revise("e-1", "B2", seen=3)
    await published.told(scorecard("e-1", "B3", 3, ACCEPTED))
    found = await revision(published)
    assert (found["number"], found["state"], found["scorecard_version"], found["asked_band"]) == (1, "open", 3, None)
    body: Json = {"cycle": CYCLE, "approve": True, "reason": WORDS}
    assert (await published.admin.post("/revisions/e-1/approval", body, seen=4)).status_code == 412


async def test_a_decided_revision_is_closed_and_the_next_scorecard_opens_another(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    await published.facilitator.revise("e-1", "B5", seen=3)
    closed = await published.facilitator.revise("e-1", "B4", seen=4)
    assert (closed.status_code, closed.json()["type"]) == (409, "urn:plumbline:problem:revision-closed")
    await published.told(scorecard("e-1", "B4", 3, ACCEPTED))
    assert ((await revision(published))["number"], (await revision(published))["classification_version"]) == (2, 2)
    await published.facilitator.revise("e-1", "B4", seen=5)
    assert [each[:3] for each in await versions(published)] == [
        (1, "retracted", "B4"),
        (2, "retracted", "B5"),
        (3, "current", "B4"),
    ]


async def test_twenty_revisions_at_once_make_one_version(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    answers = await asyncio.gather(*(published.facilitator.revise("e-1", "B5", seen=3) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    assert len(await revised(published)) == 1


async def test_a_scorecard_and_a_publication_that_cross_lose_neither(team: House) -> None:
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.admin.post("/sessions/s-1/lock")
    # The scored band stays B3, so that the decision stands whichever comes first.
    arriving = team.told(scorecard("e-1", "B3", 2, ACCEPTED))
    _, done = await asyncio.gather(arriving, team.admin.post("/sessions/s-1/publish", key="k"))
    assert done.status_code == 200
    ((_, _, _, paid_on),) = await versions(team)
    opened = (await team.admin.get("/revisions")).json()["items"]
    assert (paid_on, len(opened)) in [(2, 0), (1, 1)]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "revise", "band": "B5", "rationale": RATIONALE}, "/revise/cycle"),
        ({"cycle": CYCLE, "kind": "revise", "band": "B5"}, "/revise/rationale"),
        ({"cycle": CYCLE, "kind": "revise", "band": "B9", "rationale": RATIONALE}, "/band"),
        ({"cycle": CYCLE, "kind": "change", "band": "B5", "rationale": RATIONALE}, ""),
    ],
)
async def test_a_revision_that_says_too_little_is_refused_by_name(published: House, body: Json, pointer: str) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    answer = await published.facilitator.post(PATH, body, seen=3)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_a_revision_needs_the_version_that_was_read(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    confirm: Json = {"cycle": CYCLE, "kind": "confirm"}
    assert (await published.facilitator.post(PATH, confirm)).status_code == 428
    assert (await published.facilitator.post(PATH, confirm, seen=2)).status_code == 412
    nobody = await published.facilitator.post("/revisions/e-unknown/decision", confirm, seen=1)
    assert nobody.status_code == 404


async def test_revisions_are_listed_to_whom_they_concern(published: House) -> None:
    await published.told(employee("e-5", manager="e-m2"))
    await published.told(*(scorecard(name, "B2", 2, ACCEPTED) for name in ("e-1", "e-3")))
    await published.facilitator.post(PATH, {"cycle": CYCLE, "kind": "confirm"}, seen=3)

    async def listed(who: object, query: str = "") -> list[str]:
        answer = await who.get(f"/revisions?cycle={CYCLE}{query}")  # type: ignore[attr-defined]
        assert answer.status_code == 200, answer.text
        return [item["employee"] for item in answer.json()["items"]]

    assert await listed(published.admin) == ["e-1", "e-3"]
    assert await listed(published.admin, "&state=open") == ["e-3"]
    assert await listed(published.facilitator) == ["e-1", "e-3"]
    assert await listed(published.manager("e-m1")) == ["e-1"]
    assert await listed(published.manager("e-dir")) == []
    unnamed = await published.manager("e-m1").get("/revisions")
    assert (unnamed.status_code, unnamed.json()["errors"][0]["pointer"]) == (422, "cycle")
    page = (await published.admin.get("/revisions?limit=1")).json()
    rest = (await published.admin.get(f"/revisions?limit=1&cursor={page['next']}")).json()
    assert [item["employee"] for item in rest["items"]] == ["e-3"]
    assert (await published.manager("e-m1").get(f"/revisions/e-3?cycle={CYCLE}")).status_code == 403
    assert (await published.manager("e-m1").revise("e-3", "B2", seen=3)).status_code == 403


async def test_revising_is_audited(published: House) -> None:
    await published.told(scorecard("e-1", "B5", 2, ACCEPTED))
    await published.facilitator.revise("e-1", "B5", seen=3)
    assert (await published.audited())[-1] == ("revision.decided", "done")
