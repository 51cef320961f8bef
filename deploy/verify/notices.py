"""One notice for each thing that was decided about somebody, and none for anything else."""

from __future__ import annotations

from collections import Counter

import asyncpg

from deploy.verify.differences import Findings

Notice = tuple[str, str, str]
"""Provider, cause and recipient."""


async def check(
    notifications: asyncpg.Connection,
    scoring: asyncpg.Connection,
    calibration: asyncpg.Connection,
    compensation: asyncpg.Connection,
    findings: Findings,
) -> None:
    expected = await _decided(calibration, compensation)
    given: Counter[Notice] = Counter()
    kinds: dict[Notice, str] = {}
    for row in await notifications.fetch("""
        SELECT provider_id, cause, recipient, kind FROM notices
        WHERE cause LIKE 'classification/%' OR cause LIKE 'award/%'
    """):
        notice = (row["provider_id"], row["cause"], row["recipient"])
        given[notice] += 1
        kinds[notice] = row["kind"]
    findings.count("notices", given.total())
    for notice in sorted(expected.keys() - given.keys()):
        findings.missing("notifications", "notices", notice, expected[notice])
    for notice in sorted(given.keys() - expected.keys()):
        findings.unexpected("notifications", "notices", notice, kinds[notice])
    for notice in sorted(given.keys() & expected.keys()):
        told = {"kind": expected[notice], "times": 1}
        findings.compare("notifications", "notices", notice, {"kind": kinds[notice], "times": given[notice]}, told)
    await _check_late(notifications, scoring, findings)


async def _decided(calibration: asyncpg.Connection, compensation: asyncpg.Connection) -> dict[Notice, str]:
    expected: dict[Notice, str] = {}
    for row in await calibration.fetch("SELECT provider_id, cycle, employee, version FROM classifications"):
        provider, cycle, employee, version = row
        kind = "classification-published" if version == 1 else "classification-revised"
        expected[provider, f"classification/{cycle}/{employee}/{version}", employee] = kind
    # An award's version counts its announcements.
    for row in await compensation.fetch("SELECT provider_id, run, employee, version FROM awards"):
        provider, run, employee, versions = row
        for version in range(1, versions + 1):
            kind = "award-decided" if version == 1 else "award-adjusted"
            expected[provider, f"award/{run}/{employee}/{version}", employee] = kind
    return expected


async def _check_late(notifications: asyncpg.Connection, scoring: asyncpg.Connection, findings: Findings) -> None:
    """Of every late scorecard whoever may accept it was told: the request was made once, to whoever held the role."""
    late = {
        (row["provider_id"], f"notice/scorecard-late/scorecard-late/{row['cycle']}/{row['employee']}/{row['version']}")
        for row in await scoring.fetch(
            "SELECT provider_id, cycle, employee, version FROM scorecard_versions WHERE status = 'late'"
        )
    }
    asked = Counter(
        (row["provider_id"], row["cause"])
        for row in await notifications.fetch(
            "SELECT provider_id, cause FROM role_requests WHERE kind = 'scorecard-late'"
        )
    )
    findings.count("notices", asked.total())
    for request in sorted(late - asked.keys()):
        findings.missing("notifications", "role_requests", request)
    for request in sorted(asked.keys() - late):
        findings.unexpected("notifications", "role_requests", request)
    for request, times in sorted(asked.items()):
        findings.compare("notifications", "role_requests", request, {"times": times}, {"times": 1})
