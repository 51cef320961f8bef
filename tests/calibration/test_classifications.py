"""Who reads published classifications, and what they then see."""

from __future__ import annotations

import pytest

from shared.contracts.scoring import ScorecardStatus
from tests.calibration.conftest import House, Person
from tests.calibration.events import CYCLE, employee, scorecard

LIST = f"/classifications?cycle={CYCLE}"


@pytest.fixture
async def published(team: House) -> House:
    for subject in ("e-1", "e-2", "e-3", "e-4", "e-m1"):
        await team.facilitator.confirm(subject)
    assert (await team.published()).status_code == 200
    return team


async def names(who: Person, query: str = "") -> list[str]:
    answer = await who.get(f"{LIST}{query}")
    assert answer.status_code == 200, answer.text
    return [item["employee"] for item in answer.json()["items"]]


async def test_people_see_their_own_managers_their_line_and_the_offices_all(published: House) -> None:
    everybody = ["e-1", "e-2", "e-3", "e-4", "e-m1"]
    for role in ("hr_admin", "auditor", "compensation_admin"):
        assert await names(published.person(role)) == everybody
    assert await names(published.person("employee", employee="e-1")) == ["e-1"]
    assert await names(published.manager("e-m1")) == ["e-1", "e-2", "e-m1"]
    assert await names(published.manager("e-dir")) == everybody
    assert await names(published.person("employee")) == []
    assert await names(published.person("hr_admin", provider="globex")) == []


async def test_one_persons_versions_are_shown_to_themself_their_line_and_the_offices(published: House) -> None:
    async def status(who: Person, employee: str) -> int:
        return (await who.get(f"/classifications/{employee}")).status_code

    assert await status(published.person("employee", employee="e-1"), "e-1") == 200
    assert await status(published.person("employee", employee="e-1"), "e-2") == 403
    assert await status(published.manager("e-m1"), "e-2") == 200
    assert await status(published.manager("e-m1"), "e-3") == 403
    assert await status(published.manager("e-dir"), "e-1") == 200
    assert await status(published.person("auditor"), "e-1") == 200
    assert await status(published.person("auditor"), "e-unknown") == 404
    assert await status(published.person("client", employee="e-1"), "e-1") == 403
    assert await status(published.person("facilitator", employee="e-fac"), "e-1") == 403


async def test_nothing_shows_before_publication(team: House) -> None:
    await team.facilitator.confirm("e-1")
    assert await names(team.admin) == []
    assert (await team.person("employee", employee="e-1").get("/classifications/e-1")).status_code == 404


async def test_a_line_is_that_of_the_cycles_last_day_whoever_manages_now(published: House) -> None:
    await published.told(employee("e-2", manager="e-m2", version=2))
    assert await names(published.manager("e-m1")) == ["e-1", "e-m1"]
    assert "e-2" in await names(published.manager("e-m2"))


async def test_versions_carry_parts_and_unrated_is_not_left_out(published: House) -> None:
    (item,) = (await published.admin.get("/classifications/e-4")).json()["items"]
    assert (item["band"], item["score"], item["state"], item["supersedes"]) == (None, None, "current", None)
    assert item["parts"] == [{"part": "quality", "weight": "1", "attainment": None}]


async def test_classifications_are_filtered_paged_and_exported(published: House) -> None:
    assert await names(published.admin, "&band=B3") == ["e-1", "e-3"]
    assert await names(published.admin, "&unit=u-2") == ["e-3", "e-4"]
    assert await names(published.admin, "&session=s-2") == []
    page = (await published.admin.get(f"{LIST}&limit=3")).json()
    assert await names(published.admin, f"&limit=3&cursor={page['next']}") == ["e-4", "e-m1"]
    csv = (await published.admin.get(LIST, accept="text/csv")).text.splitlines()
    assert len(csv) == 6
    assert csv[1].startswith("e-1,fy26,1,current,s-1,B3,B3")
    await published.told(scorecard("e-1", "B4", 2, ScorecardStatus.ACCEPTED))
    await published.facilitator.revise("e-1", "B4", seen=3)
    assert await names(published.admin, "&band=B3") == ["e-3"]
    first = (await published.admin.get("/classifications/e-1?limit=1")).json()
    rest = (await published.admin.get(f"/classifications/e-1?limit=1&cursor={first['next']}")).json()
    assert [page["items"][0]["version"] for page in (first, rest)] == [1, 2]


async def test_a_list_names_its_cycle(published: House) -> None:
    answer = await published.admin.get("/classifications")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "cycle")
