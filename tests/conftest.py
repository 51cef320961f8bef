"""Real PostgreSQL and real Kafka for every test that asks for them.

One server of each serves the whole run; a test gets a database cloned from a migrated template, topics of its own.
`PLUMBLINE_TEST_STACK=<state folder>,<postgres port>,<kafka port>` uses servers of that place and leaves them running.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.local.databases import DatabaseUrls, drop_database, ensure_service_database
from deploy.local.kafka import KafkaBroker
from deploy.local.postgres import PostgresServer
from shared.auth import TokenVerifier
from shared.clock import utc_now
from shared.database import Database, migrate
from shared.messaging.kafka import create_topics
from shared.messaging.schema import MACHINERY, statements
from shared.settings import ServiceSettings
from tests.issuer import ServedIssuer, served_issuer

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Stack:
    state: Path
    postgres_port: int
    kafka_port: int
    lent: bool

    def postgres(self) -> PostgresServer:
        return PostgresServer(self.state / "postgres", self.postgres_port, durable=False)

    def kafka(self) -> KafkaBroker:
        return KafkaBroker(self.state / "kafka", self.kafka_port)


def _stack() -> Stack:
    lent = os.environ.get("PLUMBLINE_TEST_STACK")
    if lent:
        state, postgres_port, kafka_port = lent.split(",")
        return Stack(Path(state), int(postgres_port), int(kafka_port), lent=True)
    return Stack(ROOT / ".plumbline" / "test", 8632, 8292, lent=False)


STACK = _stack()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or STACK.lent:
        return
    for server in (STACK.kafka(), STACK.postgres()):
        if server.process() is not None:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    server = STACK.postgres()
    server.start()
    return server


@pytest.fixture(scope="session")
def kafka() -> KafkaBroker:
    """The broker is required: where it cannot be started, tests that need it fail and say why."""
    broker = STACK.kafka()
    broker.start()
    return broker


class TestSettings(ServiceSettings):
    __test__ = False


@pytest.fixture
def settings_for(kafka: KafkaBroker) -> Callable[[DatabaseUrls], ServiceSettings]:
    """Settings with a topic prefix of this test's own; topics are not created yet."""
    prefix = f"t{uuid.uuid4().hex[:10]}."

    def build(urls: DatabaseUrls) -> ServiceSettings:
        return TestSettings(
            database_url=SecretStr(urls.app),
            kafka_bootstrap=kafka.bootstrap,
            kafka_topic_prefix=prefix,
            kafka_session_timeout_ms=3_000,
            oidc_issuer="http://127.0.0.1:8099",
            http_port=0,
        )

    return build


@pytest.fixture
async def topics(settings_for: Callable[[DatabaseUrls], ServiceSettings], any_urls: DatabaseUrls) -> str:
    """All topics of the platform under this test's prefix; returns the prefix."""
    settings = settings_for(any_urls)
    await create_topics(settings)
    return settings.kafka_topic_prefix


@pytest.fixture
def any_urls(postgres: PostgresServer) -> DatabaseUrls:
    return ensure_service_database(postgres, "scoring")


async def _migrate_machinery(owner: SecretStr) -> None:
    engine = create_async_engine(owner.get_secret_value())
    async with engine.begin() as connection:
        for statement in statements(MACHINERY):
            await connection.execute(text(statement))
    await engine.dispose()


def _template(
    server: PostgresServer, service: str, content: bytes, prepare: Callable[[str], Coroutine[None, None, None]]
) -> str:
    """A migrated database of this exact content, made once and shared by all workers and later runs."""
    name = f"template_{service}_{hashlib.sha256(content).hexdigest()[:12]}"
    with (STACK.state / "templates.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not server.run_sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608 - our own name
            making = f"{name}_making"
            drop_database(server, making)
            urls = ensure_service_database(server, service, database=making)
            # Tests ask for clones from inside their own event loop, so the migration runs on another thread's.
            with ThreadPoolExecutor(1) as apart:
                apart.submit(asyncio.run, prepare(urls.owner)).result()
            server.run_sql(f"ALTER DATABASE {making} RENAME TO {name}")
    return name


@pytest.fixture(scope="session")
def clone(postgres: PostgresServer) -> Callable[[str], DatabaseUrls]:
    """A fresh database of a service, cloned from its migrated template; the caller's fixture drops it."""

    def make(service: str) -> DatabaseUrls:
        versions = ROOT / "services" / service / "migrations" / "versions"
        files = sorted(versions.glob("*.py"))
        content = MACHINERY.encode() + b"".join(file.read_bytes() for file in files)
        template = _template(postgres, service, content, lambda owner: migrate(SecretStr(owner), versions))
        database = f"t_{service}_{uuid.uuid4().hex[:12]}"
        return ensure_service_database(postgres, service, database=database, template=template)

    return make


@pytest.fixture
def clone_database(
    clone: Callable[[str], DatabaseUrls], postgres: PostgresServer
) -> Iterator[Callable[[str], DatabaseUrls]]:
    """`clone_database("scoring")`: a migrated database for this test alone."""
    made: list[str] = []

    def make(service: str) -> DatabaseUrls:
        urls = clone(service)
        made.append(urls.name)
        return urls

    yield make
    for name in made:
        drop_database(postgres, name)


@pytest.fixture
def machinery_urls(postgres: PostgresServer) -> Iterator[DatabaseUrls]:
    """A database with the machinery's tables only."""

    async def prepare(owner: str) -> None:
        await _migrate_machinery(SecretStr(owner))

    template = _template(postgres, "scoring", b"machinery" + MACHINERY.encode(), prepare)
    database = f"t_machinery_{uuid.uuid4().hex[:12]}"
    yield ensure_service_database(postgres, "scoring", database=database, template=template)
    drop_database(postgres, database)


@pytest.fixture
async def machinery(machinery_urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(SecretStr(machinery_urls.app))
    yield database
    await database.close()


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedIssuer]:
    """Signs the tokens of a test: `issuer.token(provider="acme", roles=["hr_admin"])`."""
    with served_issuer(tmp_path_factory.mktemp("issuer")) as served:
        yield served


@pytest.fixture
async def verifier(issuer: ServedIssuer) -> AsyncIterator[TokenVerifier]:
    """Believes the tokens of `issuer`."""
    made = TokenVerifier(issuer.url, "plumbline", utc_now)
    yield made
    await made.close()
