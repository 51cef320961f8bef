"""From events to scorecards, as the consumer and the clock drive them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest

from services.scoring.commands.facts import add_facts
from services.scoring.handlers import TIMERS
from services.scoring.rules.pacing import pace
from shared.contracts.event import Event
from shared.contracts.outcomes import NoticeRequested
from shared.contracts.scoring import ScorecardComputed
from shared.errors import RuleViolation
from shared.messaging.subscriptions import DueTimers
from shared.messaging.timers import run_due
from tests.scoring.conftest import House, Houses, settle_in
from tests.scoring.events import (
    ACME,
    AHT,
    CSAT,
    START,
    Json,
    correction,
    employee,
    feedback,
    kpi,
    metric,
    stay,
    version,
    void,
)

D = Decimal
SUMS = "SELECT employee, metric, day, numerator, denominator, events FROM day_sums WHERE events <> 0 ORDER BY 1, 2, 3"
TABLES = (
    SUMS,
    "SELECT event, root, revision, employee, metric, occurred_on, numerator, denominator FROM facts ORDER BY event",
    "SELECT employee, workforce_version FROM employee_heads ORDER BY employee",
    "SELECT * FROM assignments ORDER BY 1, 2, 3",
    "SELECT cycle, employee, category, rater, revision, rating FROM ratings ORDER BY 1, 2, 3, 4, 5",
    "SELECT cycle, employee, score, coverage, proposed_band, digest FROM scorecards ORDER BY 1, 2",
)


async def _score(house: House, name: str = "e-1") -> tuple[Decimal | None, str | None]:
    await house.settled()
    card = (await house.versions(name))[-1]
    return card.score, card.proposed_band


async def test_events_become_a_scorecard_with_a_band(team: House) -> None:
    await team.told(kpi("1", "3600", "10"), kpi("2", "9", "10", metric="csat"))
    assert await _score(team) == (D(100), "meets")
    card = (await team.versions("e-1"))[-1]
    assert card.coverage == 1
    assert [(part.part, part.weight, part.attainment) for part in card.parts] == [
        ("aht", D(50), D(100)),
        ("csat", D(50), D(100)),
    ]
    assert (card.placement.manager, card.placement.unit) == ("e-m1", "u-1")


async def test_everybody_assigned_has_an_unrated_scorecard_before_any_event(team: House) -> None:
    card = (await team.versions("e-2"))[-1]
    assert (card.version, card.score, card.proposed_band, card.coverage) == (1, None, None, D(0))


async def test_a_first_event_is_due_at_once_and_those_of_the_next_second_together(team: House) -> None:
    began = team.clock()
    for place, seconds in enumerate((0.0, 0.6, 0.9, 1.2, 3.5, 3.6)):
        team.clock.now = began + timedelta(seconds=seconds)
        await team.told(kpi(f"{place}", "360"))
    rows = await team.rows("SELECT due_at FROM timers ORDER BY id")
    assert [due_at for (due_at,) in rows] == [began + timedelta(seconds=due) for due in (0, 1, 1, 2, 3.5, 4.5)]


async def test_the_further_behind_the_later_and_rarer_somebody_is_scored(team: House) -> None:
    for lag, first, second in ((0, 0.0, 1.0), (4_000, 2.0, 2.0), (10_000_000, 14.0, 14.0)):
        for place, expected in enumerate(([first], [first, second])):
            await team.told(kpi(f"{lag}-{place}", "360", who=f"e-{lag}"), lag=lag)
            rows = await team.rows(f"SELECT due_at FROM timers WHERE key = 'e-{lag}' ORDER BY due_at")  # noqa: S608
            assert [due_at for (due_at,) in rows] == [team.clock() + timedelta(seconds=due) for due in expected]


async def test_who_waits_because_of_the_lag_waits_no_longer_when_it_has_gone(team: House) -> None:
    began = team.clock()
    for place, (seconds, lag) in enumerate(((0, 10_000_000), (1, 4_000), (2, 0), (2.5, 0))):
        team.clock.now = began + timedelta(seconds=seconds)
        await team.told(kpi(f"{place}", "360"), lag=lag)
    rows = await team.rows("SELECT due_at FROM timers ORDER BY id")
    assert [due_at for (due_at,) in rows] == [began + timedelta(seconds=due) for due in (14, 4, 3, 3)]


async def test_an_event_outside_every_cycle_schedules_nobody(team: House) -> None:
    await team.told(kpi("1", "360", day=date(2025, 12, 31)))
    assert await team.rows("SELECT key FROM timers") == []
    assert len(await team.rows(SUMS)) == 1


async def test_the_same_events_again_change_nothing(team: House) -> None:
    events = [kpi("1", "360"), kpi("2", "9", "10", metric="csat"), kpi("1", "360")]
    await team.told(*events)
    await team.settled()
    before = [await team.rows(query) for query in TABLES], len(await team.announced(ScorecardComputed))
    await team.told(*events)
    await team.told(events[0])
    await team.settled()
    assert ([await team.rows(query) for query in TABLES], len(await team.announced(ScorecardComputed))) == before


async def test_a_correction_replaces_and_a_void_takes_back(team: House) -> None:
    first = kpi("1", "420")
    await team.told(first, kpi("2", "9", "10", metric="csat"))
    assert await _score(team) == (D(75), "below")
    await team.told(correction(first, 1, "300"))
    assert await _score(team) == (D(125), "exceeds")
    await team.told(void(first, 2))
    assert (await _score(team))[0] is None
    await team.told(correction(first, 3, "360"))
    assert await _score(team) == (D(100), "meets")


async def test_a_correction_that_came_first_waits_for_nothing_and_wins(team: House) -> None:
    late = kpi("1", "420")
    await team.told(correction(late, 2, "300"), kpi("2", "9", "10", metric="csat"))
    assert await _score(team) == (D(125), "exceeds")
    await team.told(late)
    await team.told(correction(late, 1, "400"))
    assert await _score(team) == (D(125), "exceeds")
    assert (await team.rows("SELECT events FROM day_sums WHERE metric = 'aht' AND events <> 0")) == [(1,)]


async def test_a_void_that_came_first_keeps_the_event_out(team: House) -> None:
    event = kpi("1", "300")
    await team.told(void(event, 1))
    await team.told(event)
    assert await team.rows(SUMS) == []


async def test_a_correction_can_move_an_event_to_another_day(team: House) -> None:
    event = kpi("1", "300", day=date(2026, 1, 7))
    await team.told(event)
    await team.told(correction(event, 1, "310", day=date(2026, 1, 8)))
    assert await team.rows(SUMS) == [("e-1", "aht", date(2026, 1, 8), D(310), D(1), 1)]


async def test_a_value_too_long_to_sum_is_refused(team: House) -> None:
    with pytest.raises(RuleViolation) as refused:
        await team.told(kpi("1", "1E+400"))
    assert refused.value.problems[0].pointer == "/numerator"


async def test_sums_stay_exact_beyond_the_ambient_precision(team: House) -> None:
    big, small = "1" + "0" * 40, "0." + "0" * 30 + "1"
    await team.told(kpi("1", big), kpi("2", small))
    await team.told(void(kpi("1", big), 1))
    assert (await team.rows(SUMS))[0][3] == D(small)


async def test_only_the_people_an_event_touches_are_scored_again(team: House) -> None:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    before = {name: len(await team.versions(name)) for name in ("e-2", "e-m1")}
    await _score(team)
    assert {name: len(await team.versions(name)) for name in ("e-2", "e-m1")} == before


async def test_someone_who_moves_has_results_split_by_date(team: House) -> None:
    await team.told(
        kpi("1", "420", day=date(2026, 1, 10)),
        kpi("2", "300", day=date(2026, 3, 10)),
        kpi("3", "9", "10", metric="csat", day=date(2026, 1, 10)),
        kpi("4", "9", "10", metric="csat", day=date(2026, 3, 10)),
        employee(
            "e-1",
            stay(date(2020, 1, 1), date(2026, 1, 31), manager="e-m1"),
            stay(date(2026, 2, 1), None, manager="e-m2"),
            version=2,
        ),
    )
    score, _ = await _score(team)
    assert score == ((D(75) * 31 + D(125) * 59) / 90).quantize(D("1E-12"))
    card = await team.admin.card("e-1")
    assert isinstance(card["segments"], list)
    assert [segment["manager"] for segment in card["segments"]] == ["e-m1", "e-m2"]  # type: ignore[index,call-overload]


async def test_an_older_state_of_a_person_is_ignored(team: House) -> None:
    await team.told(employee("e-1", version=3, manager="e-m3"))
    await team.told(employee("e-1", version=2, manager="e-m2"))
    assert await team.rows("SELECT manager FROM assignments WHERE employee = 'e-1'") == [("e-m3",)]


async def test_facts_wait_for_a_person_a_metric_and_a_cycle_nobody_knows_yet(house: House) -> None:
    await house.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    await house.settled()
    await house.told(metric("aht", lower=True), metric("csat"))
    await house.published(version(), role="agent")
    await house.opened()
    await house.settled()
    assert await house.versions("e-1") == []
    await house.told(employee("e-1"))
    assert await _score(house) == (D(100), "meets")


async def test_a_later_definition_of_a_metric_moves_no_published_version(team: House) -> None:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    assert await _score(team) == (D(100), "meets")
    await team.told(metric("aht", version=2, lower=False, minimum="1000"))
    await team.told(kpi("3", "360"))
    assert await _score(team) == (D(100), "meets")


async def test_feedback_is_a_part_and_the_latest_word_of_each_rater_counts(house: House) -> None:
    view: Json = {
        "part": "view",
        "kind": "feedback",
        "category": "manager",
        "weight": "20",
        "curve": {"points": [["1", "0"], ["5", "100"]]},
    }
    parts = [AHT | {"weight": "40"}, CSAT | {"weight": "40"}, view]
    await house.told(metric("aht", lower=True), metric("csat"), employee("e-1"))
    await house.published(version(*parts))
    await house.opened()
    await house.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    await house.told(feedback("e-m1", "5", revision=2), feedback("e-m1", "1"), feedback("e-m2", "2"))
    assert (await _score(house))[0] == D(80) + D(20) * D("0.625")
    await house.told(feedback("e-m2", "5", revision=7), feedback("e-m1", "3", cycle="q0"))
    assert (await _score(house))[0] == D(100)


def _history() -> list[Event]:
    rng = random.Random(7)
    events: list[Event] = []
    for number in range(120):
        name, key = rng.choice(["e-1", "e-2"]), rng.choice(["aht", "csat"])
        value = str(rng.randint(300, 420)) if key == "aht" else str(rng.randint(0, 1))
        first = kpi(str(number), value, who=name, metric=key, day=START + timedelta(days=rng.randrange(90)))
        events.append(first)
        for revision in range(1, rng.choice([1, 1, 2, 4])):
            changed: Event = correction(first, revision, value) if rng.random() < 0.6 else void(first, revision)
            events.append(changed)
    events += [feedback(f"e-{n}", str(n % 5 + 1), category="peer", revision=r) for n in range(4) for r in (1, 2)]
    events += [employee("e-1", version=n, manager=f"e-m{n}") for n in (2, 3)]
    return events


async def _replay(house: House, events: Sequence[Event], sizes: random.Random) -> list[list[tuple[object, ...]]]:
    left = list(events)
    while left:
        size = sizes.randint(1, 40)
        await house.told(*left[:size])
        left = left[size:]
        if sizes.random() < 0.3:
            await house.settled(1)
    await house.settled()
    return [await house.rows(query) for query in TABLES]


async def test_replaying_everything_in_any_order_and_twice_leaves_the_same_tables(team: House, houses: Houses) -> None:
    history = _history()
    straight = await _replay(team, history, random.Random(1))
    assert all(straight)
    for seed in (2, 3):
        shuffled = [*history, *history]
        random.Random(seed).shuffle(shuffled)
        other = await settle_in(await houses())
        assert await _replay(other, shuffled, random.Random(seed)) == straight
    assert await _replay(team, shuffled, random.Random(4)) == straight, "once more, on top of it"


async def test_twenty_scorings_of_one_person_at_once_make_one_version(team: House) -> None:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    before = len(await team.versions("e-1"))
    await asyncio.gather(*(team.rescored("e-1", "e-2") for _ in range(20)))
    assert len(await team.versions("e-1")) == before + 1


async def test_events_and_scorings_at_once_end_in_the_score_of_all_events(team: House) -> None:
    await team.told(kpi("c", "9", "10", metric="csat"))
    events = [kpi(str(number), str(300 + number)) for number in range(40)]
    tasks = [team.told(event) for event in events] + [team.rescored("e-1") for _ in range(20)]
    random.Random(5).shuffle(tasks)
    await asyncio.gather(*tasks)
    await team.settled()
    aht = D(sum(300 + number for number in range(40))) / 40
    card = await team.admin.card("e-1")
    assert D(str(card["score"])) == ((D(100) + (360 - aht) / 60 * 50 + 100) / 2).quantize(D("1E-12"))


async def test_nobody_is_told_of_a_scoring_whose_transaction_failed(team: House) -> None:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    team.clock.now += timedelta(seconds=20)
    before = len(await team.versions("e-1"))

    with pytest.raises(ZeroDivisionError):
        async with team.database.begin(ACME, snapshot=True) as tx:
            await TIMERS[0].handler(tx, DueTimers(ACME, ["e-1"], team.clock()))
            _ = 1 / 0
    assert len(await team.versions("e-1")) == before
    assert await run_due(team.database, TIMERS[0], team.clock()) == 1
    assert len(await team.versions("e-1")) == before + 1


async def test_no_notice_while_the_cycle_is_open(team: House) -> None:
    await team.told(kpi("1", "360"), kpi("2", "9", "10", metric="csat"))
    await team.settled()
    assert await team.announced(NoticeRequested) == []


async def _watermarks(house: House) -> list[tuple[int, int]]:
    query = "SELECT version, watermark FROM scorecard_versions WHERE employee = 'e-1' ORDER BY version"
    return [(int(str(version)), int(str(watermark))) for version, watermark in await house.rows(query)]


async def test_events_are_stored_while_their_people_are_being_scored(team: House) -> None:
    await team.told(kpi("1", "360"))
    async with team.database.begin(ACME, snapshot=True) as scoring:
        await TIMERS[0].handler(scoring, DueTimers(ACME, ["e-1"], team.clock()))
        await asyncio.wait_for(team.told(kpi("2", "9", "10", metric="csat")), 5)
    before = await _watermarks(team)
    await team.settled()
    number, watermark = before[-1]
    assert await _watermarks(team) == [*before, (number + 1, watermark + 1)]


async def test_people_are_scored_up_to_what_is_stored_while_more_is_being_stored(team: House) -> None:
    await team.told(kpi("1", "360"))
    async with team.database.begin(ACME) as storing:
        await add_facts(storing, ACME, [kpi("2", "9", "10", metric="csat")], pace(team.clock(), 0))
        await asyncio.wait_for(team.rescored("e-1"), 5)
    before = await _watermarks(team)
    await team.settled()
    number, watermark = before[-1]
    assert await _watermarks(team) == [*before, (number + 1, watermark + 1)]
