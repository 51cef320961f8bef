"""Scorecards, from observations to band, one person at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

from deploy.verify.facts import Curve, Cycle, Metric, Observation, Part, Person, Place, Template

SCORE_PLACES = Decimal("1E-12")


@dataclass(frozen=True)
class Scorecard:
    score: Decimal | None
    band: str | None
    attainments: Mapping[str, Decimal | None]


RATERS_NEEDED = {"self": 1, "manager": 1, "peer": 3, "upward": 3, "customer": 3}


@dataclass(frozen=True)
class _Segment:
    template: Template | None
    days: Sequence[date]
    score: Fraction | None
    attainments: Mapping[str, Fraction]


def rounded(value: Fraction) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return exact.quantize(SCORE_PLACES, rounding=ROUND_HALF_EVEN)


def payout(curve: Curve, value: Fraction, higher_is_better: bool) -> Fraction:
    """Attainment of `value`: 0 below the threshold, a line or the left step between points, flat or faster above."""
    sign = 1 if higher_is_better else -1
    points = sorted((sign * x, y) for x, y in curve.points)
    z = sign * value
    if z < points[0][0]:
        return Fraction(0)
    result = points[-1][1]
    if z >= points[-1][0]:
        if curve.accelerator is not None:
            result += curve.accelerator * (z - points[-1][0])
    else:
        for (left, low), (right, high) in pairwise(points):
            if left <= z < right:
                result = low if curve.stepped else low + (high - low) * (z - left) / (right - left)
    return result if curve.cap is None else min(result, curve.cap)


def weights(parts: Sequence[Part], valid: set[str], maximum: Fraction) -> dict[str, Fraction] | None:
    """Weights of the valid parts brought to a sum of one; none grows above its declared value or the maximum."""
    total = sum((part.weight for part in parts), Fraction(0))
    declared = {part.name: part.weight / total for part in parts if part.name in valid}
    limit = {name: max(weight, maximum) for name, weight in declared.items()}
    if not declared or sum(limit.values()) < 1:
        return None
    capped: set[str] = set()
    while True:
        free = sum((weight for name, weight in declared.items() if name not in capped), Fraction(0))
        left = 1 - sum((limit[name] for name in capped), Fraction(0))
        current = {name: limit[name] if name in capped else weight * left / free for name, weight in declared.items()}
        over = {name for name, weight in current.items() if weight > limit[name]}
        if not over:
            return current
        capped |= over


def choose(templates: Sequence[Template], place: Place, day: date) -> Template | None:
    """The newest effective version of the most specific template: client beats line of business beats role."""
    fitting = [
        template
        for template in templates
        if template.role in (None, place.role)
        and template.client in (None, place.client)
        and template.line_of_business in (None, place.line_of_business)
        and template.effective_from <= day
    ]
    if not fitting:
        return None

    def rank(template: Template) -> tuple[int, bool, bool, bool, str]:
        named = (template.client is not None, template.line_of_business is not None, template.role is not None)
        return (sum(named), *named, template.id)

    best = max(fitting, key=rank)
    return max((t for t in fitting if t.id == best.id), key=lambda template: template.version)


def measure(metric: Metric, seen: Sequence[Observation], days: int, cycle_days: int) -> Fraction | None:
    """The aggregate of a metric, `None` when there is not enough of it."""
    denominator = sum((found.denominator for found in seen), Fraction(0))
    numerator = sum((found.numerator for found in seen), Fraction(0))
    if not seen or denominator < metric.minimum_volume:
        return None
    if metric.aggregation == "sum":
        return numerator
    return numerator / denominator if denominator else None


def band_of(score: Decimal, bands: Sequence[tuple[str, Fraction]]) -> str:
    name = bands[0][0]
    for band, cut in bands:
        if Fraction(score) >= cut:
            name = band
    return name


def scorecard(
    person: Person,
    cycle: Cycle,
    templates: Sequence[Template],
    metrics: Mapping[str, Metric],
    observations: Sequence[Observation],
    ratings: Mapping[str, Sequence[Fraction]],
) -> Scorecard | None:
    """The person's scorecard, `None` for someone without a day in the cycle. `ratings` are by category, one per rater."""
    segments = _segments(person, cycle, templates)
    if not segments:
        return None
    by_day: dict[date, list[Observation]] = defaultdict(list)
    for found in observations:
        by_day[found.day].append(found)
    cycle_days = sum(1 for _ in cycle.days())
    done = [
        _score(template, days, [o for day in span for o in by_day[day]], metrics, ratings, cycle_days)
        for template, days, span in segments
    ]
    return _combine(done, cycle)


