"""Conditions without weight: a missed one caps the band after the score is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from services.scoring.model.facts import Source, Sums
from services.scoring.model.people import Segment
from services.scoring.model.scorecards import GateResult, GateState
from services.scoring.model.templates import Gate, MetricRule, PartKind
from services.scoring.rules.measuring import measure, sufficient
from services.scoring.rules.rounding import exact_sum, rounded


def check(segments: Sequence[Segment], sums: Sequence[Mapping[Source, Sums]]) -> tuple[GateResult, ...]:
    """Every distinct gate of the cycle, measured over all segments whose version has it."""
    rules: dict[Gate, MetricRule] = {}
    seen: dict[Gate, list[Sums]] = {}
    for segment, found in zip(segments, sums, strict=True):
        if segment.version is None:
            continue
        for gate in segment.version.gates:
            rules[gate] = segment.version.metrics[gate.metric]
            there = found.get((PartKind.METRIC, gate.metric))
            seen.setdefault(gate, []).extend([there] if there else [])
    return tuple(_checked(gate, rule, seen[gate]) for gate, rule in rules.items())


def caps(results: Sequence[GateResult]) -> list[str]:
    return [result.band_cap for result in results if result.state is GateState.MISSED]


def _checked(gate: Gate, rule: MetricRule, found: Sequence[Sums]) -> GateResult:
    together = Sums(
        exact_sum(each.numerator for each in found),
        exact_sum(each.denominator for each in found),
        sum(each.events for each in found),
        None,
    )
    value = measure(rule, together)
    if value is None or not sufficient(rule, together):
        state = GateState.UNKNOWN
    else:
        state = GateState.PASSED if _holds(gate, value) else GateState.MISSED
    return GateResult(
        metric=gate.metric,
        at_least=gate.at_least,
        at_most=gate.at_most,
        band_cap=gate.band_cap,
        numerator=together.numerator,
        denominator=together.denominator,
        events=together.events,
        value=None if value is None else rounded(value),
        state=state,
    )


def _holds(gate: Gate, value: Fraction) -> bool:
    return (gate.at_least is None or value >= Fraction(gate.at_least)) and (
        gate.at_most is None or value <= Fraction(gate.at_most)
    )
