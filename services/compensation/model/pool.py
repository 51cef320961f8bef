"""Money for a group: what is asked of it, and how it is shared out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from services.compensation.model.award import Component
from shared.contracts.ids import EmployeeId


@dataclass(frozen=True, slots=True)
class Claim:
    employee: EmployeeId
    component: Component
    raw: Fraction
    minimum: Fraction
    maximum: Fraction


@dataclass(frozen=True, slots=True)
class Share:
    """`exact` is the claim after scaling, `amount` what is paid of it."""

    claim: Claim
    exact: Fraction
    amount: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What all claims on a pool come to: as asked, at least, at most."""

    requested: Fraction
    minimum: Fraction
    maximum: Fraction


@dataclass(frozen=True, slots=True)
class Distribution:
    """Σ amounts + `undistributed` is the pool, to the last minor unit."""

    sums: Sums
    scale: Fraction
    binds: bool
    shares: tuple[Share, ...]
    undistributed: int


@dataclass(frozen=True, slots=True)
class Infeasible:
    """The pool is below what must be paid, or above what may be paid although it is to be used up."""

    sums: Sums