def _segments(
    person: Person, cycle: Cycle, templates: Sequence[Template]
) -> list[tuple[Template | None, list[date], list[date]]]:
    """Runs of days with one role, client, line of business, manager and template version.

    The first list of days leaves absences out (they weigh the segment), the second keeps them (facts of a day count).
    """
    found: list[tuple[tuple[object, ...], Template | None, list[date], list[date]]] = []
    for day in cycle.days():
        place = person.at(day)
        if place is None:
            continue
        template = choose(templates, place, day)
        named = (template.id, template.version) if template else None
        key = (place.role, place.client, place.line_of_business, place.manager, named)
        if not found or found[-1][0] != key:
            found.append((key, template, [], []))
        found[-1][3].append(day)
        if not person.away(day):
            found[-1][2].append(day)
    return [(template, days, span) for _, template, days, span in found]


def _score(
    template: Template | None,
    days: Sequence[date],
    seen: Sequence[Observation],
    metrics: Mapping[str, Metric],
    ratings: Mapping[str, Sequence[Fraction]],
    cycle_days: int,
) -> _Segment:
    attainments: dict[str, Fraction] = {}
    held = False
    if template is None:
        return _Segment(None, days, None, attainments)
    for part in template.parts:
        if part.metric is None:
            category = part.category or ""
            given = ratings.get(category, ())
            if len(given) >= RATERS_NEEDED[category]:
                attainments[part.name] = payout(part.curve, sum(given, Fraction(0)) / len(given), True)
            continue
        metric = metrics[part.metric]
        value = measure(metric, [o for o in seen if o.metric == part.metric], len(days), cycle_days)
        if value is not None:
            attainments[part.name] = payout(part.curve, value, metric.higher_is_better)
        elif metric.missing_data == "zero":
            attainments[part.name] = Fraction(0)
        elif metric.missing_data == "hold":
            held = True
    total = sum((part.weight for part in template.parts), Fraction(0))
    coverage = sum((part.weight for part in template.parts if part.name in attainments), Fraction(0)) / total
    used = weights(template.parts, set(attainments), template.weight_maximum)
    score = None
    if not held and used is not None and coverage >= template.coverage_minimum:
        score = sum((weight * attainments[name] for name, weight in used.items()), Fraction(0))
    return _Segment(template, days, score, attainments)


def _combine(segments: Sequence[_Segment], cycle: Cycle) -> Scorecard:
    counted = sum(len(segment.days) for segment in segments)
    rated = [segment for segment in segments if segment.score is not None and segment.days]
    rated_days = sum(len(segment.days) for segment in rated)
    attainments = {
        part.name: _days_weighted(part.name, segments)
        for segment in segments
        if segment.template
        for part in segment.template.parts
    }
    minimum = max((segment.template.coverage_minimum for segment in segments if segment.template), default=Fraction(0))
    if not rated or rated_days < minimum * counted:
        return Scorecard(None, None, attainments)
    total = sum((segment.score * len(segment.days) for segment in rated if segment.score is not None), Fraction(0))
    score = rounded(total / rated_days)
    return Scorecard(score, band_of(score, cycle.bands), attainments)


def _days_weighted(part: str, segments: Sequence[_Segment]) -> Decimal | None:
    having = [segment for segment in segments if part in segment.attainments and segment.days]
    days = sum(len(segment.days) for segment in having)
    if not days:
        return None
    return rounded(sum((segment.attainments[part] * len(segment.days) for segment in having), Fraction(0)) / days)
