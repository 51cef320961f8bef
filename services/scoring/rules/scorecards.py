"""A person's scorecard in one cycle, from its segments and the exact sums of their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from services.scoring.model.cycles import Period
from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Placement, Segment
from services.scoring.model.scorecards import PartAttainment, PartResult, PartState, Scorecard, SegmentResult, Unrated
from services.scoring.model.templates import Part, PartKind, TemplateVersion
from services.scoring.rules import bands, curves, gates
from services.scoring.rules.measuring import measure, state_of, sufficient
from services.scoring.rules.rounding import rounded
from services.scoring.rules.templates import feedback_rule
from services.scoring.rules.weighting import coverage, renormalised

_COUNTS = frozenset({PartState.VALID, PartState.ZERO})
_HUNDRED = 100
_NOTHING = Sums(Decimal(0), Decimal(0), 0, None)


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
    covered = sum((each.coverage * each.segment.days for each in scored), Fraction(0))
    return Scorecard(
        score=score,
        coverage=rounded(covered / counted) if counted else rounded(Fraction(0)),
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
    total, rated_days = Fraction(0), 0
    for each in taking_part:
        if each.score is not None:
            total += each.score * each.segment.days
            rated_days += each.segment.days
    if not rated_days:
        return None, Unrated.NO_RATED_DAYS
    minimum = max(Fraction(each.segment.version.coverage_minimum) for each in taking_part if each.segment.version)
    if rated_days < minimum * counted:
        return None, Unrated.COVERAGE
    return total / rated_days, None


def _attainments(scored: Sequence[_Scored]) -> tuple[PartAttainment, ...]:
    """Each part over the cycle by days: its attainment where it had one, its weight over all days with a template."""
    templated = [(each, each.segment.version) for each in scored if each.segment.version]
    days = sum(each.segment.days for each, _ in templated)
    weights: dict[str, Fraction] = {}
    achieved: dict[str, Fraction] = {}
    achieved_days: dict[str, int] = {}
    for each, version in templated:
        for part in version.parts:
            weights[part.part] = weights.get(part.part, Fraction(0)) + Fraction(part.weight) * each.segment.days
        for name, attainment in each.attainments.items():
            achieved[name] = achieved.get(name, Fraction(0)) + attainment * each.segment.days
            achieved_days[name] = achieved_days.get(name, 0) + each.segment.days
    return tuple(
        PartAttainment(
            name,
            rounded(weight / days) if days else rounded(weight),
            rounded(achieved[name] / achieved_days[name]) if achieved_days.get(name) else None,
        )
        for name, weight in weights.items()
    )


def _score_segment(segment: Segment, sums: Mapping[Source, Sums]) -> _Scored:
    version = segment.version
    if version is None:
        result = _result(segment, None, Fraction(0), Unrated.NO_TEMPLATE, ())
        return _Scored(segment, result, None, Fraction(0), {})
    measured = [_measure_part(part, version, sums.get((part.kind, part.source))) for part in version.parts]
    declared = tuple(part.weight for part in version.parts)
    valid = tuple(part.state in _COUNTS for part, _ in measured)
    covered = coverage(declared, valid)
    attainments = {part.part: attained for part, attained in measured if attained is not None}
    applied, unrated = None, _why_unrated(version, [part.state for part, _ in measured], covered)
    if unrated is None:
        applied = renormalised(declared, valid, version.weight_maximum)
        unrated = Unrated.WEIGHT_LIMIT if applied is None else None
    score = None
    parts = [part for part, _ in measured]
    if applied is not None:
        score = sum(
            (share * attainments[part.part] for share, part in zip(applied, parts, strict=True) if share), Fraction(0)
        )
        parts = [_weighed(part, share) for part, share in zip(parts, applied, strict=True)]
    return _Scored(segment, _result(segment, score, covered, unrated, parts), score, covered, attainments)


def _why_unrated(version: TemplateVersion, states: Sequence[PartState], covered: Fraction) -> Unrated | None:
    if PartState.HELD in states:
        return Unrated.HELD
    return Unrated.COVERAGE if covered < Fraction(version.coverage_minimum) or not covered else None


def _measure_part(part: Part, version: TemplateVersion, sums: Sums | None) -> tuple[PartResult, Fraction | None]:
    rule = version.metrics[part.source] if part.kind is PartKind.METRIC else feedback_rule(part.source)
    value = measure(rule, sums)
    enough = sufficient(rule, sums)
    state = state_of(rule, value, enough)
    attained = None
    if state is PartState.VALID and value is not None:
        attained = curves.attainment(part.curve, value, higher_is_better=rule.higher_is_better)
    elif state is PartState.ZERO:
        attained = Fraction(0)
    # Too few raters: what they said may not be told apart, so it is not shown at all.
    hidden = part.kind is PartKind.FEEDBACK and not enough
    seen = _NOTHING if sums is None or hidden else sums
    result = PartResult(
        part=part.part,
        kind=part.kind,
        source=part.source,
        weight=part.weight,
        applied_weight=None,
        state=state,
        insufficient=value is not None and not enough,
        rule=rule.missing_data,
        minimum_volume=rule.minimum_volume,
        numerator=seen.numerator,
        denominator=seen.denominator,
        events=seen.events,
        latest_day=seen.latest_day,
        value=None if value is None or hidden else rounded(value),
        attainment=None if attained is None else rounded(attained),
    )
    return result, attained


def _weighed(part: PartResult, share: Fraction) -> PartResult:
    return replace(part, applied_weight=rounded(share * _HUNDRED))


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
