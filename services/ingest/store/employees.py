"""People with their dated assignments and absences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Absence, Assignment, Employee, Kept
from services.ingest.tables import absences, assignments, employees
from shared.contracts.ids import ClientId, EmployeeId, LineOfBusiness, ProviderId
from shared.keyset import keyset

_LOCK = text("""
    SELECT version FROM employees WHERE provider_id = :provider AND employee_id = :employee FOR UPDATE
""")
# Rows come in the order of their ids: two loads that share people wait for one another instead of forever.
_SAVE = text("""
    INSERT INTO employees (provider_id, employee_id, display_name, country, locale, content_hash)
    SELECT :provider, id, display_name, country, locale, hash
    FROM unnest(CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:countries AS text[]), CAST(:locales AS text[]),
                CAST(:hashes AS bytea[])) AS person (id, display_name, country, locale, hash)
    ON CONFLICT (provider_id, employee_id) DO UPDATE
    SET display_name = excluded.display_name, country = excluded.country, locale = excluded.locale,
        content_hash = excluded.content_hash, version = employees.version + 1
    WHERE employees.content_hash <> excluded.content_hash
    RETURNING employee_id, version
""")
_CLEAR_ASSIGNMENTS = text("DELETE FROM assignments WHERE provider_id = :provider AND employee_id = ANY(:ids)")
_CLEAR_ABSENCES = text("DELETE FROM absences WHERE provider_id = :provider AND employee_id = ANY(:ids)")
_ASSIGN = text("""
    INSERT INTO assignments (provider_id, employee_id, valid_from, valid_to, role, grade, unit, manager, client_id,
                             line_of_business, site, time_zone)
    SELECT :provider, *
    FROM unnest(CAST(:ids AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]), CAST(:roles AS text[]),
                CAST(:grades AS text[]), CAST(:units AS text[]), CAST(:managers AS text[]), CAST(:clients AS text[]),
                CAST(:lines AS text[]), CAST(:sites AS text[]), CAST(:zones AS text[]))
""")
_EXCUSE = text("""
    INSERT INTO absences (provider_id, employee_id, starts_on, ends_on)
    SELECT :provider, * FROM unnest(CAST(:ids AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]))
""")


async def lock(tx: AsyncConnection, provider: ProviderId, employee: EmployeeId) -> int | None:
    """The person's version, which nobody else changes until the transaction ends."""
    version: int | None = await tx.scalar(_LOCK, {"provider": provider, "employee": employee})
    return version


async def save(
    tx: AsyncConnection, provider: ProviderId, people: Sequence[Employee], hashes: Mapping[EmployeeId, bytes]
) -> dict[EmployeeId, int]:
    """Save whole states; the new version of everybody who changed, locked until the transaction ends."""
    ordered = sorted(people, key=lambda person: person.id)
    rows = await tx.execute(
        _SAVE,
        {
            "provider": provider,
            "ids": [person.id for person in ordered],
            "names": [person.display_name for person in ordered],
            "countries": [person.country for person in ordered],
            "locales": [person.locale for person in ordered],
            "hashes": [hashes[person.id] for person in ordered],
        },
    )
    versions = {EmployeeId(row.employee_id): row.version for row in rows}
    if versions:
        await _save_days(tx, provider, [person for person in ordered if person.id in versions])
    return versions


async def _save_days(tx: AsyncConnection, provider: ProviderId, people: Sequence[Employee]) -> None:
    everybody = {"provider": provider, "ids": [person.id for person in people]}
    await tx.execute(_CLEAR_ASSIGNMENTS, everybody)
    await tx.execute(_CLEAR_ABSENCES, everybody)
    assigned = [(person.id, found) for person in people for found in person.assignments]
    absent = [(person.id, found) for person in people for found in person.absences]
    await tx.execute(
        _ASSIGN,
        {
            "provider": provider,
            "ids": [employee for employee, _ in assigned],
            "starts": [found.valid_from for _, found in assigned],
            "ends": [found.valid_to for _, found in assigned],
            "roles": [found.role for _, found in assigned],
            "grades": [found.grade for _, found in assigned],
            "units": [found.unit for _, found in assigned],
            "managers": [found.manager for _, found in assigned],
            "clients": [found.client for _, found in assigned],
            "lines": [found.line_of_business for _, found in assigned],
            "sites": [found.site for _, found in assigned],
            "zones": [found.time_zone for _, found in assigned],
        },
    )
    if absent:
        starts, ends = [found.starts_on for _, found in absent], [found.ends_on for _, found in absent]
        ids = [employee for employee, _ in absent]
        await tx.execute(_EXCUSE, {"provider": provider, "ids": ids, "starts": starts, "ends": ends})


_KNOWN = text("SELECT employee_id FROM employees WHERE provider_id = :provider AND employee_id = ANY(:ids)")


async def known(tx: AsyncConnection, provider: ProviderId, wanted: Collection[EmployeeId]) -> set[EmployeeId]:
    return {EmployeeId(found) for found in await tx.scalars(_KNOWN, {"provider": provider, "ids": list(wanted)})}


def _assignment(row: Row[tuple[object, ...]]) -> Assignment:
    place = (ClientId(row.client_id), LineOfBusiness(row.line_of_business), row.site, row.time_zone)
    return Assignment(row.valid_from, row.valid_to, row.role, row.grade, row.unit, row.manager, *place)


async def assignments_of(
    tx: AsyncConnection, provider: ProviderId, people: Collection[EmployeeId]
) -> dict[EmployeeId, list[Assignment]]:
    """In order of date; everybody of `people` who is known, even without any."""
    found: dict[EmployeeId, list[Assignment]] = {employee: [] for employee in await known(tx, provider, people)}
    chosen = select(assignments).where(assignments.c.provider_id == provider, assignments.c.employee_id.in_(found))
    for row in await tx.execute(chosen.order_by(assignments.c.employee_id, assignments.c.valid_from)):
        found[EmployeeId(row.employee_id)].append(_assignment(row))
    return found


async def one(tx: AsyncConnection, employee: EmployeeId) -> Kept[Employee] | None:
    rows = (await tx.execute(select(employees).where(employees.c.employee_id == employee))).all()
    return (await _whole(tx, rows))[0] if rows else None


async def page(tx: AsyncConnection, after: tuple[object, ...] | None, fetch: int) -> list[Kept[Employee]]:
    rows = (await tx.execute(keyset(select(employees), (employees.c.employee_id,), after, fetch))).all()
    return await _whole(tx, rows)


async def _whole(tx: AsyncConnection, rows: Sequence[Row[tuple[object, ...]]]) -> list[Kept[Employee]]:
    ids = [row.employee_id for row in rows]
    assigned: dict[str, list[Assignment]] = defaultdict(list)
    absent: dict[str, list[Absence]] = defaultdict(list)
    for row in await tx.execute(
        select(assignments).where(assignments.c.employee_id.in_(ids)).order_by(assignments.c.valid_from)
    ):
        assigned[row.employee_id].append(_assignment(row))
    for row in await tx.execute(select(absences).where(absences.c.employee_id.in_(ids)).order_by(absences.c.starts_on)):
        absent[row.employee_id].append(Absence(row.starts_on, row.ends_on))
    return [
        Kept(
            Employee(
                EmployeeId(row.employee_id),
                row.display_name,
                row.country,
                row.locale,
                tuple(assigned[row.employee_id]),
                tuple(absent[row.employee_id]),
            ),
            row.version,
        )
        for row in rows
    ]
