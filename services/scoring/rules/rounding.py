"""The one precision of scoring.

All arithmetic between stored sums and results is in exact fractions, so neither the order of events nor the order of
parts can show in a digit. A result is rounded once, half to even, to twelve places; bands are cut on that value.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact
from fractions import Fraction

PLACES = 12
_SCALE = 10**PLACES


def rounded(value: Fraction) -> Decimal:
    # In whole numbers: Fraction's own product and rounding first look for common divisors, at several times the cost.
    whole, rest = divmod(value.numerator * _SCALE, value.denominator)
    beyond_half = 2 * rest - value.denominator
    if beyond_half > 0 or (beyond_half == 0 and whole % 2):
        whole += 1
    # Through text: arithmetic on Decimals would round to the ambient context a second time.
    return Decimal(f"{whole}E-{PLACES}")


_EXACT = Context(prec=1000, traps=[Inexact])


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """The sum to its last digit; raises rather than round."""
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, value)
    return total
