"""What one person asks of the pools, from pay, range, rate, plan and classification; in exact minor units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

_ZERO = Fraction(0)
_OTHER_THAN_TWO_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


@dataclass(frozen=True)
class Pay:
    """Full-time annual base pay in minor units of its currency; both days inclusive."""

    first: date
    last: date | None
    base: int
    currency: str
    fte: Fraction
    target_percent: Fraction

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class PayRange:
    grade: str
    currency: str
    minimum: int
    maximum: int
    first: date


@dataclass(frozen=True)
class Rate:
    source: str
    target: str
    rate: Fraction
    day: date


@dataclass(frozen=True)
class Payout:
    """A curve of score to percent: nothing below the first point, flat or accelerated above the last."""

    points: Sequence[tuple[Fraction, Fraction]]
    stepped: bool
    slope: Fraction | None
    hard_cap: Fraction | None

    def at(self, score: Fraction) -> Fraction:
        first, last = self.points[0], self.points[-1]
        if score < first[0]:
            return _ZERO
        if score >= last[0]:
            if self.slope is None or self.hard_cap is None:
                return last[1]
            return min(self.hard_cap, last[1] + self.slope * (score - last[0]))
        for (left, low), (right, high) in pairwise(self.points):
            if left <= score < right:
                return low if self.stepped else low + (high - low) * (score - left) / (right - left)
        raise AssertionError("points rise")


@dataclass(frozen=True)
class Bonus:
    """Without weights team and individual are multiplied."""

    weights: tuple[Fraction, Fraction] | None
    team: Payout
    individual: Payout
    cap_percent: Fraction
    gate_band: str | None


@dataclass(frozen=True)
class Plan:
    """`cells` are percent (minimum, default, maximum) by band and zone; the row of the unrated is `None`."""

    currency: str
    bands: Sequence[str]
    cells: Mapping[tuple[str | None, str], tuple[Fraction, Fraction, Fraction]]
    lump_sum: bool
    leave_counts: bool
    rounding: str
    bonus: Bonus | None


@dataclass(frozen=True)
class Classified:
    version: int
    scorecard_version: int
    band: str | None
    score: Fraction | None
    grade: str
    unit: str


@dataclass(frozen=True)
class Subject:
    """A person as a run found them."""

    employee: str
    pay: Sequence[Pay]
    employed: Sequence[tuple[date, date | None]]
    away: Sequence[tuple[date, date | None]]
    awarded_by: str | None
    held: Collection[str] = ()
    """Components that another plan awards."""


@dataclass(frozen=True)
class Terms:
    """What holds for all people of a run. `teams` are mean scores by unit."""

    plan: Plan
    first: date
    last: date
    ranges: Sequence[PayRange]
    rates: Sequence[Rate]
    teams: Mapping[str, Fraction]

    def days(self) -> list[date]:
        return [self.first + timedelta(n) for n in range((self.last - self.first).days + 1)]


@dataclass(frozen=True)
class Claim:
    raw: Fraction
    low: Fraction
    high: Fraction


@dataclass(frozen=True)
class Asked:
    """Claims by component; none at all: not eligible. `codes` say why something is not asked for."""

    claims: Mapping[str, Claim]
    codes: Sequence[str]


def asked(terms: Terms, person: Subject, classified: Classified | None) -> Asked:
    plan = terms.plan
    counted = [day for day in terms.days() if _within(day, person.employed)]
    if not plan.leave_counts:
        counted = [day for day in counted if not _within(day, person.away)]
    now = next((pay for pay in person.pay if pay.holds(terms.last)), None)
    earning = Counter((pay, day.year) for pay in person.pay for day in counted if pay.holds(day))
    currencies = {pay.currency for pay, _ in earning} | ({now.currency} if now else set())
    factors = {currency: _factor(terms, currency) for currency in currencies}
    code = _refused(terms, person, classified, now, factors)
    if code or classified is None or now is None:
        return Asked({}, [code])
    usable = {currency: factor for currency, factor in factors.items() if factor is not None}
    claims: dict[str, Claim] = {}
    codes: list[str] = []
    ranges = [
        found
        for found in terms.ranges
        if (found.grade, found.currency) == (classified.grade, now.currency) and found.first <= terms.last
    ]
    if ranges:
        pay_range = max(ranges, key=lambda found: found.first)
        share = Fraction(len(counted), len(terms.days()))
        claims |= _merit(plan, classified.band, now, pay_range, usable[now.currency], share)
    else:
        codes.append("no-range")
    if plan.bonus is not None:
        target = _ZERO
        for (pay, year), days in earning.items():
            of_year = (date(year + 1, 1, 1) - date(year, 1, 1)).days
            earned = pay.base * pay.fte * usable[pay.currency] * days / of_year
            target += earned * pay.target_percent / 100
        claims["bonus"] = _bonus(plan, plan.bonus, classified, terms.teams.get(classified.unit), target)
    taken = [component for component in claims if component in person.held]
    free = {component: claim for component, claim in claims.items() if component not in taken}
    return Asked(free, codes + ["awarded-by-another-plan"] * len(taken))


def _within(day: date, spans: Sequence[tuple[date, date | None]]) -> bool:
    return any(first <= day and (last is None or day <= last) for first, last in spans)


def _refused(
    terms: Terms,
    person: Subject,
    classified: Classified | None,
    now: Pay | None,
    factors: Mapping[str, Fraction | None],
) -> str:
    if person.awarded_by is not None:
        return "already-awarded"
    if not _within(terms.last, person.employed):
        return "not-employed"
    if classified is None:
        return "not-classified"
    if classified.band is not None and classified.band not in terms.plan.bands:
        return "unknown-band"
    if now is None:
        return "no-pay"
    return "no-rate" if None in factors.values() else ""


def _factor(terms: Terms, currency: str) -> Fraction | None:
    """Minor units of the plan's currency for one minor unit of this one, at the newest rate by the last day."""
    if currency == terms.plan.currency:
        return Fraction(1)
    found = [
        rate
        for rate in terms.rates
        if (rate.source, rate.target) == (currency, terms.plan.currency) and rate.day <= terms.last
    ]
    if not found:
        return None
    newest = max(found, key=lambda rate: rate.day)
    return newest.rate * Fraction(10) ** (decimals(terms.plan.currency) - decimals(currency))


