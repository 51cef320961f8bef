"""The service on a database of its own, asked over HTTP in this process and told events as its consumer would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import pytest
from pydantic import JsonValue, SecretStr
from sqlalchemy import text

from deploy.local.databases import DatabaseUrls
from services.calibration.app import SERVICE
from services.calibration.handlers import SUBSCRIPTIONS, TIMERS
from services.calibration.settings import CalibrationSettings
from shared.auth import TokenVerifier
from shared.contracts.event import Event
from shared.contracts.ids import CycleId, ProviderId
from shared.contracts.outcomes import ClassificationPublished, ClassificationRevised
from shared.contracts.topics import topic_of
from shared.database import Database
from shared.messaging.envelope import Batch, Delivery
from shared.messaging.timers import run_due
from shared.process import build_app
from tests.announced import in_outbox
from tests.calibration.events import ACME, CYCLE, NOW, cycle, employee, scorecard
from tests.issuer import ServedIssuer, served_issuer

HANDLERS = {subscription.topic.name: subscription.handler for subscription in SUBSCRIPTIONS}
Json = dict[str, JsonValue]
TEAM = (
    scorecard("e-1", "B3", manager="e-m1"),
    scorecard("e-2", "B1", manager="e-m1"),
    scorecard("e-3", "B3", manager="e-m2", unit="u-2"),
    scorecard("e-4", None, manager="e-m2", unit="u-2"),
    scorecard("e-m1", "B2", manager="e-dir"),
)
WORDS = "said in so many words"
RATIONALE: Json = {"code": "context-factor", "text": WORDS}


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

    async def post(
        self, path: str, body: JsonValue = None, *, key: str = "", seen: int | None = None
    ) -> httpx.Response:
        extra = {"idempotency-key": key} if key else {}
        if seen is not None:
            extra["if-match"] = f'"{seen}"'
        return await self.http.post(path, json={} if body is None else body, headers=self.headers | extra)

    async def put(self, path: str, body: JsonValue, *, seen: int | None = None) -> httpx.Response:
        extra = {} if seen is None else {"if-match": f'"{seen}"'}
        return await self.http.put(path, json=body, headers=self.headers | extra)

    async def confirm(self, employee: str, seen: int = 1, session: str = "s-1") -> httpx.Response:
        return await self.put(f"/sessions/{session}/subjects/{employee}/decision", {"kind": "confirm"}, seen=seen)

    async def change(self, employee: str, band: str | None, seen: int = 1, session: str = "s-1") -> httpx.Response:
        body: Json = {"kind": "change", "band": band, "rationale": RATIONALE}
        return await self.put(f"/sessions/{session}/subjects/{employee}/decision", body, seen=seen)

    async def approve(self, employee: str, seen: int, *, approve: bool = True, session: str = "s-1") -> httpx.Response:
        body: Json = {"approve": approve, "reason": WORDS}
        return await self.post(f"/sessions/{session}/subjects/{employee}/approval", body, seen=seen)

    async def revise(self, employee: str, band: str | None, seen: int) -> httpx.Response:
        body: Json = {"cycle": CYCLE, "kind": "revise", "band": band, "rationale": RATIONALE}
        return await self.post(f"/revisions/{employee}/decision", body, seen=seen)


@dataclass
class House:
    database: Database
    clock: Clock
    http: httpx.AsyncClient
    issuer: ServedIssuer

    def person(
        self, *roles: str, employee: str | None = None, subject: str | None = None, provider: str = ACME
    ) -> Person:
        token = self.issuer.token(
            provider=provider,
            roles=roles,
            employee=employee,
            subject=subject,
            now=self.clock().timestamp(),
            ttl=365 * 86400,
        )
        return Person(self.http, {"authorization": f"Bearer {token}"})

    @property
    def admin(self) -> Person:
        return self.person("hr_admin", employee="e-hr")

    @property
    def facilitator(self) -> Person:
        return self.person("facilitator", employee="e-fac")

    def manager(self, employee: str) -> Person:
        return self.person("manager", employee=employee)

    async def told(self, *events: Event, provider: ProviderId = ACME) -> None:
        """What the consumer does, one batch per topic, in the order in which they are given."""
        for topic in dict.fromkeys(topic_of(event) for event in events):
            batch = [event for event in events if topic_of(event) == topic]
            deliveries = tuple(Delivery(event, f"event-{place}", place, None) for place, event in enumerate(batch))
            async with self.database.begin(provider) as tx:
                await HANDLERS[topic.name](tx, Batch(provider, deliveries, self.clock(), lag=0))

    async def passed(self, **by: float) -> None:
        """Time passes, and what is due is done."""
        self.clock.now += timedelta(**by)
        for timer in TIMERS:
            await run_due(self.database, timer, self.clock())

    async def rows(self, query: str, provider: ProviderId = ACME) -> list[tuple[object, ...]]:
        async with self.database.begin(provider) as tx:
            return [tuple(row) for row in await tx.execute(text(query))]

    async def announced(self) -> list[ClassificationPublished | ClassificationRevised]:
        async with self.database.begin() as tx:
            events = [found.event for found in await in_outbox(tx)]
        assert all(isinstance(event, ClassificationPublished | ClassificationRevised) for event in events)
        return events  # type: ignore[return-value]

    async def audited(self) -> list[tuple[object, ...]]:
        return await self.rows("SELECT action, outcome FROM audit_entries ORDER BY sequence")

    async def frozen(self, *cards: Event) -> None:
        """A frozen cycle with these scorecards, known here completely."""
        await self.told(cycle(scorecards=len(cards)), *cards)

    async def frozen_again(self, name: str) -> None:
        """The team's scorecards in another cycle, calibrated in a session of the same name."""
        cards = [card.model_copy(update={"cycle": CycleId(name)}) for card in TEAM]
        await self.told(cycle(len(cards), cycle=name), *cards)
        await self.opened(name, cycle=name)

    async def prepared(self, session: str = "s-1", **fields: JsonValue) -> None:
        body: Json = {
            "id": session,
            "name": "Calibration",
            "cycle": CYCLE,
            "facilitator": "e-fac",
            "participants": ["e-m1", "e-m2"],
            "deadline": (NOW + timedelta(days=7)).isoformat(),
        }
        answer = await self.admin.post("/sessions", body | fields)
        assert answer.status_code == 201, answer.text

    async def opened(self, session: str = "s-1", **fields: JsonValue) -> None:
        await self.prepared(session, **fields)
        answer = await self.admin.post(f"/sessions/{session}/open")
        assert answer.status_code == 200, answer.text

    async def published(self, session: str = "s-1") -> httpx.Response:
        """Lock and publish by somebody who is nobody's subject."""
        locked = await self.admin.post(f"/sessions/{session}/lock")
        assert locked.status_code == 200, locked.text
        return await self.admin.post(f"/sessions/{session}/publish", key=f"publish-{session}")


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedIssuer]:
    with served_issuer(tmp_path_factory.mktemp("issuer")) as served:
        yield served


