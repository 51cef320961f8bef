"""Calendar days: inclusive, leap-year aware, exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from services.compensation.model.award import Period, Span

_DAY = timedelta(days=1)


def days_of(periods: Iterable[Period]) -> int:
    return sum((period.last - period.first).days + 1 for period in periods)


def days_in_year(year: int) -> int:
    return (date(year, 12, 31) - date(year, 1, 1)).days + 1


def within(spans: Iterable[Span], period: Period) -> tuple[Period, ...]:
    """The days of `period` that any of `spans` covers, as sorted periods that neither overlap nor touch."""
    found: list[Period] = []
    for span in sorted(spans, key=lambda span: span.first):
        first = max(span.first, period.first)
        last = period.last if span.last is None else min(span.last, period.last)
        if last < first:
            continue
        if found and first <= found[-1].last + _DAY:
            found[-1] = Period(found[-1].first, max(found[-1].last, last))
        else:
            found.append(Period(first, last))
    return tuple(found)


def without(periods: Sequence[Period], leave: Iterable[Span]) -> tuple[Period, ...]:
    """What is left of sorted `periods` when the days of `leave` are taken out."""
    left: list[Period] = []
    for period in periods:
        first = period.first
        for gap in within(leave, period):
            if gap.first > first:
                left.append(Period(first, gap.first - _DAY))
            first = gap.last + _DAY
        if first <= period.last:
            left.append(Period(first, period.last))
    return tuple(left)


def by_year(period: Period) -> tuple[Period, ...]:
    """`period` cut at the turns of the year: a day of annual pay is worth 1/365 in one year and 1/366 in another."""
    years = range(period.first.year, period.last.year + 1)
    return tuple(Period(max(period.first, date(y, 1, 1)), min(period.last, date(y, 12, 31))) for y in years)


def covers(spans: Iterable[Span], day: date) -> bool:
    return any(span.first <= day and (span.last is None or day <= span.last) for span in spans)