def decimals(currency: str) -> int:
    """Places of the minor unit, by ISO 4217."""
    return next((places for places, codes in _OTHER_THAN_TWO_DECIMALS.items() if currency in codes.split()), 2)


def zone(base: int, pay_range: PayRange) -> str:
    if base < pay_range.minimum:
        return "below-minimum"
    if base > pay_range.maximum:
        return "above-maximum"
    quarter = Fraction(pay_range.maximum - pay_range.minimum, 4)
    above = base - pay_range.minimum
    if above < quarter:
        return "first-quartile"
    if above < 2 * quarter:
        return "second-quartile"
    return "third-quartile" if above < 3 * quarter else "fourth-quartile"


def _merit(
    plan: Plan, band: str | None, pay: Pay, pay_range: PayRange, factor: Fraction, share: Fraction
) -> dict[str, Claim]:
    """Guideline, proration, range maximum. What is above the maximum is a lump sum, or nothing."""
    cell = plan.cells[band, zone(pay.base, pay_range)]
    worked = pay.base * pay.fte * factor
    room = max(_ZERO, (pay_range.maximum - pay.base) * pay.fte * factor)
    low, raw, high = (worked * percent / 100 * share for percent in cell)
    merit = Claim(min(raw, room), min(low, room), min(high, room))
    over = Claim(raw - merit.raw, low - merit.low, high - merit.high)
    if over.high and plan.lump_sum:
        return {"merit": merit, "lump-sum": over}
    return {"merit": merit}


def _bonus(plan: Plan, bonus: Bonus, classified: Classified, team: Fraction | None, target: Fraction) -> Claim:
    """Who is unrated or below the gate asks for nothing, and nothing lifts that."""
    nothing = Claim(_ZERO, _ZERO, _ZERO)
    if classified.band is None or classified.score is None:
        return nothing
    individual = bonus.individual.at(classified.score) / 100
    if team is None:
        measure = individual
    elif bonus.weights is None:
        measure = bonus.team.at(team) / 100 * individual
    else:
        measure = bonus.weights[0] * bonus.team.at(team) / 100 + bonus.weights[1] * individual
    cap = bonus.cap_percent / 100
    order = list(plan.bands)
    if bonus.gate_band is not None and order.index(classified.band) < order.index(bonus.gate_band):
        return nothing
    raw = target * min(measure, cap)
    return Claim(raw, _ZERO, target * cap) if raw else nothing
