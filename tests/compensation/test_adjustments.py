"""Revised classifications after an approval: one difference, never a deduction by itself, the same in any order."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from shared.contracts.event import Event
from shared.contracts.outcomes import AwardAdjusted
from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import Json


@pytest.fixture
async def paid(trio: House) -> House:
    """The trio's run, approved: ada 240,000 + 864,000, ben 144,000 + 576,000, cyd 48,000."""
    await trio.computed()
    assert (await trio.approved()).status_code == 200
    return trio


async def _adjusted(house: House) -> list[AwardAdjusted]:
    return [event for event in await house.announced() if isinstance(event, AwardAdjusted)]


async def test_a_better_classification_posts_exactly_one_difference(paid: House) -> None:
    await paid.told(events.revised("ben", 2, "exceeds", "100"))

    assert [row for row in await paid.ledger() if row[0] == "ben" and row[1] == "merit"] == [
        ("ben", "merit", 1, 0, 144_000, 144_000, "run/r-1"),
        ("ben", "merit", 2, 144_000, 96_000, 240_000, "classification/2"),
    ]
    (event,) = await _adjusted(paid)
    assert (event.employee, event.version, event.classification_version, event.recovery) == ("ben", 2, 2, False)
    assert await paid.verified()


async def test_the_same_revision_again_changes_nothing(paid: House) -> None:
    revision = events.revised("ben", 2, "exceeds", "120")
    await paid.told(revision)
    before = await paid.ledger()

    await paid.told(revision)
    await paid.told(revision, revision)
    await paid.told(events.published("ben"))

    assert await paid.ledger() == before
    assert len(await _adjusted(paid)) == 1


async def test_a_worse_classification_proposes_a_recovery_and_deducts_nothing(paid: House) -> None:
    before = await paid.ledger()

    await paid.told(events.revised("ben", 2, "below", "100"))

    assert await paid.ledger() == before
    (event,) = await _adjusted(paid)
    assert event.recovery
    statement = await paid.statement("ben")
    merit = next(each for each in statement.components if each.component == "merit")
    assert (merit.amount, merit.posted, merit.proposed_recovery) == (0, 144_000, -144_000)
    assert await paid.verified()


async def test_an_accepted_recovery_is_posted_with_its_reason_once(paid: House) -> None:
    await paid.told(events.revised("ben", 2, "below", "100"))
    (recovery,) = (await paid.admin.get("/recoveries?state=proposed")).json()["items"]
    path = f"/recoveries/{recovery['id']}/accept"
    body: Json = {"reason": "agreed with Ben in writing"}
    ben = paid.person("compensation_admin", employee="ben")

    own = await ben.post(path, body, key="own")
    answers = await asyncio.gather(*(paid.admin.post(path, body, key=f"k-{n}") for n in range(5)))

    assert own.status_code == 403
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    entries = [row for row in await paid.ledger() if row[:2] == ("ben", "merit")]
    assert [row[3:6] for row in entries] == [(0, 144_000, 144_000), (144_000, -144_000, 0)]
    assert (await paid.statement("ben")).ledger[-1].comment == "agreed with Ben in writing"
    assert await paid.verified()


async def test_a_later_revision_withdraws_a_proposal_that_nobody_accepted(paid: House) -> None:
    await paid.told(events.revised("ben", 2, "below", "100"))
    (stale,) = (await paid.admin.get("/recoveries")).json()["items"]

    await paid.told(events.revised("ben", 3, "meets", "100"))

    answer = await paid.admin.post(f"/recoveries/{stale['id']}/accept", {"reason": "too late"}, key="k")
    assert answer.status_code == 409
    assert [row[4] for row in await paid.ledger() if row[:2] == ("ben", "merit")] == [144_000]
    assert await paid.verified()


async def test_revisions_that_cancel_each_other_leave_the_award_as_it_was(paid: House) -> None:
    await paid.told(events.revised("ada", 2, "meets", "100"), events.revised("ada", 3, "exceeds", "120"))

    statement = await paid.statement("ada")

    assert (statement.total, statement.posted) == (1_104_000, 1_104_000)
    assert [row[4] for row in await paid.ledger() if row[0] == "ada"] == [864_000, 240_000]
    assert await paid.verified()


