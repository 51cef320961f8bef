"""Parked timers over HTTP: seen by those they belong to, resolved by an operator, and nobody does it unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.auth import TokenVerifier
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.errors import RuleViolation
from shared.messaging import timers
from shared.messaging.subscriptions import DueTimers, Timer
from shared.messaging.timers import TimerRuns
from shared.web.admin import parked_timer_router
from tests.shared.conftest import talk_to
from tests.shared.web_app import build, entries

Bearer = Callable[..., dict[str, str]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATH = "/v1/parked-timers"


@pytest.fixture
async def service(machinery: Database, verifier: TokenVerifier) -> AsyncIterator[httpx.AsyncClient]:
    async with talk_to(build(machinery, verifier, routers=(parked_timer_router,))) as client:
        yield client


class Runner:
    """A handler that takes note, or refuses while it is told to."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[str] = []
        self.refuses = True

    async def __call__(self, _: AsyncConnection, due: DueTimers) -> None:
        if self.refuses:
            raise RuleViolation("no such thing")
        self.seen += due.keys

    async def run(self) -> None:
        runs = TimerRuns(self.database, Timer("rescore", self))
        while await runs.turn(NOON):
            pass


@pytest.fixture
async def runner(machinery: Database) -> Runner:
    """Has parked the timers `acme-1` and `beta-1`, each of its provider."""
    runner = Runner(machinery)
    for provider in ("acme", "beta"):
        async with machinery.begin() as tx:
            await timers.schedule(tx, "rescore", ProviderId(provider), [f"{provider}-1"], NOON)
    await runner.run()
    runner.refuses = False
    return runner


async def listed(service: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, int]:
    answer = await service.get(PATH, headers=headers)
    assert answer.status_code == 200
    return {timer["key"]: timer["id"] for timer in answer.json()["items"]}


@pytest.mark.usefixtures("runner")
async def test_a_provider_sees_its_own_timers_and_the_platform_all(service: httpx.AsyncClient, bearer: Bearer) -> None:
    own = await listed(service, bearer("auditor"))
    assert list(own) == ["acme-1"]
    assert list(await listed(service, bearer("operator", provider=None))) == ["acme-1", "beta-1"]
    foreign = await service.post(f"{PATH}/{own['acme-1']}/release", headers=bearer("operator", provider="beta"))
    assert foreign.status_code == 404
    assert (await service.get(PATH, headers=bearer("hr_admin"))).status_code == 403


async def test_a_released_timer_runs_again_once_and_is_audited(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer, runner: Runner
) -> None:
    operator = bearer("operator", provider=None, subject="op")
    found = (await listed(service, operator))["beta-1"]
    answers = [await service.post(f"{PATH}/{found}/release", headers=operator) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 404]
    await runner.run()
    assert runner.seen == ["beta-1"]
    assert await entries(machinery, "beta") == [("op", "timer.released", f"timer/rescore/{found}", "done")]


async def test_a_discarded_timer_never_runs_and_leaves_the_reason(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer, runner: Runner
) -> None:
    path = f"{PATH}/{(await listed(service, bearer('operator')))['acme-1']}/discard"
    assert (await service.post(path, json={}, headers=bearer("operator"))).status_code == 422
    assert (await service.post(path, json={"reason": "mistake"}, headers=bearer("auditor"))).status_code == 403
    assert (await service.post(path, json={"reason": "mistake"}, headers=bearer("operator"))).status_code == 204
    await runner.run()
    assert runner.seen == []
    assert await listed(service, bearer("operator")) == {}
    assert [entry[1] for entry in await entries(machinery, "acme")] == ["access.refused", "timer.discarded"]


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "x"])
async def test_a_number_that_cannot_be_one_is_refused(service: httpx.AsyncClient, bearer: Bearer, number: str) -> None:
    assert (await service.post(f"{PATH}/{number}/release", headers=bearer("operator"))).status_code == 422
