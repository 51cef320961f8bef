"""Who works where and when, and who may look at whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.people import Assignment, Person, Placement
from shared.contracts.ids import ProviderId

# One statement takes each person's lock and tells which of the states are news, whatever a concurrent batch did.
_LEARN_VERSIONS = text("""
    INSERT INTO employee_heads AS head (provider_id, employee, workforce_version)
    SELECT :provider, employee, version
    FROM unnest(CAST(:employees AS text[]), CAST(:versions AS integer[])) AS new (employee, version)
    ORDER BY employee
    ON CONFLICT (provider_id, employee) DO UPDATE SET workforce_version = excluded.workforce_version
    WHERE head.workforce_version < excluded.workforce_version
    RETURNING employee
""")
_FORGET_ASSIGNMENTS = text(
    "DELETE FROM assignments WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[]))"
)
_FORGET_ABSENCES = text(
    "DELETE FROM absences WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[]))"
)
_INSERT_ASSIGNMENTS = text("""
    INSERT INTO assignments (provider_id, employee, valid_from, valid_to, role, grade, unit, manager, client,
                             line_of_business, site)
    SELECT :provider, row.*
    FROM unnest(CAST(:employees AS text[]), CAST(:valid_from AS date[]), CAST(:valid_to AS date[]),
                CAST(:roles AS text[]), CAST(:grades AS text[]), CAST(:units AS text[]), CAST(:managers AS text[]),
                CAST(:clients AS text[]), CAST(:lines AS text[]), CAST(:sites AS text[])) AS row
""")
_INSERT_ABSENCES = text("""
    INSERT INTO absences (provider_id, employee, starts_on, ends_on)
    SELECT :provider, row.*
    FROM unnest(CAST(:employees AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[])) AS row
    ON CONFLICT DO NOTHING
""")
_ASSIGNMENTS = text("""
    SELECT employee, valid_from, valid_to, role, grade, unit, manager, client, line_of_business, site
    FROM assignments WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[]))
    ORDER BY employee, valid_from
""")
_ABSENCES = text("""
    SELECT employee, starts_on, ends_on FROM absences
    WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[]))
    ORDER BY employee, starts_on, ends_on
""")
_INSIDE = text("""
    SELECT DISTINCT employee FROM assignments
    WHERE provider_id = :provider AND employee > :after AND valid_from <= :ends_on
      AND coalesce(valid_to, 'infinity') >= :starts_on
    ORDER BY employee LIMIT :limit
""")
# UNION, not UNION ALL: a circle of managers must end.
_MANAGED_BY = text("""
    WITH RECURSIVE above (employee) AS (
        SELECT CAST(:employee AS text)
        UNION
        SELECT place.manager FROM above JOIN assignments AS place
            ON place.provider_id = :provider AND place.employee = above.employee AND place.manager IS NOT NULL
           AND :day BETWEEN place.valid_from AND coalesce(place.valid_to, 'infinity')
    )
    SELECT EXISTS (SELECT FROM above WHERE employee = :manager) AND :manager <> :employee
""")


async def learn_versions(tx: AsyncConnection, provider: ProviderId, versions: Mapping[str, int]) -> set[str]:
    """Lock the people and note their states' versions; those whose state is newer than the one that was known."""
    names = sorted(versions)
    values = {"provider": provider, "employees": names, "versions": [versions[name] for name in names]}
    return set((await tx.execute(_LEARN_VERSIONS, values)).scalars())


async def replace(tx: AsyncConnection, provider: ProviderId, people: Mapping[str, Person]) -> None:
    """Put these states in the place of whatever was known of these people."""
    whose = {"provider": provider, "employees": sorted(people)}
    await tx.execute(_FORGET_ASSIGNMENTS, whose)
    await tx.execute(_FORGET_ABSENCES, whose)
    stays = [(name, stay) for name in sorted(people) for stay in people[name].assignments]
    places = [stay.place for _, stay in stays]
    assignments = {
        "provider": provider,
        "employees": [name for name, _ in stays],
        "valid_from": [stay.valid_from for _, stay in stays],
        "valid_to": [stay.valid_to for _, stay in stays],
        "roles": [place.role for place in places],
        "grades": [place.grade for place in places],
        "units": [place.unit for place in places],
        "managers": [place.manager for place in places],
        "clients": [place.client for place in places],
        "lines": [place.line_of_business for place in places],
        "sites": [place.site for place in places],
    }
    await tx.execute(_INSERT_ASSIGNMENTS, assignments)
    leaves = [(name, *days) for name in sorted(people) for days in people[name].absences]
    absences = {
        "provider": provider,
        "employees": [name for name, _, _ in leaves],
        "starts": [starts_on for _, starts_on, _ in leaves],
        "ends": [ends_on for _, _, ends_on in leaves],
    }
    await tx.execute(_INSERT_ABSENCES, absences)


async def people(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str]) -> dict[str, Person]:
    whose = {"provider": provider, "employees": sorted(employees)}
    assignments: dict[str, list[Assignment]] = defaultdict(list)
    for employee, valid_from, valid_to, *place in await tx.execute(_ASSIGNMENTS, whose):
        assignments[employee].append(Assignment(valid_from, valid_to, Placement(*place)))
    absences: dict[str, list[tuple[date, date]]] = defaultdict(list)
    for employee, starts_on, ends_on in await tx.execute(_ABSENCES, whose):
        absences[employee].append((starts_on, ends_on))
    return {name: Person(tuple(found), tuple(absences[name])) for name, found in assignments.items()}


async def assigned_between(
    tx: AsyncConnection, provider: ProviderId, starts_on: date, ends_on: date, *, after: str, limit: int
) -> list[str]:
    """The next people behind `after` with an assignment on any of the days."""
    values = {"provider": provider, "starts_on": starts_on, "ends_on": ends_on, "after": after, "limit": limit}
    return list((await tx.execute(_INSIDE, values)).scalars())


async def reports_to(tx: AsyncConnection, provider: ProviderId, employee: str, manager: str, day: date) -> bool:
    """Whether `manager` stands anywhere above `employee` on that day; nobody stands above themselves."""
    values = {"provider": provider, "employee": employee, "manager": manager, "day": day}
    return bool((await tx.execute(_MANAGED_BY, values)).scalar_one())
