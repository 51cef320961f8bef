"""`python -m deploy.local verify`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from deploy.local.databases import service_urls
from deploy.local.layout import PROJECT, Stack
from deploy.services import SERVICES
from deploy.verify.databases import BlindReader, opened
from deploy.verify.differences import Report
from deploy.verify.verification import verify as verified
from deploy.verify.verification import waiting

_DIFFERENT, _NOT_POSSIBLE = 1, 3
_SHOWN = 40
_out = Console(highlight=False, soft_wrap=True)


def verify(
    dsn: Annotated[
        list[str] | None, typer.Option(help="<service>=<postgresql://…> for another database than the stack's own.")
    ] = None,
    within: Annotated[float, typer.Option(help="Seconds to wait until no event is on its way.")] = 60,
    to: Annotated[Path, typer.Option(help="Where the whole report goes as JSON.")] = PROJECT / "build" / "verify.json",
) -> None:
    """Recompute every score, band and award independently and compare with the services' databases."""
    try:
        dsns = _addresses(dsn or [])
        asyncio.run(_wait_for_quiet(dsns, within))
        report = asyncio.run(verified(dsns))
    except (OSError, asyncpg.PostgresError, BlindReader) as error:
        _out.print(f"The databases cannot be read: {error}", markup=False)
        raise typer.Exit(_NOT_POSSIBLE) from None
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    _show(report)
    if report.differences:
        raise typer.Exit(_DIFFERENT)


def _addresses(given: list[str]) -> dict[str, str]:
    named = dict(each.partition("=")[::2] for each in given)
    if unknown := sorted(named.keys() - set(SERVICES)):
        raise typer.BadParameter(f"no such service: {', '.join(unknown)}", param_hint="--dsn")
    if len(named) == len(SERVICES):
        return named
    server = Stack.from_environment().postgres
    return {name: server.superuser_dsn(service_urls(server, name).name) for name in SERVICES} | named


async def _wait_for_quiet(dsns: Mapping[str, str], within: float) -> None:
    """Until no outbox holds an event and no timer is about to run, in two looks; what stays is told with the result."""
    deadline = time.monotonic() + within
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        async with opened(dsns) as databases:
            quiet = 0 if await waiting(databases) else quiet + 1
        if quiet < 2:
            await asyncio.sleep(1 if quiet == 0 else 0.3)


def _show(report: Report) -> None:
    table = Table("compared", "", box=None)
    table.columns[1].justify = "right"
    for kind, number in report.checked.items():
        table.add_row(kind, f"{number:,}")
    _out.print(table)
    for found in report.differences[:_SHOWN]:
        _out.print(str(found), markup=False)
    if len(report.differences) > _SHOWN:
        _out.print(f"… and {len(report.differences) - _SHOWN} more in the report")
    for kind, number in report.waiting.items():
        _out.print(f"still on its way: {kind}: {number}", markup=False)
    number = len(report.differences)
    _out.print(f"{number} difference{'' if number == 1 else 's'} in {report.seconds:.1f} s")
