"""Payout curves: a score to a percentage."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from services.compensation.model.plan import Curve, CurveKind
from shared.field_problems import FieldProblem


def payout(curve: Curve, score: Fraction) -> Fraction:
    """Percent at `score`: 0 below the first point, which itself counts; flat, or accelerated, above the last."""
    points = _points(curve)
    if score < points[0][0]:
        return Fraction(0)
    last_score, last_percent = points[-1]
    if score >= last_score:
        if curve.accelerator is None:
            return last_percent
        faster = last_percent + (score - last_score) * Fraction(curve.accelerator.slope)
        return min(faster, Fraction(curve.accelerator.hard_cap))
    index = max(number for number, (left, _) in enumerate(points) if left <= score)
    (left, low), (right, high) = points[index], points[index + 1]
    if curve.kind is CurveKind.STEPPED:
        return low
    return low + (high - low) * (score - left) / (right - left)


@lru_cache(maxsize=1_000)
def _points(curve: Curve) -> tuple[tuple[Fraction, Fraction], ...]:
    return tuple((Fraction(point.score), Fraction(point.percent)) for point in curve.points)


def problems(curve: Curve, pointer: str) -> Iterator[FieldProblem]:
    """What makes a curve ambiguous, or pays less for more."""
    points = curve.points
    if len(points) < 2:
        yield FieldProblem(f"{pointer}/points", "too-few", "a curve has at least two points")
    for index in range(1, len(points)):
        if points[index].score <= points[index - 1].score:
            yield FieldProblem(f"{pointer}/points/{index}/score", "not-rising", "scores rise from point to point")
        if points[index].percent < points[index - 1].percent:
            yield FieldProblem(f"{pointer}/points/{index}/percent", "falling", "percent never falls along a curve")
    if curve.accelerator is None or not points:
        return
    if curve.kind is CurveKind.STEPPED:
        yield FieldProblem(f"{pointer}/accelerator", "stepped", "a stepped curve holds its last value")
    if curve.accelerator.hard_cap < points[-1].percent:
        yield FieldProblem(f"{pointer}/accelerator/hard_cap", "too-small", "the hard cap is not below the last point")
