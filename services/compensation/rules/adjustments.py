"""What a later classification makes of a decided award, under the rules and inputs of its own run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from services.compensation.model.award import POOL_OF, Component, Item, Pool
from services.compensation.model.plan import Rounding
from services.compensation.model.pool import Claim, Share
from services.compensation.rules.rounding import rounded
from shared.contracts.ids import EmployeeId


def readjusted(
    employee: EmployeeId,
    decided: Mapping[Component, tuple[Item, int]],
    items: Sequence[Item],
    scales: Mapping[Pool, Fraction],
    mode: Rounding,
) -> tuple[Share, ...]:
    """The award as it is computed now. An item that asks what it asked in the run gets what it got there.

    It depends on the run and the classification alone, never on the revisions between them, so that revisions that
    cancel each other leave the award where it was.
    """
    shares = []
    for item in items:
        claim = Claim(employee, item.component, item.raw, item.minimum, item.maximum)
        scale = scales[POOL_OF[item.component]]
        exact = max(item.minimum, min(scale * item.raw, item.maximum))
        before = decided.get(item.component)
        amount = before[1] if before and before[0] == item else min(rounded(exact, mode), int(item.maximum))
        shares.append(Share(claim, exact, amount))
    return tuple(shares)
