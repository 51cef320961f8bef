"""All five services in one process: their real HTTP apps, handlers and timers on databases of their own.

What a relay and Kafka do between processes is done here by `pump`: outbox rows become records of partitioned logs, and
every service applies what it subscribes to, batch by batch, with the code its consumer runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from pydantic import JsonValue, SecretStr
from sqlalchemy import Row, text

from deploy.local.databases import DatabaseUrls
from services.calibration.app import SERVICE as CALIBRATION
from services.compensation.app import SERVICE as COMPENSATION
from services.ingest.app import SERVICE as INGEST
from services.notifications.app import SERVICE as NOTIFICATIONS
from services.notifications.commands.deliveries import claim_mail
from services.notifications.handlers.deliveries import DeliveryLoop
from services.notifications.model import Channel, Letter, Outcome, Verdict
from services.scoring.app import SERVICE as SCORING
from shared.auth import TokenVerifier
from shared.contracts.topics import TOPICS
from shared.database import Database
from shared.messaging import outbox
from shared.messaging.batches import Batches
from shared.messaging.envelope import Record, headers_of
from shared.messaging.log import Partition
from shared.messaging.subscriptions import Subscription, Timer
from shared.messaging.timers import run_due
from shared.process import Service, build_app
from shared.settings import ServiceSettings
from tests.issuer import ServedIssuer

Json = dict[str, JsonValue]

SERVICES: tuple[Service[ServiceSettings], ...] = (INGEST, SCORING, CALIBRATION, COMPENSATION, NOTIFICATIONS)  # type: ignore[assignment]
NAMES = tuple(service.name for service in SERVICES)
PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}
PATIENCE = timedelta(seconds=20)
"""How far the clock is moved for timers: longer than any scoring is put off, shorter than any deadline."""
_TURNS = 500

at_work: ContextVar[str] = ContextVar("at_work", default="nobody")
"""The service whose code is running: one process has one telemetry resource, so spans cannot say it themselves."""


@contextmanager
def _working(service: str) -> Iterator[None]:
    token = at_work.set(service)
    try:
        yield
    finally:
        at_work.reset(token)


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class _House:
    """One service: its database, its HTTP side, and how far it has read."""

    name: str
    database: Database
    http: httpx.AsyncClient
    batches: Batches
    subscriptions: Sequence[Subscription]
    timers: Sequence[Timer]
    positions: dict[Partition, int] = field(default_factory=dict)


@dataclass
class Pipeline:
    clock: Clock
    issuer: ServedIssuer
    houses: Mapping[str, _House]
    logs: dict[Partition, list[Record]]
    mails: list[Letter] = field(default_factory=list)

    def caller(self, *roles: str, provider: str | None = None, employee: str | None = None) -> Caller:
        """Somebody with a token that lasts; the subject is the employee, where there is one."""
        token = self.issuer.token(
            provider=provider,
            roles=roles,
            employee=employee,
            subject=f"{employee or roles[0]}@{provider or 'platform'}",
            now=self.clock().timestamp(),
            ttl=365 * 86_400,
        )
        return Caller(self, {"authorization": f"Bearer {token}"})

    def source(self, key: str) -> Caller:
        return Caller(self, {"x-api-key": key})

    async def pump(self) -> None:
        """Until nothing moves: send, apply, run what is due, and let the clock reach what is due within `PATIENCE`."""
        for _ in range(_TURNS):
            moved = await self._relay() + await self._consume() + await self._tick() + await self._deliver()
            if not moved and not await self._sleep():
                return
        raise AssertionError("it never comes to rest")

    async def _relay(self) -> int:
        """Every outbox, in the order of ids, onto the logs."""
        sent = 0
        for house in self.houses.values():
            async with house.database.begin() as tx:
                rows = (await tx.execute(_TAKE)).all()
            for row in sorted(rows, key=lambda row: int(row.id)):
                for index, message in enumerate(outbox.unpacked(row.messages)):
                    self._append(house.name, row, index, message)
                    sent += 1
        return sent

    def _append(self, service: str, row: Row[Any], index: int, message: outbox.Message) -> None:
        headers = headers_of(
            event_id=f"{row.batch_id}-{index}",
            event_type=message.event_type,
            time=row.announced_at,
            source=service,
            provider=row.provider_id,
            key=message.key,
            traceparent=row.traceparent,
        )
        log = self.logs[Partition(row.topic, row.partition)]
        log.append(Record(row.topic, row.partition, len(log), message.key.encode(), message.body.encode(), headers))

    async def _consume(self) -> int:
        applied = 0
        for house in self.houses.values():
            topics = {subscription.topic.name for subscription in house.subscriptions}
            for partition, log in self.logs.items():
                at = house.positions.get(partition, 0)
                if partition.topic not in topics or at == len(log):
                    continue
                if partition not in house.positions:
                    async with house.database.begin() as tx:
                        await tx.execute(_BEGIN, partition._asdict())
                with _working(house.name):
                    house.positions[partition] = await house.batches.apply(
                        partition, at, log[at:], lag=0, resuming=False
                    )
                applied += len(log) - at
        return applied

    async def _tick(self) -> int:
        ran = 0
        for house in self.houses.values():
            for timer in house.timers:
                with _working(house.name):
                    ran += await run_due(house.database, timer, self.clock())
        return ran

    async def _deliver(self) -> int:
        """Mail that is due, into `mails` instead of a server."""

        async def send(letters: Sequence[Letter]) -> list[Outcome]:
            self.mails.extend(letters)
            return [Outcome(letter.claim, Verdict.DELIVERED) for letter in letters]

        house = self.houses["notifications"]
        with _working(house.name):
            return await DeliveryLoop(house.database, self.clock, Channel.EMAIL, claim_mail, send).round()

    async def _sleep(self) -> bool:
        """Move the clock to the next timer; whether there is one to wait for."""
        dues: list[datetime] = []
        for house in self.houses.values():
            async with house.database.begin() as tx:
                kinds = [timer.kind for timer in house.timers]
                dues += (await tx.execute(_NEXT, {"kinds": kinds})).scalars()
        dues = [due for due in dues if due <= self.clock() + PATIENCE]
        if not dues:
            return False
        self.clock.now = max(self.clock.now, min(dues))
        return True

    async def dead_letters(self) -> list[tuple[str, str, str]]:
        """Service, code and detail of everything that was parked."""
        found = []
        for house in self.houses.values():
            async with house.database.begin() as tx:
                rows = await tx.execute(text("SELECT code, detail FROM dead_letters"))
                found += [(house.name, row.code, row.detail) for row in rows]
        return found


_TAKE = text("DELETE FROM outbox RETURNING *")
_BEGIN = text("""
    INSERT INTO positions (topic, partition, next_offset) VALUES (:topic, :number, 0)
