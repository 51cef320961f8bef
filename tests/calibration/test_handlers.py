"""The same events, shuffled and doubled, leave the same rows; what is not known yet waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from datetime import date, timedelta

import httpx
import pytest

from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.kpi import FeedbackCategory, IntakeSealed
from shared.contracts.scoring import CycleState, ScorecardStatus
from shared.messaging.envelope import Batch, Delivery
from tests.calibration.conftest import HANDLERS, House
from tests.calibration.events import ACME, CYCLE, LAST_DAY, NOW, assignment, cycle, employee, rating, scorecard

COPIES = ("employees", "superiors", "cycles", "scorecards", "late_scorecards", "manager_ratings")
OUTCOMES = ("sessions", "subjects", "decisions", "revisions", "classifications")


async def dumped(house: House, tables: tuple[str, ...]) -> dict[str, list[tuple[object, ...]]]:
    rows = {table: await house.rows(f"SELECT t::text FROM {table} AS t ORDER BY t::text") for table in tables}  # noqa: S608
    assert all(rows[table] for table in tables)
    return rows


def everything() -> list[Event]:
    return [
        employee("e-m1", manager="e-dir"),
        employee("e-1", manager="e-m0"),
        employee(
            "e-1",
            assignment("e-m0", valid_to=date(2026, 1, 31)),
            assignment(None, date(2026, 2, 1), date(2026, 2, 28)),
            assignment("e-m1", date(2026, 3, 1)),
            version=2,
        ),
        employee("e-2", manager="e-m1"),
        cycle(None, version=1, state=CycleState.OPEN),
        cycle(None, version=2, state=CycleState.FREEZING),
        cycle(2, version=3),
        *(scorecard("e-1", band, version) for version, band in enumerate(("B1", "B2", None, "B3"), start=1)),
        scorecard("e-2", "B2", 1),
        scorecard("e-2", "B3", 2, ScorecardStatus.LATE),
        scorecard("e-2", "B4", 3, ScorecardStatus.LATE),
        scorecard("e-2", "B3", 2, ScorecardStatus.ACCEPTED),
        scorecard("e-3", "B1", 1, ScorecardStatus.LATE),
        rating("e-1", "2"),
        rating("e-1", "3", revision=2),
        rating("e-1", "4.5", rater="e-m0"),
        rating("e-1", "5", rater="e-9", category=FeedbackCategory.PEER),
        IntakeSealed(provider=ACME, cycle=CYCLE, stream="feedback", target_partition=0, partitions=12, sealed_at=NOW),
    ]


async def test_every_order_and_any_doubling_leave_the_same_copies(house: House) -> None:
    for event in everything():
        await house.told(event)
    expected = await dumped(house, COPIES)
    for seed in range(12):
        shuffled = everything() * 2
        random.Random(seed).shuffle(shuffled)
        for table in reversed(COPIES):
            await house.rows(f"WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT count(*) FROM gone")  # noqa: S608
        position = 0
        while position < len(shuffled):
            size = random.Random(position + seed).randint(1, 9)
            await house.told(*shuffled[position : position + size])
            position += size
        assert await dumped(house, COPIES) == expected


async def test_a_replay_of_all_topics_changes_nothing_that_was_decided_or_published(team: House) -> None:
    late = [
        scorecard("e-1", "B4", 2, ScorecardStatus.ACCEPTED),
        scorecard("e-2", "B2", 2, ScorecardStatus.ACCEPTED),
        scorecard("e-2", "B2", 3, ScorecardStatus.LATE),
    ]
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.published()
    await team.told(*late, rating("e-1", "4"))
    await team.facilitator.revise("e-1", "B4", seen=3)
    expected = await dumped(team, COPIES + OUTCOMES)
    announced = await team.announced()
    cards = [scorecard("e-1", "B3"), scorecard("e-2", "B1"), scorecard("e-3", "B3"), scorecard("e-4", None)]
    replayed = [cycle(5), *cards, *late, rating("e-1", "4"), employee("e-1", manager="e-m1")] * 2
    for seed in range(6):
        random.Random(seed).shuffle(replayed)
        await team.told(*replayed)
        for event in replayed:
            await team.told(event)
    assert await dumped(team, COPIES + OUTCOMES) == expected
    assert await team.announced() == announced


@pytest.mark.parametrize("seed", range(6))
async def test_late_arrivals_in_any_order_leave_the_same_revision(team: House, seed: int) -> None:
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.published()
    arriving = [
        scorecard("e-1", band, version, status)
        for version, band in ((2, "B1"), (3, "B5"), (4, "B4"))
        for status in (ScorecardStatus.LATE, ScorecardStatus.ACCEPTED)
    ] * 2
    random.Random(seed).shuffle(arriving)
    for event in arriving:
        await team.told(event)
    (found,) = await team.rows("SELECT number, state, scorecard_version, band FROM revisions")
    assert found == (1, "undecided", 4, None)


async def test_what_is_not_known_yet_waits(house: House) -> None:
    """Ratings and scorecards of an unknown cycle, people nobody announced: all of it counts once the rest is there."""
    await house.told(rating("e-1", "4"), scorecard("e-1", "B3"))
    await house.told(cycle(1))
    await house.opened()
    (subject,) = (await house.admin.get("/sessions/s-1/subjects")).json()["items"]
    assert (subject["name"], subject["proposed_band"], subject["manager_band"]) == (None, "B3", "B4")
    await house.told(employee("e-1", manager="e-m1"))
    assert (await house.manager("e-m1").confirm("e-1")).status_code == 200


async def test_a_manager_ends_where_the_next_begins_and_the_last_one_stays(house: House) -> None:
    moved = employee(
        "e-1",
        assignment("e-a", valid_to=LAST_DAY - timedelta(days=1)),
        assignment("e-b", LAST_DAY, LAST_DAY + timedelta(days=3)),
    )
    await house.told(moved)
    rows = await house.rows("SELECT manager, since, until FROM superiors ORDER BY since")
    assert rows == [("e-a", date(2020, 1, 1), LAST_DAY), ("e-b", LAST_DAY, date.max)]


async def test_events_of_one_provider_stay_with_it(house: House) -> None:
    await house.told(scorecard("e-1", "B3"), cycle(1))
    for table in ("scorecards", "cycles"):
        assert await house.rows(f"SELECT provider_id FROM {table}", provider=ProviderId("globex")) == []  # noqa: S608


async def test_a_batch_takes_the_same_statements_whatever_its_size(house: House) -> None:
    from sqlalchemy import event as listening

    counted: list[str] = []
    engine = house.database.engine.sync_engine
    listening.listen(engine, "before_cursor_execute", lambda c, cur, statement, *rest: counted.append(statement))

    async def statements(size: int, version: int) -> int:
        counted.clear()
        people = [f"e-{n}" for n in range(size)]
        await house.told(*(employee(name, manager="e-m", version=version) for name in people))
        await house.told(*(scorecard(name, "B3", version) for name in people))
        await house.told(*(rating(name, "3", rater="e-m", revision=version) for name in people))
        return len(counted)

    assert await statements(2, 1) == await statements(300, 2)


async def crossing(house: House, arriving: Event, request: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer of `request`, asked while the batch that stores `arriving` is done but not committed."""
    delivery = Delivery(arriving, "event-0", 0, None)
    async with house.database.begin(ACME) as tx:
        await HANDLERS["scorecards"](tx, Batch(ACME, (delivery,), house.clock(), lag=0))
        asked = asyncio.ensure_future(request)
        await asyncio.wait([asked], timeout=0.5)
        assert not asked.done()
    return await asked


