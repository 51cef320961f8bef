"""What everybody should be paid, by the independent recomputation of `deploy.verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from deploy.local.demo import money, scheme
from deploy.local.demo.expectation import Expected, Late
from deploy.local.demo.money import CURRENCIES
from deploy.local.demo.world import FIRST_DAY, GRADE_OF, Worker
from deploy.verify import pay, pools

BONUS, MERIT, LUMP_SUM = "bonus", "merit", "lump-sum"
_JANUARY = date.fromisoformat(money.VALID_FROM)
Amounts = Mapping[pools.Name, int]


@dataclass(frozen=True, slots=True)
class Run:
    """Of one currency: what each person and component gets, and what each pool gives."""

    amounts: Amounts
    pools: Mapping[str, tuple[int, pools.Pool]]
    differences: Amounts
    """After the revisions; what is negative is proposed to be taken back."""

    def awarded(self, pool: str) -> int:
        return sum(self.pools[pool][1].amounts.values())


def runs(expected: Expected) -> dict[str, Run]:
    return {currency: _run(expected, currency) for currency in CURRENCIES}


def lines(found: Mapping[str, Run]) -> Iterator[str]:
    """Employee, component, amount and run of all that stands posted, and of what is proposed; nothing of nothing."""
    for currency, run in found.items():
        name = money.run_of(currency)
        paid = {key: max(0, amount) for key, amount in run.differences.items()}
        for employee, component in {*run.amounts, *paid}:
            amount = run.amounts.get((employee, component), 0) + paid.get((employee, component), 0)
            if amount:
                yield f"{employee} {component} {amount} {name}"
        for (employee, component), amount in run.differences.items():
            if amount < 0:
                yield f"{employee} {component} {amount} {name} proposed"


def _run(expected: Expected, currency: str) -> Run:
    terms = _terms(expected, currency)
    claims: dict[str, dict[pools.Name, pay.Claim]] = {MERIT: {}, BONUS: {}}
    for worker in expected.in_scope(currency):
        score = expected.scores[worker.id]
        for component, claim in _claims(expected, terms, worker, expected.calibrated[worker.id], score).items():
            claims[_pool_of(component)][worker.id, component] = claim
    budgets = dict(zip((MERIT, BONUS), expected.pools(currency), strict=True))
    shared = {
        name: (budgets[name], pools.share_out(asked, budgets[name], terms.plan.rounding, False))
        for name, asked in claims.items()
    }
    amounts = {key: amount for _, pool in shared.values() for key, amount in pool.amounts.items()}
    differences: dict[pools.Name, int] = {}
    for late in expected.late:
        if money.home_currency(late.worker) == currency:
            differences |= _differences(expected, terms, late, claims, shared, amounts)
    return Run(amounts, shared, differences)


def _differences(
    expected: Expected,
    terms: pay.Terms,
    late: Late,
    claims: Mapping[str, Mapping[pools.Name, pay.Claim]],
    shared: Mapping[str, tuple[int, pools.Pool]],
    amounts: Amounts,
) -> dict[pools.Name, int]:
    """A claim that is asked again as it was gets what it got; another, its share by the scale of the run."""
    found: dict[pools.Name, int] = {}
    asked = _claims(expected, terms, late.worker, late.band, late.score)
    for component in (MERIT, LUMP_SUM, BONUS):
        key, pool = (late.worker.id, component), _pool_of(component)
        claim, scale = asked.get(component), shared[pool][1].scale
        before, after = amounts.get(key, 0), 0
        if claim is not None and scale is not None:
            exact = pools.clip(claim, scale)
            after = pools.rounded(exact, claim.high, terms.plan.rounding) if claim != claims[pool].get(key) else before
        if after != before:
            found[key] = after - before
    return found


def _claims(
    expected: Expected, terms: pay.Terms, worker: Worker, band: str | None, score: str
) -> Mapping[str, pay.Claim]:
    place = worker.final
    exact = Fraction(score) if score else None
    classified = pay.Classified(1, 1, band, exact, GRADE_OF[place.role], place.unit)
    entry = expected.pay.get(worker.id)
    entries = []
    if entry is not None:
        bonus = Fraction(entry.target_bonus)
        entries = [pay.Pay(_JANUARY, None, entry.base, entry.currency, Fraction(entry.fte), bonus)]
    employed = [(stint.first, stint.last) for stint in worker.stints]
    subject = pay.Subject(worker.id, entries, employed, list(worker.absences), None)
    return pay.asked(terms, subject, classified).claims


def _pool_of(component: str) -> str:
    return BONUS if component == BONUS else MERIT


def _terms(expected: Expected, currency: str) -> pay.Terms:
    scores: dict[str, list[Fraction]] = {}
    for worker in expected.world.workers:
        if expected.scores[worker.id]:
            scores.setdefault(worker.final.unit, []).append(Fraction(expected.scores[worker.id]))
    return pay.Terms(
        plan=_plan(money.plan(currency)),
        first=FIRST_DAY,
        last=expected.world.last_day,
        ranges=[_range(found) for found in money.ranges().values()],
        rates=[pay.Rate(source, target, Fraction(rate), FIRST_DAY) for source, target, rate in money.RATES],
        teams={unit: sum(of, Fraction(0)) / len(of) for unit, of in scores.items()},
    )


def _range(found: Mapping[str, Any]) -> pay.PayRange:
    return pay.PayRange(found["grade"], found["currency"], found["minimum"], found["maximum"], _JANUARY)


def _plan(content: Mapping[str, Any]) -> pay.Plan:
    bonus = content["bonus"]
    return pay.Plan(
        currency=content["currency"],
        bands=scheme.BAND_NAMES,
        cells={
            (None if row["band"] == money.UNRATED else row["band"], zone): (
                Fraction(cell["minimum"]),
                Fraction(cell["default"]),
                Fraction(cell["maximum"]),
            )
            for row in content["merit"]
            for zone, cell in row["cells"].items()
        },
        lump_sum=content["lump_sum_above_maximum"],
        leave_counts=content["absences"] == "count",
        rounding=content["rounding"],
        bonus=pay.Bonus(
            weights=(Fraction(bonus["team_weight"]), Fraction(bonus["individual_weight"])),
            team=_payout(bonus["team_curve"]),
            individual=_payout(bonus["individual_curve"]),
            cap_percent=Fraction(bonus["cap_percent"]),
            gate_band=bonus["gate_band"],
        ),
    )


def _payout(curve: Mapping[str, Any]) -> pay.Payout:
    points = [(Fraction(point["score"]), Fraction(point["percent"])) for point in curve["points"]]
    return pay.Payout(points, curve["kind"] == "stepped", None, None)
