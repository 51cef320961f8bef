"""The rules on paper: pools, days, curves, matrices, rounding, currencies."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.compensation.model.award import (
    Classification,
    Component,
    PayEntry,
    PayRange,
    Period,
    Rate,
    Reference,
    Span,
    Subject,
    TeamScore,
)
from services.compensation.model.currency import EXPONENTS, shown
from services.compensation.model.plan import (
    Absences,
    Accelerator,
    Bonus,
    Cell,
    Combination,
    Curve,
    CurveKind,
    CurvePoint,
    MatrixRow,
    Plan,
    Rounding,
    Zone,
)
from services.compensation.model.pool import Claim, Distribution, Infeasible
from services.compensation.rules import curves, days, matrix
from services.compensation.rules.awards import Lookup, assess, closing_lines
from services.compensation.rules.budget import distribute
from services.compensation.rules.plans import plan_problems
from services.compensation.rules.rounding import rounded
from shared.contracts.ids import Band, EmployeeId, UnitId

F = Fraction
MERIT = Component.MERIT
MODES = list(Rounding)
UNHURRIED = settings(deadline=None)
"""A machine that is busy with something else is no failure."""

# --- rounding


@UNHURRIED
@given(st.fractions(min_value=-10_000, max_value=10_000, max_denominator=64), st.sampled_from(MODES))
def test_rounding_is_that_of_decimal_in_every_mode(value: Fraction, mode: Rounding) -> None:
    # A denominator that is a power of two has a finite decimal expansion, so that decimal itself is exact.
    exact = F(round(value * 64), 64)
    with decimal.localcontext(prec=60):
        expected = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(1), rounding=mode.value)
    assert rounded(exact, mode) == int(expected)


def test_a_third_is_rounded_without_a_detour() -> None:
    assert [rounded(F(10**40 * 3 + 1, 3), mode) - 10**40 for mode in (Rounding.UP, Rounding.HALF_UP)] == [1, 0]


# --- pools


_DENOMINATORS = st.sampled_from([1, 2, 3, 7, 100, 365, 36_600])
_PARTS = st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), _DENOMINATORS, st.integers(0, 5))


def _claims(parts: list[tuple[int, int, int, int, int]]) -> list[Claim]:
    """Limits and claims of any size; one in six asks for nothing, but might get something if scaling lifted it."""
    found = []
    for number, (low, width, above, denominator, kind) in enumerate(parts):
        least = F(low, denominator) if kind else F(0)
        raw = least + F(width, denominator) if kind else F(0)
        found.append(Claim(EmployeeId(f"e-{number:02d}"), MERIT, raw, least, raw + F(above, denominator)))
    return found


def claims() -> st.SearchStrategy[list[Claim]]:
    return st.lists(_PARTS, max_size=10).map(_claims)


@UNHURRIED
@given(claims(), st.integers(0, 3_000), st.sampled_from(MODES), st.booleans(), st.randoms())
def test_a_pool_closes_to_the_unit_whatever_the_order(
    given_claims: list[Claim], amount: int, mode: Rounding, scale_up: bool, random: object
) -> None:
    outcome = distribute(given_claims, amount, mode, scale_up=scale_up)
    shuffled = sorted(given_claims, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert distribute(shuffled, amount, mode, scale_up=scale_up) == outcome
    if isinstance(outcome, Infeasible):
        sums = outcome.sums
        assert amount < sums.minimum or (scale_up and amount > sums.maximum)
        return
    amounts = [share.amount for share in outcome.shares]
    assert sum(amounts) + outcome.undistributed == amount
    assert outcome.undistributed >= 0
    assert scale_up or outcome.scale <= 1
    for share in outcome.shares:
        claim = share.claim
        assert 0 <= share.amount <= claim.maximum
        assert share.exact == max(claim.minimum, min(outcome.scale * claim.raw, claim.maximum))
        assert claim.raw > 0 or share.amount == 0
    room = sum(int(claim.maximum) for claim in given_claims if claim.raw)
    if outcome.binds and room >= amount:
        assert outcome.undistributed == 0
    if outcome.binds and scale_up:
        assert sum(share.exact for share in outcome.shares) == amount


@UNHURRIED
@given(claims(), st.integers(0, 3_000))
def test_whoever_asks_for_more_under_the_same_limits_gets_no_less(given_claims: list[Claim], amount: int) -> None:
    outcome = distribute(given_claims, amount, Rounding.HALF_EVEN)
    if not given_claims or isinstance(outcome, Infeasible):
        return
    first = given_claims[0]
    more = distribute(
        [replace(first, raw=min(first.raw * 2, first.maximum)), *given_claims[1:]], amount, Rounding.HALF_EVEN
    )
    assert isinstance(more, Distribution)
    assert _exact(more, first.employee) >= _exact(outcome, first.employee)


def _exact(outcome: Distribution, employee: EmployeeId) -> Fraction:
    return next(share.exact for share in outcome.shares if share.claim.employee == employee)


def _equal(*raw: Fraction | int, maximum: int = 1_000) -> list[Claim]:
    return [Claim(EmployeeId(f"e-{n}"), MERIT, F(r), F(0), F(maximum)) for n, r in enumerate(raw)]


def _amounts(outcome: Distribution | Infeasible) -> list[int]:
    assert isinstance(outcome, Distribution)
    return [share.amount for share in outcome.shares]


def test_the_largest_rests_get_the_last_units_and_ties_go_by_employee() -> None:
    assert _amounts(distribute(_equal(1, 1, 1), 2, Rounding.HALF_EVEN)) == [1, 1, 0]
    assert _amounts(distribute(_equal(10, 20, 30), 11, Rounding.HALF_EVEN)) == [2, 4, 5]


def test_a_pool_that_does_not_bind_shows_what_is_left() -> None:
    outcome = distribute(_equal(F(21, 2), F(31, 2)), 100, Rounding.HALF_UP)
    assert isinstance(outcome, Distribution)
    assert (_amounts(outcome), outcome.undistributed, outcome.scale, outcome.binds) == ([11, 16], 73, F(1), False)


def test_what_nobody_may_take_is_left_over_rather_than_lifting_a_zero() -> None:
    capped = [replace(claim, maximum=claim.raw) for claim in _equal(F(21, 2), F(21, 2))]
    zero = Claim(EmployeeId("zero"), MERIT, F(0), F(0), F(100))
    outcome = distribute([*capped, zero], 21, Rounding.HALF_EVEN)
    assert isinstance(outcome, Distribution)
    assert (_amounts(outcome), outcome.undistributed) == ([10, 10, 0], 1)


def test_rounding_up_never_overdraws_a_pool() -> None:
    outcome = distribute(_equal(F(1, 2), F(1, 2), F(1, 2)), 2, Rounding.UP)
    assert isinstance(outcome, Distribution)
    assert (_amounts(outcome), outcome.undistributed) == ([1, 1, 0], 0)


def test_a_minimum_is_kept_while_the_others_give_way() -> None:
    floor = Claim(EmployeeId("a"), MERIT, F(100), F(90), F(100))
    free = Claim(EmployeeId("b"), MERIT, F(100), F(0), F(100))
    outcome = distribute([floor, free], 120, Rounding.HALF_EVEN)
    assert isinstance(outcome, Distribution)
    assert (_amounts(outcome), outcome.scale) == ([90, 30], F(3, 10))


def test_only_an_owner_who_allows_it_has_claims_scaled_up() -> None:
    without = distribute(_equal(100, 300), 800, Rounding.HALF_EVEN)
    scaled = distribute(_equal(100, 300), 800, Rounding.HALF_EVEN, scale_up=True)
    too_much = distribute(_equal(100, 300), 2_001, Rounding.HALF_EVEN, scale_up=True)
    assert (_amounts(without), _amounts(scaled)) == ([100, 300], [200, 600])
    assert isinstance(too_much, Infeasible) and too_much.sums.maximum == 2_000


# --- days


@UNHURRIED
@given(st.dates(date(1999, 1, 1), date(2101, 1, 1)), st.integers(0, 1_500))
def test_the_years_of_a_period_hold_all_of_its_days(first: date, length: int) -> None:
    period = Period(first, first + timedelta(days=length))
    parts = days.by_year(period)
    assert days.days_of(parts) == length + 1
    assert parts[0].first == period.first and parts[-1].last == period.last
    assert all(part.first.year == part.last.year for part in parts)


def test_a_century_leaps_only_every_fourth_time() -> None:
    assert days.days_in_year(2024) == 366 and days.days_in_year(1900) == 365 and days.days_in_year(2000) == 366


_SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(
        lambda pair: Span(date(2024, 2, 1) + timedelta(pair[0]), date(2024, 2, 1) + timedelta(pair[0] + pair[1]))
    ),
    max_size=6,
)


@UNHURRIED
@given(_SPANS, _SPANS)
def test_counted_days_are_those_employed_and_not_on_leave(employed: list[Span], leave: list[Span]) -> None:
    period = Period(date(2024, 2, 10), date(2024, 3, 10))
    counted = days.without(days.within(employed, period), leave)

    every = [period.first + timedelta(n) for n in range(30)]
    expected = [day for day in every if days.covers(employed, day) and not days.covers(leave, day)]
    listed = [part.first + timedelta(n) for part in counted for n in range(days.days_of([part]))]
    assert listed == expected


# --- curves


def _curve(*points: tuple[str, str], kind: CurveKind = CurveKind.LINEAR, faster: Accelerator | None = None) -> Curve:
    return Curve(kind, tuple(CurvePoint(Decimal(score), Decimal(percent)) for score, percent in points), faster)


STANDARD = _curve(("80", "50"), ("100", "100"), ("120", "200"))


def test_a_curve_pays_as_the_published_case_says() -> None:
    scores = ["79.99", "80", "90", "100", "110", "120", "150"]
    paid = [curves.payout(STANDARD, F(score)) for score in scores]
    assert paid == [0, 50, 75, 100, 150, 200, 200]


def test_a_stepped_curve_holds_the_left_value_and_an_accelerator_ends_at_its_cap() -> None:
    stepped = _curve(("80", "50"), ("100", "100"), kind=CurveKind.STEPPED)
    faster = _curve(("80", "50"), ("100", "100"), faster=Accelerator(Decimal("2.5"), Decimal(140)))
    assert [curves.payout(stepped, F(score)) for score in ("79.9", "80", "99.9", "100", "300")] == [0, 50, 50, 100, 100]
    assert [curves.payout(faster, F(score)) for score in ("100", "110", "116", "117")] == [100, 125, 140, 140]


@UNHURRIED
@given(st.fractions(0, 200), st.fractions(0, 200))
def test_a_better_score_never_pays_less(one: Fraction, other: Fraction) -> None:
    low, high = sorted((one, other))
    assert curves.payout(STANDARD, low) <= curves.payout(STANDARD, high)


@pytest.mark.parametrize(
    ("curve", "pointer"),
    [
        (_curve(("80", "50")), "/c/points"),
        (_curve(("80", "50"), ("80", "60")), "/c/points/1/score"),
        (_curve(("80", "50"), ("90", "40")), "/c/points/1/percent"),
        (_curve(("80", "50"), ("90", "60"), faster=Accelerator(Decimal(1), Decimal(59))), "/c/accelerator/hard_cap"),
        (
            _curve(("80", "50"), ("90", "60"), kind=CurveKind.STEPPED, faster=Accelerator(Decimal(1), Decimal(99))),
            "/c/accelerator",
        ),
    ],
)
def test_a_curve_that_is_ambiguous_is_refused_at_the_place(curve: Curve, pointer: str) -> None:
    assert [problem.pointer for problem in curves.problems(curve, "/c")] == [pointer]


# --- matrix


RANGE = PayRange("g5", "EUR", 4_000_000, 5_000_000, 6_000_000, date(2020, 1, 1))


def test_zones_are_closed_below_and_the_maximum_belongs_to_the_range() -> None:
    bases = (3_999_999, 4_000_000, 4_499_999, 4_500_000, 5_000_000, 5_500_000, 6_000_000, 6_000_001)
    assert [matrix.zone_of(base, RANGE) for base in bases] == [
        Zone.BELOW_MINIMUM,
        Zone.FIRST,
        Zone.FIRST,
        Zone.SECOND,
        Zone.THIRD,
        Zone.FOURTH,
        Zone.FOURTH,
        Zone.ABOVE_MAXIMUM,
    ]
    assert matrix.compa_ratio(4_500_000, RANGE) == F(9, 10)


def _row(band: str, *defaults: str) -> MatrixRow:
    cells = [Cell(Decimal(0), Decimal(default), Decimal(10)) for default in defaults or ["3"] * 6]
    return MatrixRow(band, dict(zip(Zone, cells, strict=True)))


def _plan(*rows: MatrixRow, bonus: Bonus | None = None, **changed: object) -> Plan:
    found = Plan(
        name="Annual",
        currency="EUR",
        bands=("below", "meets", "exceeds"),
        merit=rows
        or (_row("below", *["0"] * 6), _row("meets"), _row("exceeds", *["5"] * 6), _row("unrated", *["1"] * 6)),
        lump_sum_above_maximum=True,
        absences=Absences.LEAVE_OUT,
        rounding=Rounding.HALF_EVEN,
        bonus=bonus,
    )
    return replace(found, **changed)  # type: ignore[arg-type]


def _pointers(plan: Plan) -> set[str]:
    return {problem.pointer for problem in plan_problems(plan)}


def test_a_fair_matrix_has_nothing_wrong_with_it() -> None:
    assert plan_problems(_plan()) == ()


def test_a_matrix_without_the_unrated_row_is_refused() -> None:
    (problem,) = plan_problems(_plan(_row("below"), _row("meets"), _row("exceeds")))
    assert (problem.pointer, problem.code, "unrated" in problem.detail) == ("/merit", "row-missing", True)


def test_cells_fall_along_the_range_and_rise_along_the_bands() -> None:
    rising = _plan(_row("below", "1", "1", "1", "2", "1", "1"), _row("meets"), _row("exceeds"), _row("unrated"))
    falling = _plan(_row("below"), _row("meets", *["2"] * 6), _row("exceeds"), _row("unrated", *["9"] * 6))
    assert _pointers(rising) == {"/merit/0/cells/third-quartile/default"}
    assert _pointers(falling) == {f"/merit/1/cells/{zone}/default" for zone in Zone}


def test_a_cell_and_a_row_are_complete_and_in_order() -> None:
    incomplete = MatrixRow(
        "meets", {zone: cell for zone, cell in _row("meets").cells.items() if zone is not Zone.FIRST}
    )
    disordered = MatrixRow("exceeds", dict.fromkeys(Zone, Cell(Decimal(4), Decimal(3), Decimal(10))))
    found = _plan(_row("below"), incomplete, disordered, _row("unrated"), _row("other"))
    assert {"/merit/1/cells", "/merit/2/cells/first-quartile", "/merit/4/band"} <= _pointers(found)


def test_the_weights_of_a_bonus_add_up_and_its_gate_is_a_band() -> None:
    terms = _bonus()
    assert _pointers(_plan(bonus=terms)) == set()
    assert _pointers(_plan(bonus=replace(terms, team_weight=Decimal("0.41")))) == {"/bonus/team_weight"}
    assert _pointers(_plan(bonus=replace(terms, team_weight=None))) == {"/bonus/team_weight"}
    assert _pointers(_plan(bonus=replace(terms, type=Combination.MULTIPLICATIVE))) == {"/bonus/team_weight"}
    assert _pointers(_plan(bonus=replace(terms, gate_band="superb"))) == {"/bonus/gate_band"}
    assert _pointers(_plan(currency="EURO")) == {"/currency"}


# --- a person


def _bonus(**changed: object) -> Bonus:
    terms = Bonus(Combination.ADDITIVE, Decimal("0.4"), Decimal("0.6"), STANDARD, STANDARD, Decimal(200), None)
    return replace(terms, **changed)  # type: ignore[arg-type]


def _pay(base: int = 4_800_000, currency: str = "EUR", fte: str = "1", target: str = "10", **days: date) -> PayEntry:
    first, last = days.get("first", date(2020, 1, 1)), days.get("last")
    return PayEntry(first, last, base, currency, Decimal(fte), Decimal(target))


def _person(
    *pay: PayEntry,
    band: str | None = "meets",
    score: str | None = "100",
    employed: Sequence[Span] = (Span(date(2020, 1, 1), None),),
    absences: Sequence[Span] = (),
) -> Subject:
    found = Classification(
        1, None if band is None else Band(band), None if score is None else Decimal(score), 3, "g5", UnitId("u-1")
    )
    return Subject(EmployeeId("ada"), found, pay or (_pay(),), tuple(employed), tuple(absences), None)


def _lookup(year: int = 2025, *, ranges: Sequence[PayRange] = (RANGE,), rates: Sequence[Rate] = ()) -> Lookup:
    reference = Reference(tuple(ranges), tuple(rates), (TeamScore(UnitId("u-1"), 3, F(100)),))
    return Lookup(reference, Period(date(year, 1, 1), date(year, 12, 31)))


def _raw(plan: Plan, person: Subject, lookup: Lookup | None = None) -> dict[str, Fraction]:
    return {item.component.value: item.raw for item in assess(plan, lookup or _lookup(), person).items}


def test_a_rise_is_a_share_of_the_pay_that_is_worked() -> None:
    assert _raw(_plan(), _person(_pay(fte="0.8"))) == {"merit": 115_200}


def test_working_part_time_moves_neither_compa_ratio_nor_zone() -> None:
    steep = _row("meets", "6", "5", "4", "3", "2", "1")
    plan = _plan(_row("below", *["0"] * 6), steep, _row("exceeds", *["9"] * 6), _row("unrated"))
    half = next(line for line in assess(plan, _lookup(), _person(_pay(fte="0.5"))).lines if line.step == "raw")
    assert (half.inputs["zone"], half.inputs["compa_ratio"], half.change) == ("second-quartile", "24/25", F(96_000))


def test_what_exceeds_the_range_becomes_a_lump_sum_or_is_not_paid() -> None:
    near = _person(_pay(5_950_000))
    assert _raw(_plan(), near) == {"merit": 50_000, "lump-sum": 128_500}
    assert _raw(_plan(lump_sum_above_maximum=False), near) == {"merit": 50_000}
    assert _raw(_plan(), _person(_pay(6_100_000))) == {"merit": 0, "lump-sum": 183_000}


def test_no_scaling_lifts_base_pay_above_the_range() -> None:
    items = assess(_plan(), _lookup(), _person(_pay(5_950_000))).items
    assert [(item.component.value, item.maximum) for item in items] == [("merit", F(50_000)), ("lump-sum", F(545_000))]


def test_a_rise_is_prorated_by_inclusive_days_in_a_leap_year_and_out_of_it() -> None:
    hired = _person(employed=[Span(date(2024, 2, 29), None)])
    assert _raw(_plan(), hired, _lookup(2024)) == {"merit": 144_000 * F(307, 366)}
    on_leave = _person(absences=[Span(date(2025, 3, 1), date(2025, 3, 31))])
    assert _raw(_plan(), on_leave) == {"merit": 144_000 * F(334, 365)}
    assert _raw(_plan(absences=Absences.COUNT), on_leave) == {"merit": 144_000}


def test_a_bonus_follows_every_change_of_pay_and_every_turn_of_the_year() -> None:
    plan = _plan(bonus=_bonus())
    person = _person(
        _pay(3_650_000, last=date(2024, 9, 30)), _pay(3_660_000, fte="0.5", target="20", first=date(2024, 10, 1))
    )
    expected = 365_000 * F(274, 366) + 366_000 * F(92, 366)
    assert _raw(plan, person, _lookup(2024))["bonus"] == expected


def test_measures_are_combined_capped_and_gated_in_this_order() -> None:
    plan = _plan(bonus=_bonus())
    assert _raw(plan, _person(score="110"))["bonus"] == 480_000 * F(130, 100)
    capped = _plan(bonus=_bonus(cap_percent=Decimal(110)))
    assert _raw(capped, _person(score="110"))["bonus"] == 480_000 * F(110, 100)
    gated = _plan(bonus=_bonus(gate_band="exceeds"))
    assert _raw(gated, _person(score="120"))["bonus"] == 0
    assert _raw(gated, _person(band="exceeds", score="120"))["bonus"] == 480_000 * F(160, 100)
    product = _plan(bonus=_bonus(type=Combination.MULTIPLICATIVE, team_weight=None, individual_weight=None))
    assert _raw(product, _person(score="110"))["bonus"] == 480_000 * F(150, 100)


def test_unrated_is_a_row_of_its_own_for_the_rise_and_no_bonus() -> None:
    items = assess(_plan(bonus=_bonus()), _lookup(), _person(band=None, score=None)).items
    assert [(item.component.value, item.raw, item.maximum) for item in items] == [
        ("merit", F(48_000), F(480_000)),
        ("bonus", F(0), F(0)),
    ]


def test_where_the_unit_has_no_score_the_individual_part_counts_alone() -> None:
    lookup = Lookup(Reference((RANGE,), (), ()), Period(date(2025, 1, 1), date(2025, 12, 31)))
    assert _raw(_plan(bonus=_bonus()), _person(score="110"), lookup)["bonus"] == 480_000 * F(150, 100)


@pytest.mark.parametrize(
    ("currency", "base", "rate", "expected"),
    [
        ("JPY", 6_000_000, "0.0061", 6_000_000 * F("0.0061") * 100 * F(3, 100)),
        ("KWD", 12_000_000, "2.99", 12_000_000 * F("2.99") / 10 * F(3, 100)),
        ("USD", 4_800_000, "0.9", 4_800_000 * F("0.9") * F(3, 100)),
        ("CLF", 10_000_000, "35.5", 10_000_000 * F("35.5") / 100 * F(3, 100)),
    ],
)
def test_other_currencies_enter_the_plan_once_by_their_own_minor_units(
    currency: str, base: int, rate: str, expected: Fraction
) -> None:
    lookup = _lookup(
        ranges=[PayRange("g5", currency, base // 2, base, base * 2, date(2020, 1, 1))],
        rates=[
            Rate(date(2025, 12, 30), currency, "EUR", Decimal(rate)),
            Rate(date(2024, 1, 1), currency, "EUR", Decimal(1)),
            Rate(date(2026, 1, 1), currency, "EUR", Decimal(1)),
        ],
    )
    found = assess(_plan(), lookup, _person(_pay(base, currency)))
    assert [item.raw for item in found.items] == [expected]
    (conversion,) = [line for line in found.lines if line.step == "conversion"]
    assert (conversion.inputs["base"], conversion.inputs["on"]) == (str(base), "2025-12-30")


def test_minor_units_are_those_of_the_standard() -> None:
    assert {code: EXPONENTS[code] for code in ("JPY", "EUR", "KWD", "CLF", "ISK", "IQD", "MRU")} == {
        "JPY": 0,
        "EUR": 2,
        "KWD": 3,
        "CLF": 4,
        "ISK": 0,
        "IQD": 3,
        "MRU": 2,
    }
    assert [shown(1_234_567, code) for code in ("JPY", "EUR", "KWD", "CLF")] == [
        "1,234,567 JPY",
        "12,345.67 EUR",
        "1,234.567 KWD",
        "123.4567 CLF",
    ]


@UNHURRIED
@given(
    base=st.integers(3_000_000, 7_000_000),
    fte=st.decimals("0.1", "1", places=3),
    band=st.sampled_from(["below", "meets", "exceeds", None]),
    score=st.decimals(60, 140, places=4),
    hired=st.dates(date(2023, 6, 1), date(2024, 12, 31)),
    pool=st.integers(0, 2_000_000),
)
def test_the_lines_of_every_component_add_up_to_what_is_paid(
    base: int, fte: Decimal, band: str | None, score: Decimal, hired: date, pool: int
) -> None:
    plan = _plan(bonus=_bonus(gate_band="meets", cap_percent=Decimal(130)))
    person = _person(
        _pay(base, fte=str(fte)), band=band, score=None if band is None else str(score), employed=[Span(hired, None)]
    )
    found = assess(plan, _lookup(2024), person)
    claims = [Claim(person.employee, item.component, item.raw, item.minimum, item.maximum) for item in found.items]
    outcome = distribute(claims, pool, plan.rounding)
    assert isinstance(outcome, Distribution)
    for share in outcome.shares:
        component = share.claim.component
        lines = [line for line in found.lines if line.component is component]
        lines += closing_lines(share, outcome.scale, plan.rounding)
        assert sum(line.change for line in lines) == share.amount
        running = F(0)
        for line in lines:
            running += line.change
            assert line.result == running


def test_the_modes_of_rounding_are_those_of_decimal() -> None:
    assert {mode.value for mode in MODES} == {name for name in dir(decimal) if name.startswith("ROUND_")}
