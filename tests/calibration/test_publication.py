"""Publication: decided bands become versions, once, and nothing takes them back (F36, F44, F47)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from deploy.local.databases import DatabaseUrls
from shared.contracts.outcomes import ClassificationPublished
from shared.contracts.scoring import ScorecardStatus
from tests.calibration.conftest import WORDS, House
from tests.calibration.events import CYCLE, NOW, employee, rating, scorecard

EVERYBODY = ("e-1", "e-2", "e-3", "e-4", "e-m1")


async def decided(house: House) -> None:
    """e-1 goes one band up, the others are confirmed."""
    assert (await house.facilitator.change("e-1", "B4")).status_code == 200
    for subject in EVERYBODY[1:]:
        assert (await house.facilitator.confirm(subject)).status_code == 200


async def test_bands_that_were_decided_are_published_with_all_that_pay_needs(team: House) -> None:
    await team.told(rating("e-1", "4", rater="e-m1"), rating("e-3", "3.5", rater="e-m2"))
    await decided(team)
    done = await team.published()

    assert done.json() == {"session": "s-1", "published": 5, "published_at": "2026-04-10T09:00:00Z"}
    by_employee = {str(event.employee): event for event in await team.announced()}
    bands = {name: event.band for name, event in by_employee.items()}
    assert bands == {"e-1": "B4", "e-2": "B1", "e-3": "B3", "e-4": None, "e-m1": "B2"}
    first = by_employee["e-1"]
    assert isinstance(first, ClassificationPublished)
    assert (first.version, first.proposed_band, first.manager_band, first.session) == (1, "B3", "B4", "s-1")
    assert (first.scorecard_version, first.score, first.placement.manager) == (1, Decimal(50), "e-m1")
    assert [(part.part, part.weight, part.attainment) for part in first.parts] == [("quality", Decimal(1), Decimal(50))]
    assert by_employee["e-3"].manager_band is None
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "published"


async def test_every_version_leads_to_its_session_and_decision(team: House) -> None:
    await decided(team)
    await team.published()
    chain = await team.rows("""
        SELECT c.employee, d.act, d.actor, d.after_band FROM classifications AS c
        JOIN decisions AS d ON d.session = c.session AND d.employee = c.employee AND d.version = c.decision
        ORDER BY c.employee
    """)
    assert chain == [
        ("e-1", "change", "e-fac", "B4"),
        ("e-2", "confirm", "e-fac", "B1"),
        ("e-3", "confirm", "e-fac", "B3"),
        ("e-4", "confirm", "e-fac", None),
        ("e-m1", "confirm", "e-fac", "B2"),
    ]


async def test_silence_never_becomes_a_rating(team: House) -> None:
    await team.facilitator.confirm("e-2")
    await team.facilitator.change("e-3", "B5")
    refused = await team.published()
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:plumbline:problem:cases-open")
    assert refused.json()["detail"] == "4 subjects have no decided band: e-1, e-3, e-4, e-m1"
    assert await team.announced() == []
    assert await team.rows("SELECT version FROM classifications") == []


async def test_only_a_locked_session_is_published(team: House) -> None:
    await decided(team)
    answer = await team.admin.post("/sessions/s-1/publish", key="k")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:plumbline:problem:session-state")


async def test_publishing_twice_leaves_one_set_of_versions(team: House) -> None:
    await decided(team)
    first = await team.published()
    again = await team.admin.post("/sessions/s-1/publish", key="publish-s-1")
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    other_key = await team.admin.post("/sessions/s-1/publish", key="another")
    assert (other_key.status_code, other_key.json()["type"]) == (409, "urn:plumbline:problem:session-state")
    assert len(await team.rows("SELECT version FROM classifications")) == 5
    assert len(await team.announced()) == 5


async def test_publishing_at_once_leaves_one_set_of_versions(team: House) -> None:
    await decided(team)
    await team.admin.post("/sessions/s-1/lock")
    tries = [team.admin.post("/sessions/s-1/publish", key=f"k-{n % 3}") for n in range(9)]
    answers = await asyncio.gather(*tries)
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert any(answer.status_code == 200 for answer in answers)
    assert len(await team.rows("SELECT version FROM classifications")) == 5
    assert len(await team.announced()) == 5


async def test_publishing_needs_an_idempotency_key(team: House) -> None:
    answer = await team.admin.post("/sessions/s-1/publish")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "Idempotency-Key")


async def test_a_decision_and_the_lock_do_not_pass_each_other(team: House) -> None:
    await decided(team)
    answers = await asyncio.gather(
        team.facilitator.change("e-2", "B2", seen=2),
        team.admin.post("/sessions/s-1/lock"),
        team.facilitator.change("e-3", "B4", seen=2),
    )
    assert answers[1].status_code == 200
    await team.admin.post("/sessions/s-1/publish", key="k")
    published = {str(event.employee): event.band for event in await team.announced()}
    assert published["e-2"] == ("B2" if answers[0].status_code == 200 else "B1")
    assert published["e-3"] == ("B4" if answers[2].status_code == 200 else "B3")


async def test_a_published_session_takes_no_decision_and_never_reopens(team: House) -> None:
    await decided(team)
    await team.published()
    later = (NOW + timedelta(days=30)).isoformat()
    answers = [
        await team.facilitator.change("e-1", "B2", seen=2),
        await team.facilitator.confirm("e-1", seen=2),
        await team.admin.approve("e-1", seen=2),
        await team.admin.post("/sessions/s-1/confirmations", {"subjects": [{"employee": "e-1", "version": 2}]}),
        await team.admin.post("/sessions/s-1/reopen", {"reason": WORDS, "deadline": later}),
        await team.admin.post("/sessions/s-1/cancel", {"reason": WORDS}),
        await team.admin.post("/sessions/s-1/open"),
        await team.admin.post("/sessions/s-1/lock"),
    ]
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [
        (409, "urn:plumbline:problem:session-state")
    ] * 8


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM classifications RETURNING version",
        "UPDATE classifications SET band = 'B5' RETURNING version",
        "DELETE FROM decisions RETURNING version",
        "UPDATE decisions SET rationale_text = 'something else' RETURNING version",
    ],
)
async def test_the_database_refuses_to_change_what_was_published_or_decided(team: House, statement: str) -> None:
    await decided(team)
    await team.published()
    with pytest.raises(Exception, match="append-only"):
        await team.rows(statement)


async def test_a_scorecard_that_moves_the_scored_band_of_a_locked_session_stops_publication(team: House) -> None:
    await decided(team)
    await team.admin.post("/sessions/s-1/lock")
    await team.told(scorecard("e-2", "B2", 2, ScorecardStatus.ACCEPTED, manager="e-m1"))
    refused = await team.admin.post("/sessions/s-1/publish", key="k")
    assert refused.json()["detail"] == "1 subjects have no decided band: e-2"
    later = (NOW + timedelta(days=30)).isoformat()
    await team.admin.post("/sessions/s-1/reopen", {"reason": WORDS, "deadline": later})
    await team.facilitator.confirm("e-2", seen=3)
    assert (await team.published()).status_code == 200
    event = next(event for event in await team.announced() if event.employee == "e-2")
    assert (event.band, event.scorecard_version) == ("B2", 2)


async def test_what_is_published_does_not_depend_on_the_order_of_decisions_and_arrivals(team: House) -> None:
    """The same decisions in another order, with the accepted scorecard before instead of between them."""
    await team.told(scorecard("e-3", "B3", 2, ScorecardStatus.ACCEPTED, score=Decimal(55)))
    for subject in ("e-m1", "e-4", "e-2"):
        await team.facilitator.confirm(subject)
    await team.facilitator.confirm("e-3", seen=2)
    await team.facilitator.change("e-1", "B4")
    await team.published()
    first = [event.model_copy(update={"decided_at": NOW}) for event in await team.announced()]

    await team.frozen_again("other")
    for subject in ("e-1", "e-2", "e-3"):
        await team.facilitator.confirm(subject, session="other")
    await team.told(scorecard("e-3", "B3", 2, ScorecardStatus.ACCEPTED, score=Decimal(55), cycle="other"))
    for subject in ("e-4", "e-m1"):
        await team.facilitator.confirm(subject, session="other")
    await team.facilitator.change("e-1", "B4", seen=2, session="other")
    await team.published("other")
    second = [event for event in await team.announced() if event.cycle == "other"]
    same = [event.model_copy(update={"cycle": CYCLE, "session": "s-1", "decided_at": NOW}) for event in second]
    assert same == first


async def test_publishing_is_audited(team: House) -> None:
    await decided(team)
    await team.published()
    done = [action for action, _ in await team.audited()]
    assert done == [
        "session.created",
        "session.opened",
        *["session.decided"] * 5,
        "session.locked",
        "session.published",
    ]
    assert (await team.person("auditor").get("/audit")).status_code == 200


async def test_thousands_are_published_by_a_handful_of_statements(house: House) -> None:
    people = [f"e-{n:04}" for n in range(3000)]
    await house.told(*(employee(name, manager="e-m1") for name in people))
    await house.frozen(*(scorecard(name, "B3", manager="e-m1") for name in people))
    await house.opened()
    for start in range(0, 3000, 1000):
        batch: list[JsonValue] = [{"employee": name, "version": 1} for name in people[start : start + 1000]]
        answer = await house.facilitator.post("/sessions/s-1/confirmations", {"subjects": batch})
        assert answer.json()["confirmed"] == 1000
    done = await house.published()
    assert done.json()["published"] == 3000
    assert len(await house.announced()) == 3000


async def test_a_commit_that_fails_answers_an_error_and_leaves_nothing(team: House, urls: DatabaseUrls) -> None:
    await decided(team)
    await team.admin.post("/sessions/s-1/lock")
    owner = create_async_engine(urls.owner)
    async with owner.begin() as connection:
        await connection.execute(
            text("""
            CREATE CONSTRAINT TRIGGER failing_commit AFTER INSERT ON classifications
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_change()
            """)
        )
    with capture_logs() as logged:
        failed = await team.admin.post("/sessions/s-1/publish", key="k")
    assert (failed.status_code, [entry["event"] for entry in logged]) == (500, ["request failed"])
    assert await team.announced() == []
    assert (await team.admin.get("/sessions/s-1")).json()["state"] == "locked"

    async with owner.begin() as connection:
        await connection.execute(text("DROP TRIGGER failing_commit ON classifications"))
    await owner.dispose()
    assert (await team.admin.post("/sessions/s-1/publish", key="k")).status_code == 200
    assert len(await team.announced()) == 5
