"""Scorecards, from observations to band, one person at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import pairwise

from deploy.verify.facts import Curve, Cycle, Gate, Metric, Observation, Part, Person, Place, Template

RATERS_NEEDED = {"self": 1, "manager": 1, "peer": 3, "upward": 3, "customer": 3}
_ZERO = Fraction(0)


@dataclass(frozen=True)
class Scorecard:
    """Numbers are rounded as they are announced. `parts` are (weight, attainment), `gates` the state of each."""

    score: Fraction | None
    coverage: Fraction
    band_before_gates: str | None
    band: str | None
    parts: Mapping[str, tuple[Fraction, Fraction | None]]
    gates: Mapping[Gate, str]
    place: Place


@dataclass(frozen=True)
class Segment:
    """`days` leave absences out: they weigh the segment. `span` keeps them: what was observed on a day counts."""

    template: Template | None
    days: list[date]
    span: list[date]


@dataclass(frozen=True)
class _Scored:
    template: Template | None
    days: int
    score: Fraction | None
    coverage: Fraction
    attainments: Mapping[str, Fraction]


def rounded(value: Fraction) -> Fraction:
    """Twelve places, half to even: the one rounding of scores."""
    whole, rest = divmod(value * 10**12, 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1)
    return Fraction(whole + up, 10**12)


def payout(curve: Curve, value: Fraction, higher_is_better: bool) -> Fraction:
    """Attainment of `value`: 0 below the threshold, a line or the left step between points, flat or faster above."""
    sign = 1 if higher_is_better else -1
    points = sorted((sign * x, y) for x, y in curve.points)
    z = sign * value
    if z < points[0][0]:
        return _ZERO
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
    total = sum((part.weight for part in parts), _ZERO)
    declared = {part.name: part.weight / total for part in parts if part.name in valid}
    limit = {name: max(weight, maximum) for name, weight in declared.items()}
    if not declared or sum(limit.values()) < 1:
        return None
    capped: set[str] = set()
    while True:
        free = sum((weight for name, weight in declared.items() if name not in capped), _ZERO)
        left = 1 - sum((limit[name] for name in capped), _ZERO)
        current = {name: limit[name] if name in capped else weight * left / free for name, weight in declared.items()}
        over = {name for name, weight in current.items() if weight > limit[name]}
        if not over:
            return current
        capped |= over


def choose(templates: Sequence[Template], place: Place, day: date) -> Template | None:
    """The highest version begun of the most specific template: client beats line of business beats role."""
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

    def rank(template: Template) -> tuple[int, bool, bool, bool]:
        named = (template.client is not None, template.line_of_business is not None, template.role is not None)
        return (sum(named), *named)

    best = max(fitting, key=rank)
    return max((t for t in fitting if t.id == best.id), key=lambda template: template.version)


def measure(metric: Metric, seen: Sequence[Observation]) -> Fraction | None:
    """The aggregate of a metric, `None` when there is not enough of it."""
    denominator = sum((found.denominator for found in seen), _ZERO)
    numerator = sum((found.numerator for found in seen), _ZERO)
    if denominator <= 0 or denominator < metric.minimum_volume:
        return None
    return numerator if metric.aggregation == "sum" else numerator / denominator


def band_of(score: Fraction, bands: Sequence[tuple[str, Fraction]]) -> str:
    """The last band whose cut is reached; below the first cut there is only the first band."""
    name = bands[0][0]
    for band, cut in bands:
        if score >= cut:
            name = band
    return name


def scorecard(
    person: Person,
    cycle: Cycle,
    templates: Sequence[Template],
    observations: Sequence[Observation],
    ratings: Mapping[str, Sequence[Fraction]],
) -> Scorecard:
    """The person's scorecard from the observations in force. `ratings` are by category, one per rater.

    Without a day in the cycle it is one without rated days; whether there is one at all is for the caller to say.
    """
    by_day: dict[date, list[Observation]] = defaultdict(list)
    for found in observations:
        by_day[found.day].append(found)
    done: list[_Scored] = []
    gated: dict[Gate, tuple[Metric, list[Observation]]] = {}
    for segment in segments(person, cycle, templates):
        seen = [found for day in segment.span for found in by_day[day]]
        done.append(_score(segment, seen, ratings))
        if segment.template is not None:
            for gate in segment.template.gates:
                before = gated[gate][1] if gate in gated else []
                there = [found for found in seen if found.metric == gate.metric]
                gated[gate] = (segment.template.metrics[gate.metric], before + there)
    score = _over_all(done)
    gates = {gate: _state(gate, measure(metric, found)) for gate, (metric, found) in gated.items()}
    before_gates = None if score is None else band_of(score, cycle.bands)
    order = [band for band, _ in cycle.bands]
    caps = [gate.band_cap for gate, state in gates.items() if state == "missed"]
    return Scorecard(
        score=score,
        coverage=_coverage(done),
        band_before_gates=before_gates,
        band=None if before_gates is None else min([before_gates, *caps], key=order.index),
        parts=_parts(done),
        gates=gates,
        place=placed(person, cycle),
    )


def placed(person: Person, cycle: Cycle) -> Place:
    """Where the person is on the last day of the cycle or was last before it; failing that, the first place."""
    begun = [place for place in person.places if place.first <= cycle.last]
    return max(begun, key=lambda place: place.first) if begun else min(person.places, key=lambda place: place.first)


def segments(person: Person, cycle: Cycle, templates: Sequence[Template]) -> list[Segment]:
    """Runs of days with one role, client, line of business, manager and template version."""
    found: list[Segment] = []
    last: tuple[object, ...] | None = None
    for day in cycle.days():
        place = person.at(day)
        if place is None:
            last = None
            continue
        template = choose(templates, place, day)
        named = (template.id, template.version) if template else None
        key = (place.role, place.client, place.line_of_business, place.manager, named)
        if key != last:
            found.append(Segment(template, [], []))
        last = key
        found[-1].span.append(day)
        if not person.away(day):
            found[-1].days.append(day)
    return found


def _score(segment: Segment, seen: Sequence[Observation], ratings: Mapping[str, Sequence[Fraction]]) -> _Scored:
    template = segment.template
    attainments: dict[str, Fraction] = {}
    held = False
    if template is None:
        return _Scored(None, len(segment.days), None, _ZERO, attainments)
    for part in template.parts:
        if part.metric is None:
            given = ratings.get(part.category or "", ())
            if len(given) >= RATERS_NEEDED[part.category or ""]:
                attainments[part.name] = payout(part.curve, sum(given, _ZERO) / len(given), True)
            continue
        metric = template.metrics[part.metric]
        value = measure(metric, [found for found in seen if found.metric == part.metric])
        if value is not None:
            attainments[part.name] = payout(part.curve, value, metric.higher_is_better)
        elif metric.missing_data == "zero":
            attainments[part.name] = _ZERO
        elif metric.missing_data == "hold":
            held = True
    total = sum((part.weight for part in template.parts), _ZERO)
    coverage = sum((part.weight for part in template.parts if part.name in attainments), _ZERO) / total
    used = weights(template.parts, set(attainments), template.weight_maximum)
    score = None
    if not held and used is not None and coverage >= template.coverage_minimum:
        score = sum((weight * attainments[name] for name, weight in used.items()), _ZERO)
    return _Scored(template, len(segment.days), score, coverage, attainments)


def _over_all(done: Sequence[_Scored]) -> Fraction | None:
    """The mean over rated days, unless these are too few of all; of several minimums the strictest is asked for."""
    taking_part = [each for each in done if each.days]
    rated = sum(each.days for each in taking_part if each.score is not None)
    minimum = max((each.template.coverage_minimum for each in taking_part if each.template), default=_ZERO)
    if not rated or rated < minimum * sum(each.days for each in taking_part):
        return None
    total = sum((each.score * each.days for each in taking_part if each.score is not None), _ZERO)
    return rounded(total / rated)


def _coverage(done: Sequence[_Scored]) -> Fraction:
    days = sum(each.days for each in done)
    return rounded(sum((each.coverage * each.days for each in done), _ZERO) / days) if days else _ZERO


def _parts(done: Sequence[_Scored]) -> dict[str, tuple[Fraction, Fraction | None]]:
    """Over the days with a template the weight of each part, over the days with an attainment its attainment."""
    days = sum(each.days for each in done if each.template)
    found: dict[str, tuple[Fraction, Fraction | None]] = {}
    names = dict.fromkeys(part.name for each in done if each.template for part in each.template.parts)
    for name in names:
        weight = sum(
            (
                part.weight * each.days
                for each in done
                if each.template
                for part in each.template.parts
                if part.name == name
            ),
            _ZERO,
        )
        having = [each for each in done if name in each.attainments and each.days]
        achieved = None
        if having:
            total = sum((each.attainments[name] * each.days for each in having), _ZERO)
            achieved = rounded(total / sum(each.days for each in having))
        found[name] = (rounded(weight / days) if days else _ZERO, achieved)
    return found


def _state(gate: Gate, value: Fraction | None) -> str:
    if value is None:
        return "unknown"
    below = gate.at_least is not None and value < gate.at_least
    above = gate.at_most is not None and value > gate.at_most
    return "missed" if below or above else "passed"
