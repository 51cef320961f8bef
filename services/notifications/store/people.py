"""What other services say of people and cycles, as far as a notice needs it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.ids import EmployeeId, ProviderId
from shared.contracts.scoring import CycleChanged
from shared.contracts.workforce import EmployeeChanged

# PostgreSQL 18 shows the row as it was: `old` is null where there was none.
_LEARN_PEOPLE = text("""
    INSERT INTO people (provider_id, employee_id, version, display_name, locale)
    SELECT :provider, given.* FROM unnest(
        CAST(:employees AS text[]), CAST(:versions AS integer[]), CAST(:names AS text[]), CAST(:locales AS text[])
    ) AS given (employee_id, version, display_name, locale)
    ORDER BY given.employee_id
    ON CONFLICT (provider_id, employee_id) DO UPDATE
    SET version = excluded.version, display_name = excluded.display_name, locale = excluded.locale
    WHERE people.version < excluded.version
    RETURNING new.employee_id, old.version IS NULL AS is_new
""")
_DROP_ASSIGNMENTS = text("""
    DELETE FROM assignments WHERE provider_id = :provider AND employee_id = ANY(CAST(:employees AS text[]))
""")
_SAVE_ASSIGNMENTS = text("""
    INSERT INTO assignments (provider_id, employee_id, valid_from, valid_to, unit, manager, time_zone)
    SELECT :provider, given.* FROM unnest(
        CAST(:employees AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]), CAST(:units AS text[]),
        CAST(:managers AS text[]), CAST(:zones AS text[])
    ) AS given
""")
_LEARN_CYCLES = text("""
    INSERT INTO cycles (provider_id, cycle_id, version, name)
    SELECT :provider, given.* FROM unnest(
        CAST(:cycles AS text[]), CAST(:versions AS integer[]), CAST(:names AS text[])
    ) AS given (cycle_id, version, name)
    ORDER BY given.cycle_id
    ON CONFLICT (provider_id, cycle_id) DO UPDATE SET version = excluded.version, name = excluded.name
    WHERE cycles.version < excluded.version
""")


async def learn_people(
    tx: AsyncConnection, provider: ProviderId, people: Collection[EmployeeChanged]
) -> tuple[set[EmployeeId], set[EmployeeId]]:
    """Keep newer states, one per person; who changed, and who of them was not known before."""
    rows = await tx.execute(
        _LEARN_PEOPLE,
        {
            "provider": provider,
            "employees": [person.employee for person in people],
            "versions": [person.version for person in people],
            "names": [person.display_name for person in people],
            "locales": [person.locale for person in people],
        },
    )
    found = {EmployeeId(row.employee_id): row.is_new for row in rows}
    return set(found), {employee for employee, is_new in found.items() if is_new}


async def replace_assignments(tx: AsyncConnection, provider: ProviderId, people: Iterable[EmployeeChanged]) -> None:
    given = list(people)
    dated = [(person.employee, assignment) for person in given for assignment in person.assignments]
    await tx.execute(_DROP_ASSIGNMENTS, {"provider": provider, "employees": [person.employee for person in given]})
    await tx.execute(
        _SAVE_ASSIGNMENTS,
        {
            "provider": provider,
            "employees": [employee for employee, _ in dated],
            "starts": [assignment.valid_from for _, assignment in dated],
            "ends": [assignment.valid_to for _, assignment in dated],
            "units": [assignment.unit for _, assignment in dated],
            "managers": [assignment.manager for _, assignment in dated],
            "zones": [assignment.time_zone for _, assignment in dated],
        },
    )


async def learn_cycles(tx: AsyncConnection, provider: ProviderId, cycles: Collection[CycleChanged]) -> None:
    await tx.execute(
        _LEARN_CYCLES,
        {
            "provider": provider,
            "cycles": [cycle.cycle for cycle in cycles],
            "versions": [cycle.version for cycle in cycles],
            "names": [cycle.name for cycle in cycles],
        },
    )
