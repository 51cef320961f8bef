from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from deploy.local.databases import DatabaseUrls, drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from shared.auth import TokenVerifier
from shared.database import Database
from tests.issuer import ServedIssuer
from tests.shared.ledger import create_tables, empty_tables
from tests.shared.web_app import build


def talk_to(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notes")


@pytest.fixture
async def notes(machinery: Database, verifier: TokenVerifier) -> AsyncIterator[httpx.AsyncClient]:
    async with talk_to(build(machinery, verifier)) as client:
        yield client


@pytest.fixture
def bearer(issuer: ServedIssuer) -> Callable[..., dict[str, str]]:
    """`bearer("hr_admin")`: the header of somebody with these roles at provider `acme`."""

    def make(*roles: str, provider: str | None = "acme", subject: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {issuer.token(provider=provider, roles=roles, subject=subject)}"}

    return make


@pytest.fixture(scope="session")
def ledger_urls(postgres: PostgresServer) -> Iterator[DatabaseUrls]:
    """The machinery's tables and the ledger's, one database for all tests of a worker."""
    urls = ensure_service_database(postgres, "scoring", database=f"t_ledger_{uuid.uuid4().hex[:12]}")
    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, create_tables(urls.owner)).result()
    yield urls
    drop_database(postgres, urls.name)


@pytest.fixture
async def ledger_database(ledger_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Empty at the start of each test."""
    database = Database(SecretStr(ledger_urls.app))
    await empty_tables(database)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def span_exporter() -> InMemorySpanExporter:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # it can be set only once in a process
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(span_exporter: InMemorySpanExporter) -> Callable[[], dict[str, ReadableSpan]]:
    """`spans()`: what has ended since the test began, by name; of several of one name the last."""
    span_exporter.clear()
    return lambda: {span.name: span for span in span_exporter.get_finished_spans()}
