"""From events to scorecards, as the consumer and the clock drive them."""

from __future__ import annotations

from decimal import Decimal

from tests.scoring.conftest import House
from tests.scoring.events import kpi


async def test_events_become_a_scorecard_with_a_band(team: House) -> None:
    await team.told(kpi("1", "3600", "10"), kpi("2", "9", "10", metric="csat"))
    await team.settled()
    card = (await team.versions("e-1"))[-1]
    assert (card.score, card.proposed_band) == (Decimal(100), "meets")
    assert card.coverage == 1
    assert [(part.part, part.attainment) for part in card.parts] == [("aht", Decimal(100)), ("csat", Decimal(100))]
