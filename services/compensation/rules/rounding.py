"""The single rounding step: an exact amount to whole minor units, by a mode named as in `decimal`."""

from __future__ import annotations

from fractions import Fraction

from services.compensation.model.plan import Rounding


def rounded(value: Fraction, mode: Rounding) -> int:
    """`value` as an integer. Exact for any denominator, which a decimal context with its precision would not be."""
    sign = -1 if value < 0 else 1
    whole, rest = divmod(abs(value.numerator), value.denominator)
    return sign * (whole + 1) if rest and _away(whole, 2 * rest, value.denominator, sign, mode) else sign * whole


def _away(whole: int, twice_rest: int, denominator: int, sign: int, mode: Rounding) -> bool:
    """Whether a magnitude with a rest goes away from zero."""
    match mode:
        case Rounding.UP:
            return True
        case Rounding.DOWN:
            return False
        case Rounding.CEILING:
            return sign > 0
        case Rounding.FLOOR:
            return sign < 0
        case Rounding.HALF_UP:
            return twice_rest >= denominator
        case Rounding.HALF_DOWN:
            return twice_rest > denominator
        case Rounding.HALF_EVEN:
            return twice_rest > denominator or (twice_rest == denominator and whole % 2 == 1)
        case Rounding.ZERO_FIVE_UP:
            return whole % 10 in (0, 5)
