"""A cycle cut into the stretches in which one template and one place held for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from services.scoring.model.cycles import Period
from services.scoring.model.people import Assignment, Person, Placement, Segment
from services.scoring.rules.templates import TemplateBook

_DAY = timedelta(days=1)


def cut(person: Person, period: Period, book: TemplateBook) -> tuple[Segment, ...]:
    """Cut at every change of role, client, line of business, manager or template version, and where nothing held.

    A change of unit, grade or site alone is none. Days without an assignment belong to no segment.
    """
    absences = _merged(person.absences)
    found: list[Segment] = []
    for assignment in person.assignments:
        first = max(assignment.valid_from, period.starts_on)
        last = min(assignment.valid_to or period.ends_on, period.ends_on)
        place = assignment.place
        while first <= last:
            version, until = book.in_force(place.role, place.client, place.line_of_business, first, last)
            piece = Segment(first, until, 0, place.role, place.client, place.line_of_business, place.manager, version)
            if found and _continues(found[-1], piece):
                found[-1] = _with_days(found[-1], until, absences)
            else:
                found.append(_with_days(piece, until, absences))
            first = until + _DAY
    return tuple(found)


def placement(assignments: Sequence[Assignment], period: Period) -> Placement:
    """Where the person stands on the cycle's last day, or stood last before it; failing that, where they begin."""
    begun = [each for each in assignments if each.valid_from <= period.ends_on]
    return begun[-1].place if begun else assignments[0].place


def _continues(before: Segment, after: Segment) -> bool:
    return before.ends_on + _DAY == after.starts_on and _key(before) == _key(after)


def _key(segment: Segment) -> tuple[str | int | None, ...]:
    version = segment.version
    template = (version.template, version.version) if version else (None, None)
    return (segment.role, segment.client, segment.line_of_business, segment.manager, *template)


def _with_days(segment: Segment, until: date, absences: Sequence[tuple[date, date]]) -> Segment:
    away = sum(max(0, (min(last, until) - max(first, segment.starts_on)).days + 1) for first, last in absences)
    return Segment(
        segment.starts_on,
        until,
        (until - segment.starts_on).days + 1 - away,
        segment.role,
        segment.client,
        segment.line_of_business,
        segment.manager,
        segment.version,
    )


def _merged(absences: Sequence[tuple[date, date]]) -> list[tuple[date, date]]:
    """The same days without overlap, so that no day of leave is taken off twice."""
    merged: list[tuple[date, date]] = []
    for first, last in sorted(absences):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
