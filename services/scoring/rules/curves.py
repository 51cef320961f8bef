"""Payout curves: from the value of a metric to attainment in percent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from services.scoring.model.templates import Curve, Shape
from shared.field_problems import FieldProblem


def problems(curve: Curve, *, higher_is_better: bool | None) -> Iterator[FieldProblem]:
    """What is wrong with a curve, pointers relative to it. Without a direction both are thinkable and either fits."""
    points = curve.points
    if len(points) < 2:
        yield FieldProblem("/points", "too-few-points", "a curve needs at least two points")
    rises = [right[0] > left[0] for left, right in pairwise(points)]
    if higher_is_better is None:
        higher_is_better = not rises or rises[0]
    for index, (left, right) in enumerate(pairwise(points), 1):
        if left[0] == right[0]:
            yield FieldProblem(f"/points/{index}/0", "equal-x", "no two points may have the same x")
        elif rises[index - 1] != higher_is_better:
            order = "rise: higher is better" if higher_is_better else "fall: lower is better"
            yield FieldProblem(f"/points/{index}/0", "wrong-order", f"x must {order}")
        if right[1] < left[1]:
            yield FieldProblem(f"/points/{index}/1", "falling-y", "attainment may not fall while performance improves")
    if points and points[0][1] < 0:
        yield FieldProblem("/points/0/1", "negative-y", "attainment is 0 below the first point and may not fall there")
    yield from _limit_problems(curve)


def _limit_problems(curve: Curve) -> Iterator[FieldProblem]:
    if curve.cap is not None and curve.cap < 0:
        yield FieldProblem("/cap", "negative", "a cap is not negative")
    if curve.accelerator is None:
        return
    if curve.accelerator < 0:
        yield FieldProblem("/accelerator", "negative", "an accelerator does not slow down")
    if curve.cap is None:
        yield FieldProblem("/cap", "missing", "an accelerator needs a cap")
    if curve.shape is Shape.STEPPED:
        yield FieldProblem("/accelerator", "not-linear", "a stepped curve holds its last value")


@dataclass(frozen=True, slots=True)
class _Line:
    """A curve's points as exact numbers that rise, and the slopes between them."""

    zs: tuple[Fraction, ...]
    ys: tuple[Fraction, ...]
    slopes: tuple[Fraction, ...]


@lru_cache(maxsize=4096)
def _line(points: tuple[tuple[Decimal, Decimal], ...], higher_is_better: bool) -> _Line:
    sign = 1 if higher_is_better else -1
    zs = tuple(sign * Fraction(x) for x, _ in points)
    ys = tuple(Fraction(y) for _, y in points)
    slopes = tuple(
        (up - down) / (right - left) for (left, right), (down, up) in zip(pairwise(zs), pairwise(ys), strict=True)
    )
    return _Line(zs, ys, slopes)


def attainment(curve: Curve, value: Fraction, *, higher_is_better: bool) -> Fraction:
    """Nothing below the first point, which itself counts; beyond the last flat, or accelerated up to the cap."""
    line = _line(curve.points, higher_is_better)
    z = value if higher_is_better else -value
    left = bisect_right(line.zs, z) - 1
    if left < 0:
        reached = Fraction(0)
    elif left == len(line.zs) - 1:
        reached = line.ys[left]
        if curve.accelerator is not None:
            reached += Fraction(curve.accelerator) * (z - line.zs[left])
    elif curve.shape is Shape.STEPPED or line.zs[left] == z:
        reached = line.ys[left]
    else:
        reached = line.ys[left] + line.slopes[left] * (z - line.zs[left])
    return reached if curve.cap is None else min(reached, Fraction(curve.cap))
