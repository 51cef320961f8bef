"""Where people work, and the stretches of a cycle that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from services.scoring.model.templates import TemplateVersion


@dataclass(frozen=True, slots=True)
class Placement:
    role: str
    grade: str
    unit: str
    manager: str | None
    client: str
    line_of_business: str
    site: str


@dataclass(frozen=True, slots=True)
class Assignment:
    valid_from: date
    valid_to: date | None
    place: Placement


@dataclass(frozen=True, slots=True)
class Person:
    """Assignments by date without overlap; absences as they were reported, both days inclusive."""

    assignments: tuple[Assignment, ...]
    absences: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive days under one role, client, line of business, manager and template version.

    `days` are those that count: leave is left out.
    """

    starts_on: date
    ends_on: date
    days: int
    role: str
    client: str
    line_of_business: str
    manager: str | None
    version: TemplateVersion | None
