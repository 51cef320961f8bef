"""Pay, ranges and rates: the reference data that people edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pydantic import TypeAdapter
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.compensation.model.award import PayEntry, PayRange, Rate
from shared.contracts.ids import EmployeeId, ProviderId

ENTRIES = TypeAdapter(tuple[PayEntry, ...])


@dataclass(frozen=True, slots=True)
class Pay:
    employee: EmployeeId
    version: int
    entries: tuple[PayEntry, ...]


_PAY = text("SELECT employee, version, CAST(entries AS text) AS entries FROM pay WHERE employee = :employee")
_LOCK_PAY = text(
    "SELECT employee, version, CAST(entries AS text) AS entries FROM pay WHERE employee = :employee FOR UPDATE"
)
# Entries that are the same as before change no version, so that a load that is sent again is no edit.
_SAVE_PAY = text("""
    INSERT INTO pay (provider_id, employee, version, entries, changed_at, changed_by)
    SELECT :provider, employee, 1, entries, :now, :by
    FROM unnest(CAST(:employees AS text[]), CAST(:entries AS jsonb[])) AS given (employee, entries)
    ORDER BY employee
    ON CONFLICT (provider_id, employee) DO UPDATE
    SET version = pay.version + 1, entries = excluded.entries, changed_at = excluded.changed_at,
        changed_by = excluded.changed_by
    WHERE pay.entries <> excluded.entries
    RETURNING employee
""")


async def pay(tx: AsyncConnection, employee: EmployeeId, *, lock: bool = False) -> Pay | None:
    row = (await tx.execute(_LOCK_PAY if lock else _PAY, {"employee": employee})).one_or_none()
    return Pay(row.employee, row.version, ENTRIES.validate_json(row.entries)) if row else None


async def save_pay(
    tx: AsyncConnection,
    provider: ProviderId,
    people: Sequence[tuple[EmployeeId, Sequence[PayEntry]]],
    now: datetime,
    by: str,
) -> list[EmployeeId]:
    """Replace the entries of each person; the people whose pay is another than before."""
    values = {
        "provider": provider,
        "employees": [employee for employee, _ in people],
        "entries": [ENTRIES.dump_json(tuple(entries)).decode() for _, entries in people],
        "now": now,
        "by": by,
    }
    return [EmployeeId(found) for found in await tx.scalars(_SAVE_PAY, values)]


@dataclass(frozen=True, slots=True)
class NamedRange:
    id: str
    version: int
    pay_range: PayRange


_RANGE_COLUMNS = "pay_range, version, grade, currency, minimum, midpoint, maximum, valid_from"
_RANGE = text(f"SELECT {_RANGE_COLUMNS} FROM pay_ranges WHERE pay_range = :id")  # noqa: S608 - own columns
_LOCK_RANGE = text(f"SELECT {_RANGE_COLUMNS} FROM pay_ranges WHERE pay_range = :id FOR UPDATE")  # noqa: S608 - own columns
_RANGES = text(f"""
    SELECT {_RANGE_COLUMNS} FROM pay_ranges
    WHERE grade = coalesce(CAST(:grade AS text), grade) AND pay_range > coalesce(CAST(:after AS text), '')
    ORDER BY pay_range LIMIT :limit
""")  # noqa: S608 - own columns
_SAVE_RANGE = text("""
    INSERT INTO pay_ranges (provider_id, pay_range, version, grade, currency, minimum, midpoint, maximum, valid_from)
    VALUES (:provider, :id, 1, :grade, :currency, :minimum, :midpoint, :maximum, :valid_from)
    ON CONFLICT (provider_id, pay_range) DO UPDATE
    SET version = pay_ranges.version + 1, grade = excluded.grade, currency = excluded.currency,
        minimum = excluded.minimum, midpoint = excluded.midpoint, maximum = excluded.maximum,
        valid_from = excluded.valid_from
    RETURNING version
""")
_TAKEN = text("""
    SELECT pay_range FROM pay_ranges
    WHERE grade = :grade AND currency = :currency AND valid_from = :valid_from AND pay_range <> :id
""")


def _range(row: Row[tuple[str, int, str, str, int, int, int, date]]) -> NamedRange:
    found = PayRange(row.grade, row.currency, row.minimum, row.midpoint, row.maximum, row.valid_from)
    return NamedRange(row.pay_range, row.version, found)


async def pay_range(tx: AsyncConnection, id_: str, *, lock: bool = False) -> NamedRange | None:
    row = (await tx.execute(_LOCK_RANGE if lock else _RANGE, {"id": id_})).one_or_none()
    return _range(row) if row else None


async def ranges(tx: AsyncConnection, grade: str | None, after: str | None, limit: int) -> list[NamedRange]:
    rows = await tx.execute(_RANGES, {"grade": grade, "after": after, "limit": limit})
    return [_range(row) for row in rows]


async def range_in_the_way(tx: AsyncConnection, id_: str, pay_range: PayRange) -> str | None:
    """Another range of the same grade, currency and first day."""
    values = {"grade": pay_range.grade, "currency": pay_range.currency, "valid_from": pay_range.valid_from, "id": id_}
    found: str | None = await tx.scalar(_TAKEN, values)
    return found


async def save_range(tx: AsyncConnection, provider: ProviderId, id_: str, pay_range: PayRange) -> NamedRange:
    values = {
        "provider": provider,
        "id": id_,
        "grade": pay_range.grade,
        "currency": pay_range.currency,
        "minimum": pay_range.minimum,
        "midpoint": pay_range.midpoint,
        "maximum": pay_range.maximum,
        "valid_from": pay_range.valid_from,
    }
    return NamedRange(id_, int(await tx.scalar(_SAVE_RANGE, values) or 0), pay_range)


_SAVE_RATES = text("""
    INSERT INTO exchange_rates (provider_id, source, target, on_day, rate)
    SELECT :provider, given.*
    FROM unnest(CAST(:sources AS text[]), CAST(:targets AS text[]), CAST(:days AS date[]), CAST(:rates AS numeric[]))
         AS given (source, target, on_day, rate)
    ORDER BY source, target, on_day
    ON CONFLICT (provider_id, source, target, on_day) DO UPDATE SET rate = excluded.rate
    WHERE exchange_rates.rate <> excluded.rate
    RETURNING source
""")
_RATES = text("""
    SELECT on_day, source, target, rate FROM exchange_rates
    WHERE source = coalesce(CAST(:source AS text), source) AND target = coalesce(CAST(:target AS text), target)
      AND (source, target, on_day) > (coalesce(CAST(:after_source AS text), ''),
                                      coalesce(CAST(:after_target AS text), ''),
                                      coalesce(CAST(:after_day AS date), '-infinity'))
    ORDER BY source, target, on_day LIMIT :limit
""")


async def save_rates(tx: AsyncConnection, provider: ProviderId, rates: Sequence[Rate]) -> int:
    """How many rates are new or another than before."""
    values = {
        "provider": provider,
        "sources": [rate.source for rate in rates],
        "targets": [rate.target for rate in rates],
        "days": [rate.on for rate in rates],
        "rates": [rate.rate for rate in rates],
    }
    return len((await tx.execute(_SAVE_RATES, values)).all())


async def rates(
    tx: AsyncConnection, source: str | None, target: str | None, after: tuple[str, str, date] | None, limit: int
) -> list[Rate]:
    after_source, after_target, after_day = after or (None, None, None)
    values = {
        "source": source,
        "target": target,
        "after_source": after_source,
        "after_target": after_target,
        "after_day": after_day,
        "limit": limit,
    }
    return [Rate(*row) for row in await tx.execute(_RATES, values)]
