"""One person through the steps before the pools, and each component after them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from services.compensation.model.award import (
    AWARDED_BY_ANOTHER_PLAN,
    Assessment,
    Classification,
    Component,
    Item,
    LeftOut,
    Line,
    PayEntry,
    PayRange,
    Period,
    Rate,
    Reference,
    Step,
    Subject,
)
from services.compensation.model.currency import EXPONENTS, shown
from services.compensation.model.plan import Absences, Plan, Rounding
from services.compensation.model.pool import Share
from services.compensation.rules.bonus import bonus, earnings
from services.compensation.rules.days import covers, days_of, within, without
from services.compensation.rules.lines import Account
from services.compensation.rules.merit import Position, merit
from services.compensation.rules.rounding import rounded
from shared.contracts.ids import PlanId

_ZERO = Fraction(0)


class Lookup:
    """A run's reference, indexed once for all of its people."""

    def __init__(self, reference: Reference, period: Period) -> None:
        self.period = period
        self._ranges: dict[tuple[str, str], PayRange] = {}
        for pay_range in sorted(reference.ranges, key=lambda found: found.valid_from):
            if pay_range.valid_from <= period.last:
                self._ranges[pay_range.grade, pay_range.currency] = pay_range
        self._rates: dict[tuple[str, str], Rate] = {}
        for rate in sorted(reference.rates, key=lambda found: found.on):
            if rate.on <= period.last:
                self._rates[rate.source, rate.target] = rate
        self.teams = {team.unit: team for team in reference.teams}

    def pay_range(self, grade: str, currency: str) -> PayRange | None:
        return self._ranges.get((grade, currency))

    def rate(self, source: str, target: str) -> Rate | None:
        return self._rates.get((source, target))


def assess(plan: Plan, lookup: Lookup, subject: Subject) -> Assessment:
    """Steps 1 to 4: what each component asks of its pool, or why it asks nothing."""
    period = lookup.period
    counted = within(subject.employed, period)
    if plan.absences is Absences.LEAVE_OUT:
        counted = without(counted, subject.absences)
    segments = tuple(earnings(subject.pay, counted))
    now = _in_force(subject, period)
    currencies = {segment.pay.currency for segment in segments} | ({now.currency} if now else set())
    rates = {source: lookup.rate(source, plan.currency) for source in sorted(currencies - {plan.currency})}
    refused = _refused(plan, subject, period, now, rates)
    classification = subject.classification
    if refused is not None or classification is None or now is None:
        return Assessment((), (), (refused,) if refused else ())
    factors = {source: _factor(rate) for source, rate in rates.items() if rate} | {plan.currency: Fraction(1)}
    items: list[Item] = []
    lines = [_eligibility(subject, classification, period), *_conversions(now, rates)]
    left_out: list[LeftOut] = []
    pay_range = lookup.pay_range(classification.grade, now.currency)
    if pay_range is None:
        detail = f"there is no pay range for grade {classification.grade} in {now.currency}"
        left_out.append(LeftOut(Component.MERIT, "no-range", detail))
    else:
        position = Position(now, pay_range, factors[now.currency])
        found, why = merit(plan, classification.band, position, days_of(counted), days_of([period]))
        items.extend(found)
        lines.extend(why)
    if plan.bonus is not None:
        team = lookup.teams.get(classification.unit)
        item, why = bonus(plan.bonus, plan.bands, classification, team, segments, factors)
        items.append(item)
        lines.extend(why)
    return _without(subject.held, Assessment(tuple(items), tuple(lines), tuple(left_out)))


def _without(held: Mapping[Component, PlanId], found: Assessment) -> Assessment:
    """What another plan awards asks nothing here: nobody is paid twice for one cycle and component."""
    why = {
        item.component: f"plan {held[item.component]} awards the {item.component} of this cycle"
        for item in found.items
        if item.component in held
    }
    lines = (Line(Step.ELIGIBILITY, component, label, {}, _ZERO, _ZERO) for component, label in why.items())
    left_out = (LeftOut(component, AWARDED_BY_ANOTHER_PLAN, detail) for component, detail in why.items())
    return Assessment(
        tuple(item for item in found.items if item.component not in why),
        (*(line for line in found.lines if line.component not in why), *lines),
        (*found.left_out, *left_out),
    )


