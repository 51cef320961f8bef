"""The service on a database of its own, asked over HTTP in this process and told events as its consumer would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import httpx
import pytest
from pydantic import JsonValue, SecretStr
from sqlalchemy import text

from deploy.local.databases import DatabaseUrls
from services.compensation.api.ledger import VerificationOut
from services.compensation.api.runs import AwardOut, RunOut
from services.compensation.api.statements import AwardStatement
from services.compensation.app import SERVICE
from services.compensation.settings import CompensationSettings
from shared.auth import TokenVerifier
from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.topics import topic_of
from shared.database import Database
from shared.messaging.envelope import Batch, Delivery
from shared.messaging.timers import run_due
from shared.process import build_app
from tests.announced import in_outbox
from tests.compensation import events
from tests.compensation.events import ACME, CYCLE, NOW, Json
from tests.issuer import ServedIssuer, served_issuer

HANDLERS = {subscription.topic.name: subscription.handler for subscription in SERVICE.subscriptions}


@dataclass
class Person:
    """Somebody with a token, who asks."""

    http: httpx.AsyncClient
    headers: dict[str, str]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=self.headers | headers)

    async def put(self, path: str, body: JsonValue, *, seen: int | None = None) -> httpx.Response:
        extra = {} if seen is None else {"if-match": f'"{seen}"'}
        return await self.http.put(path, json=body, headers=self.headers | extra)

    async def post(
        self, path: str, body: JsonValue = None, *, key: str | None = None, seen: int | None = None
    ) -> httpx.Response:
        extra = {} if key is None else {"idempotency-key": key}
        if seen is not None:
            extra["if-match"] = f'"{seen}"'
        return await self.http.post(path, json={} if body is None else body, headers=self.headers | extra)


@dataclass
class House:
    database: Database
    http: httpx.AsyncClient
    issuer: ServedIssuer
    now: datetime = NOW

    def clock(self) -> datetime:
        return self.now

    def person(
        self, *roles: str, subject: str | None = None, employee: str | None = None, provider: str = ACME
    ) -> Person:
        token = self.issuer.token(
            provider=provider, roles=roles, employee=employee, subject=subject, now=NOW.timestamp(), ttl=86400
        )
        return Person(self.http, {"authorization": f"Bearer {token}"})

    @property
    def admin(self) -> Person:
        return self.person("compensation_admin", subject="ca-1")

    @property
    def approver(self) -> Person:
        return self.person("compensation_admin", subject="ca-2")

    async def told(self, *told: Event, provider: ProviderId = ACME) -> None:
        """What the consumer does, one batch per topic, in the order in which they are given."""
        for topic in dict.fromkeys(topic_of(event) for event in told):
            batch = [event for event in told if topic_of(event) == topic]
            deliveries = tuple(Delivery(event, f"event-{place}", place, None) for place, event in enumerate(batch))
            async with self.database.begin(provider) as tx:
                await HANDLERS[topic.name](tx, Batch(provider, deliveries, self.now, lag=0))

    async def step(self) -> bool:
        """One turn of the timers; whether anything was due."""
        return any([await run_due(self.database, timer, self.now) for timer in SERVICE.timers])

    async def worked(self) -> None:
        while await self.step():
            pass

    async def rows(self, query: str, provider: ProviderId = ACME) -> list[tuple[object, ...]]:
        async with self.database.begin(provider) as tx:
            return [tuple(row) for row in await tx.execute(text(query))]

    async def announced(self) -> list[Event]:
        async with self.database.begin() as tx:
            return [found.event for found in await in_outbox(tx)]

    async def paid(self, name: str, *entries: Json) -> None:
        answer = await self.admin.put(f"/pay/{name}", {"entries": list(entries) or [events.pay()]})
        assert answer.status_code == 200, answer.text

    async def published(self, name: str, plan: Json, budget: str, terms: Json) -> None:
        """A plan that can be run, and a budget for it."""
        answer = await self.admin.put(f"/plans/{name}", plan)
        assert answer.status_code == 200, answer.text
        answer = await self.admin.post(f"/plans/{name}/publish", key=f"publish-{name}", seen=1)
        assert answer.status_code == 201, answer.text
        answer = await self.admin.put(f"/budgets/{budget}", terms)
        assert answer.status_code == 200, answer.text

    async def planned(self, plan: Json | None = None, budget: Json | None = None, *, ranges: bool = True) -> None:
        """A published plan, a budget and the pay range of everybody's grade."""
        await self.published("annual", plan or events.plan(), "b-1", budget or events.budget())
        if ranges:
            answer = await self.admin.put("/pay-ranges/g5", events.pay_range())
            assert answer.status_code == 200, answer.text

    async def computed(
        self, run: str = "r-1", *, plan: str = "annual", budget: str = "b-1", partial: str | None = None
    ) -> RunOut:
        body: Json = {"id": run, "cycle": CYCLE, "plan": plan, "budget": budget}
        if partial:
            body |= {"partial": True, "reason": partial}
        answer = await self.admin.post("/runs", body, key=f"create-{run}")
        assert answer.status_code == 202, answer.text
        await self.worked()
        return await self.run(run)

    async def run(self, run: str = "r-1") -> RunOut:
        answer = await self.admin.get(f"/runs/{run}")
        assert answer.status_code == 200, answer.text
        return RunOut.model_validate(answer.json())

    async def approved(self, run: str = "r-1", *, key: str = "approve") -> httpx.Response:
        version = (await self.run(run)).version
        return await self.approver.post(f"/runs/{run}/approve", key=key, seen=version)

    async def awards(self, run: str = "r-1") -> dict[str, AwardOut]:
        answer = await self.admin.get(f"/runs/{run}/awards?limit=200")
        assert answer.status_code == 200, answer.text
        return {item["employee"]: AwardOut.model_validate(item) for item in answer.json()["items"]}

    async def statement(self, name: str, query: str = "") -> AwardStatement:
        answer = await self.admin.get(f"/statements/{name}?cycle={CYCLE}{query}")
        assert answer.status_code == 200, answer.text
        (award,) = answer.json()["awards"]
        return AwardStatement.model_validate(award)

    async def ledger(self) -> list[tuple[object, ...]]:
        return await self.rows(
            "SELECT employee, component, sequence, before, amount, after, cause FROM ledger_entries ORDER BY 1, 2, 3"
        )

    async def verified(self) -> bool:
        return VerificationOut.model_validate((await self.admin.get("/ledger/verification")).json()).holds


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedIssuer]:
    with served_issuer(tmp_path_factory.mktemp("issuer")) as served:
        yield served


