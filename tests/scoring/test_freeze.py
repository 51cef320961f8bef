"""The freeze: every event accepted before it is in a final scorecard, and the announced number is exact."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy.exc import DBAPIError

from services.scoring.commands import freezing
from services.scoring.handlers import TIMERS
from shared.contracts.outcomes import NoticeRequested
from shared.contracts.scoring import CycleChanged, CycleState, ScorecardStatus
from shared.errors import is_transient
from shared.messaging.subscriptions import DueTimers
from tests.scoring.conftest import SCORECARDS, House
from tests.scoring.events import ACME, CYCLE, Json, employee, kpi, part, seals, version

D = Decimal
SCORED = [kpi("1", "360"), kpi("2", "9", "10", metric="csat")]


async def _state(house: House) -> Json:
    answer = await house.admin.get(f"/cycles/{CYCLE}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def _frozen(house: House) -> None:
    await house.told(*SCORED)
    await house.freeze()
    await house.told(*seals())
    await house.settled()


async def test_a_freeze_waits_for_the_marker_of_every_partition_of_both_streams(team: House) -> None:
    await team.freeze()
    kpi_seals, feedback_seals = seals(streams=("kpi-events",)), seals(streams=("feedback",))
    for marker in (*kpi_seals, feedback_seals[0]):
        await team.told(marker)
        await team.settled()
        assert (await _state(team))["state"] == "freezing"
    await team.told(feedback_seals[0])
    await team.settled()
    assert (await _state(team))["sealed"] == {"kpi-events": 2, "feedback": 1}
    await team.told(feedback_seals[1])
    await team.settled()
    found = await _state(team)
    assert (found["state"], found["scorecards"], found["version"]) == ("frozen", 3, 3)


async def test_each_state_of_a_cycle_is_announced_with_the_exact_number_of_scorecards(team: House) -> None:
    await _frozen(team)
    answer = await team.admin.post(f"/cycles/{CYCLE}/close", key="close")
    assert answer.status_code == 200
    said = [(each.version, each.state, each.scorecards) for each in await team.announced(CycleChanged)]
    assert said == [
        (1, CycleState.OPEN, None),
        (2, CycleState.FREEZING, None),
        (3, CycleState.FROZEN, 3),
        (4, CycleState.CLOSED, 3),
    ]
    assert (await team.rows("SELECT count(*) FROM scorecards")) == [(3,)]


async def test_what_stood_before_the_markers_is_in_the_final_scorecards(team: House) -> None:
    """The timers of these events never ran: only the freeze itself can have scored them."""
    await team.freeze()
    await team.told(*SCORED, *seals())
    async with team.database.begin(SCORED[0].provider) as tx:
        await freezing.advance_freeze(tx, SCORED[0].provider, CYCLE, team.clock())
    assert (await _state(team))["state"] == "frozen"
    (final,) = [card for card in await team.versions("e-1") if card.score is not None]
    assert (final.score, final.status) == (D(100), ScorecardStatus.CURRENT)
    await team.settled()
    assert (await team.versions("e-1"))[-1] == final


async def test_a_template_published_just_before_is_in_the_final_scorecards(team: House) -> None:
    await team.told(*SCORED)
    steep = [
        part("aht", "50", [["420", "0"], ["360", "80"]]),
        part("csat", "50", [["0.8", "0"], ["0.9", "80"]]),
    ]
    await team.published(version(*steep))
    await team.freeze()
    await team.told(*seals())
    async with team.database.begin(SCORED[0].provider) as tx:
        await freezing.advance_freeze(tx, SCORED[0].provider, CYCLE, team.clock())
    assert (await _state(team))["state"] == "freezing", "a round over all people is still to be made"
    await team.settled()
    assert (await _state(team))["state"] == "frozen"
    assert (await team.versions("e-1"))[-1].score == D(80)


async def test_a_freeze_takes_as_many_steps_as_there_are_people(team: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezing, "_FREEZE_STEP", 3)
    await team.freeze()
    await team.told(*(employee(f"n-{number}") for number in range(10)))
    await team.told(*seals())
    for _ in range(10):
        async with team.database.begin(SCORED[0].provider) as tx:
            await freezing.advance_freeze(tx, SCORED[0].provider, CYCLE, team.clock())
    assert (await _state(team))["scorecards"] == 13


async def test_a_new_cycle_sweeps_over_everybody_in_steps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezing, "_SWEEP_STEP", 2)
    await house.told(*(employee(f"n-{number}") for number in range(5)))
    await house.opened()
    await house.settled()
    assert await house.rows("SELECT count(*) FROM scorecards") == [(5,)]


async def test_a_late_event_makes_a_late_version_and_a_notice_and_nothing_else(team: House) -> None:
    await _frozen(team)
    before = await team.rows("SELECT employee, version FROM scorecards WHERE employee <> 'e-1' ORDER BY 1")
    await team.told(kpi("3", "300"))
    await team.settled()
    card = (await team.versions("e-1"))[-1]
    assert (card.status, card.score) == (ScorecardStatus.LATE, D("112.5"))
    assert await team.rows("SELECT employee, version FROM scorecards WHERE employee <> 'e-1' ORDER BY 1") == before
    (notice,) = await team.announced(NoticeRequested)
    assert (notice.cause, notice.role) == (f"scorecard-late/{CYCLE}/e-1/{card.version}", "hr_admin")
    assert notice.subject == "e-1"


async def test_a_late_version_takes_effect_when_hr_accepts_it(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    late = (await team.versions("e-1"))[-1]
    path = f"{SCORECARDS}/e-1/acceptances"
    body: Json = {"version": late.version, "reason": "the source was down"}
    stale = await team.admin.post(path, body | {"version": late.version - 1}, key="a0")
    assert stale.status_code == 412
    answer = await team.admin.post(path, body, key="a1")
    assert answer.status_code == 201, answer.text
    again = await team.admin.post(path, body, key="a1")
    assert (again.status_code, again.text) == (201, answer.text)
    accepted = (await team.versions("e-1"))[-1]
    assert accepted == late.model_copy(
        update={"version": late.version + 1, "status": ScorecardStatus.ACCEPTED, "as_of": team.clock()}
    )
    assert answer.json()["acceptance"] == {
        "of_version": late.version,
        "by": answer.json()["acceptance"]["by"],
        "reason": "the source was down",
    }
    twice = await team.admin.post(path, body | {"version": accepted.version}, key="a2")
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:plumbline:problem:not-late")
    await team.settled()
    assert (await team.versions("e-1"))[-1] == accepted


async def test_nobody_accepts_their_own_late_version(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    me = team.person("hr_admin", employee="e-1")
    answer = await me.post(f"{SCORECARDS}/e-1/acceptances", {"version": 3, "reason": "mine"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:plumbline:problem:own-case")


async def test_one_of_two_acceptances_at_once_wins(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    number = (await team.versions("e-1"))[-1].version
    body: Json = {"version": number, "reason": "the source was down"}
    answers = await asyncio.gather(
        *(team.admin.post(f"{SCORECARDS}/e-1/acceptances", body, key=f"r{n}") for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * 7
    assert (await team.versions("e-1"))[-1].version == number + 1


async def test_an_acceptance_waits_for_the_scoring_at_work_and_then_meets_its_version(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    number = (await team.versions("e-1"))[-1].version
    await team.told(kpi("4", "200"))
    async with team.database.begin(ACME, snapshot=True) as scoring:
        await TIMERS[0].handler(scoring, DueTimers(ACME, ["e-1"], team.clock()))
        accepting = asyncio.create_task(
            team.admin.post(f"{SCORECARDS}/e-1/acceptances", {"version": number, "reason": "late"})
        )
        await asyncio.sleep(0.2)
        assert not accepting.done()
    answer = await accepting
    assert (answer.status_code, answer.json()["detail"]) == (
        412,
        f"version {number + 1} is the newest; read it before you decide",
    )


async def test_a_scoring_begun_before_an_acceptance_is_repeated_after_it(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    number = (await team.versions("e-1"))[-1].version
    await team.told(kpi("4", "200"))
    with pytest.raises(DBAPIError) as refused:
        async with team.database.begin(ACME, snapshot=True) as scoring:
            answer = await team.admin.post(f"{SCORECARDS}/e-1/acceptances", {"version": number, "reason": "late"})
            assert answer.status_code == 201
            await TIMERS[0].handler(scoring, DueTimers(ACME, ["e-1"], team.clock()))
    assert is_transient(refused.value)
    await team.settled()
    said = [(card.version, card.status) for card in (await team.versions("e-1"))[-2:]]
    assert said == [(number + 1, ScorecardStatus.ACCEPTED), (number + 2, ScorecardStatus.LATE)]


async def test_a_closed_cycle_gets_no_version_any_more(team: House) -> None:
    await _frozen(team)
    await team.told(kpi("3", "300"))
    await team.settled()
    number = (await team.versions("e-1"))[-1].version
    await team.admin.post(f"/cycles/{CYCLE}/close", key="close")
    await team.told(kpi("4", "300"))
    await team.settled()
    answer = await team.admin.post(f"{SCORECARDS}/e-1/acceptances", {"version": number, "reason": "late"})
    assert answer.status_code == 409
    assert (await team.versions("e-1"))[-1].version == number


async def test_no_template_can_move_a_cycle_that_is_no_longer_open(team: House) -> None:
    await _frozen(team)
    for day, status in (("2026-03-31", 409), ("2026-04-01", 200)):
        drafted = await team.admin.post("/templates/agent/versions", version(effective_from=day))
        number = drafted.json()["version"]
        answer = await team.admin.post(f"/templates/agent/versions/{number}/publish", key=day)
        assert answer.status_code == status, answer.text


async def test_scoring_and_freezing_at_once_leave_every_version_on_its_side_of_the_count(team: House) -> None:
    """Whatever interleaves: versions up to the count are current, all later ones late."""
    await team.told(*SCORED)
    await team.freeze()
    await team.told(*seals())
    newcomers = [employee(f"n-{number}") for number in range(30)]

    async def freeze() -> None:
        async with team.database.begin(SCORED[0].provider) as tx:
            await freezing.advance_freeze(tx, SCORED[0].provider, CYCLE, team.clock())

    async def arrive(number: int) -> None:
        await team.told(newcomers[number])
        await team.rescored(newcomers[number].employee)

    await asyncio.gather(*(arrive(number) for number in range(15)), freeze(), *(arrive(n) for n in range(15, 30)))
    await team.settled()
    count = (await _state(team))["scorecards"]
    current = await team.rows("SELECT count(DISTINCT employee) FROM scorecard_versions WHERE status = 'current'")
    assert current == [(count,)]
    waiting = await team.waiting()
    frozen = max(found.row for found in waiting if isinstance(found.event, CycleChanged))
    late = [found.row for found in waiting if '"status":"late"' in found.message.body]
    assert not late or min(late) > frozen