""")
_NEXT = text("SELECT min(due_at) FROM timers WHERE kind = ANY(:kinds) HAVING min(due_at) IS NOT NULL")


@dataclass
class Caller:
    """Somebody who asks services over HTTP. An answer that is not what was expected fails with what it says."""

    pipeline: Pipeline
    headers: Mapping[str, str]

    async def ask(
        self,
        method: str,
        service: str,
        path: str,
        body: JsonValue = None,
        *,
        expect: int = 200,
        key: str | None = None,
        seen: int | None = None,
    ) -> Json:
        """`key` is an Idempotency-Key, `seen` the version that If-Match names."""
        headers = dict(self.headers)
        if key is not None:
            headers["idempotency-key"] = key
        if seen is not None:
            headers["if-match"] = f'"{seen}"'
        with _working(service):
            http = self.pipeline.houses[service].http
            answer = await http.request(method, path, json=body, headers=headers)
        assert answer.status_code == expect, f"{method} {service} {path}: {answer.status_code} {answer.text}"
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {"items": found}

    async def get(self, service: str, path: str, *, expect: int = 200) -> Json:
        return await self.ask("GET", service, path, expect=expect)

    async def post(
        self,
        service: str,
        path: str,
        body: JsonValue = None,
        *,
        expect: int = 200,
        key: str | None = None,
        seen: int | None = None,
    ) -> Json:
        return await self.ask("POST", service, path, body, expect=expect, key=key, seen=seen)

    async def put(
        self, service: str, path: str, body: JsonValue, *, expect: int = 200, seen: int | None = None
    ) -> Json:
        return await self.ask("PUT", service, path, body, expect=expect, seen=seen)


@asynccontextmanager
async def running(urls: Mapping[str, DatabaseUrls], issuer: ServedIssuer, now: datetime) -> AsyncIterator[Pipeline]:
    """The five services on these databases, fresh from their migrations."""
    clock = Clock(now)
    verifier = TokenVerifier(issuer.url, "plumbline", clock)
    houses = {service.name: _house(service, urls[service.name], verifier, issuer, clock) for service in SERVICES}
    logs = {Partition(topic, number): list[Record]() for topic, count in PARTITIONS.items() for number in range(count)}
    try:
        yield Pipeline(clock, issuer, houses, logs)
    finally:
        for house in houses.values():
            await house.http.aclose()
            await house.database.close()
        await verifier.close()


def _house(
    service: Service[ServiceSettings],
    urls: DatabaseUrls,
    verifier: TokenVerifier,
    issuer: ServedIssuer,
    clock: Callable[[], datetime],
) -> _House:
    settings = service.settings(
        database_url=SecretStr(urls.app),
        kafka_bootstrap="127.0.0.1:1",
        oidc_issuer=issuer.url,
        http_port=0,
    )
    database = Database(settings.database_url)
    app = build_app(service, settings, database, verifier, clock)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/v1")
    batches = Batches(database, service.subscriptions, clock)
    return _House(service.name, database, http, batches, service.subscriptions, service.timers)