@pytest.fixture
def urls(clone_database: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    return clone_database("calibration")


@pytest.fixture
async def house(urls: DatabaseUrls, issuer: ServedIssuer) -> AsyncIterator[House]:
    settings = CalibrationSettings(
        database_url=SecretStr(urls.app), kafka_bootstrap="127.0.0.1:1", oidc_issuer=issuer.url
    )
    clock = Clock()
    database = Database(settings.database_url)
    verifier = TokenVerifier(issuer.url, "plumbline", clock)
    app = build_app(SERVICE, settings, database, verifier, clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://calibration.test/v1") as http:
        yield House(database, clock, http, issuer)
    await verifier.close()
    await database.close()


@pytest.fixture
async def team(house: House) -> House:
    """Four agents of two managers under one director, and the director; scored, frozen, in one open session.

    e-1 B3 and e-2 B1 (manager e-m1), e-3 B3 and e-4 unrated (manager e-m2), e-m1 B2 (manager e-dir).
    """
    await house.told(
        employee("e-1", manager="e-m1"),
        employee("e-2", manager="e-m1"),
        employee("e-3", manager="e-m2"),
        employee("e-4", manager="e-m2"),
        employee("e-m1", manager="e-dir"),
        employee("e-m2", manager="e-dir"),
    )
    await house.frozen(*TEAM)
    await house.opened()
    return house
