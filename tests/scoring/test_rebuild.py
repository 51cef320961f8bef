"""The rebuild command finds what is shown and is not so."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from services.scoring.app import rebuild
from tests.scoring.conftest import House
from tests.scoring.events import ACME, correction, feedback, kpi, void


async def _rebuild(house: House) -> int:
    return await rebuild(house.settings.model_copy(update={"rebuild_providers": (ACME,)}))


async def _history(house: House) -> None:
    events = [kpi(str(number), str(300 + number), who=f"e-{number % 2 + 1}") for number in range(20)]
    await house.told(*events, correction(events[3], 1, "310"), void(events[4], 1), feedback("e-m1", "3"))
    await house.told(kpi("c1", "9", "10", metric="csat"), kpi("c2", "1.50", metric="csat", who="e-2"))
    await house.settled()


async def test_what_was_never_tampered_with_comes_out_the_same(team: House, capsys: pytest.CaptureFixture[str]) -> None:
    await _history(team)
    assert await _rebuild(team) == 0
    said = capsys.readouterr().out
    assert said.count("differences 0") == 2
    assert "left out: 0" in said


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE day_sums SET numerator = numerator + 1 WHERE employee = 'e-2' AND metric = 'csat'", "day_sums"),
        ("DELETE FROM day_sums WHERE employee = 'e-2' AND metric = 'csat'", "day_sums"),
        ("UPDATE scorecards SET digest = '\\x00' WHERE employee = 'e-1'", "scorecards"),
    ],
)
async def test_a_difference_is_named_and_fails(
    team: House, capsys: pytest.CaptureFixture[str], change: str, table: str
) -> None:
    await _history(team)
    async with team.database.begin(ACME) as tx:
        await tx.execute(text(change))
    assert await _rebuild(team) == 1
    said = capsys.readouterr().out
    assert f"{ACME} {table}: " in said
    assert said.count("differences 0") == 1
    assert said.count("differences 1") == 1


async def test_who_is_yet_to_be_scored_is_no_difference(team: House, capsys: pytest.CaptureFixture[str]) -> None:
    await _history(team)
    await team.told(kpi("late", "300"))
    assert await _rebuild(team) == 0
    assert "left out: 1" in capsys.readouterr().out


async def test_without_providers_the_command_says_what_is_missing(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await rebuild(house.settings) == 2
    assert "SCORING_REBUILD_PROVIDERS" in capsys.readouterr().err


async def test_the_database_itself_refuses_to_change_what_is_final(team: House) -> None:
    await _history(team)
    for change in (
        "UPDATE facts SET numerator = 1",
        "DELETE FROM scorecard_versions",
        "UPDATE template_versions SET parts = '[]'",
    ):
        with pytest.raises(Exception, match="append-only"):
            async with team.database.begin(ACME) as tx:
                await tx.execute(text(change))
