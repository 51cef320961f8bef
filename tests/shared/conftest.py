from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI

from deploy.local.databases import DatabaseUrls
from shared.auth import TokenVerifier
from shared.database import Database
from tests.issuer import ServedIssuer
from tests.shared.ledger import create_effects
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


@pytest.fixture
async def ledger_database(machinery: Database, machinery_urls: DatabaseUrls) -> Database:
    """The machinery's tables, and one to count effects in."""
    await create_effects(machinery_urls.owner)
    return machinery
