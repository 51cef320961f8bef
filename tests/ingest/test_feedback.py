"""What people say of each other, and who may not say it."""

from __future__ import annotations

import asyncio

from shared.contracts.kpi import FeedbackSubmitted, IntakeSealed
from shared.contracts.scoring import CycleState
from tests.ingest.conftest import Json, World, person
from tests.ingest.test_handlers import cycle, deliver


def said(**changes: Json) -> Json:
    return {"cycle": "2026-11", "employee": "e-1", "category": "peer", "rating": 3} | changes


def refused(answer: Json) -> tuple[int, str, str | None]:
    body = answer.json()
    pointer = body["errors"][0]["pointer"] if body.get("errors") else None
    return answer.status_code, body["type"].removeprefix("urn:plumbline:problem:"), pointer


async def by(world: World, employee: str, body: Json, *roles: str) -> Json:
    headers = world.bearer(*(roles or ("employee",)), employee=employee)
    return await world.post("/feedback", body, headers)


async def test_a_rating_is_stored_and_announced_under_the_raters_name(world: World) -> None:
    await deliver(world, cycle(1))
    answer = await by(world, "e-2", said(rating=3.5, comment="Patient with callers.\nLate twice."))
    assert answer.status_code == 202 and (answer.json()["accepted"], answer.json()["items"][0]["revision"]) == (1, 1)
    (announced,) = await world.announced("plumbline.feedback.*")
    assert announced["rater"] == "e-2" and announced["rating"] == "3.5" and "comment" not in announced
    listed = (await world.get("/feedback?employee=e-1&category=peer&cycle=2026-11")).json()["items"]
    assert [(one["rater"], one["comment"]) for one in listed] == [("e-2", "Patient with callers.\nLate twice.")]
    assert (await world.get("/feedback", **world.bearer("manager", employee="e-90"))).status_code == 403


async def test_saying_the_same_again_is_no_revision_and_another_opinion_is(world: World) -> None:
    await deliver(world, cycle(1))
    await by(world, "e-2", said())
    again = (await by(world, "e-2", said(rating="3." + "0" * 20_000))).json()
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    changed = (await by(world, "e-2", said(rating=4))).json()
    assert changed["items"][0]["revision"] == 2
    assert [one["revision"] for one in await world.announced("plumbline.feedback.*")] == [1, 2]


async def test_nobody_rates_themselves_or_in_anothers_name(world: World) -> None:
    await deliver(world, cycle(1))
    assert (await by(world, "e-1", said(category="self"))).status_code == 202
    assert refused(await by(world, "e-1", said())) == (403, "own-case", None)
    assert refused(await by(world, "e-2", said(category="self"))) == (403, "not-oneself", None)
    assert refused(await by(world, "e-2", said(rater="e-90"))) == (403, "other-rater", None)
    imported = await by(world, "e-90", said(rater="e-2"), "hr_admin")
    assert imported.status_code == 202
    own = await by(world, "e-1", said(rater="e-2", rating=5), "hr_admin")
    assert refused(own) == (403, "own-case", None)
    hidden = (await world.get("/feedback", **world.bearer("hr_admin", employee="e-1"))).json()["items"]
    assert [one["employee"] for one in hidden if one["employee"] == "e-1"] == []
    audited = (await world.get("/audit?action=access.refused")).json()["items"]
    assert {entry["detail"]["reason"] for entry in audited} >= {"own-case", "not-oneself", "other-rater"}


async def test_only_the_manager_of_the_day_in_question_rates_as_manager(world: World) -> None:
    await deliver(world, cycle(1))
    moved = person("e-2", valid_from="2026-11-25")["assignments"] + person("e-90", valid_to="2026-11-24")["assignments"]
    await world.put("/employees/e-1", person() | {"assignments": moved}, **{"If-Match": '"1"'})
    body = said(category="manager")
    assert refused(await by(world, "e-2", body)) == (403, "not-the-manager", None)
    assert (await by(world, "e-90", body)).status_code == 202
    world.now = world.now.replace(month=12)
    assert refused(await by(world, "e-90", body | {"rating": 4})) == (403, "not-the-manager", None)
    assert (await by(world, "e-2", body)).status_code == 202


async def test_what_is_wrong_with_a_rating_is_named(world: World) -> None:
    await deliver(world, cycle(1), cycle(1, CycleState.FROZEN, "2026-10"))
    wrong = {
        "/cycle": [said(cycle="nowhere"), said(cycle="2026-10")],
        "/rating": [said(rating=6), said(rating=0), said(rating="NaN"), said(rating=3.00001), said(rating=True)],
        "/employee": [said(employee="e-404")],
        "/category": [said(category="enemy")],
        "/comment": [said(comment="x" * 4_001), said(comment="a\x00b")],
        "/mood": [said(mood="good")],
    }
    for pointer, bodies in wrong.items():
        for body in bodies:
            assert refused(await by(world, "e-2", body)) == (422, "feedback-refused", pointer), body
    nobody = await world.post("/feedback", said(), world.bearer("employee"))
    assert refused(nobody) == (422, "feedback-refused", "/rater")
    assert refused(await world.post("/feedback", said(rater="e-404"))) == (422, "feedback-refused", "/rater")
    assert await world.announced("plumbline.feedback.*") == []


async def test_an_import_gives_each_line_its_own_fate(world: World) -> None:
    await deliver(world, cycle(1))
    items = [
        said(rater="e-2"),
        said(rater="e-2"),
        said(rater="e-2", rating=1),
        said(rater="e-1"),
        said(rater="e-90", category="manager"),
        {"cycle": "2026-11"},
    ]
    answer = (await world.post("/feedback", items)).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert [(one["index"], one["code"], one["pointer"]) for one in answer["rejected"]] == [
        (2, "repeated", "/2/rating"),
        (3, "own-case", "/3/category"),
        (5, "missing", "/5/employee"),
    ]
    again = (await world.post("/feedback", items)).json()
    assert (again["accepted"], again["duplicates"]) == (0, 3)


async def test_ten_opinions_at_once_are_ten_revisions(world: World) -> None:
    await deliver(world, cycle(1))
    ratings = [f"{1 + n / 10:.1f}" for n in range(10)]
    answers = await asyncio.gather(*(by(world, "e-2", said(rating=rating)) for rating in ratings))
    assert sorted(answer.json()["items"][0]["revision"] for answer in answers) == [*range(1, 11)]
    assert sorted(one["revision"] for one in await world.announced("plumbline.feedback.*")) == [*range(1, 11)]


async def test_after_the_seal_nothing_is_said_in_the_cycle(world: World) -> None:
    await deliver(world, cycle(1))
    await by(world, "e-2", said())
    await deliver(world, cycle(2, CycleState.FREEZING))
    assert refused(await by(world, "e-2", said(rating=5))) == (422, "feedback-refused", "/cycle")
    announced = [found for found in await world.waiting() if found.topic == "feedback"]
    assert [type(found.event) for found in announced] == [FeedbackSubmitted] + [IntakeSealed] * 12
    assert [found.partition for found in announced[1:]] == [*range(12)]
