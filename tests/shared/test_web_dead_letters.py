"""Parked records over HTTP: seen by those they belong to, resolved by an operator, and nobody does it unseen."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.auth import TokenVerifier
from shared.contracts.ids import EmployeeId, KpiEventId, MetricKey, ProviderId
from shared.contracts.kpi import KpiRecorded
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.errors import RuleViolation
from shared.messaging import dead_letters
from shared.messaging.envelope import Batch, Record, headers_of
from shared.messaging.subscriptions import Subscription
from shared.web.admin import dead_letter_router
from tests.shared.conftest import talk_to
from tests.shared.web_app import build, entries

Bearer = Callable[..., dict[str, str]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Reader:
    """A handler that takes note, or refuses while it is told to."""

    def __init__(self) -> None:
        self.seen: list[KpiEventId] = []
        self.refuses = False

    async def __call__(self, tx: AsyncConnection, batch: Batch) -> None:
        if self.refuses:
            raise RuleViolation("unknown metric")
        self.seen += [event.event for event in batch.events if isinstance(event, KpiRecorded)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def service(machinery: Database, verifier: TokenVerifier, reader: Reader) -> AsyncIterator[httpx.AsyncClient]:
    router = dead_letter_router((Subscription(KPI_EVENTS, reader),))
    async with talk_to(build(machinery, verifier, routers=(router,))) as client:
        yield client


async def park(database: Database, provider: str | None, offset: int, value: bytes | None = None) -> None:
    event = KpiRecorded(
        provider=ProviderId(provider or "acme"),
        event=KpiEventId(f"crm/{offset}"),
        employee=EmployeeId("e-1"),
        metric=MetricKey("aht"),
        occurred_at=NOON,
        occurred_on=date(2026, 3, 1),
        numerator=Decimal(1),
        denominator=Decimal(1),
        recorded_at=NOON,
    )
    headers = headers_of(
        event_id=f"id-{offset}",
        event_type=KpiRecorded.TYPE,
        time=NOON,
        source="ingest",
        provider=provider or "",
        key=event.key(),
        traceparent=None,
    )
    body = event.model_dump_json().encode() if value is None else value
    record = Record("kpi-events", 0, offset, b"key", body, headers)
    async with database.begin() as tx:
        await dead_letters.park(tx, record, "rule-violation", "unknown metric")


async def ids(service: httpx.AsyncClient, headers: dict[str, str], **query: str) -> list[str]:
    answer = await service.get("/v1/dead-letters", params=query, headers=headers)
    assert answer.status_code == 200
    return [letter["id"] for letter in answer.json()["items"]]


async def test_a_provider_sees_its_own_letters_and_the_platform_all(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer
) -> None:
    for offset, provider in enumerate(("acme", "beta", None)):
        await park(machinery, provider, offset)
    own = await ids(service, bearer("operator"))
    assert len(own) == 1
    assert len(await ids(service, bearer("operator", provider=None))) == 3
    foreign = await service.get(f"/v1/dead-letters/{own[0]}", headers=bearer("operator", provider="beta"))
    assert foreign.status_code == 404
    assert (await service.get("/v1/dead-letters", headers=bearer("hr_admin"))).status_code == 403


async def test_a_letter_shows_the_bytes_that_arrived(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer
) -> None:
    await park(machinery, "acme", 1, b"\xff{broken")
    (letter,) = await ids(service, bearer("auditor"), topic="kpi-events", state="parked")
    shown = (await service.get(f"/v1/dead-letters/{letter}", headers=bearer("auditor"))).json()
    assert base64.b64decode(shown["value"]) == b"\xff{broken"
    assert shown["preview"] == "\ufffd{broken"
    assert ["ce_type", "plumbline.kpi.recorded.v1"] in shown["headers"]


async def test_a_replayed_letter_reaches_its_handler_once_and_is_audited(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer, reader: Reader
) -> None:
    await park(machinery, "acme", 7)
    (letter,) = await ids(service, bearer("operator"))
    operator = bearer("operator", provider=None, subject="op")
    first = await service.post(f"/v1/dead-letters/{letter}/replay", headers=operator)
    again = await service.post(f"/v1/dead-letters/{letter}/replay", headers=operator)
    assert (first.json()["state"], first.json()["resolved_by"], again.status_code) == ("replayed", "op", 409)
    assert reader.seen == ["crm/7"]
    assert await entries(machinery, "acme") == [("op", "dead-letter.replayed", f"dead-letter/{letter}", "done")]


async def test_a_letter_that_is_refused_again_stays_parked(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer, reader: Reader
) -> None:
    await park(machinery, "acme", 7)
    (letter,) = await ids(service, bearer("operator"))
    reader.refuses = True
    answer = await service.post(f"/v1/dead-letters/{letter}/replay", headers=bearer("operator"))
    assert (answer.status_code, answer.json()["detail"]) == (422, "unknown metric")
    assert await ids(service, bearer("operator"), state="parked") == [letter]
    assert await entries(machinery, "acme") == []


async def test_a_discarded_letter_keeps_its_reason(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer
) -> None:
    await park(machinery, "acme", 7)
    (letter,) = await ids(service, bearer("operator"))
    path = f"/v1/dead-letters/{letter}/discard"
    assert (await service.post(path, json={}, headers=bearer("operator"))).status_code == 422
    assert (await service.post(path, json={"reason": "test data"}, headers=bearer("auditor"))).status_code == 403
    done = await service.post(path, json={"reason": "test data"}, headers=bearer("operator"))
    assert (done.json()["state"], done.json()["resolution"]) == ("discarded", "test data")
    assert [entry[1] for entry in await entries(machinery, "acme")] == ["access.refused", "dead-letter.discarded"]


async def test_a_letter_of_nobody_is_resolved_by_the_platform(
    service: httpx.AsyncClient, machinery: Database, bearer: Bearer
) -> None:
    await park(machinery, None, 7, b"garbage")
    platform = bearer("operator", provider=None)
    (letter,) = await ids(service, platform)
    done = await service.post(f"/v1/dead-letters/{letter}/discard", json={"reason": "garbage"}, headers=platform)
    assert done.status_code == 200
    assert [entry[1] for entry in await entries(machinery, "-")] == ["dead-letter.discarded"]
