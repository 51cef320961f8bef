"""The small world, told once and then only looked at or copied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.local.databases import DatabaseUrls, drop_database
from deploy.local.postgres import PostgresServer
from tests.issuer import ServedIssuer
from tests.system.pipeline import NAMES, running
from tests.system.small_world import NOW, SmallWorld


@pytest.fixture(scope="module")
def told_world(
    clone: Callable[[str], DatabaseUrls], postgres: PostgresServer, issuer: ServedIssuer
) -> Iterator[Mapping[str, DatabaseUrls]]:
    """The databases of the five services after the small world's quarter; nobody is connected to them."""
    urls = {name: clone(name) for name in NAMES}

    async def tell() -> None:
        async with running(urls, issuer, NOW) as pipeline:
            await SmallWorld(pipeline).told()

    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, tell()).result()
    yield urls
    for each in urls.values():
        drop_database(postgres, each.name)
