"""The service on a database of its own, with a real SMTP server and a real webhook receiver in this process."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import HttpUrl, SecretStr

from deploy.local.databases import DatabaseUrls
from deploy.local.tokens import TokenSigner
from services.notifications.app import SERVICE, mail_loop, webhook_loop
from services.notifications.channels.webhooks import PinnedTransport, WebhookSender
from services.notifications.settings import NotificationsSettings
from shared.auth import TokenVerifier
from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.messaging.envelope import Batch, Delivery
from shared.messaging.subscriptions import Handler
from shared.process import build_app
from tests.issuer import ServedIssuer, served_issuer

ACME = ProviderId("acme")
START = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)


class Clock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Mailbox:
    """What an SMTP server accepted; it refuses recipients by the reply they are given in `refuse`."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refuse: dict[str, str] = {}
        self.port = 0
        self._server: asyncio.Server | None = None

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients.extend(envelope.rcpt_tos)
        return "250 kept"

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, hostname="localhost"), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    @property
    def ids(self) -> list[str]:
        return [str(message["Message-ID"]) for message in self.messages]


@dataclass
class Hook:
    """One request as a receiver saw it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A plain HTTP server: answers what `answers` says next, 204 when it says nothing."""

    answers: list[bytes] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    hangs: bool = False
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.hooks.append(Hook(request.split(" ")[1], headers, body))
            self.arrived.set()
            if self.hangs:
                await asyncio.sleep(3600)
            writer.write(self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [hook.headers["webhook-id"] for hook in self.hooks]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    await box.open()
    yield box
    await box.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(found.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class House:
    """The whole service as its process wires it, except that a test turns the loops by hand."""

    settings: NotificationsSettings
    database: Database
    verifier: TokenVerifier
    clock: Clock
    http: httpx.AsyncClient
    sender: WebhookSender
    signer: TokenSigner

    def batch(self, *events: Event) -> Batch:
        deliveries = tuple(Delivery(event, f"event-{place}", place, None) for place, event in enumerate(events))
        return Batch(ACME, deliveries, self.clock(), lag=0)

    async def told(self, handler: Handler, *events: Event) -> None:
        """What the consumer does with one partition's batch."""
        async with self.database.begin(ACME) as tx:
            await handler(tx, self.batch(*events))

    async def deliver(self) -> None:
        await mail_loop(self.settings, self.database, self.clock).round()
        await webhook_loop(self.sender, self.database, self.clock).round()

    def headers(self, *roles: str, employee: str | None = None, provider: str = ACME) -> dict[str, str]:
        token = self.signer.token(
            provider=provider, roles=roles, employee=employee, now=self.clock().timestamp(), ttl=365 * 86400
        )
        return {"authorization": f"Bearer {token}"}

    async def contact(self, employee: str, *, roles: list[str] | None = None, locale: str | None = None) -> None:
        body = {"email": f"{employee}@example.com", "roles": roles or ["employee"], "locale": locale}
        answer = await self.http.put(f"/contacts/{employee}", json=body, headers=self.headers("hr_admin"))
        assert answer.status_code == 201, answer.text

    async def endpoint(self, url: str, *kinds: str) -> dict[str, str]:
        answer = await self.http.post(
            "/webhook-endpoints",
            json={"url": url, "kinds": list(kinds)},
            headers={**self.headers("hr_admin"), "idempotency-key": f"{url}-{kinds}"},
        )
        assert answer.status_code == 201, answer.text
        made: dict[str, str] = answer.json()
        return made

    async def get(self, path: str, *roles: str, employee: str | None = None) -> list[dict[str, object]]:
        answer = await self.http.get(path, headers=self.headers(*roles, employee=employee))
        assert answer.status_code == 200, answer.text
        items: list[dict[str, object]] = answer.json()["items"]
        return items

    async def inbox(self, employee: str) -> list[dict[str, object]]:
        return await self.get("/inbox", "employee", employee=employee)

    async def deliveries(self, **filters: str) -> list[dict[str, object]]:
        return await self.get(f"/deliveries?{httpx.QueryParams(filters)}", "hr_admin")


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedIssuer]:
    with served_issuer(tmp_path_factory.mktemp("issuer")) as served:
        yield served


@pytest.fixture
def urls(clone_database: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    return clone_database("notifications")


Build = Callable[..., Awaitable[House]]


@pytest.fixture
async def build(urls: DatabaseUrls, mailbox: Mailbox, issuer: ServedIssuer) -> AsyncIterator[Build]:
    """Builds houses on the same database; settings may be given."""
    opened: list[House] = []

    async def make(transport: PinnedTransport | None = None, *, allow_private: bool = True) -> House:
        settings = NotificationsSettings(
            database_url=SecretStr(urls.app),
            kafka_bootstrap="127.0.0.1:1",
            oidc_issuer=issuer.url,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            mail_from="plumbline@mail.example.com",
            portal_url=HttpUrl("https://portal.example.com/"),
            webhook_allow_private=allow_private,
        )
        clock = Clock()
        database = Database(settings.database_url)
        verifier = TokenVerifier(issuer.url, "plumbline", clock)
        app = build_app(SERVICE, settings, database, verifier, clock)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notifications.test/v1")
        used = transport or PinnedTransport(allow_private=allow_private)
        sender = WebhookSender(used, clock, allow_private=allow_private)
        house = House(settings, database, verifier, clock, http, sender, issuer.signer)
        opened.append(house)
        return house

    yield make
    for house in opened:
        await house.sender.close()
        await house.http.aclose()
        await house.verifier.close()
        await house.database.close()


@pytest.fixture
async def house(build: Build) -> House:
    return await build()
