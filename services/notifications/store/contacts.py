"""Contacts and preferences. Mail addresses are read here and by `store.deliveries`, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Contact, ContactRole, Kind
from shared.contracts.ids import EmployeeId, ProviderId

_COLUMNS = "employee_id, email, roles, locale, version"
_ONE = f"SELECT {_COLUMNS} FROM contacts WHERE employee_id = :employee"  # noqa: S608 - own columns
_READ = text(_ONE)
_LOCK = text(f"{_ONE} FOR UPDATE")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM contacts
    WHERE (CAST(:role AS text) IS NULL OR roles @> ARRAY[CAST(:role AS text)])
      AND employee_id > coalesce(CAST(:after AS text), '')
    ORDER BY employee_id LIMIT :fetch
""")  # noqa: S608 - own columns
_SAVE = text("""
    INSERT INTO contacts (provider_id, employee_id, email, roles, locale, since)
    SELECT :provider, given.employee_id, given.email, string_to_array(given.roles, ','), given.locale, :now
    FROM unnest(
        CAST(:employees AS text[]), CAST(:emails AS text[]), CAST(:roles AS text[]), CAST(:locales AS text[])
    ) AS given (employee_id, email, roles, locale)
    ORDER BY given.employee_id
    ON CONFLICT (provider_id, employee_id) DO UPDATE
    SET email = excluded.email, roles = excluded.roles, locale = excluded.locale, version = contacts.version + 1
    WHERE (contacts.email, contacts.roles, contacts.locale)
          IS DISTINCT FROM (excluded.email, excluded.roles, excluded.locale)
    RETURNING new.employee_id, new.email, new.roles, new.locale, new.version
""")
_DELETE = text("DELETE FROM contacts WHERE provider_id = :provider AND employee_id = :employee")

_PREFERENCES = "SELECT email_off, version FROM preferences WHERE employee_id = :employee"
_READ_PREFERENCES = text(_PREFERENCES)
_LOCK_PREFERENCES = text(f"{_PREFERENCES} FOR UPDATE")
# Two first PUTs at once: the second waits for the first here and is then refused by its version.
_SAVE_PREFERENCES = text("""
    INSERT INTO preferences (provider_id, employee_id, email_off) VALUES (:provider, :employee, :email_off)
    ON CONFLICT (provider_id, employee_id) DO UPDATE
    SET email_off = excluded.email_off, version = preferences.version + 1 WHERE preferences.version = :version
    RETURNING version
""")


def _contact(row: Row[tuple[str, str, list[str], str | None, int]]) -> Contact:
    return Contact(row.employee_id, row.email, tuple(ContactRole(role) for role in row.roles), row.locale, row.version)


async def find(tx: AsyncConnection, employee: EmployeeId, *, lock: bool = False) -> Contact | None:
    row = (await tx.execute(_LOCK if lock else _READ, {"employee": employee})).one_or_none()
    return None if row is None else _contact(row)


async def page(tx: AsyncConnection, role: ContactRole | None, after: str | None, fetch: int) -> list[Contact]:
    return [_contact(row) for row in await tx.execute(_LIST, {"role": role, "after": after, "fetch": fetch})]


async def save(tx: AsyncConnection, provider: ProviderId, contacts: Sequence[Contact], now: datetime) -> list[Contact]:
    """Create or replace; only what really changed gets a new version and is returned."""
    rows = await tx.execute(
        _SAVE,
        {
            "provider": provider,
            "now": now,
            "employees": [contact.employee for contact in contacts],
            "emails": [contact.email for contact in contacts],
            "roles": [",".join(contact.roles) for contact in contacts],
            "locales": [contact.locale for contact in contacts],
        },
    )
    return [_contact(row) for row in rows]


async def delete(tx: AsyncConnection, provider: ProviderId, employee: EmployeeId) -> None:
    await tx.execute(_DELETE, {"provider": provider, "employee": employee})


async def email_off(tx: AsyncConnection, employee: EmployeeId, *, lock: bool = False) -> tuple[frozenset[Kind], int]:
    """The kinds a person wants no mail of, and the version of that wish; 0 when none was ever stated."""
    row = (await tx.execute(_LOCK_PREFERENCES if lock else _READ_PREFERENCES, {"employee": employee})).one_or_none()
    return (frozenset(), 0) if row is None else (frozenset(Kind(kind) for kind in row.email_off), row.version)


async def save_email_off(
    tx: AsyncConnection, provider: ProviderId, employee: EmployeeId, kinds: frozenset[Kind], version: int
) -> int | None:
    """The new version, or `None` when somebody was faster than whoever read `version`."""
    values = {"provider": provider, "employee": employee, "email_off": sorted(kinds), "version": version}
    saved: int | None = await tx.scalar(_SAVE_PREFERENCES, values)
    return saved
