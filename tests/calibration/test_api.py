"""Sessions from preparation to publication, through the public API."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.calibration.conftest import RATIONALE, House
from tests.calibration.events import BANDS, CYCLE, NOW, cycle, rating, scorecard


async def test_a_session_goes_from_prepared_to_published_and_the_bands_are_announced(team: House) -> None:
    await team.told(rating("e-1", "4", rater="e-m1"), rating("e-3", "3.5", rater="e-m2"))
    assert (await team.facilitator.change("e-1", "B4")).status_code == 200
    for agent in ("e-2", "e-3", "e-4", "e-m1"):
        assert (await team.facilitator.confirm(agent)).status_code == 200
    done = await team.published()

    assert done.json() == {"session": "s-1", "published": 5, "published_at": "2026-04-10T09:00:00Z"}
    by_employee = {event.employee: event for event in await team.announced()}
    assert {name: event.band for name, event in by_employee.items()} == {
        "e-1": "B4",
        "e-2": "B1",
        "e-3": "B3",
        "e-4": None,
        "e-m1": "B2",
    }
    first = by_employee["e-1"]  # type: ignore[index]
    assert (first.version, first.proposed_band, first.manager_band, first.scorecard_version) == (1, "B3", "B4", 1)
    assert (first.score, first.parts[0].part, first.placement.manager) == (50, "quality", "e-m1")
    assert by_employee["e-3"].manager_band is None  # type: ignore[index]
