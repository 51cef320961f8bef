"""Providers and their clients."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import By, Put, decide
from services.ingest.model import Client, Provider
from services.ingest.store import providers
from shared import audit
from shared.errors import Conflict, RuleViolation
from shared.field_problems import FieldProblem
from shared.versions import Precondition


async def add_provider(tx: AsyncConnection, provider: Provider, by: By) -> tuple[Provider, bool]:
    """The provider and whether it is new."""
    kept = await providers.add_or_read_provider(tx, provider)
    if kept is None:
        await audit.record(tx, by.actor, by.now, "provider.created", f"provider/{provider.id}")
        return provider, True
    if kept.name != provider.name:
        raise Conflict("a provider of this id exists under another name", code="provider-exists")
    return kept, False


async def put_client(tx: AsyncConnection, client: Client, if_match: Precondition, by: By) -> Put:
    if not await providers.provider_exists(tx, by.provider):
        raise Conflict("an operator has to create the provider first", code="unknown-provider")
    kept = await providers.add_or_lock_client(tx, by.provider, client)
    put = decide(kept, client, if_match)
    if kept is not None and put.changed:
        dropped = set(kept.state.lines_of_business) - set(client.lines_of_business)
        used = await providers.lines_in_use(tx, by.provider, client.id, dropped)
        if used:
            problem = FieldProblem("/lines_of_business", "in-use", f"still named elsewhere: {', '.join(used)}")
            raise RuleViolation("people or sources work there", code="line-of-business-in-use", problems=[problem])
        await providers.change_client(tx, by.provider, client, put.version)
    if put.changed:
        await audit.record(tx, by.actor, by.now, "client.saved", f"client/{client.id}", version=put.version)
    return put
