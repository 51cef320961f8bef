"""The demo's generator: one seed, one world, and for every event what must become of it."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest

from deploy.local.demo import activity, awarding, money, opinions, policy, scheme
from deploy.local.demo.activity import ACCEPTED, DUPLICATE
from deploy.local.demo.expectation import Expected, expect
from deploy.local.demo.policy import Act
from deploy.local.demo.posting import PER_REQUEST, batches
from deploy.local.demo.world import CLIENTS, FIRST_DAY, PROGRAMS, SITES, Lead, Size, World, build

SMALL = Size(agents=60, weeks=3)


@cache
def world() -> World:
    return build(SMALL)


@cache
def expected() -> Expected:
    return expect(world())


def test_the_usual_world_is_the_one_that_is_promised() -> None:
    usual = build(Size())
    assert len(usual.agents) == 600
    assert len({agent.final.unit for agent in usual.agents}) == len(usual.leads) == 40
    assert len({agent.final.role for agent in usual.agents}) == 3
    assert len(CLIENTS) == 3 and len(PROGRAMS) == 6 and len(SITES) == 4
    assert len({site.country for site in SITES}) == len({site.currency for site in SITES}) == 2
    assert {agent.final.program for agent in usual.agents} == set(PROGRAMS)
    assert (usual.last_day - FIRST_DAY).days == 90
    moved = [agent for agent in usual.agents if len(agent.stints) == 2]
    assert len(moved) == 24
    assert all(before.program.client != after.program.client for before, after in (agent.stints for agent in moved))


def test_a_quarter_of_the_usual_world_has_about_a_quarter_of_a_million_events() -> None:
    usual = build(Size())
    some = usual.agents[::13]
    sent = sum(len(activity.day_of(usual, agent, day).postings) for agent in some for day in usual.days())
    assert 230_000 < sent / len(some) * len(usual.agents) < 270_000


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    again = [posting.body for posting in activity.quarter(build(SMALL))]
    assert again == [posting.body for posting in activity.quarter(world())]
    other = build(Size(agents=60, weeks=3, seed=1))
    assert again != [posting.body for posting in activity.quarter(other)]
    assert world().provider != other.provider
    assert Size().provider == "meridian"


def test_an_event_of_every_fate_is_sent() -> None:
    assert {ACCEPTED, DUPLICATE, "conflict", "not-assigned", "naive-time", "missing"} <= {*expected().fates}
    assert sum(expected().refused.values()) + expected().duplicates + expected().fates[ACCEPTED] == sum(
        1 for _ in activity.quarter(world())
    )


def test_accepted_events_have_ids_of_their_own_and_repeats_follow_at_once() -> None:
    seen: dict[tuple[str, str], int] = {}
    for place, posting in enumerate(activity.quarter(world())):
        key = (posting.client, posting.id)
        if posting.fate in (DUPLICATE, "conflict"):
            assert seen[key] == place - 1
        else:
            assert key not in seen
        seen[key] = place


def test_one_source_is_missing_and_leads_are_not_measured() -> None:
    metrics: Counter[tuple[str, str]] = Counter()
    for agent in world().agents:
        for day in world().days():
            stint = agent.at(day)
            for posting in activity.day_of(world(), agent, day).postings:
                if stint and posting.reading:
                    metrics[stint.program.line_of_business, posting.reading.metric] += 1
    assert not metrics["cards", "qa"] and metrics["cards", "csat"]
    assert metrics["loans", "sales"] and not metrics["orders", "sales"]
    assert not any(activity.day_of(world(), lead, day).postings for lead in world().leads for day in world().days())


def test_requests_are_of_one_client_full_and_never_part_an_event_from_its_repeat() -> None:
    made = list(batches("quarter", activity.quarter(world())))
    assert sum(len(batch.postings) for batch in made) == expected().fates.total()
    assert len({batch.name for batch in made}) == len(made)
    where: dict[str, str] = {}
    for batch in made:
        assert len({posting.client for posting in batch.postings}) == 1
        assert len(batch.postings) <= PER_REQUEST
        for posting in batch.postings:
            assert where.setdefault(f"{batch.source}/{posting.id}", batch.name) == batch.name
    full = [batch for batch in made if len(batch.postings) >= PER_REQUEST - 1]
    assert len(full) >= len(made) - len(CLIENTS)
    assert len(json.dumps([posting.body for posting in made[0].postings])) < 4 << 20


def test_leads_rate_their_own_people_and_colleagues_rate_each_other() -> None:
    teams = {agent.id: agent.final for agent in world().agents}
    leads = {worker.id for worker in world().workers if isinstance(worker, Lead)}
    peers: Counter[str] = Counter()
    for rater, said in opinions.ratings(world()).items():
        for rating in said:
            assert 1 <= rating.rating <= 5 and rating.employee != rater
            if rating.category == "manager":
                assert teams[rating.employee].manager == rater and rater in leads
            else:
                assert teams[rating.employee].unit == teams[rater].unit
                peers[rating.employee] += 1
    assert 0.3 < len(peers) / len(world().agents) < 0.7
    assert min(peers.values()) >= opinions.RATERS


def test_the_same_case_gets_the_same_verdict_and_wide_gaps_are_asked_about() -> None:
    assert policy.verdict(1, "e-1", "meets", "meets") == policy.verdict(2, "e-1", "meets", None)
    assert policy.verdict(1, "e-1", None, "meets").result(None) is None
    wide = policy.verdict(1, "e-1", "developing", "exceeds")
    assert wide.act is Act.ASK and wide.result("developing") in ("developing", "exceeds")
    near = [policy.verdict(1, f"e-{n}", "meets", "exceeds") for n in range(200)]
    assert {found.act for found in near} == {Act.CONFIRM, Act.CHANGE}
    assert near == [policy.verdict(1, f"e-{n}", "meets", "exceeds") for n in range(200)]


def test_what_is_expected_adds_up() -> None:
    people = len(world().workers)
    assert len(expected().scored) == len(expected().calibrated) == len(expected().published) == people
    assert sum(expected().bands(expected().scored).values()) == people
    decided = expected().acts[Act.CONFIRM] + expected().acts[Act.CHANGE] + expected().acts["approved"]
    assert decided == people
    assert all(expected().scored[lead.id] is None for lead in world().leads)
    assert len({(cause, recipient) for _, cause, recipient in expected().notices()}) == len([*expected().notices()])


def test_late_corrections_move_pay_one_way_each() -> None:
    assert [late.good for late in expected().late] == [False, True, True]
    for late in expected().late:
        before = float(expected().scores[late.worker.id])
        assert (float(late.score) > before) is late.good
        assert late.worker.id in expected().pay


def test_pay_has_its_odd_cases() -> None:
    pay = money.pay_of(build(Size()))
    everybody = build(Size()).workers
    assert 0 < len(everybody) - len(pay) < 20
    assert any(found.fte == "0.8" for found in pay.values())
    assert any(pay[one.id].currency != money.home_currency(one) for one in everybody if one.id in pay)
    highest = {(found["grade"], found["currency"]): found["maximum"] for found in money.ranges().values()}
    above = [found for found in pay.values() if found.base > min(int(str(top)) for top in highest.values())]
    assert above


def test_weights_come_to_a_hundred_and_guidelines_fall_along_the_range_and_rise_along_bands() -> None:
    for _, version in scheme.templates():
        parts = version["parts"]
        assert isinstance(parts, list)
        assert sum(int(part["weight"]) for part in parts) == 100
    rows = money.plan("PHP")["merit"]
    assert isinstance(rows, list)
    defaults = [[float(cell["default"]) for cell in row["cells"].values()] for row in rows if row["band"] != "unrated"]
    assert all(row == sorted(row, reverse=True) for row in defaults)
    assert all(list(column) == sorted(column) for column in zip(*defaults, strict=True))


def test_a_world_too_small_to_say_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 24 agents"):
        Size(agents=3)


def test_expected_pay_closes_its_pools_and_moves_the_way_of_each_late_correction() -> None:
    found = awarding.runs(expected())
    for place, run in enumerate(found.values()):
        assert run.pools[awarding.MERIT][1].binds is (place == 0)
        for name, (amount, _) in run.pools.items():
            assert 0 < run.awarded(name) <= amount
    assert found["PHP"].awarded(awarding.MERIT) == found["PHP"].pools[awarding.MERIT][0]
    for late in expected().late:
        moved = [
            amount
            for (employee, _), amount in found[money.home_currency(late.worker)].differences.items()
            if employee == late.worker.id
        ]
        assert moved and all((amount > 0) is late.good for amount in moved)
    proposed = [line for line in awarding.lines(found) if line.endswith("proposed")]
    assert proposed and all(late.worker.id in proposed[0] for late in expected().late if not late.good)
