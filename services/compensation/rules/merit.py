"""The merit rise of one person before the pool: guideline, proration, range maximum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from services.compensation.model.award import Component, Item, Line, PayEntry, PayRange, Step
from services.compensation.model.currency import shown
from services.compensation.model.plan import Cell, Plan
from services.compensation.rules import matrix
from services.compensation.rules.lines import Account, percent

_ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Position:
    """The pay of the reference date, its range, and what one minor unit of its currency is in the plan's."""

    pay: PayEntry
    pay_range: PayRange
    factor: Fraction


def merit(
    plan: Plan, band: str | None, position: Position, counted: int, cycle_days: int
) -> tuple[tuple[Item, ...], tuple[Line, ...]]:
    """The items of rise and lump sum with the lines that lead to them.

    The range maximum acts on guideline, minimum and maximum alike, each after proration: no scaling of the pool can
    lift base pay above the range.
    """
    pay, pay_range = position.pay, position.pay_range
    cell = matrix.cell_of(plan, band, matrix.zone_of(pay.base, pay_range))
    worked = pay.base * Fraction(pay.fte) * position.factor
    prorated = worked * Fraction(counted, cycle_days)
    headroom = max(_ZERO, (pay_range.maximum - pay.base) * Fraction(pay.fte) * position.factor)
    rise = Account(Component.MERIT)
    rise.add(Step.RAW, _label(band, position, cell), _inputs(position, cell), worked * percent(cell.default))
    rise.add(
        Step.PRORATION,
        f"{counted} of the {cycle_days} days of the cycle count",
        {"days": str(counted), "of": str(cycle_days)},
        (prorated - worked) * percent(cell.default),
    )
    whole = _item(Component.MERIT, cell, prorated, lambda amount: amount)
    base_part = _item(Component.MERIT, cell, prorated, lambda amount: min(amount, headroom))
    above = _item(Component.LUMP_SUM, cell, prorated, lambda amount: amount - min(amount, headroom))
    if not above.maximum:
        return (whole,), rise.lines
    limits = {"maximum": str(pay_range.maximum), "headroom": str(headroom)}
    fate = "becomes a lump sum" if plan.lump_sum_above_maximum else "is not paid"
    rise.add(Step.RANGE_MAXIMUM, f"What would exceed the range maximum {fate}", limits, -above.raw)
    if not plan.lump_sum_above_maximum:
        return (base_part,), rise.lines
    lump = Account(Component.LUMP_SUM)
    lump.add(Step.RANGE_MAXIMUM, "What would have exceeded the range maximum", limits, above.raw)
    return (base_part, above), rise.lines + lump.lines


def _item(component: Component, cell: Cell, prorated: Fraction, part: Callable[[Fraction], Fraction]) -> Item:
    raw, low, high = (part(prorated * percent(share)) for share in (cell.default, cell.minimum, cell.maximum))
    return Item(component, raw, low, high)


def _label(band: str | None, position: Position, cell: Cell) -> str:
    pay = position.pay
    zone = matrix.zone_of(pay.base, position.pay_range)
    rated = f"band {band}" if band else "unrated"
    return f"{cell.default} % of {shown(pay.base, pay.currency)} at {pay.fte} of full time: {rated}, {zone}"


def _inputs(position: Position, cell: Cell) -> dict[str, str]:
    pay, pay_range = position.pay, position.pay_range
    return {
        "base": str(pay.base),
        "currency": pay.currency,
        "fte": str(pay.fte),
        "percent": str(cell.default),
        "minimum_percent": str(cell.minimum),
        "maximum_percent": str(cell.maximum),
        "grade": pay_range.grade,
        "range_minimum": str(pay_range.minimum),
        "range_midpoint": str(pay_range.midpoint),
        "range_maximum": str(pay_range.maximum),
        "range_valid_from": pay_range.valid_from.isoformat(),
        "compa_ratio": str(matrix.compa_ratio(pay.base, pay_range)),
        "range_penetration": str(matrix.penetration(pay.base, pay_range)),
        "zone": matrix.zone_of(pay.base, pay_range).value,
    }
