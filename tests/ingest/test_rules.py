"""The decisions of intake, on paper."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.model import (
    AgentMapping,
    Amendment,
    Assignment,
    Cycle,
    Observation,
    Original,
    Placed,
    Rating,
    Reason,
    Roster,
    Workplace,
)
from services.ingest.rules import feedback, intake, workforce
from services.ingest.rules.amendments import amend
from services.ingest.rules.normal_form import digest, in_utc
from shared.contracts.ids import (
    ClientId,
    CycleId,
    EmployeeId,
    KpiEventId,
    LineOfBusiness,
    MetricKey,
    UnitId,
)
from shared.numbers import plain

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANA, BEN, EVA = EmployeeId("e-1"), EmployeeId("e-2"), EmployeeId("e-90")
CLIENT, CARE, SALES = ClientId("northwind"), LineOfBusiness("care"), LineOfBusiness("sales")
MANILA, LIMA = ZoneInfo("Asia/Manila"), ZoneInfo("America/Lima")
AHT, CSAT = MetricKey("aht"), MetricKey("csat")

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**8), max_value=10**8)
days = st.dates(date(2026, 1, 1), date(2026, 12, 31))


def workplace(start: date, end: date | None, zone: ZoneInfo = MANILA, line: LineOfBusiness = CARE) -> Workplace:
    return Workplace(start, end, zone, CLIENT, line)


def roster(*places: Workplace, agents: dict[str, list[AgentMapping]] | None = None) -> Roster:
    return Roster(CLIENT, frozenset({CARE}), agents or {}, {ANA: list(places)}, {AHT: "ratio", CSAT: "mean"})


def observation(at: datetime, *, agent: str | None = None, metric: MetricKey = AHT) -> Observation:
    over = Decimal(25) if metric == AHT else None
    employee = None if agent else ANA
    return Observation(0, KpiEventId("acd/1"), b"", agent, employee, metric, at, Decimal(9000), over)


def test_an_event_belongs_to_the_calendar_day_of_the_site() -> None:
    always = roster(workplace(date(2026, 1, 1), None))
    late_evening_utc = datetime(2026, 10, 31, 20, 0, tzinfo=UTC)
    assert intake.place(observation(late_evening_utc), always, NOW) == Placed(ANA, date(2026, 11, 1))


def test_a_move_across_the_date_line_uses_the_assignment_that_contains_its_own_day() -> None:
    moved = roster(workplace(date(2026, 1, 1), date(2026, 3, 31), LIMA), workplace(date(2026, 4, 1), None, MANILA))
    both = datetime(2026, 4, 1, 2, 0, tzinfo=UTC)  # still 31 March in Lima, 1 April in Manila
    assert intake.place(observation(both), moved, NOW) == Placed(ANA, date(2026, 3, 31))
    westwards = roster(workplace(date(2026, 1, 1), date(2026, 3, 31), MANILA), workplace(date(2026, 4, 1), None, LIMA))
    neither = intake.place(observation(both), westwards, NOW)
    assert isinstance(neither, Reason) and neither.code == "not-assigned"


def test_who_never_worked_for_the_client_does_not_exist_for_its_source() -> None:
    elsewhere = roster(workplace(date(2026, 1, 1), None, line=SALES))
    refused = intake.place(observation(NOW), elsewhere, NOW)
    assert isinstance(refused, Reason) and refused.code == "unknown-employee"
    nobody = intake.place(observation(NOW), roster(), NOW)
    assert nobody == refused


def test_an_agent_id_means_whoever_had_it_on_that_day() -> None:
    agents = {
        "A-1": [
            AgentMapping("A-1", BEN, date(2026, 1, 1), date(2026, 6, 30)),
            AgentMapping("A-1", ANA, date(2026, 7, 1), None),
        ]
    }
    both = Roster(
        CLIENT,
        frozenset({CARE}),
        agents,
        {ANA: [workplace(date(2026, 1, 1), None)], BEN: [workplace(date(2026, 1, 1), None)]},
        {AHT: "ratio"},
    )
    june, july = datetime(2026, 6, 30, 4, 0, tzinfo=UTC), datetime(2026, 7, 1, 4, 0, tzinfo=UTC)
    assert intake.place(observation(june, agent="A-1"), both, NOW) == Placed(BEN, date(2026, 6, 30))
    assert intake.place(observation(july, agent="A-1"), both, NOW) == Placed(ANA, date(2026, 7, 1))


def test_a_clock_may_be_five_minutes_ahead_and_no_more() -> None:
    always = roster(workplace(date(2026, 1, 1), None))
    assert isinstance(intake.place(observation(NOW + timedelta(minutes=5)), always, NOW), Placed)
    refused = intake.place(observation(NOW + timedelta(minutes=5, microseconds=1)), always, NOW)
    assert isinstance(refused, Reason) and refused.code == "future-time"


@given(st.datetimes(datetime(2026, 1, 2), datetime(2026, 11, 19)), st.sampled_from([MANILA, LIMA]), days)  # noqa: DTZ001
def test_a_placed_event_lies_inside_the_assignment_and_on_its_local_day(
    naive: datetime, zone: ZoneInfo, last: date
) -> None:
    moment = naive.replace(tzinfo=UTC)
    placed = intake.place(observation(moment), roster(workplace(date(2026, 1, 1), last, zone)), NOW)
    local = moment.astimezone(zone).date()
    assert placed == Placed(ANA, local) if local <= last else isinstance(placed, Reason)


@given(decimals, st.integers(-6, 6))
def test_the_normal_form_of_a_number_is_its_value_and_nothing_else(value: Decimal, shift: int) -> None:
    assert Decimal(plain(value)) == value
    padded = Decimal(f"{value}").quantize(Decimal("1e-9")) if abs(value) < 10**8 else value
    assert plain(padded) == plain(value)
    assert plain(value.scaleb(shift).scaleb(-shift)) == plain(value)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2026, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_a_time_is_the_same_in_every_offset(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    assert in_utc(moment.astimezone(timezone(timedelta(minutes=minutes)))) == moment


def test_the_first_years_of_the_calendar_are_refused_rather_than_overflowing() -> None:
    assert in_utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))) is None


@given(st.lists(st.text(st.characters(min_codepoint=1, codec="utf-8"), max_size=5), min_size=2, max_size=4))
def test_a_digest_depends_on_where_one_part_ends_and_the_next_begins(parts: list[str]) -> None:
    assert digest(*parts) != digest("".join(parts))


def correction(**changes: object) -> Amendment:
    amendment = Amendment(
        0, KpiEventId("acd/2"), b"", KpiEventId("acd/1"), False, None, None, None, None, Decimal(8000), Decimal(20)
    )
    return amendment._replace(**changes)  # type: ignore[arg-type]


ORIGINAL = Original(
    KpiEventId("acd/1"), "observation", "A-1", ANA, AHT, datetime(2026, 10, 5, 4, tzinfo=UTC), date(2026, 10, 5), 0
)


def test_a_correction_keeps_the_day_although_the_assignment_is_gone() -> None:
    row = amend(correction(), ORIGINAL, 1, roster(), NOW)
    assert not isinstance(row, Reason)
    assert (row.root, row.revision, row.employee, row.occurred_on) == (ORIGINAL.id, 1, ANA, date(2026, 10, 5))


def test_a_correction_of_the_time_is_placed_anew() -> None:
    moved = correction(occurred_at=datetime(2026, 9, 30, 20, tzinfo=UTC))
    row = amend(moved, ORIGINAL, 1, roster(workplace(date(2026, 1, 1), None)), NOW)
    assert not isinstance(row, Reason) and row.occurred_on == date(2026, 10, 1)
    refused = amend(moved, ORIGINAL, 1, roster(), NOW)
    assert isinstance(refused, Reason) and refused.field == "occurred_at"


def test_a_correction_cannot_move_an_event_to_another_person_or_metric() -> None:
    codes = {
        "other-person": [correction(employee=BEN), correction(agent="A-2")],
        "other-metric": [correction(metric=CSAT)],
        "wrong-measure": [correction(denominator=None)],
    }
    for code, amendments in codes.items():
        for amendment in amendments:
            refused = amend(amendment, ORIGINAL, 1, roster(), NOW)
            assert isinstance(refused, Reason) and refused.code == code
    same = correction(employee=ANA, agent="A-1", metric=AHT)
    assert not isinstance(amend(same, ORIGINAL, 1, roster(), NOW), Reason)


spans = st.lists(st.tuples(days, st.one_of(st.none(), days)).filter(lambda s: s[1] is None or s[0] <= s[1]), max_size=5)


@given(spans)
def test_an_overlap_is_found_exactly_where_two_spans_share_a_day(found: list[tuple[date, date | None]]) -> None:
    horizon = date(2027, 1, 1)
    covered = [{start + timedelta(n) for n in range(((end or horizon) - start).days + 1)} for start, end in found]
    share = any(one & other for place, one in enumerate(covered) for other in covered[:place])
    assert (workforce.overlap(found) is not None) == share


def assignment(start: date, manager: EmployeeId | None, end: date | None = None) -> Assignment:
    return Assignment(start, end, "agent", "G3", UnitId("u"), manager, CLIENT, CARE, "manila", "Asia/Manila")


def rate(**changes: object) -> Reason | None:
    values: dict[str, object] = {
        "index": 0,
        "cycle": CycleId("c"),
        "employee": ANA,
        "rater": EVA,
        "category": "peer",
        "rating": Decimal(3),
        "comment": "",
    }
    submitter = changes.pop("submitter", EVA)
    cycle = Cycle(CycleId("c"), 1, "open", date(2026, 10, 1), date(2026, 10, 31), 5)
    people = {
        ANA: [assignment(date(2026, 1, 1), EVA, date(2026, 10, 15)), assignment(date(2026, 10, 16), BEN)],
        BEN: [],
        EVA: [],
    }
    return feedback.fault(Rating(**(values | changes)), submitter, {CycleId("c"): cycle}, people, NOW)  # type: ignore[arg-type]


def code(reason: Reason | None) -> str | None:
    return reason and reason.code


def test_nobody_rates_themselves_except_in_the_category_made_for_it() -> None:
    assert rate() is None
    for category in ("peer", "upward", "manager", "customer"):
        assert code(rate(rater=ANA, category=category, submitter=ANA)) == "own-case"
    assert rate(rater=ANA, category="self", submitter=ANA) is None
    assert code(rate(rater=EVA, category="self")) == "not-oneself"


def test_who_is_rated_does_not_enter_what_others_say() -> None:
    assert code(rate(rater=BEN, submitter=ANA)) == "own-case"


def test_the_managers_rating_is_that_of_the_manager_at_the_end_of_the_cycle() -> None:
    assert rate(category="manager", rater=BEN, submitter=BEN) is None
    assert code(rate(category="manager", rater=EVA)) == "not-the-manager"


def test_a_rating_lies_on_the_scale_of_its_cycle() -> None:
    assert rate(rating=Decimal(5)) is None and rate(rating=Decimal(1)) is None
    assert code(rate(rating=Decimal("5.0001"))) == "rating-out-of-scale"
    assert code(rate(rating=Decimal("0.9"))) == "rating-out-of-scale"
