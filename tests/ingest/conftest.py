"""A provider `acme` with one client, two lines of business, a source, metrics and people, set up over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from deploy.local.databases import DatabaseUrls
from services.ingest.app import SERVICE
from services.ingest.settings import IngestSettings
from shared.auth import TokenVerifier
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.process import build_app
from tests.announced import Announced, in_outbox
from tests.issuer import ServedIssuer

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
Json = Any


@dataclass
class World:
    """The service under test, whoever talks to it, and a look behind the scenes."""

    database: Database
    http: httpx.AsyncClient
    issuer: ServedIssuer
    now: datetime = NOW
    key: str = ""

    def bearer(self, *roles: str, provider: str | None = "acme", **claims: str | None) -> dict[str, str]:
        token = self.issuer.token(provider=provider, roles=roles, now=self.now.timestamp(), **claims)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {token}"}

    @property
    def hr(self) -> dict[str, str]:
        return self.bearer("hr_admin")

    async def put(self, path: str, body: Json, **headers: str) -> httpx.Response:
        return await self.http.put(f"/v1{path}", json=body, headers={**self.hr, **headers})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(f"/v1{path}", headers=headers or self.hr)

    async def post(self, path: str, body: Json, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.post(f"/v1{path}", json=body, headers=headers or self.hr)

    async def send(self, body: Json, **query: str) -> httpx.Response:
        """Post KPI events as the source does."""
        return await self.http.post("/v1/kpi-events", json=body, params=query, headers={"X-API-Key": self.key})

    async def send_raw(self, content: bytes, content_type: str = "application/json", **headers: str) -> httpx.Response:
        known = {"X-API-Key": self.key, "Content-Type": content_type}
        return await self.http.post("/v1/kpi-events", content=content, headers=known | headers)

    async def rows(self, sql: str, provider: str = "acme", **values: object) -> list[tuple[Any, ...]]:
        async with self.database.begin(ProviderId(provider)) as tx:
            return [tuple(row) for row in await tx.execute(text(sql), values)]

    async def announced(self, kind: str = "*") -> list[Json]:
        """Bodies of what waits for the relay, in order; `kind` is a pattern of the event's type."""
        return [json.loads(found.message.body) for found in await self.waiting(kind)]

    async def waiting(self, kind: str = "*") -> list[Announced]:
        async with self.database.begin() as tx:
            return [found for found in await in_outbox(tx) if fnmatch(found.message.event_type, kind)]


def person(manager: str | None = None, **changes: Json) -> Json:
    assignment = {
        "valid_from": "2026-01-01",
        "valid_to": None,
        "role": "agent",
        "grade": "G3",
        "unit": "team-7",
        "manager": manager,
        "client": "northwind",
        "line_of_business": "care",
        "site": "manila",
        "time_zone": "Asia/Manila",
    }
    return {
        "display_name": "Ana Ruiz",
        "country": "PH",
        "locale": "en-PH",
        "assignments": [assignment | changes],
        "absences": [],
    }


def metric(aggregation: str = "ratio", **changes: Json) -> Json:
    return {
        "name": "Average handle time",
        "owner": "wfm",
        "source_system": "acd",
        "unit": "seconds",
        "direction": "lower-is-better",
        "aggregation": aggregation,
        "precision": 1,
    } | changes


def seen(event: str = "evt-1", **changes: Json) -> Json:
    """A good observation of e-1 by its agent id."""
    return {
        "id": event,
        "agent": "A-1",
        "metric": "aht",
        "occurred_at": "2026-11-02T09:30:00+08:00",
        "numerator": 9000,
        "denominator": 25,
    } | changes


def without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


@pytest.fixture
async def bare(clone_database: Callable[[str], DatabaseUrls], issuer: ServedIssuer) -> AsyncIterator[World]:
    """An empty service."""
    urls = clone_database("ingest")
    database = Database(SecretStr(urls.app))
    settings = IngestSettings(
        database_url=SecretStr(urls.app), kafka_bootstrap="127.0.0.1:1", oidc_issuer=issuer.url, http_port=0
    )
    world: World

    def clock() -> datetime:
        return world.now

    verifier = TokenVerifier(issuer.url, "plumbline", clock)
    app = build_app(SERVICE, settings, database, verifier, clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as http:
        world = World(database, http, issuer)
        yield world
    await verifier.close()
    await database.close()


@pytest.fixture
async def world(bare: World) -> World:
    operator = bare.bearer("operator", provider=None)
    made = [await bare.post("/providers", {"id": "acme", "name": "Acme BPO"}, operator)]
    made.append(await bare.put("/clients/northwind", {"name": "Northwind", "lines_of_business": ["care", "sales"]}))
    source = {"name": "ACD", "client": "northwind", "lines_of_business": ["care"]}
    made.append(await bare.put("/sources/acd", source))
    made.append(await bare.put("/metrics/aht", metric("ratio")))
    made.append(await bare.put("/metrics/csat", metric("mean", direction="higher-is-better")))
    people = [{"id": "e-1", **person("e-90")}, {"id": "e-2", **person("e-90")}, {"id": "e-90", **person()}]
    made.append(await bare.post("/employees", people))
    agents = [{"agent": f"A-{n}", "employee": f"e-{n}", "valid_from": "2026-01-01"} for n in (1, 2)]
    made.append(await bare.put("/sources/acd/agents", agents))
    key = await bare.post("/sources/acd/keys", {})
    made.append(key)
    assert all(answer.status_code in (200, 201) for answer in made), [answer.text for answer in made]
    bare.key = key.json()["secret"]
    return bare
