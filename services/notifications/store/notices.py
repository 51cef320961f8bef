"""Notices, one per cause and recipient, and the requests addressed to a role."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Kind, NewNotice, Notice, NoticeId, RoleRequest
from shared.contracts.ids import EmployeeId, ProviderId

_INSERT = text("""
    INSERT INTO notices (provider_id, cause, recipient, kind, cycle_id, ids, happened_at, created_at)
    SELECT :provider, given.*, :now FROM unnest(
        CAST(:causes AS text[]), CAST(:recipients AS text[]), CAST(:kinds AS text[]), CAST(:cycles AS text[]),
        CAST(CAST(:ids AS text[]) AS jsonb[]), CAST(:happened AS timestamptz[])
    ) AS given (cause, recipient, kind, cycle_id, ids, happened_at)
    ORDER BY given.cause, given.recipient
    ON CONFLICT (provider_id, cause, recipient) DO NOTHING
    RETURNING id
""")
_INSERT_REQUESTS = text("""
    INSERT INTO role_requests (provider_id, cause, role, unit, kind, cycle_id, ids, happened_at, received_at)
    SELECT :provider, given.*, :now FROM unnest(
        CAST(:causes AS text[]), CAST(:roles AS text[]), CAST(:units AS text[]), CAST(:kinds AS text[]),
        CAST(:cycles AS text[]), CAST(CAST(:ids AS text[]) AS jsonb[]), CAST(:happened AS timestamptz[])
    ) AS given (cause, role, unit, kind, cycle_id, ids, happened_at)
    ORDER BY given.cause, given.role, given.unit
    ON CONFLICT (provider_id, cause, role, unit) DO NOTHING
    RETURNING cause
""")
_IN_UNIT = """
    EXISTS (
        SELECT FROM assignments AS place
        WHERE place.provider_id = request.provider_id AND place.unit = request.unit
          AND CAST(request.happened_at AS date) BETWEEN place.valid_from AND coalesce(place.valid_to, 'infinity')
          AND contact.employee_id IN (place.employee_id, place.manager)
"""  # the caller closes the parenthesis
_HOLDERS = """
    SELECT request.cause, contact.employee_id AS recipient, request.kind, request.cycle_id, request.ids,
           request.happened_at
    FROM role_requests AS request
    JOIN contacts AS contact ON contact.provider_id = request.provider_id AND contact.roles @> ARRAY[request.role]
    WHERE request.provider_id = :provider
"""
_ADDRESSED = text(f"""
    {_HOLDERS} AND request.cause = ANY(CAST(:causes AS text[])) AND (request.unit = '' OR {_IN_UNIT}))
""")
# Whoever became a contact after the request is left out: to them it is old.
_ADDRESSED_LATE = text(f"""
    {_HOLDERS} AND request.unit <> '' AND request.received_at > :since AND contact.since <= request.received_at
      AND {_IN_UNIT} AND place.employee_id = ANY(CAST(:employees AS text[])))
""")
_READ = """
    SELECT notice.id, notice.cause, notice.recipient, notice.kind, notice.cycle_id, cycle.name AS cycle_name,
           notice.ids, notice.happened_at, notice.created_at, notice.read_at
    FROM notices AS notice
    LEFT JOIN cycles AS cycle ON cycle.provider_id = notice.provider_id AND cycle.cycle_id = notice.cycle_id
    WHERE notice.provider_id = :provider AND notice.recipient = :recipient
"""
_INBOX = text(f"""
    {_READ} AND (CAST(:unread AS boolean) IS NULL OR (notice.read_at IS NULL) = :unread)
      AND (CAST(:before AS uuid) IS NULL OR notice.id < :before)
    ORDER BY notice.id DESC LIMIT :fetch
""")
_ONE = text(f"{_READ} AND notice.id = :id")
_MARK_READ = text("""
    UPDATE notices SET read_at = :now
    WHERE provider_id = :provider AND recipient = :recipient AND id = :id AND read_at IS NULL