async def test_an_award_from_a_pool_that_bound_comes_back_to_the_cent(trio: House) -> None:
    await trio.told(events.revised("ada", 2, "meets", "100"))
    await trio.admin.put("/budgets/b-1", events.budget(300_001, 100_003), seen=1)
    await trio.computed()
    await trio.approved()
    before = await trio.ledger()
    # Equal claims on an odd pool: one of the two got the cent that rounding alone would give both or neither.
    assert [row[4] for row in before if row[1] == "bonus"] == [50_002, 50_001]

    for name, version in (("ada", 3), ("ben", 2)):
        await trio.told(events.revised(name, version, "meets", "93.7"))
        await trio.told(events.revised(name, version + 1, "meets", "100"))

    assert await trio.ledger() == before
    assert await trio.verified()


async def test_a_difference_is_scaled_as_the_run_was(trio: House) -> None:
    await trio.admin.put("/budgets/b-1", events.budget(100_000_000, 720_000), seen=1)
    run = await trio.computed()
    await trio.approved()
    assert run.pools[1].scale == "1/2"

    await trio.told(events.revised("ben", 2, "meets", "110"))

    # 0.4 × 150 + 0.6 × 150 = 150 % of 480,000, of which the pool pays half.
    assert [row[3:6] for row in await trio.ledger() if row[:2] == ("ben", "bonus")] == [
        (0, 288_000, 288_000),
        (288_000, 72_000, 360_000),
    ]


async def test_any_order_and_repetition_of_revisions_ends_in_the_same_ledger_sums(paid: House) -> None:
    versions: list[Event] = [
        events.revised("ben", 2, "exceeds", "111.5"),
        events.revised("ben", 3, "below", "70"),
        events.revised("ben", 4, "exceeds", "104.25"),
    ]
    await paid.told(*versions)
    total = (await paid.statement("ben")).total

    for order in permutations(versions):
        await paid.told(*order, *order)

    statement = await paid.statement("ben")
    assert (statement.total, statement.classification_version) == (total, 4)
    assert statement.posted + sum(each.proposed_recovery for each in statement.components) == total
    assert await paid.verified()


async def test_batches_cut_differently_leave_the_same_entries(paid: House) -> None:
    for_ada = [events.revised("ada", v, b, s) for v, b, s in ((2, "meets", "90"), (3, "exceeds", "125"))]
    for_ben = [events.revised("ben", v, b, s) for v, b, s in ((2, "exceeds", "115"), (3, "exceeds", "119"))]
    await paid.told(for_ada[0], for_ben[0], for_ben[1], for_ada[1])
    together = await paid.ledger()

    entries = [(row[2], row[4], row[6]) for row in together if row[:2] == ("ben", "bonus")]
    assert entries == [(1, 576_000, "run/r-1"), (2, 216_000, "classification/2"), (3, 57_600, "classification/3")]


async def test_an_unrated_person_who_is_rated_afterwards_gets_the_difference(paid: House) -> None:
    await paid.told(events.revised("cyd", 2, "meets", "100"))

    statement = await paid.statement("cyd")

    assert {each.component: each.posted for each in statement.components} == {"merit": 144_000, "bonus": 576_000}


async def test_a_revision_while_the_run_is_being_approved_is_never_lost(trio: House) -> None:
    run = await trio.computed()

    approval, _ = await asyncio.gather(
        trio.approver.post("/runs/r-1/approve", key="k", seen=run.version),
        trio.told(events.revised("ben", 2, "exceeds", "100")),
    )

    state = (await trio.run()).state
    if approval.status_code == 200:
        assert (await trio.statement("ben")).components[1].posted == 240_000
    else:
        assert (approval.status_code, state) in {(409, "stale"), (412, "stale")}
        assert await trio.ledger() == []


async def test_later_reference_data_reaches_no_completed_statement(paid: House) -> None:
    before = await paid.statement("ben")

    await paid.admin.put("/pay/ben", {"entries": [events.pay(9_000_000)]}, seen=1)
    await paid.admin.put("/pay-ranges/g5", events.pay_range(minimum=1, maximum=9), seen=1)
    await paid.admin.put("/plans/annual", events.plan(name="Another", lump_sum_above_maximum=False), seen=1)
    await paid.admin.post("/plans/annual/publish", key="p2", seen=2)
    await paid.admin.put("/budgets/b-1", events.budget(1, 1), seen=1)
    await paid.told(events.employee("ben", version=9, last=events.FIRST))

    assert await paid.statement("ben") == before
    await paid.told(events.revised("ben", 2, "exceeds", "100"))
    assert [row[5] for row in await paid.ledger() if row[:2] == ("ben", "merit")] == [144_000, 240_000]
