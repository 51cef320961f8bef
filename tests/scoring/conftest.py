"""The service on a database of its own, asked over HTTP in this process and told events as its consumer would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import httpx
import pytest
from pydantic import JsonValue, SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deploy.local.databases import DatabaseUrls
from services.scoring.app import SERVICE
from services.scoring.handlers import SUBSCRIPTIONS, TIMERS
from services.scoring.settings import ScoringSettings
from shared.auth import TokenVerifier
from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.scoring import ScorecardComputed
from shared.contracts.topics import topic_of
from shared.database import Database
from shared.errors import is_transient
from shared.messaging.envelope import Batch, Delivery
from shared.messaging.subscriptions import DueTimers
from shared.messaging.timers import run_due
from shared.process import build_app
from tests.announced import Announced, in_outbox
from tests.issuer import ServedIssuer
from tests.scoring.events import ACME, CYCLE, CYCLE_BODY, NOW, Json, employee, metric, version

HANDLERS = {subscription.topic.name: subscription.handler for subscription in SUBSCRIPTIONS}
E = TypeVar("E", bound=Event)
SCORECARDS = f"/cycles/{CYCLE}/scorecards"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Person:
    """Somebody with a token, who asks."""

    http: httpx.AsyncClient
    headers: dict[str, str]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=self.headers | headers)

    async def post(self, path: str, body: JsonValue = None, *, key: str = "k") -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.headers | {"idempotency-key": key})

    async def card(self, name: str, version: int | None = None) -> Json:
        query = "" if version is None else f"?version={version}"
        answer = await self.get(f"{SCORECARDS}/{name}{query}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


@dataclass
class House:
    settings: ScoringSettings
    database: Database
    clock: Clock
    http: httpx.AsyncClient
    issuer: ServedIssuer

    def person(self, *roles: str, employee: str | None = None, provider: str = ACME) -> Person:
        token = self.issuer.token(
            provider=provider, roles=roles, employee=employee, now=self.clock().timestamp(), ttl=365 * 86400
        )
        return Person(self.http, {"authorization": f"Bearer {token}"})

    @property
    def admin(self) -> Person:
        return self.person("hr_admin", employee="e-hr")

    async def told(self, *events: Event, provider: ProviderId = ACME, lag: int = 0) -> None:
        """What the consumer does, one batch per topic, in the order in which they are given."""
        for topic in dict.fromkeys(topic_of(event) for event in events):
            batch = [event for event in events if topic_of(event) == topic]
            deliveries = tuple(Delivery(event, f"event-{place}", place, None) for place, event in enumerate(batch))
            async with self.database.begin(provider) as tx:
                await HANDLERS[topic.name](tx, Batch(provider, deliveries, self.clock(), lag))

    async def settled(self, seconds: float = 20) -> None:
        """Time passes, and what is due is done, until nothing is."""
        for _ in range(50):
            self.clock.now += timedelta(seconds=seconds)
            if not sum([await run_due(self.database, timer, self.clock()) for timer in TIMERS]):
                return
        raise AssertionError("the timers never come to rest")

    async def rescored(self, *employees: str) -> None:
        """What the timer of these people does, at once and whether or not it is due, and again if it must give way."""
        while True:
            try:
                async with self.database.begin(ACME, snapshot=True) as tx:
                    await TIMERS[0].handler(tx, DueTimers(ACME, employees, self.clock()))
                return
            except DBAPIError as error:
                if not is_transient(error):
                    raise

    async def rows(self, query: str, provider: ProviderId = ACME) -> list[tuple[object, ...]]:
        async with self.database.begin(provider) as tx:
            return [tuple(row) for row in await tx.execute(text(query))]

    async def announced(self, kind: type[E]) -> list[E]:
        return [found.event for found in await self.waiting() if isinstance(found.event, kind)]

    async def waiting(self) -> list[Announced]:
        async with self.database.begin() as tx:
            return await in_outbox(tx)

    async def versions(self, employee: str) -> Sequence[ScorecardComputed]:
        return [card for card in await self.announced(ScorecardComputed) if card.employee == employee]

    async def published(self, body: Json, template: str = "agent", **selector: JsonValue) -> None:
        """A version of a template, which is made when it is its first."""
        await self.admin.post("/templates", {"template": template, "name": template, "selector": selector})
        drafted = await self.admin.post(f"/templates/{template}/versions", body)
        assert drafted.status_code == 201, drafted.text
        number = drafted.json()["version"]
        answer = await self.admin.post(f"/templates/{template}/versions/{number}/publish", key=f"p{number}{template}")
        assert answer.status_code == 200, answer.text

    async def opened(self, **fields: JsonValue) -> None:
        answer = await self.admin.post("/cycles", CYCLE_BODY | fields)
        assert answer.status_code == 201, answer.text

    async def freeze(self) -> None:
        answer = await self.admin.post(f"/cycles/{CYCLE}/freeze", key="freeze")
        assert answer.status_code == 202, answer.text


Houses = Callable[[], Awaitable[House]]


@pytest.fixture
async def houses(clone_database: Callable[[str], DatabaseUrls], issuer: ServedIssuer) -> AsyncIterator[Houses]:
    """Makes services, each on a database of its own."""
    async with AsyncExitStack() as stack:

        async def make() -> House:
            settings = ScoringSettings(
                database_url=SecretStr(clone_database("scoring").app),
                kafka_bootstrap="127.0.0.1:1",
                oidc_issuer=issuer.url,
            )
            clock = Clock()
            database = Database(settings.database_url)
            stack.push_async_callback(database.close)
            verifier = TokenVerifier(issuer.url, "plumbline", clock)
            stack.push_async_callback(verifier.close)
            app = build_app(SERVICE, settings, database, verifier, clock)
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://scoring.test/v1")
            await stack.enter_async_context(http)
            return House(settings, database, clock, http, issuer)

        yield make


@pytest.fixture
async def house(houses: Houses) -> House:
    return await houses()


async def settle_in(house: House) -> House:
    """Two agents of one manager under a director; handle time and satisfaction, half each; the quarter is open."""
    await house.told(
        metric("aht", lower=True),
        metric("csat"),
        employee("e-1"),
        employee("e-2"),
        employee("e-m1", role="lead", manager="e-dir"),
    )
    await house.published(version(), role="agent")
    await house.opened()
    await house.settled()
    return house


@pytest.fixture
async def team(house: House) -> House:
    return await settle_in(house)