""")
_LANGUAGE = text("""
    SELECT coalesce(contact.locale, person.locale)
    FROM (SELECT CAST(:employee AS text) AS employee_id) AS reader
    LEFT JOIN contacts AS contact ON contact.provider_id = :provider AND contact.employee_id = reader.employee_id
    LEFT JOIN people AS person ON person.provider_id = :provider AND person.employee_id = reader.employee_id
""")


async def insert(
    tx: AsyncConnection, provider: ProviderId, notices: Sequence[NewNotice], now: datetime
) -> list[NoticeId]:
    """The ids of those that are new; all others were given before."""
    rows = await tx.execute(
        _INSERT,
        {
            "provider": provider,
            "now": now,
            "causes": [notice.cause for notice in notices],
            "recipients": [notice.recipient for notice in notices],
            "kinds": [notice.kind for notice in notices],
            "cycles": [notice.cycle for notice in notices],
            "ids": [json.dumps(dict(notice.ids)) for notice in notices],
            "happened": [notice.happened_at for notice in notices],
        },
    )
    return [NoticeId(row.id) for row in rows]


async def insert_requests(
    tx: AsyncConnection, provider: ProviderId, requests: Sequence[RoleRequest], now: datetime
) -> list[str]:
    """The causes of those that are new."""
    rows = await tx.execute(
        _INSERT_REQUESTS,
        {
            "provider": provider,
            "now": now,
            "causes": [request.cause for request in requests],
            "roles": [request.role for request in requests],
            "units": [request.unit or "" for request in requests],
            "kinds": [request.kind for request in requests],
            "cycles": [request.cycle for request in requests],
            "ids": [json.dumps(dict(request.ids)) for request in requests],
            "happened": [request.happened_at for request in requests],
        },
    )
    return [row.cause for row in rows]


async def addressed(tx: AsyncConnection, provider: ProviderId, causes: Collection[str]) -> list[NewNotice]:
    """The notices that requests make to those who hold the role."""
    rows = await tx.execute(_ADDRESSED, {"provider": provider, "causes": sorted(causes)})
    return [_new_notice(row) for row in rows]


async def addressed_late(
    tx: AsyncConnection, provider: ProviderId, employees: Collection[EmployeeId], since: datetime
) -> list[NewNotice]:
    """The notices that requests received after `since` make through people who were unknown until now."""
    values = {"provider": provider, "employees": sorted(employees), "since": since}
    return [_new_notice(row) for row in await tx.execute(_ADDRESSED_LATE, values)]


def _new_notice(row: Row[tuple[str, str, str, str | None, str, datetime]]) -> NewNotice:
    return NewNotice(row.cause, row.recipient, Kind(row.kind), row.cycle_id, row.ids, row.happened_at)


def _notice(
    row: Row[tuple[UUID, str, str, str, str | None, str | None, str, datetime, datetime, datetime | None]],
) -> Notice:
    return Notice(
        id=NoticeId(row.id),
        cause=row.cause,
        recipient=row.recipient,
        kind=Kind(row.kind),
        cycle=row.cycle_id,
        cycle_name=row.cycle_name,
        ids=row.ids,
        happened_at=row.happened_at,
        created_at=row.created_at,
        read_at=row.read_at,
    )


async def inbox(
    tx: AsyncConnection,
    provider: ProviderId,
    recipient: EmployeeId,
    unread: bool | None,
    before: UUID | None,
    fetch: int,
) -> list[Notice]:
    values = {"provider": provider, "recipient": recipient, "unread": unread, "before": before, "fetch": fetch}
    return [_notice(row) for row in await tx.execute(_INBOX, values)]


async def mark_read(
    tx: AsyncConnection, provider: ProviderId, recipient: EmployeeId, notice: NoticeId, now: datetime
) -> Notice | None:
    """The recipient's notice, read now or before; `None` when there is no such notice of theirs."""
    values = {"provider": provider, "recipient": recipient, "id": notice}
    await tx.execute(_MARK_READ, values | {"now": now})
    row = (await tx.execute(_ONE, values)).one_or_none()
    return None if row is None else _notice(row)


async def locale_of(tx: AsyncConnection, provider: ProviderId, employee: EmployeeId) -> str | None:
    found: str | None = await tx.scalar(_LANGUAGE, {"provider": provider, "employee": employee})
    return found
