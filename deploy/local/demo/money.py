"""What the demo's provider pays: ranges, pay, rates, two plans and what there is to spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from random import Random

from deploy.local.demo.scheme import BAND_NAMES
from deploy.local.demo.world import FIRST_DAY, GRADE_OF, SITES, Worker, World

CURRENCIES = ("PHP", "PLN")
RATES = (("PLN", "PHP", "15.20"), ("PHP", "PLN", "0.0657"))
UNRATED = "unrated"
_RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "PHP": {"G1": (240_000, 360_000), "G2": (320_000, 480_000), "G3": (420_000, 630_000), "G5": (700_000, 1_050_000)},
    "PLN": {"G1": (60_000, 90_000), "G2": (75_000, 112_500), "G3": (95_000, 142_500), "G5": (130_000, 195_000)},
}
"""Lowest and highest annual pay of a grade, in major units."""
_TARGET_BONUS = {"G1": "5", "G2": "6", "G3": "8", "G5": "10"}
_ZONES = ("below-minimum", "first-quartile", "second-quartile", "third-quartile", "fourth-quartile", "above-maximum")
_GUIDELINE: Mapping[str, tuple[str, ...]] = {
    "insufficient": ("0", "0", "0", "0", "0", "0"),
    "developing": ("2", "1.5", "1", "1", "0.5", "0"),
    "meets": ("4", "3.5", "3", "2.5", "2", "1"),
    "exceeds": ("6", "5", "4.5", "4", "3", "2"),
    "outstanding": ("8", "7", "6", "5", "4", "3"),
    UNRATED: ("1", "1", "1", "1", "1", "0.5"),
}
"""Percent of pay by band and position in range."""
_LOW, _HIGH = Fraction(1, 2), Fraction(5, 4)
_TIGHT, _AMPLE = Fraction(4, 5), Fraction(6, 5)


@dataclass(frozen=True, slots=True)
class Pay:
    """Annual full-time base in minor units."""

    base: int
    currency: str
    fte: str
    target_bonus: str


def home_currency(worker: Worker) -> str:
    return worker.final.site.currency


def pay_of(world: World) -> Mapping[str, Pay]:
    """Everybody's pay but for a few whose contract HR has not entered; a few are paid in the other currency."""
    found: dict[str, Pay] = {}
    for place, worker in enumerate(world.workers):
        random = Random(f"{world.size.seed}:{worker.id}:pay")  # noqa: S311 - a reproducible data set, nothing secret
        grade, currency = GRADE_OF[worker.final.role], home_currency(worker)
        if place % 67 == 13:
            continue
        if place % 97 == 19:
            currency = next(other for other in CURRENCIES if other != currency)
        low, high = _RANGES[currency][grade]
        share = 1.06 if place % 41 == 17 else random.uniform(-0.04, 0.99)
        base = round((low + (high - low) * share) / 100) * 10_000
        found[worker.id] = Pay(base, currency, "0.8" if place % 19 == 5 else "1", _TARGET_BONUS[grade])
    return found


def ranges() -> dict[str, dict[str, object]]:
    return {
        f"{currency.lower()}-{grade.lower()}": {
            "grade": grade,
            "currency": currency,
            "minimum": low * 100,
            "midpoint": (low + high) * 50,
            "maximum": high * 100,
            "valid_from": "2025-01-01",
        }
        for currency, grades in _RANGES.items()
        for grade, (low, high) in grades.items()
    }


def plan_of(currency: str) -> str:
    return f"annual-{currency.lower()}"


def budget_of(currency: str) -> str:
    return f"budget-{currency.lower()}"


def run_of(currency: str) -> str:
    return f"run-{currency.lower()}"


def plan(currency: str) -> dict[str, object]:
    curve = [("60", "0"), ("80", "50"), ("100", "100"), ("130", "200")]
    payout = {"kind": "linear", "points": [{"score": score, "percent": percent} for score, percent in curve]}
    return {
        "name": f"Annual review, {currency}",
        "currency": currency,
        "bands": list(BAND_NAMES),
        "rounding": "ROUND_HALF_EVEN",
        "lump_sum_above_maximum": True,
        "absences": "leave-out",
        "merit": [{"band": band, "cells": _cells(band)} for band in _GUIDELINE],
        "bonus": {
            "type": "additive",
            "team_weight": "0.4",
            "individual_weight": "0.6",
            "team_curve": payout,
            "individual_curve": payout,
            "cap_percent": "200",
            "gate_band": "developing",
        },
    }


def budget(currency: str, pools: tuple[int, int], cycle: str) -> dict[str, object]:
    sites = [site.id for site in SITES if site.currency == currency]
    return {
        "cycle": cycle,
        "plan": plan_of(currency),
        "currency": currency,
        "merit_pool": pools[0],
        "bonus_pool": pools[1],
        "scope": {"clients": [], "units": [], "lines_of_business": [], "sites": sites},
        "scale_up": False,
    }


def pools(world: World, pay: Mapping[str, Pay], bands: Mapping[str, str | None], currency: str) -> tuple[int, int]:
    """Merit and bonus money: the pesos are short by a fifth, the zloty leave as much over; bonuses are not short."""
    merit = bonus = Fraction(0)
    for worker in world.workers:
        if home_currency(worker) == currency and worker.id in pay:
            earned = _in(currency, pay[worker.id])
            merit += earned * Fraction(_guideline(worker, pay[worker.id], bands[worker.id])) / 100
            bonus += earned * Fraction(pay[worker.id].target_bonus) / 100 * 7 * world.size.weeks / 365
    scale = _TIGHT if currency == CURRENCIES[0] else _AMPLE
    return _whole(merit * scale), _whole(bonus * 2)


def _in(currency: str, pay: Pay) -> Fraction:
    rate = next((rate for source, target, rate in RATES if (source, target) == (pay.currency, currency)), "1")
    return pay.base * Fraction(pay.fte) * Fraction(rate)


def _guideline(worker: Worker, pay: Pay, band: str | None) -> str:
    low, high = _RANGES[pay.currency][GRADE_OF[worker.final.role]]
    share = Fraction(pay.base - low * 100, (high - low) * 100)
    zone = 0 if share < 0 else 5 if share > 1 else 1 + min(int(share * 4), 3)
    return _GUIDELINE[band or UNRATED][zone]


def _cells(band: str) -> dict[str, dict[str, str]]:
    return {zone: _cell(percent) for zone, percent in zip(_ZONES, _GUIDELINE[band], strict=True)}


def _cell(percent: str) -> dict[str, str]:
    least, most = (Fraction(percent) * share for share in (_LOW, _HIGH))
    return {"minimum": _text(least), "default": percent, "maximum": _text(most)}


def _text(value: Fraction) -> str:
    return str(Decimal(value.numerator) / Decimal(value.denominator))


def _whole(amount: Fraction) -> int:
    """A budget is a round number: thousands of the major unit."""
    return max(1, round(amount / 100_000)) * 100_000


VALID_FROM = FIRST_DAY.replace(month=1, day=1).isoformat()
