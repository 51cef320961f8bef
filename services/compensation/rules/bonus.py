"""The bonus of one person before the pool: eligible earnings, measures, the cap of their combination, the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.compensation.model.award import (
    Classification,
    Component,
    Item,
    Line,
    PayEntry,
    Period,
    Span,
    Step,
    TeamScore,
)
from services.compensation.model.currency import shown
from services.compensation.model.plan import Bonus, Combination
from services.compensation.rules import curves
from services.compensation.rules.days import by_year, days_in_year, days_of, within
from services.compensation.rules.lines import Account, percent

_ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Earnings:
    """The part of a pay entry that counts within one calendar year."""

    pay: PayEntry
    period: Period


def earnings(pay: Sequence[PayEntry], counted: Sequence[Period]) -> Iterator[Earnings]:
    """Segments of eligible earnings: `counted` days cut at changes of pay and at the turns of the year."""
    for entry in sorted(pay, key=lambda entry: entry.valid_from):
        for days in counted:
            for part in within([Span(entry.valid_from, entry.valid_to)], days):
                for period in by_year(part):
                    yield Earnings(entry, period)


def bonus(
    terms: Bonus,
    bands: Sequence[str],
    classification: Classification,
    team: TeamScore | None,
    segments: Sequence[Earnings],
    factors: Mapping[str, Fraction],
) -> tuple[Item, tuple[Line, ...]]:
    """The item and its lines. Who is unrated or misses the gate has a claim of 0, which no scaling lifts."""
    account = Account(Component.BONUS)
    for segment in segments:
        _add_target(account, segment, factors[segment.pay.currency])
    target = account.total
    if classification.band is None or classification.score is None:
        account.add(Step.UNRATED, "Not rated: no bonus", {}, -target)
    else:
        measured = _add_measures(account, terms, Fraction(classification.score), team)
        capped = min(measured, percent(terms.cap_percent))
        label = f"The combination is capped at {terms.cap_percent} %"
        account.add(Step.CAP, label, {"cap_percent": str(terms.cap_percent)}, target * (capped - measured))
        _add_gate(account, terms, bands, classification.band)
    raw = account.total
    return Item(Component.BONUS, raw, _ZERO, target * percent(terms.cap_percent) if raw else _ZERO), account.lines


def _add_target(account: Account, segment: Earnings, factor: Fraction) -> None:
    pay, period = segment.pay, segment.period
    days, year = days_of([period]), days_in_year(period.first.year)
    earned = pay.base * Fraction(pay.fte) * factor * Fraction(days, year)
    label = (
        f"Target of {pay.target_bonus_percent} % on {shown(pay.base, pay.currency)} at {pay.fte} of full time, "
        f"{period.first} to {period.last}: {days} of {year} days"
    )
    inputs = {
        "base": str(pay.base),
        "currency": pay.currency,
        "fte": str(pay.fte),
        "target_percent": str(pay.target_bonus_percent),
        "days": str(days),
        "days_in_year": str(year),
        "eligible_earnings": str(earned),
    }
    account.add(Step.RAW, label, inputs, earned * percent(pay.target_bonus_percent))


def _add_measures(account: Account, terms: Bonus, score: Fraction, team: TeamScore | None) -> Fraction:
    individual = percent(curves.payout(terms.individual_curve, score))
    inputs = {"score": str(score), "individual_percent": str(individual * 100)}
    if team is None:
        # Missing is not zero: where the unit has no score at all, the individual part stands alone.
        combined = individual
        label = f"Individual {_shown(individual)}; the unit has no score, so the individual part counts alone"
    else:
        shared = percent(curves.payout(terms.team_curve, team.mean))
        inputs |= {"team_mean": str(team.mean), "team_people": str(team.people), "team_percent": str(shared * 100)}
        if terms.type is Combination.MULTIPLICATIVE:
            combined = shared * individual
            label = f"Team {_shown(shared)} × individual {_shown(individual)}"
        else:
            team_weight, own_weight = terms.team_weight or Decimal(0), terms.individual_weight or Decimal(0)
            inputs |= {"team_weight": str(team_weight), "individual_weight": str(own_weight)}
            combined = Fraction(team_weight) * shared + Fraction(own_weight) * individual
            label = f"{team_weight} × team {_shown(shared)} + {own_weight} × individual {_shown(individual)}"
    account.add(Step.MEASURE, label, inputs, account.total * (combined - 1))
    return combined


def _add_gate(account: Account, terms: Bonus, bands: Sequence[str], band: str) -> None:
    if terms.gate_band is None:
        return
    passed = bands.index(band) >= bands.index(terms.gate_band)
    label = f"Band {band} {'passes' if passed else 'misses'} the gate at {terms.gate_band}"
    account.add(Step.GATE, label, {"band": band, "gate": terms.gate_band}, _ZERO if passed else -account.total)


def _shown(share: Fraction) -> str:
    """For words only; the exact number stands among the inputs."""
    hundredths = round(share * 10_000)
    return f"{hundredths // 100}.{hundredths % 100:02d} %"
