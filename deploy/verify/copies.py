"""What every service keeps of people and cycles: the newest state that their owner announced."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from deploy.verify.differences import Findings

_PEOPLE = {
    "ingest": "SELECT provider_id, employee_id, version FROM employees",
    "scoring": "SELECT provider_id, employee, workforce_version FROM employee_heads WHERE workforce_version > 0",
    "calibration": "SELECT provider_id, employee, version FROM employees",
    "compensation": "SELECT provider_id, employee, version FROM employees",
    "notifications": "SELECT provider_id, employee_id, version FROM people",
}
_CYCLES = {
    "scoring": "SELECT provider_id, cycle, version FROM cycles",
    "ingest": "SELECT provider_id, cycle_id, version FROM cycles",
    "calibration": "SELECT provider_id, cycle, version FROM cycles",
    "compensation": "SELECT provider_id, cycle, version FROM cycles",
    "notifications": "SELECT provider_id, cycle_id, version FROM cycles",
}


async def check(connections: Mapping[str, asyncpg.Connection], findings: Findings) -> None:
    for table, queries in (("employees", _PEOPLE), ("cycles", _CYCLES)):
        (_, owner), *others = queries.items()
        owned = await _versions(connections, next(iter(queries)), owner)
        for service, query in others:
            known = await _versions(connections, service, query)
            findings.count("copies", len(known))
            for key in sorted(owned.keys() - known.keys()):
                findings.missing(service, table, key, f"version {owned[key]}")
            for key in sorted(known.keys() - owned.keys()):
                findings.unexpected(service, table, key, f"version {known[key]}")
            for key in sorted(known.keys() & owned.keys()):
                findings.compare(service, table, key, {"version": known[key]}, {"version": owned[key]})


async def _versions(
    connections: Mapping[str, asyncpg.Connection], service: str, query: str
) -> dict[tuple[str, str], int]:
    return {(row[0], row[1]): row[2] for row in await connections[service].fetch(query)}
