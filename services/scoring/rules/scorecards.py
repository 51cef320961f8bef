"""A person's scorecard in one cycle, from its segments and the exact sums of their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.scoring.model.cycles import Period
from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Placement, Segment
from services.scoring.model.scorecards import PartAttainment, PartResult, PartState, Scorecard, SegmentResult, Unrated
from services.scoring.model.templates import MetricRule, Part, PartKind, TemplateVersion
from services.scoring.rules import bands, curves, gates
from services.scoring.rules.measuring import measure, state_of, sufficient
from services.scoring.rules.rounding import rounded
from services.scoring.rules.templates import feedback_rule
from services.scoring.rules.weighting import coverage, renormalised

_COUNTS = frozenset({PartState.VALID, PartState.ZERO})
_HUNDRED = 100
_ZERO = Fraction(0)
_NOTHING = Sums(Decimal(0), Decimal(0), 0, None)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A part of a segment with what must not be rounded yet."""

    part: Part
    rule: MetricRule
    sums: Sums | None
    value: Fraction | None
    enough: bool
    state: PartState
    attained: Fraction | None


@dataclass(frozen=True, slots=True)
class _Scored:
    """A segment with what must not be rounded yet."""

    segment: Segment
    result: SegmentResult
    score: Fraction | None
    coverage: Fraction
    attainments: Mapping[str, Fraction]


def compose(
    segments: Sequence[Segment], sums: Sequence[Mapping[Source, Sums]], placement: Placement, period: Period
) -> Scorecard:
    """The result; `sums` belong to the segments one by one."""
    scored = [_score_segment(segment, found) for segment, found in zip(segments, sums, strict=True)]
    counted = sum(each.segment.days for each in scored)
    exact, unrated = _cycle_score(scored, counted)
    score = None if exact is None else rounded(exact)
    before = None if score is None else bands.band_of(score, period.bands)
    checked = gates.check(segments, sums)
    proposed = None if before is None else bands.capped(before, gates.caps(checked), period.bands)
    covered = _by_days([(each.coverage, each.segment.days) for each in scored])
    return Scorecard(
        score=score,
        coverage=rounded(covered or _ZERO),
        band_before_gates=before,
        proposed_band=proposed,
        unrated=unrated,
        parts=_attainments(scored),
        gates=checked,
        segments=tuple(each.result for each in scored),
        placement=placement,
    )


def _cycle_score(scored: Sequence[_Scored], counted: int) -> tuple[Fraction | None, Unrated | None]:
    """S over the rated segments by days. Where versions ask for different coverage, the strictest is asked for."""
    taking_part = [each for each in scored if each.segment.days]
    rated = [(each.score, each.segment.days) for each in taking_part if each.score is not None]
    score = _by_days(rated)
    if score is None:
        return None, Unrated.NO_RATED_DAYS
    minimum = max(Fraction(each.segment.version.coverage_minimum) for each in taking_part if each.segment.version)
    if sum(days for _, days in rated) < minimum * counted:
        return None, Unrated.COVERAGE
    return score, None


def _attainments(scored: Sequence[_Scored]) -> tuple[PartAttainment, ...]:
    """Each part over the cycle by days: its attainment where it had one, its weight over all days with a template."""
    templated = [
        (each, {part.part: Fraction(part.weight) for part in each.segment.version.parts})
        for each in scored
        if each.segment.version
    ]
    found = []
    for name in dict.fromkeys(name for _, weights in templated for name in weights):
        weight = _by_days([(weights.get(name, _ZERO), each.segment.days) for each, weights in templated])
        achieved = _by_days(
            [(each.attainments[name], each.segment.days) for each, _ in templated if name in each.attainments]
        )
        found.append(PartAttainment(name, rounded(weight or _ZERO), None if achieved is None else rounded(achieved)))
    return tuple(found)


