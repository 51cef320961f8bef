"""The whole comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping

import asyncpg

from deploy.verify import calibration, classified, compensation, copies, notices, rulebook, scoring
from deploy.verify.databases import opened
from deploy.verify.differences import Findings, Report

_WAITING = {
    "events not sent": "SELECT coalesce(sum(events), 0) FROM outbox",
    "timers due": "SELECT count(*) FROM timers WHERE due_at <= now() + interval '20 seconds'",
}
"""A scoring is put off for fifteen seconds at most, so what is due by then may still change a score."""


async def verify(dsns: Mapping[str, str]) -> Report:
    """Recompute everything from ingest's journal and people's decisions and compare; `dsns` are by service.

    Each database is seen as of one moment. What is on its way between them shows up as a difference: ask again when
    nothing moves.
    """
    started = time.monotonic()
    findings = Findings()
    async with opened(dsns) as databases:
        book = await rulebook.read(databases["scoring"])
        await copies.check(databases, findings)
        await scoring.check(databases["ingest"], databases["scoring"], book, findings)
        await calibration.check(databases["calibration"], databases["scoring"], databases["ingest"], book, findings)
        versions = await classified.published(databases["calibration"])
        await compensation.check(databases["compensation"], versions, findings)
        await notices.check(
            databases["notifications"],
            databases["scoring"],
            databases["calibration"],
            databases["compensation"],
            findings,
        )
        on_its_way = await waiting(databases)
    return Report(dict(findings.checked), tuple(findings.differences), on_its_way, time.monotonic() - started)


async def waiting(databases: Mapping[str, asyncpg.Connection]) -> dict[str, int]:
    """Work that has not been done yet, by service and kind; what lies in Kafka does not show here."""
    found: dict[str, int] = {}
    for service, connection in databases.items():
        for kind, query in _WAITING.items():
            if number := await connection.fetchval(query):
                found[f"{service}: {kind}"] = number
    return found