def _in_force(subject: Subject, period: Period) -> PayEntry | None:
    for entry in subject.pay:
        if entry.valid_from <= period.last and (entry.valid_to is None or period.last <= entry.valid_to):
            return entry
    return None


def _refused(
    plan: Plan, subject: Subject, period: Period, now: PayEntry | None, rates: Mapping[str, Rate | None]
) -> LeftOut | None:
    """Step 1, on dated facts; the first reason found is the one that is shown."""
    if subject.awarded_by is not None:
        return LeftOut(None, "already-awarded", f"run {subject.awarded_by} awarded this cycle")
    if not covers(subject.employed, period.last):
        return LeftOut(None, "not-employed", f"not employed on {period.last}")
    if subject.classification is None:
        return LeftOut(None, "not-classified", "no classification was published")
    band = subject.classification.band
    if band is not None and band not in plan.bands:
        return LeftOut(None, "unknown-band", f"the plan does not know band {band}")
    if now is None:
        return LeftOut(None, "no-pay", f"no pay is recorded for {period.last}")
    for source, rate in rates.items():
        if rate is None:
            return LeftOut(None, "no-rate", f"no rate from {source} to {plan.currency} on or before {period.last}")
    return None


def _factor(rate: Rate) -> Fraction:
    """Minor units of the target for one minor unit of the source."""
    return Fraction(rate.rate) * Fraction(10) ** (EXPONENTS[rate.target] - EXPONENTS[rate.source])


def _eligibility(subject: Subject, classification: Classification, period: Period) -> Line:
    rated = f"band {classification.band}" if classification.band else "unrated"
    inputs = {
        "classification_version": str(classification.version),
        "scorecard_version": str(classification.scorecard_version),
        "band": classification.band or "",
        "score": "" if classification.score is None else str(classification.score),
        "grade": classification.grade,
        "unit": classification.unit,
        "employed": ", ".join(f"{span.first}/{span.last or ''}" for span in subject.employed),
        "absent": ", ".join(f"{span.first}/{span.last or ''}" for span in subject.absences),
    }
    label = f"Employed and paid on {period.last}; classification {classification.version}: {rated}"
    return Line(Step.ELIGIBILITY, None, label, inputs, _ZERO, _ZERO)


def _conversions(now: PayEntry, rates: Mapping[str, Rate | None]) -> list[Line]:
    """The one conversion: every amount of pay in another currency enters the plan's at the dated rate."""
    lines = []
    for source, rate in rates.items():
        if rate is None:
            continue
        inputs = {"source": source, "target": rate.target, "rate": str(rate.rate), "on": rate.on.isoformat()}
        label = f"1 {source} is {rate.rate} {rate.target} on {rate.on}"
        if now.currency == source:
            converted = now.base * _factor(rate)
            inputs |= {"base": str(now.base), "converted": str(converted)}
            whole = shown(rounded(converted, Rounding.HALF_EVEN), rate.target)
            label = f"{shown(now.base, source)} of base pay is {whole}: {label}"
        lines.append(Line(Step.CONVERSION, None, label, inputs, _ZERO, _ZERO))
    return lines


def closing_lines(share: Share, scale: Fraction, rounding: str) -> tuple[Line, ...]:
    """Steps 5 and 6 of one component: what the pool and the rounding made of its claim."""
    claim = share.claim
    account = Account(claim.component, claim.raw)
    account.add(
        Step.BUDGET,
        "The pool pays the claim as it stands" if share.exact == claim.raw else f"The pool pays {scale} of each claim",
        {"scale": str(scale), "minimum": str(claim.minimum), "maximum": str(claim.maximum)},
        share.exact - claim.raw,
    )
    account.add(Step.ROUNDING, f"Whole minor units: {rounding}", {"rounding": rounding}, share.amount - share.exact)
    return account.lines
