"""Weights when some parts have no data."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

ONE = Fraction(1)


def renormalised(declared: Sequence[Fraction], valid: Sequence[bool], maximum: Fraction) -> list[Fraction] | None:
    """Shares of one for the valid parts (0 for the others), or `None` where no such sharing exists.

    Renormalising raises no share above the larger of its declared value and `maximum`: what would go beyond is spread
    over the others in proportion, again and again until nothing goes beyond.
    """
    total = sum(declared, Fraction(0))
    shares = [weight / total for weight in declared]
    if all(valid):
        return shares
    limits = [max(share, maximum) if counts else Fraction(0) for share, counts in zip(shares, valid, strict=True)]
    if sum(limits) < ONE:
        return None
    free = {index for index, counts in enumerate(valid) if counts}
    applied = [Fraction(0)] * len(shares)
    left = ONE
    while free:
        factor = left / sum(shares[index] for index in free)
        over = {index for index in free if shares[index] * factor > limits[index]}
        for index in over or free:
            applied[index] = limits[index] if over else shares[index] * factor
        left -= sum(applied[index] for index in over or free)
        free -= over or free
    return applied
