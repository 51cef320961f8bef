"""From classifications to approved awards."""

from __future__ import annotations

from shared.contracts.outcomes import AwardDecided, NoticeRequested
from tests.compensation import events
from tests.compensation.conftest import House


async def test_a_run_pays_by_band_and_closes_both_pools(trio: House) -> None:
    run = await trio.computed()

    assert run["state"] == "computed", run
    merit, bonus = run["pools"]
    assert (merit["pool"], merit["awarded"], merit["undistributed"]) == ("merit", 432_000, 9_568_000)
    # Unit mean 110: 150 %. Ada 0.4 × 150 + 0.6 × 200 = 180 %, Ben 0.4 × 150 + 0.6 × 100 = 120 %.
    assert (bonus["awarded"], bonus["closes"]) == (864_000 + 576_000, True)
    awards = await trio.awards()
    assert {name: (a["merit"], a["lump_sum"], a["bonus"]) for name, a in awards.items()} == {
        "ada": (240_000, None, 864_000),
        "ben": (144_000, None, 576_000),
        "cyd": (48_000, None, 0),
    }


async def test_an_approved_run_posts_once_and_announces_ids_only(trio: House) -> None:
    await trio.computed()

    answer = await trio.approved()

    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "approved"
    assert [row[:6] for row in await trio.ledger()] == [
        ("ada", "bonus", 1, 0, 864_000, 864_000),
        ("ada", "merit", 1, 0, 240_000, 240_000),
        ("ben", "bonus", 1, 0, 576_000, 576_000),
        ("ben", "merit", 1, 0, 144_000, 144_000),
        ("cyd", "merit", 1, 0, 48_000, 48_000),
    ]
    notice, *decided = await trio.announced()
    assert isinstance(notice, NoticeRequested) and notice.role == "compensation_admin"
    assert [event.employee for event in decided if isinstance(event, AwardDecided)] == ["ada", "ben", "cyd"]
    assert (await trio.verified())["holds"] is True
