"""The rules of the services and those of the verification, written apart, agree on whatever they are given."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.verify import pay, pools, scores
from deploy.verify.facts import Curve, Part
from services.compensation.model import award, plan, pool
from services.compensation.rules.awards import Lookup, assess
from services.compensation.rules.budget import distribute
from services.compensation.rules.rounding import rounded
from services.scoring.model import templates as scoring
from services.scoring.rules.curves import attainment
from services.scoring.rules.weighting import renormalised
from shared.contracts.ids import Band, EmployeeId, PlanId, UnitId

VERIFY = Path(__file__).parents[2] / "deploy" / "verify"
MODES = st.sampled_from(plan.Rounding)
SHARES = st.fractions(0, 1, max_denominator=12)


def test_the_verification_imports_nothing_of_what_it_verifies() -> None:
    for module in VERIFY.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                first = name.split(".")[0]
                assert first in sys.stdlib_module_names or first in ("asyncpg", "rich", "typer", "deploy"), name


@st.composite
def claims(draw: st.DrawFn) -> dict[tuple[str, str], pay.Claim]:
    found = {}
    for number in range(draw(st.integers(0, 12))):
        raw = draw(st.fractions(0, 500, max_denominator=7))
        low = raw * draw(SHARES)
        high = raw * (1 + draw(st.fractions(0, 2, max_denominator=5)))
        if draw(st.integers(0, 9)) == 0:
            raw = low = high = Fraction(0)
        component = draw(st.sampled_from(["merit", "lump-sum"]))
        found[f"e-{number // 2}", component] = pay.Claim(raw, low, high)
    return found


@settings(max_examples=100, deadline=None)
@given(claims(), st.integers(0, 6_000), MODES, st.booleans())
def test_a_pool_is_shared_out_alike(
    asked: Mapping[tuple[str, str], pay.Claim], amount: int, mode: plan.Rounding, scale_up: bool
) -> None:
    theirs = distribute(
        [
            pool.Claim(EmployeeId(who), award.Component(part), claim.raw, claim.low, claim.high)
            for (who, part), claim in asked.items()
        ],
        amount,
        mode,
        scale_up=scale_up,
    )
    ours = pools.share_out(asked, amount, mode.value, scale_up)
    assert (ours.requested, ours.minimum, ours.maximum) == (
        theirs.sums.requested,
        theirs.sums.minimum,
        theirs.sums.maximum,
    )
    if isinstance(theirs, pool.Infeasible):
        assert ours.scale is None
        return
    assert (ours.scale, ours.binds) == (theirs.scale, theirs.binds)
    paid = {(share.claim.employee, share.claim.component.value): share.amount for share in theirs.shares}
    assert ours.amounts == paid
    assert sum(paid.values()) + theirs.undistributed == amount


@given(st.fractions(0, 100, max_denominator=40), MODES)
def test_amounts_are_rounded_alike(value: Fraction, mode: plan.Rounding) -> None:
    assert pools.rounded(value, Fraction(1_000), mode.value) == rounded(value, mode)


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=6), SHARES)
def test_weights_are_renormalised_alike(parts: list[tuple[int, bool]], maximum: Fraction) -> None:
    flat = Curve((), False, None, None)
    ours = scores.weights(
        [Part(str(place), "m", None, Fraction(weight), flat) for place, (weight, _) in enumerate(parts)],
        {str(place) for place, (_, valid) in enumerate(parts) if valid},
        maximum,
    )
    theirs = None
    if any(valid for _, valid in parts):
        declared = tuple(Fraction(weight) for weight, _ in parts)
        theirs = renormalised(declared, tuple(valid for _, valid in parts), maximum)
    if theirs is None or ours is None:
        assert (ours is None) == (theirs is None)
    else:
        assert tuple(ours.get(str(place), Fraction(0)) for place in range(len(parts))) == tuple(theirs)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=2, max_size=5),
    st.fractions(-20, 60, max_denominator=9),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 5),
    st.integers(0, 40),
)
def test_attainment_is_read_off_a_curve_alike(
    steps: list[tuple[int, int]], value: Fraction, rising: bool, stepped: bool, accelerator: int | None, cap: int
) -> None:
    points: list[tuple[Decimal, Decimal]] = []
    for x, y in steps:
        before = points[-1] if points else (Decimal(0), Decimal(0))
        points.append((before[0] + (x if rising else -x), before[1] + y))
    faster = None if stepped or accelerator is None else Decimal(accelerator)
    shape = scoring.Shape.STEPPED if stepped else scoring.Shape.LINEAR
    theirs = attainment(scoring.Curve(tuple(points), shape, faster, Decimal(cap)), value, higher_is_better=rising)
    exact = [(Fraction(x), Fraction(y)) for x, y in points]
    curve = Curve(exact, stepped, None if faster is None else Fraction(faster), Fraction(cap))
    assert scores.payout(curve, value, rising) == theirs


FIRST, LAST = date(2023, 11, 15), date(2024, 3, 10)
BANDS = ("low", "fair", "top")
DAYS = st.dates(FIRST - timedelta(20), LAST + timedelta(20))
SPAN = st.tuples(DAYS, st.none() | DAYS).map(
    lambda span: span if not span[1] or span[0] <= span[1] else (span[1], span[0])
)


def _curve(points: list[tuple[int, int]], slope: int | None) -> plan.Curve:
    faster = None if slope is None else plan.Accelerator(Decimal(slope), Decimal(300))
    return plan.Curve(plan.CurveKind.LINEAR, tuple(plan.CurvePoint(Decimal(x), Decimal(y)) for x, y in points), faster)


def _plans(bonus: plan.Bonus | None, lump: bool, leave: plan.Absences) -> tuple[plan.Plan, pay.Plan]:
    rows, cells = [], {}
    for level, band in enumerate((*BANDS, "unrated")):
        of_row = {}
        for step, zone in enumerate(plan.Zone):
            low, default, high = (Decimal(max(0, level * 2 + part - step)) / 4 for part in (2, 4, 9))
            of_row[zone] = plan.Cell(low, default, high)
            key = (None if band == "unrated" else band, zone.value)
            cells[key] = (Fraction(low), Fraction(default), Fraction(high))
        rows.append(plan.MatrixRow(band, of_row))
    theirs = plan.Plan("Annual", "EUR", BANDS, tuple(rows), lump, leave, plan.Rounding.HALF_UP, bonus)
    ours = None
    if bonus is not None:
        weights = None
        if bonus.team_weight is not None and bonus.individual_weight is not None:
            weights = (Fraction(bonus.team_weight), Fraction(bonus.individual_weight))
        ours = pay.Bonus(
            weights,
            _payout(bonus.team_curve),
            _payout(bonus.individual_curve),
            Fraction(bonus.cap_percent),
            bonus.gate_band,
        )
    counts = leave is plan.Absences.COUNT
    return theirs, pay.Plan("EUR", BANDS, cells, lump, counts, "ROUND_HALF_UP", ours)


def _payout(curve: plan.Curve) -> pay.Payout:
    points = [(Fraction(point.score), Fraction(point.percent)) for point in curve.points]
    faster = curve.accelerator
    return pay.Payout(
        points, False, Fraction(faster.slope) if faster else None, Fraction(faster.hard_cap) if faster else None
    )


@st.composite
def bonuses(draw: st.DrawFn) -> plan.Bonus | None:
    if draw(st.integers(0, 4)) == 0:
        return None
    additive = draw(st.booleans())
    share = Decimal(draw(st.integers(0, 10))) / 10
    curve = _curve([(60, 20), (100, 100), (120, 180)], draw(st.none() | st.just(3)))
    return plan.Bonus(
        plan.Combination.ADDITIVE if additive else plan.Combination.MULTIPLICATIVE,
        share if additive else None,
        1 - share if additive else None,
        curve,
        _curve([(70, 0), (90, 100)], 2),
        Decimal(draw(st.sampled_from([80, 150, 250]))),
        draw(st.none() | st.sampled_from(BANDS)),
    )


@st.composite
def entries(draw: st.DrawFn) -> list[award.PayEntry]:
    found: list[award.PayEntry] = []
    first = FIRST - timedelta(draw(st.integers(0, 30)))
    for _ in range(draw(st.integers(0, 3))):
        last = first + timedelta(draw(st.integers(10, 90)))
        ends = None if draw(st.integers(0, 3)) == 0 else last
        base = draw(st.integers(2_000_000, 8_000_000))
        currency = draw(st.sampled_from(["EUR", "JPY", "KWD", "USD"]))
        fte = Decimal(draw(st.sampled_from(["1", "0.8", "0.333"])))
        found.append(award.PayEntry(first, ends, base, currency, fte, Decimal(draw(st.integers(0, 25)))))
        if ends is None:
            break
        first = last + timedelta(draw(st.integers(1, 9)))
    return found


@settings(max_examples=150, deadline=None)
@given(
    bonuses(),
    st.booleans(),
    st.sampled_from(plan.Absences),
    entries(),
    st.lists(SPAN, min_size=0, max_size=2),
    st.lists(SPAN, max_size=2),
    st.none() | st.sampled_from((*BANDS, "other")),
    st.none() | st.decimals(40, 140, places=3),
    st.none() | st.fractions(50, 130, max_denominator=9),
    st.sampled_from(["g1", "g2"]),
    st.sets(st.sampled_from(award.Component)),
)
def test_claims_are_computed_alike(
    bonus: plan.Bonus | None,
    lump: bool,
    leave: plan.Absences,
    paid: list[award.PayEntry],
    employed: list[tuple[date, date | None]],
    away: list[tuple[date, date | None]],
    band: str | None,
    score: Decimal | None,
    team: Fraction | None,
    grade: str,
    held: set[award.Component],
) -> None:
    score = score if band is not None else None
    theirs_plan, ours_plan = _plans(bonus, lump, leave)
    ranges = [
        ("g1", "EUR", 3_000_000, 5_000_000),
        ("g1", "JPY", 2_500_000, 6_000_000),
        ("g1", "KWD", 4_000_000, 4_000_400),
    ]
    rates = [("JPY", "0.0061"), ("KWD", "3.01")]
    teams = () if team is None else (award.TeamScore(UnitId("u"), 3, team),)
    lookup = Lookup(
        award.Reference(
            tuple(award.PayRange(g, c, low, (low + high) // 2, high, FIRST) for g, c, low, high in ranges),
            tuple(award.Rate(FIRST, source, "EUR", Decimal(rate)) for source, rate in rates),
            teams,
        ),
        award.Period(FIRST, LAST),
    )
    classification = award.Classification(1, None if band is None else Band(band), score, 1, grade, UnitId("u"))
    theirs = assess(
        theirs_plan,
        lookup,
        award.Subject(
            EmployeeId("e-1"),
            classification,
            tuple(paid),
            tuple(award.Span(*span) for span in employed),
            tuple(award.Span(*span) for span in away),
            None,
            dict.fromkeys(held, PlanId("other")),
        ),
    )
    ours = pay.asked(
        pay.Terms(
            ours_plan,
            FIRST,
            LAST,
            [pay.PayRange(g, c, low, high, FIRST) for g, c, low, high in ranges],
            [pay.Rate(source, "EUR", Fraction(rate), FIRST) for source, rate in rates],
            {} if team is None else {"u": team},
        ),
        pay.Subject(
            "e-1",
            [
                pay.Pay(e.valid_from, e.valid_to, e.base, e.currency, Fraction(e.fte), Fraction(e.target_bonus_percent))
                for e in paid
            ],
            employed,
            away,
            None,
            held,
        ),
        pay.Classified(1, 1, band, None if score is None else Fraction(score), grade, "u"),
    )
    asked_for = {item.component.value: pay.Claim(item.raw, item.minimum, item.maximum) for item in theirs.items}
    assert ours.claims == asked_for
    assert list(ours.codes) == [reason.code for reason in theirs.left_out]