@pytest.fixture
def urls(clone_database: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    return clone_database("compensation")


@pytest.fixture
def settings(urls: DatabaseUrls, issuer: ServedIssuer) -> CompensationSettings:
    return CompensationSettings(
        database_url=SecretStr(urls.app),
        kafka_bootstrap="127.0.0.1:1",
        oidc_issuer=issuer.url,
        scoring_url="http://127.0.0.1:9",
    )


@pytest.fixture
async def house(settings: CompensationSettings, issuer: ServedIssuer) -> AsyncIterator[House]:
    database = Database(settings.database_url)
    verifier = TokenVerifier(issuer.url, "plumbline", lambda: NOW)
    app = build_app(SERVICE, settings, database, verifier, lambda: NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://compensation.test/v1") as http:
        yield House(database, http, issuer)
    await verifier.close()
    await database.close()


@pytest.fixture
async def trio(house: House) -> House:
    """Ada exceeds, Ben meets, Cyd is unrated; all at 48,000.00 EUR full time with a target bonus of 10 %."""
    await house.told(
        events.cycle(scorecards=3),
        *(events.employee(name) for name in ("ada", "ben", "cyd")),
        events.published("ada", "exceeds", "120"),
        events.published("ben", "meets", "100"),
        events.published("cyd", None, None),
    )
    for name in ("ada", "ben", "cyd"):
        await house.paid(name)
    await house.planned()
    return house
