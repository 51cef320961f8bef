"""What the dated state of a person must be like, and which part of it counts on a day."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from services.ingest.model import AgentMapping, Assignment, Employee, Reason
from shared.contracts.ids import ClientId, EmployeeId, LineOfBusiness

Span = tuple[date, date | None]


def overlap(spans: Sequence[Span]) -> date | None:
    """The first day that two of the spans share; both ends of a span are inclusive, an open end never ends."""
    ordered = sorted(spans, key=lambda span: span[0])
    for (_, earlier_end), (later_start, _) in pairwise(ordered):
        if earlier_end is None or later_start <= earlier_end:
            return later_start
    return None


def zone_exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # what ZoneInfo raises for absent, malformed and unreadable names
        return False
    return True


def fault(employee: Employee, programs: Mapping[ClientId, Collection[LineOfBusiness]]) -> Reason | None:
    """The first thing wrong with a person's whole state; `programs` are the lines of business of every client."""
    for position, assignment in enumerate(employee.assignments):
        found = _assignment_fault(employee.id, assignment, programs)
        if found is not None:
            code, detail, field = found
            return Reason(code, detail, f"assignments/{position}/{field}")
    for position, absence in enumerate(employee.absences):
        if absence.ends_on < absence.starts_on:
            return Reason("ends-before-start", "the last day lies before the first", f"absences/{position}/ends_on")
    for name, spans in (
        ("assignments", [(found.valid_from, found.valid_to) for found in employee.assignments]),
        ("absences", [(absent.starts_on, absent.ends_on) for absent in employee.absences]),
    ):
        shared_day = overlap(spans)
        if shared_day is not None:
            return Reason("overlap", f"two {name} contain {shared_day}", name)
    return None


def _assignment_fault(
    employee: EmployeeId, assignment: Assignment, programs: Mapping[ClientId, Collection[LineOfBusiness]]
) -> Reason | None:
    if assignment.valid_to is not None and assignment.valid_to < assignment.valid_from:
        return Reason("ends-before-start", "the last day lies before the first", "valid_to")
    if assignment.manager == employee:
        return Reason("own-manager", "nobody is their own manager", "manager")
    if assignment.client not in programs:
        return Reason("unknown-client", "no client of this id", "client")
    if assignment.line_of_business not in programs[assignment.client]:
        return Reason("unknown-line-of-business", "the client has no such line of business", "line_of_business")
    if not zone_exists(assignment.time_zone):
        return Reason("unknown-time-zone", "not a name of the IANA time zone database", "time_zone")
    return None


def mapping_fault(
    mapping: AgentMapping, others: Sequence[AgentMapping], employees: Collection[EmployeeId]
) -> Reason | None:
    """What is wrong with mapping an agent id so, beside the `others` of the same agent; a mapping replaces the one
    with its own first day."""
    if mapping.employee not in employees:
        return Reason("unknown-employee", "no employee of this id", "employee")
    if mapping.valid_to is not None and mapping.valid_to < mapping.valid_from:
        return Reason("ends-before-start", "the last day lies before the first", "valid_to")
    kept = [(found.valid_from, found.valid_to) for found in others if found.valid_from != mapping.valid_from]
    shared_day = overlap([*kept, (mapping.valid_from, mapping.valid_to)])
    if shared_day is not None:
        return Reason("overlap", f"two mappings of this agent id contain {shared_day}", "valid_from")
    return None


def manager_on(assignments: Sequence[Assignment], now: datetime, last_day: date) -> EmployeeId | None:
    """Who a person's manager is today at their site, or was on `last_day` when that has passed; for somebody who
    works no more then, the manager of the last assignment before."""
    manager = None
    for assignment in sorted(assignments, key=lambda found: found.valid_from):
        today = now.astimezone(ZoneInfo(assignment.time_zone)).date()
        if assignment.valid_from <= min(today, last_day):
            manager = assignment.manager
    return manager
