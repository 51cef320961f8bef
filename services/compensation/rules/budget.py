"""Sharing out a pool: one factor for everybody between their limits, and rounding that closes to the last minor unit.

All sums run over integers scaled by one common denominator: exact like fractions, and fast enough for 200,000 claims.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from services.compensation.model.plan import Rounding
from services.compensation.model.pool import Claim, Distribution, Infeasible, Share, Sums
from services.compensation.rules.rounding import rounded

_ONE = Fraction(1)


def distribute(
    claims: Iterable[Claim], amount: int, mode: Rounding, *, scale_up: bool = False
) -> Distribution | Infeasible:
    """Share `amount` over `claims`: x = clip(λ·raw, minimum, maximum), then whole minor units, whatever the order.

    λ is at most 1 unless `scale_up`. Where the pool does not bind, each claim is rounded by `mode` and what remains is
    undistributed. Nobody gets more than the whole units of their maximum, and nobody without a claim gets anything.
    """
    ordered = sorted(claims, key=lambda claim: (claim.employee, claim.component))
    scaled = _Scaled.of(ordered)
    sums = scaled.sums()
    if amount < sums.minimum or (scale_up and amount > sums.maximum):
        return Infeasible(sums)
    target, at_one = amount * scaled.unit, sum(scaled.at(_ONE))
    binds = target <= at_one or scale_up
    scale = scaled.solve(amount) if binds and target != at_one else _ONE
    exact = scaled.at(scale)
    unit = scaled.unit * scale.denominator
    caps = [high // scaled.unit for high in scaled.high]
    amounts = None if binds else _rounded_each(exact, unit, caps, amount, mode)
    if amounts is None:
        binds = True
        amounts = _largest_remainder(exact, unit, caps, amount)
    shares = tuple(
        Share(claim, Fraction(numerator, unit), paid)
        for claim, numerator, paid in zip(ordered, exact, amounts, strict=True)
    )
    return Distribution(sums, scale, binds, shares, amount - sum(amounts))


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Claims as integers: each number times `unit`."""

    unit: int
    raw: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]

    @staticmethod
    def of(claims: Sequence[Claim]) -> _Scaled:
        numbers = [(claim.raw, claim.minimum, claim.maximum) for claim in claims]
        unit = lcm(*{number.denominator for triple in numbers for number in triple})
        scaled = [[n.numerator * (unit // n.denominator) for n in triple] for triple in numbers]
        return _Scaled(unit, [r for r, _, _ in scaled], [lo for _, lo, _ in scaled], [hi for _, _, hi in scaled])

    def sums(self) -> Sums:
        # Scaling never lifts a zero, so what it may get at most is not money that could be used up.
        reachable = sum(hi if r else lo for r, lo, hi in zip(self.raw, self.low, self.high, strict=True))
        return Sums(
            Fraction(sum(self.raw), self.unit), Fraction(sum(self.low), self.unit), Fraction(reachable, self.unit)
        )

    def at(self, scale: Fraction) -> list[int]:
        """clip(scale·raw, low, high) of every claim, times `unit` and the denominator of `scale`."""
        p, q = scale.numerator, scale.denominator
        rows = zip(self.raw, self.low, self.high, strict=True)
        return [max(lo * q, min(p * r, hi * q)) for r, lo, hi in rows]

    def solve(self, amount: int) -> Fraction:
        """The factor whose clipped claims sum to `amount`: between breakpoints the sum is a straight line."""
        target = amount * self.unit
        fixed, slope = 0, 0
        # Many claims turn at the same factor, because the same cell of the matrix made them: one turn stands for all.
        turns: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        for r, lo, hi in zip(self.raw, self.low, self.high, strict=True):
            fixed += lo
            if r:
                # From lo/r on the claim moves with the factor, from hi/r on it stands still again.
                common = gcd(lo, r)
                turn = turns[lo // common, r // common]
                turn[0] -= lo
                turn[1] += r
                common = gcd(hi, r)
                turn = turns[hi // common, r // common]
                turn[0] += hi
                turn[1] -= r
        for at, (constant, change) in sorted((Fraction(*ratio), sums) for ratio, sums in turns.items()):
            if fixed * at.denominator + slope * at.numerator >= target * at.denominator:
                # The target is reached by here: on the line before this turn, or at it when that line is flat.
                return Fraction(target - fixed, slope) if slope else at
            fixed += constant
            slope += change
        raise ValueError("the claims cannot be scaled to this amount")


def _rounded_each(
    exact: Sequence[int], unit: int, caps: Sequence[int], amount: int, mode: Rounding
) -> list[int] | None:
    """Every claim rounded by itself; nothing when these together exceed the pool."""
    amounts = [min(rounded(Fraction(x, unit), mode), cap) for x, cap in zip(exact, caps, strict=True)]
    return amounts if sum(amounts) <= amount else None


def _largest_remainder(exact: Sequence[int], unit: int, caps: Sequence[int], amount: int) -> list[int]:
    """Whole units, then one more each for the largest rests, ties in the order given, until the pool is used up.

    A claim that stands at its maximum takes none; only when all others had theirs does a second round begin.
    """
    amounts = [x // unit for x in exact]
    left = amount - sum(amounts)
    takers = sorted((i for i, x in enumerate(exact) if x > 0), key=lambda i: (-(exact[i] % unit), i))
    while left > 0 and (takers := [i for i in takers if amounts[i] < caps[i]]):
        for i in takers[:left]:
            amounts[i] += 1
        left -= min(left, len(takers))
    return amounts
