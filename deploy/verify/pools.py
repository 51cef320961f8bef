"""Sharing out a pool: one factor for all, found by halving the list of turning points, and the largest remainders."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor

from deploy.verify.pay import Claim

_ZERO, _ONE = Fraction(0), Fraction(1)
Name = tuple[str, str]
"""Employee and component: the declared order of ties."""


@dataclass(frozen=True)
class Pool:
    """`scale` is `None` where the pool is below what must be paid, or above what may be paid and is to be used up."""

    requested: Fraction
    minimum: Fraction
    maximum: Fraction
    scale: Fraction | None
    binds: bool
    amounts: Mapping[Name, int]


def clip(claim: Claim, scale: Fraction) -> Fraction:
    return max(claim.low, min(scale * claim.raw, claim.high))


def total(claims: Sequence[Claim], scale: Fraction) -> Fraction:
    return sum((clip(claim, scale) for claim in claims), _ZERO)


def share_out(claims: Mapping[Name, Claim], amount: int, rounding: str, scale_up: bool) -> Pool:
    names = sorted(claims)
    asked = [claims[name] for name in names]
    minimum = sum((claim.low for claim in asked), _ZERO)
    # Nothing lifts a claim of zero: what it might get at most is not money that could be used up.
    maximum = sum((claim.high if claim.raw else claim.low for claim in asked), _ZERO)
    requested = sum((claim.raw for claim in asked), _ZERO)
    if amount < minimum or (scale_up and amount > maximum):
        return Pool(requested, minimum, maximum, None, False, {})
    at_one = total(asked, _ONE)
    scale = _ONE
    if amount < at_one or (scale_up and amount != at_one):
        scale = solve(asked, amount)
    exact = {name: clip(claims[name], scale) for name in names}
    if amount > at_one and not scale_up:
        amounts = {name: rounded(exact[name], claims[name].high, rounding) for name in names}
        if sum(amounts.values()) <= amount:
            return Pool(requested, minimum, maximum, scale, False, amounts)
    amounts = {name: floor(value) for name, value in exact.items()}
    left = amount - sum(amounts.values())
    by_rest = sorted((name for name in names if exact[name] > 0), key=lambda name: (amounts[name] - exact[name], name))
    while left > 0:
        takers = [name for name in by_rest if amounts[name] < floor(claims[name].high)][:left]
        if not takers:
            break
        for name in takers:
            amounts[name] += 1
        left -= len(takers)
    return Pool(requested, minimum, maximum, scale, True, amounts)


def solve(claims: Sequence[Claim], amount: int) -> Fraction:
    """The smallest factor at which the clipped claims come to `amount`, looked for among the turning points."""
    moving = [claim for claim in claims if claim.raw]
    turns = sorted({claim.low / claim.raw for claim in moving} | {claim.high / claim.raw for claim in moving})
    place = bisect_left(turns, Fraction(amount), key=lambda turn: total(claims, turn))
    if place == 0:
        return turns[0]
    left, right = turns[place - 1], turns[place]
    low, high = total(claims, left), total(claims, right)
    return left + (right - left) * (amount - low) / (high - low)


def rounded(value: Fraction, high: Fraction, mode: str) -> int:
    """By a mode of `decimal`, never above the whole units of `high`.

    For rounding to whole units only this matters of the rest: none, less than a half, a half, more.
    """
    whole = floor(value)
    rest = value - whole
    half = Fraction(1, 2)
    digits = "00" if not rest else "25" if rest < half else "50" if rest == half else "75"
    return min(int(Decimal(f"{whole}.{digits}").quantize(Decimal(1), rounding=mode)), floor(high))
