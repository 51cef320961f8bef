"""The merit rise of one person before the pool: guideline, proration, range maximum."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from services.compensation.model.award import Component, Item, Line, PayEntry, PayRange, Step
from services.compensation.model.currency import shown
from services.compensation.model.plan import Cell, Plan, Zone
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
    zone = matrix.zone_of(pay.base, pay_range)
    cell = matrix.cell_of(plan, band, zone)
    worked = pay.base * Fraction(pay.fte) * position.factor
    days = Fraction(counted, cycle_days)
    rise = Account(Component.MERIT)
    rated = f"band {band}" if band else "unrated"
    label = f"{cell.default} % of {shown(pay.base, pay.currency)} at {pay.fte} of full time: {rated}, {zone}"
    rise.add(Step.RAW, label, _inputs(position, cell, zone), worked * percent(cell.default))
    whole = _Triple(*(worked * days * percent(share) for share in (cell.default, cell.minimum, cell.maximum)))
    rise.add(
        Step.PRORATION,
        f"{counted} of the {cycle_days} days of the cycle count",
        {"days": str(counted), "of": str(cycle_days)},
        whole.raw - rise.total,
    )
    headroom = max(_ZERO, (pay_range.maximum - pay.base) * Fraction(pay.fte) * position.factor)
    if whole.maximum <= headroom:
        return (Item(Component.MERIT, *whole),), rise.lines
    base_part = _Triple(*(min(amount, headroom) for amount in whole))
    above = _Triple(*(amount - part for amount, part in zip(whole, base_part, strict=True)))
    limits = {"maximum": str(pay_range.maximum), "headroom": str(headroom)}
    fate = "becomes a lump sum" if plan.lump_sum_above_maximum else "is not paid"
    rise.add(Step.RANGE_MAXIMUM, f"What would exceed the range maximum {fate}", limits, -above.raw)
    if not plan.lump_sum_above_maximum:
        return (Item(Component.MERIT, *base_part),), rise.lines
    lump = Account(Component.LUMP_SUM)
    lump.add(Step.RANGE_MAXIMUM, "What would have exceeded the range maximum", limits, above.raw)
    return (Item(Component.MERIT, *base_part), Item(Component.LUMP_SUM, *above)), rise.lines + lump.lines


class _Triple(NamedTuple):
    """An amount by the guideline, and by the limits of its cell."""

    raw: Fraction
    minimum: Fraction
    maximum: Fraction


def _inputs(position: Position, cell: Cell, zone: Zone) -> dict[str, str]:
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
        "zone": zone.value,
    }
