"""Whether a plan can be paid by: everything wrong with it, at once."""

from __future__ import annotations

from collections.abc import Iterator

from services.compensation.model.currency import EXPONENTS
from services.compensation.model.plan import Bonus, Combination, Plan
from services.compensation.rules import curves, matrix
from shared.field_problems import FieldProblem

CAP_ORDER = ("curve", "combination", "range-maximum", "pool")
"""Caps act in this order: each on what the one before has left."""


def plan_problems(plan: Plan) -> tuple[FieldProblem, ...]:
    found = list(currency_problems(plan.currency, "/currency"))
    if not plan.bands:
        found.append(FieldProblem("/bands", "too-few", "a plan knows at least one band"))
    found.extend(matrix.problems(plan))
    if plan.bonus is not None:
        found.extend(_bonus_problems(plan.bonus, plan.bands))
    return tuple(found)


def currency_problems(currency: str, pointer: str) -> Iterator[FieldProblem]:
    if currency not in EXPONENTS:
        yield FieldProblem(pointer, "unknown-currency", "not a currency of ISO 4217")


def _bonus_problems(bonus: Bonus, bands: tuple[str, ...]) -> Iterator[FieldProblem]:
    weights = (bonus.team_weight, bonus.individual_weight)
    if bonus.type is Combination.MULTIPLICATIVE:
        if weights != (None, None):
            yield FieldProblem("/bonus/team_weight", "not-weighted", "a multiplicative bonus has no weights")
    elif bonus.team_weight is None or bonus.individual_weight is None:
        yield FieldProblem("/bonus/team_weight", "missing", "an additive bonus has both weights")
    elif bonus.team_weight + bonus.individual_weight != 1:
        yield FieldProblem("/bonus/team_weight", "not-one", "the weights of team and individual add up to exactly 1")
    if bonus.gate_band is not None and bonus.gate_band not in bands:
        yield FieldProblem("/bonus/gate_band", "unknown-band", "not a band of this plan")
    yield from curves.problems(bonus.team_curve, "/bonus/team_curve")
    yield from curves.problems(bonus.individual_curve, "/bonus/individual_curve")
