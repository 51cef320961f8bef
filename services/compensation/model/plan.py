"""A compensation plan: what a band and a position in the range are worth, and how a bonus is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

UNRATED = "unrated"
"""The mandatory row of a merit matrix for people without a band."""


class Zone(StrEnum):
    """Where full-time base pay lies in its range. The quartiles are closed below; the fourth holds the maximum too."""

    BELOW_MINIMUM = "below-minimum"
    FIRST = "first-quartile"
    SECOND = "second-quartile"
    THIRD = "third-quartile"
    FOURTH = "fourth-quartile"
    ABOVE_MAXIMUM = "above-maximum"


@dataclass(frozen=True, slots=True)
class Cell:
    """Percent of base pay: the guideline, and what a pool may make of it."""

    minimum: Decimal
    default: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class MatrixRow:
    band: str
    cells: Mapping[Zone, Cell]


class CurveKind(StrEnum):
    LINEAR = "linear"
    STEPPED = "stepped"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    score: Decimal
    percent: Decimal


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Percent per point of score above the last point of a curve, up to a hard cap."""

    slope: Decimal
    hard_cap: Decimal


@dataclass(frozen=True, slots=True)
class Curve:
    kind: CurveKind
    points: tuple[CurvePoint, ...]
    accelerator: Accelerator | None


class Combination(StrEnum):
    ADDITIVE = "additive"
    MULTIPLICATIVE = "multiplicative"


@dataclass(frozen=True, slots=True)
class Bonus:
    """Both weights belong to an additive bonus alone; a multiplicative one is the product of its parts."""

    type: Combination
    team_weight: Decimal | None
    individual_weight: Decimal | None
    team_curve: Curve
    individual_curve: Curve
    cap_percent: Decimal
    gate_band: str | None


class Rounding(StrEnum):
    """The modes of `decimal`, by their names there."""

    CEILING = "ROUND_CEILING"
    DOWN = "ROUND_DOWN"
    FLOOR = "ROUND_FLOOR"
    HALF_DOWN = "ROUND_HALF_DOWN"
    HALF_EVEN = "ROUND_HALF_EVEN"
    HALF_UP = "ROUND_HALF_UP"
    UP = "ROUND_UP"
    ZERO_FIVE_UP = "ROUND_05UP"


class Absences(StrEnum):
    """Whether days of leave count towards proration and eligible earnings."""

    COUNT = "count"
    LEAVE_OUT = "leave-out"


@dataclass(frozen=True, slots=True)
class Plan:
    """`bands` lowest first, as the cycle names them. All amounts a plan decides are in its one currency."""

    name: str
    currency: str
    bands: tuple[str, ...]
    merit: tuple[MatrixRow, ...]
    lump_sum_above_maximum: bool
    absences: Absences
    rounding: Rounding
    bonus: Bonus | None