def _by_days(values: Sequence[tuple[Fraction, int]]) -> Fraction | None:
    """The mean of values that held for so many days each; nothing where there are no days."""
    held = [(value, days) for value, days in values if days]
    if len(held) < 2:
        return held[0][0] if held else None
    return sum((value * days for value, days in held), _ZERO) / sum(days for _, days in held)


def _score_segment(segment: Segment, sums: Mapping[Source, Sums]) -> _Scored:
    version = segment.version
    if version is None:
        result = _result(segment, None, _ZERO, Unrated.NO_TEMPLATE, ())
        return _Scored(segment, result, None, _ZERO, {})
    measured = [_measure(part, version, sums.get((part.kind, part.source))) for part in version.parts]
    declared = tuple(part.weight for part in version.parts)
    valid = tuple(each.state in _COUNTS for each in measured)
    covered = coverage(declared, valid)
    attainments = {each.part.part: each.attained for each in measured if each.attained is not None}
    unrated = _why_unrated(version, [each.state for each in measured], covered)
    applied: tuple[Fraction | None, ...] | None = None
    if unrated is None:
        applied = renormalised(declared, valid, version.weight_maximum)
        unrated = Unrated.WEIGHT_LIMIT if applied is None else None
    shares = applied or (None,) * len(measured)
    pairs = list(zip(measured, shares, strict=True))
    score = None if unrated else sum((share * attainments[each.part.part] for each, share in pairs if share), _ZERO)
    parts = [_part_result(each, share) for each, share in pairs]
    return _Scored(segment, _result(segment, score, covered, unrated, parts), score, covered, attainments)


def _why_unrated(version: TemplateVersion, states: Sequence[PartState], covered: Fraction) -> Unrated | None:
    if PartState.HELD in states:
        return Unrated.HELD
    return Unrated.COVERAGE if covered < Fraction(version.coverage_minimum) or not covered else None


def _measure(part: Part, version: TemplateVersion, sums: Sums | None) -> _Measured:
    rule = version.metrics[part.source] if part.kind is PartKind.METRIC else feedback_rule(part.source)
    value = measure(rule, sums)
    enough = sufficient(rule, sums)
    state = state_of(rule, value, enough)
    attained = None
    if state is PartState.VALID and value is not None:
        attained = curves.attainment(part.curve, value, higher_is_better=rule.higher_is_better)
    elif state is PartState.ZERO:
        attained = _ZERO
    return _Measured(part, rule, sums, value, enough, state, attained)


def _part_result(measured: _Measured, share: Fraction | None) -> PartResult:
    part, rule, value = measured.part, measured.rule, measured.value
    # Too few raters: what they said may not be told apart, so it is not shown at all.
    hidden = part.kind is PartKind.FEEDBACK and not measured.enough
    seen = _NOTHING if measured.sums is None or hidden else measured.sums
    return PartResult(
        part=part.part,
        kind=part.kind,
        source=part.source,
        weight=part.weight,
        applied_weight=None if share is None else rounded(share * _HUNDRED),
        state=measured.state,
        insufficient=value is not None and not measured.enough,
        rule=rule.missing_data,
        minimum_volume=rule.minimum_volume,
        numerator=seen.numerator,
        denominator=seen.denominator,
        events=seen.events,
        latest_day=seen.latest_day,
        value=None if value is None or hidden else rounded(value),
        attainment=None if measured.attained is None else rounded(measured.attained),
    )


def _result(
    segment: Segment,
    score: Fraction | None,
    covered: Fraction,
    unrated: Unrated | None,
    parts: Sequence[PartResult],
) -> SegmentResult:
    return SegmentResult(
        starts_on=segment.starts_on,
        ends_on=segment.ends_on,
        days=segment.days,
        role=segment.role,
        client=segment.client,
        line_of_business=segment.line_of_business,
        manager=segment.manager,
        template=segment.version.template if segment.version else None,
        template_version=segment.version.version if segment.version else None,
        score=None if score is None else rounded(score),
        coverage=rounded(covered),
        unrated=unrated,
        parts=tuple(parts),
    )