async def test_a_scorecard_that_is_being_stored_while_a_session_opens_is_its_subjects(house: House) -> None:
    await house.frozen(scorecard("e-1", "B3"))
    await house.prepared()
    newer = scorecard("e-1", "B4", 2, ScorecardStatus.ACCEPTED)
    opened = await crossing(house, newer, house.admin.post("/sessions/s-1/open"))
    assert opened.status_code == 200
    assert await house.rows("SELECT scorecard_version, proposed_band FROM subjects") == [(2, "B4")]


async def test_a_scorecard_that_is_being_stored_while_its_session_is_published_is_paid(team: House) -> None:
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    await team.admin.post("/sessions/s-1/lock")
    newer = scorecard("e-1", "B3", 2, ScorecardStatus.ACCEPTED)
    published = await crossing(team, newer, team.admin.post("/sessions/s-1/publish", key="k"))
    assert published.status_code == 200
    paid = await team.rows("SELECT scorecard_version FROM classifications WHERE employee = 'e-1'")
    assert paid == [(2,)]
    assert await team.rows("SELECT number FROM revisions") == []


async def test_a_scorecard_and_a_decision_on_the_same_person_wait_for_each_other(team: House) -> None:
    newer = scorecard("e-1", "B4", 2, ScorecardStatus.ACCEPTED)
    answer = await crossing(team, newer, team.facilitator.confirm("e-1"))
    assert answer.status_code == 412


async def test_people_who_work_nowhere_are_known_and_report_to_nobody(house: House) -> None:
    nowhere = employee("e-hr").model_copy(update={"assignments": ()})
    await house.told(nowhere, employee("e-1", manager="e-m1"))
    assert await house.rows("SELECT employee FROM employees ORDER BY employee") == [("e-1",), ("e-hr",)]
    assert await house.rows("SELECT employee, manager FROM superiors") == [("e-1", "e-m1")]
