"""From exact sums to the value of a source, and from that to the state of a part in a segment."""

from __future__ import annotations

from fractions import Fraction

from services.scoring.model.facts import Sums
from services.scoring.model.scorecards import PartState
from services.scoring.model.templates import Aggregation, MetricRule, MissingData


def measure(rule: MetricRule, sums: Sums | None) -> Fraction | None:
    """The aggregate: a ratio or mean of sums, never a mean of means; nothing where nothing was observed."""
    if sums is None or sums.denominator <= 0:
        return None
    numerator = Fraction(sums.numerator)
    return numerator if rule.aggregation is Aggregation.SUM else numerator / Fraction(sums.denominator)


def sufficient(rule: MetricRule, sums: Sums | None) -> bool:
    return sums is not None and sums.denominator >= rule.minimum_volume


def state_of(rule: MetricRule, value: Fraction | None, enough: bool) -> PartState:
    """Too little counts as missing, and what a missing metric does to the score is the metric's own rule."""
    if value is not None and enough:
        return PartState.VALID
    if rule.missing_data is MissingData.ZERO:
        return PartState.ZERO
    if rule.missing_data is MissingData.HOLD:
        return PartState.HELD
    return PartState.MISSING if value is None else PartState.INSUFFICIENT
