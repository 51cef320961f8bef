"""The decisions of scoring, with nothing around them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.model.cycles import BandCut, Period
from services.scoring.model.facts import Fact, Source, Sums
from services.scoring.model.people import Assignment, Person, Placement
from services.scoring.model.scorecards import GateState, PartState, Scorecard, Unrated
from services.scoring.model.templates import (
    Aggregation,
    Curve,
    Gate,
    MetricRule,
    MissingData,
    Part,
    PartKind,
    Selector,
    Shape,
    Template,
    TemplateVersion,
)
from services.scoring.rules import bands, curves
from services.scoring.rules.facts import deltas
from services.scoring.rules.rounding import rounded
from services.scoring.rules.scorecards import compose
from services.scoring.rules.segments import cut, placement
from services.scoring.rules.templates import TemplateBook, draft_problems
from services.scoring.rules.weighting import renormalised

D: TypeAlias = Decimal
F: TypeAlias = Fraction
START, END = date(2026, 1, 1), date(2026, 3, 31)
BANDS = (BandCut("below", D(0)), BandCut("meets", D(80)), BandCut("exceeds", D(110)))
PERIOD = Period(START, END, BANDS)
PLACE = Placement("agent", "g1", "u1", "m1", "shop", "voice", "s1")
RULE = MetricRule(True, Aggregation.RATIO, MissingData.EXCLUDE_AND_REWEIGHT, D(0))
LINE = Curve(((D(0), D(0)), (D(100), D(200))))


def version(*weights: str, number: int = 1, begins: date = date(2020, 1, 1), **fields: object) -> TemplateVersion:
    parts = tuple(Part(f"p{i}", PartKind.METRIC, f"k{i}", D(weight), LINE) for i, weight in enumerate(weights))
    metrics = {part.source: RULE for part in parts}
    base = TemplateVersion("t", number, begins, D("0.7"), D("0.5"), parts, (), metrics)
    return replace(base, **fields)  # type: ignore[arg-type]


def book(*versions: TemplateVersion) -> TemplateBook:
    return TemplateBook([Template(Selector(None, None, None), versions)])


def person(*stays: tuple[date, date | None, Placement], away: Sequence[tuple[date, date]] = ()) -> Person:
    return Person(tuple(Assignment(*stay) for stay in stays or [(date(2020, 1, 1), None, PLACE)]), tuple(away))


def sums(*values: str | None, volume: str = "100") -> dict[Source, Sums]:
    """K of each metric in order, `None` for no data."""
    return {
        (PartKind.METRIC, f"k{i}"): Sums(D(value) * D(volume), D(volume), 10, START)
        for i, value in enumerate(values)
        if value is not None
    }


def scored(of: TemplateVersion, seen: Mapping[Source, Sums], who: Person | None = None) -> Scorecard:
    segments = cut(who or person(), PERIOD, book(of))
    return compose(segments, [seen for _ in segments], PLACE, PERIOD)


# Curves

REFERENCE = json.loads((Path(__file__).parent / "payout_and_ratio.json").read_text())


@pytest.mark.parametrize(
    ("name", "result", "higher"),
    [("higher_better", "higher_better", True), ("lower_better_aht_seconds", "lower_better", False)],
)
def test_the_published_payout_curve_pays_as_published(name: str, result: str, higher: bool) -> None:
    given_, expected = REFERENCE["input"][name], REFERENCE["expected"][result]
    curve = Curve(tuple((D(str(x)), D(str(y))) for x, y in given_["points"]))
    paid = [curves.attainment(curve, F(str(x)), higher_is_better=higher) for x in given_["x"]]
    assert paid == [F(str(y)) for y in expected]


def test_a_ratio_is_a_ratio_of_sums_never_a_mean_of_ratios() -> None:
    given_, expected = REFERENCE["input"]["ratio"], REFERENCE["expected"]
    together = {(PartKind.METRIC, "k0"): Sums(D(sum(given_["numerators"])), D(sum(given_["denominators"])), 2, START)}
    found = scored(version("100"), together).segments[0].parts[0].value
    assert found is not None
    assert abs(found - D(str(expected["ratio_of_sums"]))) < D("1e-6")
    assert abs(found - D(str(expected["wrong_mean_of_ratios"]))) > D("0.1")


def test_a_stepped_curve_holds_the_left_value() -> None:
    curve = Curve(((D(80), D(50)), (D(100), D(100)), (D(120), D(150))), Shape.STEPPED)
    paid = [curves.attainment(curve, F(x), higher_is_better=True) for x in ("79.9", "80", "99.9", "100", "120", "999")]
    assert paid == [0, 50, 50, 100, 150, 150]


def test_an_accelerator_runs_beyond_the_last_point_up_to_the_cap() -> None:
    curve = Curve(((D(80), D(50)), (D(100), D(100))), accelerator=D(4), cap=D(130))
    assert [curves.attainment(curve, F(x), higher_is_better=True) for x in (100, 105, 200)] == [100, 120, 130]
    falling = Curve(((D(420), D(50)), (D(360), D(100))), accelerator=D(1), cap=D(120))
    assert [curves.attainment(falling, F(x), higher_is_better=False) for x in (360, 350, 100)] == [100, 110, 120]


@pytest.mark.parametrize(
    ("points", "higher", "found"),
    [
        ([(1, 1)], True, [("/points", "too-few-points")]),
        ([(1, 1), (1, 2)], True, [("/points/1/0", "equal-x")]),
        ([(1, 2), (2, 1)], True, [("/points/1/1", "falling-y")]),
        ([(2, 1), (1, 2)], True, [("/points/1/0", "wrong-order")]),
        ([(1, 1), (2, 2)], False, [("/points/1/0", "wrong-order")]),
        ([(2, 1), (1, 2)], False, []),
        ([(1, -1), (2, 2)], True, [("/points/0/1", "negative-y")]),
        ([(1, 1), (3, 2), (2, 3)], None, [("/points/2/0", "wrong-order")]),
    ],
)
def test_a_curve_that_is_none_is_refused(
    points: list[tuple[int, int]], higher: bool | None, found: list[tuple[str, str]]
) -> None:
    curve = Curve(tuple((D(x), D(y)) for x, y in points))
    assert [(each.pointer, each.code) for each in curves.problems(curve, higher_is_better=higher)] == found


numbers = st.decimals(-1000, 1000, places=2)


@st.composite
def any_curve(draw: st.DrawFn, higher: bool) -> Curve:
    xs = sorted(draw(st.lists(numbers, min_size=2, max_size=6, unique=True)), reverse=not higher)
    ys = sorted(draw(st.lists(st.decimals(0, 300, places=2), min_size=len(xs), max_size=len(xs))))
    shape = draw(st.sampled_from(Shape))
    faster = shape is Shape.LINEAR and draw(st.booleans())
    cap = draw(st.decimals(0, 400, places=1)) if faster or draw(st.booleans()) else None
    return Curve(tuple(zip(xs, ys, strict=True)), shape, draw(st.decimals(0, 9, places=2)) if faster else None, cap)


@given(st.data(), st.booleans(), numbers, numbers)
def test_no_curve_pays_less_for_more(data: st.DataObject, higher: bool, one: Decimal, other: Decimal) -> None:
    curve = data.draw(any_curve(higher))
    assert not list(curves.problems(curve, higher_is_better=higher))
    worse, better = sorted((one, other), reverse=not higher)
    low = curves.attainment(curve, F(worse), higher_is_better=higher)
    high = curves.attainment(curve, F(better), higher_is_better=higher)
    assert 0 <= low <= high


# Weights

weights = st.lists(st.decimals("0.01", 50, places=2), min_size=1, max_size=8)


@given(weights, st.data(), st.decimals("0.05", 1, places=3))
def test_renormalised_weights_total_one_and_none_grows_beyond_its_limit(
    declared: list[D], data: st.DataObject, maximum: D
) -> None:
    valid = data.draw(st.lists(st.booleans(), min_size=len(declared), max_size=len(declared)))
    applied = renormalised(tuple(declared), tuple(valid), maximum)
    shares = [F(each) / sum(map(F, declared)) for each in declared]
    limits = [max(share, F(maximum)) for share in shares]
    if applied is None:
        assert sum(limit for limit, counts in zip(limits, valid, strict=True) if counts) < 1
        return
    assert sum(applied) == 1
    for share, now, limit, counts in zip(shares, applied, limits, valid, strict=True):
        assert share <= now <= limit if counts else now == 0
    free = [
        (now, share) for share, now, limit, c in zip(shares, applied, limits, valid, strict=True) if c and now < limit
    ]
    assert len({now / share for now, share in free}) <= 1, "what is not at its limit grew in proportion"


def test_the_excess_of_a_capped_weight_is_shared_in_proportion() -> None:
    applied = renormalised((D(60), D(25), D(10), D(5)), (True, False, True, True), D("0.5"))
    assert applied == (F(60, 100), F(0), F(40 * 2, 300), F(40, 300))


def test_weights_that_cannot_be_shared_leave_the_person_unrated() -> None:
    card = scored(version("75", "25"), sums("50", None))
    assert (card.score, card.segments[0].unrated) == (None, Unrated.WEIGHT_LIMIT)


# Scores


def test_missing_is_left_out_and_the_others_weigh_more() -> None:
    card = scored(version("40", "40", "20"), sums("50", "60", None))
    assert card.coverage == D("0.8")
    assert card.score == D(110)
    assert [part.applied_weight for part in card.segments[0].parts] == [50, 50, 0]


def test_too_little_coverage_is_unrated_and_exactly_enough_is_rated() -> None:
    assert scored(version("35", "35", "30"), sums("50", "50", None)).score == 100
    low = scored(version("35", "34.99", "30.01"), sums("50", "50", None))
    assert (low.score, low.proposed_band, low.segments[0].unrated) == (None, None, Unrated.COVERAGE)
    assert low.unrated is Unrated.NO_RATED_DAYS


@pytest.mark.parametrize(
    ("missing", "score", "state"),
    [
        (MissingData.EXCLUDE_AND_REWEIGHT, D(100), PartState.MISSING),
        (MissingData.ZERO, D(80), PartState.ZERO),
        (MissingData.HOLD, None, PartState.HELD),
    ],
)
def test_the_missing_data_rule_of_a_metric_acts_and_is_shown(
    missing: MissingData, score: Decimal | None, state: PartState
) -> None:
    rules = {"k0": RULE, "k1": RULE, "k2": replace(RULE, missing_data=missing)}
    card = scored(version("40", "40", "20", metrics=rules), sums("50", "50", None))
    assert card.score == score
    last = card.segments[0].parts[2]
    assert (last.state, last.rule, last.insufficient) == (state, missing, False)


def test_too_little_volume_counts_as_missing_and_is_flagged() -> None:
    rules = {"k0": RULE, "k1": RULE, "k2": replace(RULE, minimum_volume=D(101))}
    card = scored(version("40", "40", "20", metrics=rules), sums("50", "50", "0"))
    assert card.score == 100
    assert (card.segments[0].parts[2].state, card.segments[0].parts[2].insufficient) == (PartState.INSUFFICIENT, True)
    rules["k2"] = replace(RULE, minimum_volume=D(100))
    assert scored(version("40", "40", "20", metrics=rules), sums("50", "50", "0")).score == 80


def test_nothing_over_nothing_is_missing() -> None:
    empty = {(PartKind.METRIC, "k0"): Sums(D(0), D(0), 3, START)}
    assert scored(version("100"), empty).segments[0].parts[0].state is PartState.MISSING


def test_a_sum_metric_is_not_divided() -> None:
    rules = {"k0": replace(RULE, aggregation=Aggregation.SUM)}
    seen = {(PartKind.METRIC, "k0"): Sums(D(40), D(8), 8, START)}
    assert scored(version("100", metrics=rules), seen).segments[0].parts[0].value == 40


def test_a_category_with_too_few_raters_has_no_data_and_shows_none() -> None:
    part = Part("peers", PartKind.FEEDBACK, "peer", D(20), Curve(((D(1), D(0)), (D(5), D(100)))))
    of = version("40", "40")
    of = replace(of, parts=(*of.parts, part))
    seen = sums("50", "50")
    two = scored(of, seen | {(PartKind.FEEDBACK, "peer"): Sums(D(2), D(2), 2, START)}).segments[0].parts[2]
    assert (two.state, two.value, two.numerator) == (PartState.INSUFFICIENT, None, D(0))
    three = scored(of, seen | {(PartKind.FEEDBACK, "peer"): Sums(D(9), D(3), 3, START)}).segments[0].parts[2]
    assert (three.state, three.value, three.attainment) == (PartState.VALID, D(3), D(50))


ks = st.lists(st.one_of(st.none(), st.decimals(-10, 130, places=2)), min_size=3, max_size=3)


@given(ks, st.integers(0, 2), st.decimals(0, 50, places=2), st.sampled_from(MissingData))
def test_a_better_value_never_lowers_a_score(
    values: list[Decimal | None], which: int, gain: Decimal, missing: MissingData
) -> None:
    of = version("40", "35", "25", metrics={f"k{i}": replace(RULE, missing_data=missing) for i in range(3)})
    if values[which] is None:
        return
    better = [*values]
    better[which] = (values[which] or D(0)) + gain
    before, after = (
        scored(of, sums(*(None if value is None else str(value) for value in found))) for found in (values, better)
    )
    assert (before.score is None) == (after.score is None)
    if before.score is not None and after.score is not None:
        assert after.score >= before.score


# Segments

OTHER = replace(PLACE, client="bank")


def test_a_change_of_place_splits_the_cycle_and_days_weigh_the_parts() -> None:
    who = person((date(2020, 1, 1), date(2026, 1, 31), PLACE), (date(2026, 2, 1), None, OTHER))
    segments = cut(who, PERIOD, book(version("100")))
    assert [(each.starts_on, each.ends_on, each.days, each.client) for each in segments] == [
        (START, date(2026, 1, 31), 31, "shop"),
        (date(2026, 2, 1), END, 59, "bank"),
    ]
    card = compose(segments, [sums("100"), sums("0")], PLACE, PERIOD)
    assert card.score == rounded(F(200 * 31, 90))
    assert card.parts[0].attainment == card.score


def test_leave_changes_days_and_never_the_score_of_a_segment() -> None:
    away = [(date(2026, 1, 5), date(2026, 1, 9)), (date(2026, 1, 8), date(2026, 1, 12)), (date(2025, 12, 1), START)]
    (segment,) = cut(person(away=away), PERIOD, book(version("100")))
    assert segment.days == 90 - 8 - 1
    assert scored(version("100"), sums("50"), person(away=away)).score == scored(version("100"), sums("50")).score


def test_rated_days_below_the_minimum_leave_the_person_unrated() -> None:
    who = person((date(2020, 1, 1), date(2026, 2, 28), PLACE), (date(2026, 3, 1), None, OTHER))
    segments = cut(who, PERIOD, book(version("100")))
    card = compose(segments, [{}, sums("50")], PLACE, PERIOD)
    assert (card.score, card.unrated) == (None, Unrated.COVERAGE)
    assert card.parts[0].attainment == 100, "the part itself was measured where it was"
    assert compose(segments, [sums("50"), {}], PLACE, PERIOD).unrated is Unrated.COVERAGE  # 59 of 90 days
    longer = person((date(2020, 1, 1), date(2026, 3, 4), PLACE), (date(2026, 3, 5), None, OTHER))
    assert compose(cut(longer, PERIOD, book(version("100"))), [sums("50"), {}], PLACE, PERIOD).score == 100  # 63 of 90


def test_a_new_template_version_begins_a_segment() -> None:
    segments = cut(person(), PERIOD, book(version("100"), version("50", "50", number=2, begins=date(2026, 2, 1))))
    assert [(each.starts_on, each.version and each.version.version) for each in segments] == [
        (START, 1),
        (date(2026, 2, 1), 2),
    ]


def test_days_without_a_template_count_and_are_not_rated() -> None:
    segments = cut(person(), PERIOD, book(version("100", begins=date(2026, 2, 1))))
    card = compose(segments, [{}, sums("50")], PLACE, PERIOD)
    assert (card.segments[0].unrated, card.score) == (Unrated.NO_TEMPLATE, None)


def test_the_reference_place_is_the_last_one_begun() -> None:
    left = person((date(2020, 1, 1), date(2026, 1, 31), PLACE), (date(2026, 2, 1), date(2026, 2, 5), OTHER))
    assert placement(left.assignments, PERIOD) == OTHER


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Selector("agent", "shop", "voice"), Selector(None, "shop", "voice")),
        (Selector(None, "shop", "voice"), Selector("agent", "shop", None)),
        (Selector("agent", "shop", None), Selector("agent", None, "voice")),
        (Selector("agent", None, "voice"), Selector(None, "shop", None)),
        (Selector(None, "shop", None), Selector(None, None, "voice")),
        (Selector(None, None, "voice"), Selector("agent", None, None)),
        (Selector("agent", None, None), Selector(None, None, None)),
    ],
)
def test_the_most_specific_template_holds(first: Selector, second: Selector) -> None:
    one, other = version("100", template="first"), version("100", template="second")
    for order in ([(first, one), (second, other)], [(second, other), (first, one)]):
        shelf = TemplateBook([Template(selector, (each,)) for selector, each in order])
        found, _ = shelf.in_force("agent", "shop", "voice", START, END)
        assert found is one
    assert (
        TemplateBook([Template(Selector("lead", None, None), (one,))]).in_force("agent", "shop", "voice", START, END)[0]
        is None
    )


days = st.integers(-40, 140).map(lambda n: START + timedelta(days=n))
places = st.sampled_from([PLACE, OTHER, replace(PLACE, manager="m2"), replace(PLACE, role="lead", unit="u2")])


@st.composite
def people(draw: st.DrawFn) -> Person:
    edges = sorted(set(draw(st.lists(days, max_size=8))))
    stays = [
        Assignment(first, following - timedelta(days=1 + draw(st.integers(0, 3))), draw(places))
        for first, following in pairwise(edges)
    ]
    if edges:
        stays.append(Assignment(edges[-1], None, draw(places)))
    away = draw(st.lists(st.tuples(days, st.integers(0, 30)), max_size=5))
    kept = [stay for stay in stays if stay.valid_to is None or stay.valid_to >= stay.valid_from]
    return Person(tuple(kept), tuple((first, first + timedelta(days=more)) for first, more in away))


@given(people(), st.lists(days, max_size=4), st.permutations(range(4)))
def test_segments_partition_exactly_the_days_someone_was_assigned(
    who: Person, begins: list[date], order: list[int]
) -> None:
    versions = [version("100", number=n, begins=begin) for n, begin in enumerate(begins, 1)]
    segments = cut(who, PERIOD, book(*(versions[n] for n in order if n < len(versions))))
    span = [START + timedelta(days=n) for n in range(90)]
    assigned = [day for day in span if any(a.valid_from <= day <= (a.valid_to or END) for a in who.assignments)]
    covered = [
        each.starts_on + timedelta(days=n) for each in segments for n in range((each.ends_on - each.starts_on).days + 1)
    ]
    assert covered == assigned
    present = [day for day in assigned if not any(first <= day <= last for first, last in who.absences)]
    assert sum(each.days for each in segments) == len(present)
    for before, after in pairwise(segments):
        if before.ends_on + timedelta(days=1) == after.starts_on:
            assert replace(before, starts_on=START, ends_on=END, days=0) != replace(
                after, starts_on=START, ends_on=END, days=0
            )


# Bands and gates


@pytest.mark.parametrize(
    ("score", "band"),
    [
        ("-5", "below"),
        ("0", "below"),
        ("79.999999999999", "below"),
        ("80", "meets"),
        ("110", "exceeds"),
        ("9999", "exceeds"),
    ],
)
def test_a_band_begins_at_its_cut(score: str, band: str) -> None:
    assert bands.band_of(D(score), BANDS) == band


@given(st.decimals(-50, 300, places=12), st.decimals(0, 100, places=12))
def test_a_higher_score_is_never_in_a_lower_band(score: Decimal, more: Decimal) -> None:
    order = [cut_.band for cut_ in BANDS]
    assert order.index(bands.band_of(score, BANDS)) <= order.index(bands.band_of(score + more, BANDS))


@pytest.mark.parametrize(
    ("value", "state", "band"),
    [("0.95", GateState.PASSED, "exceeds"), ("0.94", GateState.MISSED, "meets"), (None, GateState.UNKNOWN, "exceeds")],
)
def test_a_missed_gate_caps_the_band_and_leaves_the_score(value: str | None, state: GateState, band: str) -> None:
    gate = Gate("k1", D("0.95"), None, "meets")
    card = scored(version("100", gates=(gate,), metrics={"k0": RULE, "k1": RULE}), sums("60", value))
    assert (card.score, card.band_before_gates) == (D(120), "exceeds")
    assert (card.gates[0].state, card.proposed_band) == (state, band)


def test_a_gate_is_measured_over_all_segments_that_have_it() -> None:
    who = person((date(2020, 1, 1), date(2026, 1, 31), PLACE), (date(2026, 2, 1), None, OTHER))
    of = version("100", gates=(Gate("k1", None, D("0.5"), "below"),), metrics={"k0": RULE, "k1": RULE})
    card = compose(cut(who, PERIOD, book(of)), [sums("60", "0.9"), sums("60", "0.1")], PLACE, PERIOD)
    assert (card.gates[0].value, card.gates[0].state) == (D("0.5"), GateState.PASSED)


def test_a_gate_never_lifts_a_band() -> None:
    assert bands.capped("below", ["meets"], BANDS) == "below"
    assert bands.capped("exceeds", ["meets", "below"], BANDS) == "below"


# Templates


def test_weights_total_exactly_one_hundred() -> None:
    assert not list(draft_problems(version("33.3333333333", "33.3333333333", "33.3333333334")))
    assert [each.code for each in draft_problems(version("33.3333333333", "33.3333333333", "33.3333333333"))] == [
        "weights-total"
    ]
    assert [each.code for each in draft_problems(version("100.0000000000000000000000000000001"))] == ["weights-total"]


def test_what_is_wrong_with_a_draft_is_named_by_field() -> None:
    part = Part("p0", PartKind.METRIC, "k0", D(0), Curve(()))
    draft = version("50", "50", gates=(Gate("k", D(1), D(2), "b"),), coverage_minimum=D(2), weight_maximum=D(0))
    found = {(each.pointer, each.code) for each in draft_problems(replace(draft, parts=(*draft.parts, part)))}
    assert found == {
        ("/coverage_minimum", "out-of-range"),
        ("/weight_maximum", "out-of-range"),
        ("/parts/2/part", "repeated"),
        ("/parts/2/metric", "repeated"),
        ("/parts/2/weight", "not-positive"),
        ("/parts/2/curve/points", "too-few-points"),
        ("/gates/0", "one-limit"),
    }


# Facts


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """A few events of two people with corrections and voids, each revision once; ids do not sort as revisions do."""
    facts = []
    for root in range(draw(st.integers(1, 4))):
        for revision in range(draw(st.integers(1, 4))):
            void = revision > 0 and draw(st.booleans())
            value = None if void else draw(st.decimals(-1000, 1000, places=3))
            facts.append(
                Fact(
                    f"r{root}" if revision == 0 else f"{9 - revision}-r{root}",
                    f"r{root}",
                    revision,
                    f"e-{root % 2}",
                    draw(st.sampled_from(["aht", "csat"])),
                    START + timedelta(days=draw(st.integers(0, 2))),
                    value,
                    None if void else D(1),
                )
            )
    return facts


@given(histories(), st.data())
def test_sums_do_not_depend_on_arrival_order_batches_or_duplicates(history: list[Fact], data: st.DataObject) -> None:
    order = data.draw(st.permutations([*history, *data.draw(st.lists(st.sampled_from(history), max_size=4))]))
    kept: dict[tuple[str, str, date], tuple[F, F, int]] = {}
    known: list[Fact] = []
    while order:
        size = data.draw(st.integers(1, len(order)))
        batch, order = order[:size], order[size:]
        added = list(dict.fromkeys(fact for fact in batch if fact not in known))
        for delta in deltas(known, added):
            key = (delta.employee, delta.metric, delta.day)
            num, den, events = kept.get(key, (F(0), F(0), 0))
            kept[key] = (num + F(delta.numerator), den + F(delta.denominator), events + delta.events)
        known += added
    expected: dict[tuple[str, str, date], tuple[F, F, int]] = {}
    for root in {fact.root for fact in history}:
        last = max((fact for fact in history if fact.root == root), key=lambda fact: fact.revision)
        if last.numerator is not None and last.denominator is not None:
            key = (last.employee, last.metric, last.occurred_on)
            num, den, events = expected.get(key, (F(0), F(0), 0))
            expected[key] = (num + F(last.numerator), den + F(last.denominator), events + 1)
    assert {key: value for key, value in kept.items() if value[2]} == expected
    assert all(value[:2] == (F(0), F(0)) for value in kept.values() if not value[2])


@given(st.fractions())
def test_rounding_is_half_even_at_twelve_places(value: F) -> None:
    scaled = F(rounded(value)) * 10**12
    assert scaled.denominator == 1
    assert abs(scaled - value * 10**12) <= F(1, 2)


def test_a_half_goes_to_the_even_neighbour() -> None:
    assert [rounded(F(n, 2 * 10**12)) for n in (1, 3, 5)] == [D("0"), D("2E-12"), D("2E-12")]
