"""The audit chain: per provider, every entry carries the hash of the one before.

The hash of an entry is SHA-256 over the UTF-8 bytes of this JSON object, keys sorted, separators `,` and `:`, non-ASCII
characters unescaped:

    {"action", "actor", "at", "detail", "object", "outcome", "previous", "provider", "sequence", "trace_id"}

`at` is UTC as `2026-01-31T09:30:00.000000Z`; `detail` is the stored text itself, not the object in it; `previous` is
the predecessor's hash in lower-case hex, 64 zeros for the first; `sequence` counts from 1; `trace_id` may be null.
Whoever exports the rows can recompute the chain without this program; the head row says how long it must be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.messaging.schema import PROVIDER_SETTING

_FIRST = bytes(32)


@dataclass(frozen=True, slots=True)
class Verification:
    entries: int
    first_broken: int | None
    """The lowest sequence whose entry was changed, removed or put in afterwards; `None` when the chain holds."""


def _canonical(value: Mapping[str, str | int | None]) -> str:
    return json.dumps(dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hash(
    sequence: int, previous: bytes, provider: str, at: datetime, texts: Mapping[str, str], trace_id: str | None
) -> bytes:
    entry: dict[str, str | int | None] = {
        **texts,
        "provider": provider,
        "sequence": sequence,
        "at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "trace_id": trace_id,
        "previous": previous.hex(),
    }
    return hashlib.sha256(_canonical(entry).encode()).digest()


# The no-op update locks the head and reads its newest value in one statement, whether or not it existed. A transaction
# that no provider has entered has no chain: row security refuses the null.
_LOCK_HEAD = text(f"""
    INSERT INTO audit_heads (provider_id, sequence, hash)
    VALUES (nullif(current_setting('{PROVIDER_SETTING}'), ''), 0, :first)
    ON CONFLICT (provider_id) DO UPDATE SET sequence = audit_heads.sequence
    RETURNING provider_id, sequence, hash
""")  # noqa: S608 - only our own setting's name is put in
_APPEND = text("""
    WITH head AS (UPDATE audit_heads SET sequence = :sequence, hash = :hash WHERE provider_id = :provider)
    INSERT INTO audit_entries
        (provider_id, sequence, at, actor, action, object, outcome, detail, trace_id, previous_hash, hash)
    VALUES (:provider, :sequence, :at, :actor, :action, :object, :outcome, :detail, :trace_id, :previous, :hash)
""")


async def record(
    tx: AsyncConnection,
    by: str,
    now: datetime,
    action: str,
    subject: str,
    outcome: Literal["done", "refused"] = "done",
    /,
    **detail: str | int | None,
) -> None:
    """Append to the chain of the provider to whom `tx` is confined, if and only if `tx` commits.

    `by` is a principal's subject, or the name of what acts without one. `action` reads `session.published`, `subject`
    `session/01…`; no personal data in either. Call it last: from here to the commit every other audited action of this
    provider waits.
    """
    head = (await tx.execute(_LOCK_HEAD, {"first": _FIRST})).one()
    sequence, previous = head.sequence + 1, bytes(head.hash)
    trace_id = telemetry.current_trace_id()
    texts = {
        "actor": by,
        "action": action,
        "object": subject,
        "outcome": outcome,
        "detail": _canonical(detail),
    }
    await tx.execute(
        _APPEND,
        {
            **texts,
            "provider": head.provider_id,
            "sequence": sequence,
            "at": now,
            "trace_id": trace_id,
            "previous": previous,
            "hash": _hash(sequence, previous, head.provider_id, now, texts, trace_id),
        },
    )


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry as it is stored."""

    provider: str
    sequence: int
    at: datetime
    actor: str
    action: str
    object: str
    outcome: str
    detail: str
    trace_id: str | None
    previous_hash: bytes
    hash: bytes

    def intact(self) -> bool:
        texts = {name: getattr(self, name) for name in ("actor", "action", "object", "outcome", "detail")}
        return self.hash == _hash(self.sequence, self.previous_hash, self.provider, self.at, texts, self.trace_id)


_COLUMNS = "provider_id, sequence, at, actor, action, object, outcome, detail, trace_id, previous_hash, hash"
_NEWEST = text(f"""
    SELECT {_COLUMNS} FROM audit_entries
    WHERE sequence < coalesce(CAST(:before AS bigint), 9223372036854775807)
      AND action = coalesce(CAST(:action AS text), action) AND actor = coalesce(CAST(:actor AS text), actor)
    ORDER BY sequence DESC LIMIT :limit
""")  # noqa: S608 - only our own column list is put in
_CHAIN = text(f"SELECT {_COLUMNS} FROM audit_entries ORDER BY sequence")  # noqa: S608 - as above
_HEAD = text("SELECT sequence, hash FROM audit_heads")


async def newest(
    tx: AsyncConnection, *, before: int | None, action: str | None, actor: str | None, limit: int
) -> list[Recorded]:
    """Entries of the transaction's provider, the newest first, below sequence `before`."""
    filters = {"before": before, "action": action, "actor": actor, "limit": limit}
    return [Recorded(*row) for row in await tx.execute(_NEWEST, filters)]


async def _chain(tx: AsyncConnection) -> AsyncIterator[Recorded]:
    rows = await tx.stream(_CHAIN)
    async for row in rows:
        yield Recorded(*row)


async def verify(tx: AsyncConnection) -> Verification:
    """Recompute the whole chain of the transaction's provider and hold it against its head."""
    head = (await tx.execute(_HEAD)).one_or_none()
    announced, newest_hash = (head.sequence, bytes(head.hash)) if head else (0, _FIRST)
    entries, previous = 0, _FIRST
    async for entry in _chain(tx):
        expected = entries + 1
        if entry.sequence != expected or entry.previous_hash != previous or not entry.intact():
            return Verification(entries, expected)
        entries, previous = expected, entry.hash
    if entries != announced or previous != newest_hash:
        # Cut off at the end, or extended without the head: the first entry that should be there, or should not.
        return Verification(entries, min(entries, announced) + 1)
    return Verification(entries, None)
