"""Weights when some parts have no data."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

ONE = Fraction(1)


@lru_cache(maxsize=4096)
def coverage(declared: tuple[Decimal, ...], valid: tuple[bool, ...]) -> Fraction:
    """The share of the declared weight that has data."""
    total = sum(map(Fraction, declared), Fraction(0))
    return (
        sum((Fraction(weight) for weight, counts in zip(declared, valid, strict=True) if counts), Fraction(0)) / total
    )


@lru_cache(maxsize=4096)
def renormalised(
    declared: tuple[Decimal, ...], valid: tuple[bool, ...], maximum: Decimal
) -> tuple[Fraction, ...] | None:
    """Shares of one for the valid parts (0 for the others), or `None` where no such sharing exists.

    Renormalising raises no share above the larger of its declared value and `maximum`: what would go beyond is spread
    over the others in proportion, again and again until nothing goes beyond.
    """
    total = sum(map(Fraction, declared), Fraction(0))
    shares = [Fraction(weight) / total for weight in declared]
    if all(valid):
        return tuple(shares)
    most = Fraction(maximum)
    limits = [max(share, most) if counts else Fraction(0) for share, counts in zip(shares, valid, strict=True)]
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
    return tuple(applied)
