"""The demo's last page: what happened, whether it is what should have, and where to look further."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from deploy.local.demo.client import Body
from deploy.local.demo.context import Course
from deploy.local.demo.findings import Check, Findings
from deploy.local.demo.memory import resident_by_program
from deploy.local.demo.world import CYCLE

_MOST_MEMORY = 2.5 * 2**30
_EVENTS_SHOWN = 6


def show(console: Console, course: Course, findings: Findings) -> None:
    _show_bands(console, findings)
    _show_pools(console, findings)
    _show_statement(console, findings.statement)
    console.print(f"Mail to {findings.statement['employee']}: {'; '.join(findings.mails)}", highlight=False)
    _show_checks(console, findings)
    _show_costs(console, course)
    for name, value in findings.digests.items():
        console.print(f"digest of {name:8} {value}", highlight=False)
    console.print(f"digest             {findings.digest}", highlight=False)
    _show_addresses(console, course)
    failed = [check for check in findings.checks if not check.holds]
    if failed:
        console.print(f"{len(failed)} of {len(findings.checks)} figures are not what was expected.", style="bold red")
    else:
        console.print(f"All {len(findings.checks)} figures are what the generator expected.", style="bold green")


def _show_bands(console: Console, findings: Findings) -> None:
    table = Table("band", *findings.distributions, title="People by band", title_justify="left", box=None)
    for band in next(iter(findings.distributions.values())):
        table.add_row(band, *(str(found[band]) for found in findings.distributions.values()))
    console.print(table)


def _show_pools(console: Console, findings: Findings) -> None:
    titles = ("pool", "asked for", "scale", "awarded", "left", "amount", "")
    table = Table(title="Pools", title_justify="left", box=None)
    for title in titles:
        table.add_column(title, no_wrap=True, justify="left" if title == "pool" else "right")
    for currency, run in findings.runs.items():
        for pool in run["pools"]:
            asked, _, over = str(pool["requested"]).partition("/")
            table.add_row(
                f"{currency} {pool['pool']}",
                _money(round(float(asked) / float(over or 1))),
                f"{_ratio(pool['scale']):.4f}, binds" if pool["binds"] else "1",
                _money(pool["awarded"]),
                f"+ {_money(pool['undistributed'])}",
                f"= {_money(pool['amount'])}",
                "✓" if pool["awarded"] + pool["undistributed"] == pool["amount"] else "✗",
            )
    console.print(table)


def _show_statement(console: Console, award: Body) -> None:
    title = f"Statement of {award['employee']}: {award['band']}, {_money(award['total'])} {award['currency']}"
    table = Table("cause", "component", "step", "what", "change", title=title, title_justify="left", box=None)
    for calculation in award["calculations"]:
        for line in calculation["lines"]:
            change = round(_ratio(line["change"]))
            if line["component"] is not None and change:
                table.add_row(calculation["cause"], line["component"], line["step"], line["label"], _money(change))
    console.print(table)
    posted = [f"{entry['component']} {_money(entry['amount'])} for {entry['cause']}" for entry in award["ledger"]]
    console.print(f"Posted: {'; '.join(posted)}", highlight=False)
    events = [item["effective_event"] for item in award["events"]]
    latest = [item["effective_event"] for item in award["events"] if item["revision"]]
    shown = ", ".join(dict.fromkeys([*latest, *events][:_EVENTS_SHOWN]))
    console.print(
        f"Behind scorecard {award['scorecard_version']} stand {len(events)} events: {shown}, …", highlight=False
    )


def _show_checks(console: Console, findings: Findings) -> None:
    table = Table("", "found", "expected", "", title="Found and expected", title_justify="left", box=None)
    part = ""
    for check in findings.checks:
        if check.part != part:
            part = check.part
            table.add_row(f"[bold]{part}[/]", "", "", "")
        table.add_row(f"  {check.what}", _shown(check.found), _shown(check.expected), _mark(check))
    console.print(table)


def _mark(check: Check) -> str:
    return "[green]✓[/]" if check.holds else "[bold red]✗ differs[/]"


def _shown(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value


def _show_costs(console: Console, course: Course) -> None:
    total = sum(course.seconds.values())
    longest = sorted(course.seconds.items(), key=lambda item: -item[1])[:6]
    console.print(
        f"{total:.0f} s in all; most of it in {', '.join(f'{name} {seconds:.0f} s' for name, seconds in longest)}.",
        highlight=False,
    )
    memory = resident_by_program(course.stack)
    largest = sorted(memory.items(), key=lambda item: -item[1])[:6]
    told = ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in largest)
    within = "within" if sum(memory.values()) <= _MOST_MEMORY else "above"
    console.print(f"{sum(memory.values()) / 2**30:.2f} GB of memory, {within} 2.5 GB: {told}.", highlight=False)
    if course.api.repeated or course.journal.again():
        console.print(
            f"{course.api.repeated} requests had to be sent again; {course.journal.again()} events had been accepted by"
            " requests whose answer was lost.",
            highlight=False,
        )


def _show_addresses(console: Console, course: Course) -> None:
    table = Table("open", "address", box=None)
    for name, address in _addresses(course):
        table.add_row(name, address)
    console.print(table)
    world = course.world
    roles = '"hr_admin compensation_admin"'  # who may open all of them
    token = f"make token ROLE={roles} PROVIDER={world.provider} EMPLOYEE={world.administrator.id}"
    console.print(f"A token for them: {token}", highlight=False, soft_wrap=True)


def _addresses(course: Course) -> Iterator[tuple[str, str]]:
    stack, late = course.stack, course.expected.late[-1]
    yield "scorecards", f"{stack.url('scoring')}/v1/cycles/{CYCLE}/scorecards"
    yield "classifications", f"{stack.url('calibration')}/v1/classifications?cycle={CYCLE}"
    yield "a statement", f"{stack.url('compensation')}/v1/statements/{late.worker.id}?cycle={CYCLE}&leaves=true"
    yield "deliveries", f"{stack.url('notifications')}/v1/deliveries"
    yield "an event", f"{stack.url('ingest')}/v1/kpi-events/{late.posting.reading.root if late.posting.reading else ''}"
    yield "caught mail", f"{stack.url('mailbox')}/messages"
    yield "received webhooks", f"{stack.url('webhooks')}/received"


def _ratio(text: str) -> float:
    over, _, under = text.partition("/")
    return float(over) / float(under or 1)


def _money(minor: int) -> str:
    return f"{minor / 100:,.2f}"
