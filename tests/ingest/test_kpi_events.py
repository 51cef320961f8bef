from __future__ import annotations

from tests.ingest.conftest import World, seen


async def test_an_accepted_event_is_in_the_journal_and_announced(world: World) -> None:
    answer = await world.send(seen())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    (announced,) = await world.announced("plumbline.kpi.%")
    assert announced["event"] == "acd/evt-1" and announced["employee"] == "e-1"
    assert announced["occurred_on"] == "2026-11-02"
