"""Sources, their keys, and their own names for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import By, Put, decide
from services.ingest.model import AgentMapping, Rejection, Scope, Source
from services.ingest.rules import workforce
from services.ingest.store import employees, providers, sources
from services.ingest.store.sources import KeyRow
from shared import audit
from shared.auth import mint_api_key
from shared.contracts.ids import SourceId
from shared.errors import Conflict, NotFound, RuleViolation
from shared.field_problems import FieldProblem
from shared.versions import Precondition

LIVE_KEYS = 2
"""Two, so that a source can change over to a new key without a gap."""

LONGEST_LIFE = timedelta(days=731)


async def put_source(tx: AsyncConnection, source: Source, if_match: Precondition, by: By) -> Put:
    programs = await providers.programs(tx, by.provider, {source.client})
    if source.client not in programs:
        problem = FieldProblem("/client", "unknown-client", "no client of this id")
        raise RuleViolation("the client has to exist first", code="unknown-client", problems=[problem])
    strange = sorted(set(source.lines_of_business) - programs[source.client])
    if strange:
        problem = FieldProblem("/lines_of_business", "unknown-line-of-business", f"not the client's: {strange}")
        raise RuleViolation("a source posts for its own client", code="unknown-line-of-business", problems=[problem])
    kept = await sources.add_or_lock_source(tx, by.provider, source)
    put = decide(kept, source, if_match)
    if kept is not None and put.changed:
        await sources.change_source(tx, by.provider, source, put.version)
    if put.changed:
        await audit.record(tx, by.actor, by.now, "source.saved", f"source/{source.id}", version=put.version)
    return put


async def issue_key(
    tx: AsyncConnection, source: SourceId, scopes: Sequence[Scope], expires_at: datetime, by: By
) -> tuple[str, KeyRow]:
    """The key as text, which is never stored, and what is."""
    if await sources.lock_source(tx, source) is None:
        raise NotFound("there is no source of this id")
    if expires_at <= by.now:
        problem = FieldProblem("/expires_at", "in-the-past", "a key has to be valid for some time")
        raise RuleViolation("the key would have expired already", problems=[problem])
    if expires_at - by.now > LONGEST_LIFE:
        problem = FieldProblem("/expires_at", "too-late", f"a key lives at most {LONGEST_LIFE.days} days")
        raise RuleViolation("keys are renewed from time to time", problems=[problem])
    alive = [key for key in await sources.keys_of(tx, source) if key.revoked_at is None and key.expires_at > by.now]
    if len(alive) >= LIVE_KEYS:
        raise Conflict(f"the source has {LIVE_KEYS} live keys; revoke one first", code="two-live-keys")
    text, key = mint_api_key()
    row = KeyRow(key.id, source, key.digest, tuple(scopes), by.now, expires_at, None)
    await sources.add_key(tx, by.provider, row, by.actor)
    await audit.record(tx, by.actor, by.now, "source-key.issued", f"source/{source}", key=key.id)
    return text, row


async def revoke_key(tx: AsyncConnection, source: SourceId, key_id: str, by: By) -> None:
    if not await sources.revoke_key(tx, source, key_id, by.now):
        raise NotFound("the source has no key of this id")
    await audit.record(tx, by.actor, by.now, "source-key.revoked", f"source/{source}", key=key_id)


async def map_agents(
    tx: AsyncConnection, source: SourceId, items: Sequence[tuple[int, AgentMapping]], by: By
) -> tuple[int, int, list[Rejection]]:
    """How many mappings were saved, how many stood so already, and which were refused."""
    # The source's row is locked: overlaps are judged on what two loads at once would both believe to be everything.
    if await sources.lock_source(tx, source) is None:
        raise NotFound("there is no source of this id")
    known = await employees.known(tx, by.provider, {mapping.employee for _, mapping in items})
    stored = await sources.mappings(tx, by.provider, source, {mapping.agent for _, mapping in items})
    saved: dict[tuple[str, object], AgentMapping] = {}
    rejected: list[Rejection] = []
    unchanged = 0
    for index, mapping in items:
        mine = stored.setdefault(mapping.agent, [])
        reason = workforce.mapping_fault(mapping, mine, known)
        if reason is not None:
            rejected.append(Rejection(index, mapping.agent, *reason))
        elif mapping in mine:
            unchanged += 1
        else:
            mine[:] = [found for found in mine if found.valid_from != mapping.valid_from] + [mapping]
            saved[mapping.agent, mapping.valid_from] = mapping
    if saved:
        await sources.save_mappings(tx, by.provider, source, list(saved.values()))
        await audit.record(tx, by.actor, by.now, "source-agents.saved", f"source/{source}", mappings=len(saved))
    return len(items) - unchanged - len(rejected), unchanged, rejected
