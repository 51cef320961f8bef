"""Keep contacts and what people wish to get by mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Contact, Kind
from services.notifications.store import contacts
from shared import audit
from shared.contracts.ids import EmployeeId, ProviderId
from shared.errors import NotFound
from shared.versions import Precondition


@dataclass(frozen=True, slots=True)
class Loaded:
    created: int
    changed: int
    unchanged: int


async def put(
    tx: AsyncConnection, provider: ProviderId, contact: Contact, if_match: Precondition, *, by: str, now: datetime
) -> tuple[Contact, bool]:
    """Create, or change what the caller has read; the same again is no change. What stands, and whether it is new."""
    current = await contacts.find(tx, contact.employee, lock=True)
    changes = current is None or replace(current, version=0) != contact
    if_match.check(current.version if current else 0, changes=changes)
    saved = await contacts.save(tx, provider, [contact], now)
    if not saved:
        found = current or await contacts.find(tx, contact.employee, lock=True)
        if found is None:
            raise NotFound("the contact was deleted meanwhile")
        return found, False
    if current is None:  # somebody else may have created it since: judged as though it had been there
        if_match.check(saved[0].version - 1)
    await audit.record(tx, by, now, "contact.saved", f"contact/{contact.employee}")
    return saved[0], current is None


async def load(
    tx: AsyncConnection, provider: ProviderId, given: Sequence[Contact], *, by: str, now: datetime
) -> Loaded:
    """Create or replace many at once, whatever versions there are."""
    saved = await contacts.save(tx, provider, sorted(given, key=lambda contact: contact.employee), now)
    created = sum(contact.version == 1 for contact in saved)
    loaded = Loaded(created, len(saved) - created, len(given) - len(saved))
    if saved:
        await audit.record(tx, by, now, "contacts.loaded", "contacts", created=created, changed=loaded.changed)
    return loaded


async def delete(
    tx: AsyncConnection, provider: ProviderId, employee: EmployeeId, if_match: Precondition, *, by: str, now: datetime
) -> None:
    current = await contacts.find(tx, employee, lock=True)
    if current is None:
        raise NotFound("there is no such contact")
    if_match.check(current.version)
    await contacts.delete(tx, provider, employee)
    await audit.record(tx, by, now, "contact.deleted", f"contact/{employee}")


async def put_preferences(
    tx: AsyncConnection, provider: ProviderId, employee: EmployeeId, off: frozenset[Kind], if_match: Precondition
) -> int:
    """State which kinds come without mail; the same again is no change. The version that stands."""
    current, version = await contacts.email_off(tx, employee, lock=True)
    if_match.check(version, changes=off != current)
    if version and off == current:
        return version
    saved = await contacts.save_email_off(tx, provider, employee, off, version)
    if saved is None:  # the first were put since: judged as though they had been there
        return await put_preferences(tx, provider, employee, off, if_match)
    return saved
