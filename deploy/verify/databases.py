"""The services' databases, read only, each as of one moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import asyncpg

from deploy.services import SERVICES

Key = tuple[str, str]
"""Provider and employee."""


class BlindReader(Exception):
    """The role sees nothing but its own rows: everything would be missing on both sides and look equal."""


@asynccontextmanager
async def opened(dsns: Mapping[str, str]) -> AsyncIterator[dict[str, asyncpg.Connection]]:
    """A connection to each database of `dsns` (by service) in one read-only transaction that sees one state.

    The role must see the rows of all providers: a superuser, or one that may bypass row-level security.
    """
    async with AsyncExitStack() as stack:
        found: dict[str, asyncpg.Connection] = {}
        for service in SERVICES:
            connection = await asyncpg.connect(dsns[service], server_settings={"jit": "off"}, timeout=30)
            stack.push_async_callback(connection.close)
            if not await connection.fetchval(
                "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
            ):
                raise BlindReader(f"the role given for {service} does not see the rows of all providers")
            await connection.set_type_codec(
                "jsonb", encoder=json.dumps, decoder=_decoded, schema="pg_catalog", format="text"
            )
            await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
            found[service] = connection
        yield found


def _decoded(text: str) -> object:
    return json.loads(text, parse_float=Decimal)


async def by_person(connection: asyncpg.Connection, query: str) -> AsyncIterator[tuple[Key, list[asyncpg.Record]]]:
    """Rows of each person in turn. `query` begins with provider and employee and is put in their order here."""
    rows: list[asyncpg.Record] = []
    key: Key | None = None
    ordered = (
        f"SELECT * FROM ({query}) AS each (provider, person) "  # noqa: S608 - own queries
        'ORDER BY provider COLLATE "C", person COLLATE "C"'
    )
    async for row in connection.cursor(ordered, prefetch=2_000):
        following = (row[0], row[1])
        if key is not None and following != key:
            yield key, rows
            rows = []
        key = following
        rows.append(row)
    if key is not None:
        yield key, rows


async def together(
    streams: Mapping[str, AsyncIterator[tuple[Key, list[asyncpg.Record]]]],
) -> AsyncIterator[tuple[Key, Mapping[str, Sequence[asyncpg.Record]]]]:
    """Several `by_person` side by side: everybody whom any of them knows, with the rows of each."""
    heads = {name: await anext(stream, None) for name, stream in streams.items()}
    while keys := [head[0] for head in heads.values() if head]:
        key = min(keys)
        yield key, {name: head[1] if head and head[0] == key else [] for name, head in heads.items()}
        for name, head in heads.items():
            if head and head[0] == key:
                heads[name] = await anext(streams[name], None)
