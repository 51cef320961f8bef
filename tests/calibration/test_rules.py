"""What may become of a band, whatever people and scorecards do in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.calibration import rules
from services.calibration.model import (
    Act,
    Actor,
    Card,
    Case,
    CaseState,
    Move,
    Outdated,
    Person,
    Plan,
    Reach,
    Refused,
    Revision,
    Scope,
    SessionState,
    Stage,
    Step,
    Tally,
)
from shared.contracts.ids import Band, CycleId, EmployeeId, SessionId

BANDS = tuple(Band(f"B{n}") for n in range(1, 6))
NOW = datetime(2026, 4, 1, tzinfo=UTC)
maybe_band = st.one_of(st.none(), st.sampled_from(BANDS))
people = st.sampled_from(
    [
        Person("ann@acme", EmployeeId("e-ann"), frozenset({"hr_admin"})),
        Person("ann-too@acme", EmployeeId("e-ann"), frozenset({"hr_admin"})),
        Person("bob@acme", EmployeeId("e-bob"), frozenset({"facilitator"})),
        Person("service@acme", None, frozenset({"hr_admin"})),
    ]
)


def a_case(standing: Band | None = BANDS[2], stage: Stage = Stage.SESSION, **fields: object) -> Case:
    case = Case(SessionId("s"), CycleId("c"), EmployeeId("e"), stage, 1, CaseState.UNDECIDED, standing, None, 1)
    return replace(case, **fields)  # type: ignore[arg-type]


def plan(**fields: object) -> Plan:
    made = Plan("n", Scope((), (), (), ()), EmployeeId("e-own"), EmployeeId("e-fac"), (EmployeeId("e-part"),), NOW)
    return replace(made, **fields)  # type: ignore[arg-type]


@given(maybe_band, maybe_band)
def test_a_second_person_is_needed_from_two_bands_on_and_around_unrated(
    standing: Band | None, band: Band | None
) -> None:
    needed = rules.needs_second_person(BANDS, standing, band)
    if standing is None or band is None:
        assert needed is (standing != band)
    else:
        assert needed is (abs(int(standing[1:]) - int(band[1:])) >= 2)


@given(maybe_band, maybe_band, st.sampled_from(Stage))
def test_a_change_either_stands_waits_or_is_refused_for_a_named_input(
    standing: Band | None, band: Band | None, stage: Stage
) -> None:
    step = rules.change(a_case(standing, stage), BANDS, band)
    if isinstance(step, Refused):
        assert (standing == band, stage, step.pointer) == (True, Stage.SESSION, "/band")
        return
    waits = rules.needs_second_person(BANDS, standing, band)
    assert step == Step(Act.CHANGE, CaseState.AWAITING if waits else CaseState.CHANGED, band)


def test_a_band_the_cycle_does_not_have_is_refused() -> None:
    step = rules.change(a_case(), BANDS, Band("B9"))
    assert isinstance(step, Refused)
    assert step.code == "unknown-band"


@pytest.mark.parametrize(
    ("rating", "band"),
    [("1", "B1"), ("5", "B5"), ("3.0", "B3"), ("3.5", None), ("2.999", None), ("0", None), ("6", None), ("-1", None)],
)
def test_a_rating_names_a_band_only_when_it_is_exactly_one(rating: str, band: str | None) -> None:
    assert rules.manager_band(BANDS, Decimal(rating)) == band


def test_no_rating_names_no_band() -> None:
    assert rules.manager_band(BANDS, None) is None


@given(people, people)
def test_nobody_approves_what_they_asked_for(asker: Person, judge: Person) -> None:
    case = a_case(state=CaseState.AWAITING, band=BANDS[4])
    step = rules.judge(case, True, Actor(asker.subject, asker.employee), judge)
    same = asker.subject == judge.subject or (asker.employee is not None and asker.employee == judge.employee)
    assert isinstance(step, Refused) is same


def test_two_accounts_without_an_employee_are_not_taken_for_one_person() -> None:
    assert not rules.same_person(Person("a", None, frozenset()), Actor("b", None))


def test_published_and_cancelled_are_final() -> None:
    for move in Move:
        assert not rules.allowed(move, SessionState.PUBLISHED)
        assert not rules.allowed(move, SessionState.CANCELLED)


def test_only_a_locked_session_is_published_and_only_a_locked_one_reopens() -> None:
    for move in (Move.PUBLISH, Move.REOPEN):
        assert [state for state in SessionState if rules.allowed(move, state)] == [SessionState.LOCKED]


@pytest.mark.parametrize(
    ("employee", "roles", "reading", "deciding"),
    [
        ("e-fac", {"facilitator"}, Reach.ALL, Reach.ALL),
        ("e-part", {"manager"}, Reach.LINE, Reach.LINE),
        ("e-own", {"manager"}, Reach.ALL, Reach.NONE),
        ("e-other", {"manager", "facilitator"}, Reach.NONE, Reach.NONE),
        ("e-other", {"auditor"}, Reach.ALL, Reach.NONE),
        (None, {"hr_admin"}, Reach.ALL, Reach.ALL),
        (None, {"manager"}, Reach.NONE, Reach.NONE),
    ],
)
def test_a_session_is_reached_by_who_it_names(
    employee: str | None, roles: set[str], reading: Reach, deciding: Reach
) -> None:
    who = Person("x", EmployeeId(employee) if employee else None, frozenset(roles))
    assert (rules.reach_of_reader(who, plan()), rules.reach_of_decider(who, plan())) == (reading, deciding)


def test_a_session_without_owner_is_not_owned_by_who_has_no_employee() -> None:
    assert rules.reach_of_reader(Person("x", None, frozenset({"manager"})), plan(owner=None)) is Reach.NONE


def test_a_newer_scorecard_joins_the_open_revision_and_else_begins_the_next() -> None:
    published = a_case(state=CaseState.CONFIRMED, band=BANDS[2], version=3)
    card = Card(7, Decimal(80), Decimal(1), BANDS[3])
    first = rules.question(Outdated(published, card, True, None), NOW)
    assert (first.number, first.case.standing, first.case.stage, first.opened_at) == (1, BANDS[2], Stage.REVISION, NOW)
    for state, number in [
        (CaseState.UNDECIDED, 4),
        (CaseState.AWAITING, 4),
        (CaseState.CONFIRMED, 5),
        (CaseState.CHANGED, 5),
    ]:
        latest = Revision(4, a_case(stage=Stage.REVISION, state=state), NOW - timedelta(days=1))
        assert rules.question(Outdated(published, card, True, latest), NOW).number == number


tallies = st.lists(
    st.builds(
        lambda proposed, rating, state, band, people: Tally(
            proposed, rating, state, None if state is CaseState.UNDECIDED else band, people
        ),
        maybe_band,
        st.one_of(st.none(), st.sampled_from([Decimal("1"), Decimal("3.5"), Decimal("5"), Decimal("9")])),
        st.sampled_from(CaseState),
        maybe_band,
        st.integers(1, 50),
    ),
    max_size=20,
)


@given(tallies, st.randoms(use_true_random=False))
def test_a_distribution_loses_nobody_and_does_not_depend_on_order(found: list[Tally], random: object) -> None:
    counted = rules.distribution(BANDS, found)
    people_in = sum(tally.people for tally in found)
    assert counted.subjects == people_in
    assert sum(each.scored for each in counted.bands) + counted.unrated_scored == people_in
    named = sum(each.manager for each in counted.bands)
    assert named + counted.manager_missing + counted.manager_between_bands == people_in
    decided = sum(each.calibrated for each in counted.bands) + counted.unrated_calibrated
    assert decided + counted.undecided + counted.awaiting_approval == people_in
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rules.distribution(BANDS, shuffled) == counted


class CaseMachine(RuleBasedStateMachine):
    """One subject of an open session, on whom people and scorecards act in any order.

    `asked_by` and `agreed` are this model's own memory of what people did; the rules see none of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.case = a_case()
        self.asked_by: Person | None = None
        self.agreed: set[str] = set()

    def stand(self, step: Step | Refused) -> bool:
        if isinstance(step, Refused):
            return False
        self.case = replace(self.case, version=self.case.version + 1, state=step.state, band=step.band)
        return True

    @rule(who=people)
    def confirm(self, who: Person) -> None:
        assert self.stand(rules.confirm(self.case))
        self.agreed = {who.subject}

    @rule(who=people, band=maybe_band)
    def change(self, who: Person, band: Band | None) -> None:
        if self.stand(rules.change(self.case, BANDS, band)):
            self.asked_by, self.agreed = who, {who.subject}

    @rule(who=people, approve=st.booleans())
    def judge(self, who: Person, approve: bool) -> None:
        asker = Actor(self.asked_by.subject, self.asked_by.employee) if self.asked_by else None
        if self.stand(rules.judge(self.case, approve, asker, who)):
            assert self.asked_by is not None
            assert who.employee is None or who.employee != self.asked_by.employee
            self.agreed = self.agreed | {who.subject} if approve else set()

    @rule(proposed=maybe_band)
    def newer_scorecard(self, proposed: Band | None) -> None:
        card = Card(self.case.scorecard_version + 1, None, Decimal(1), proposed)
        before = self.case
        self.stand(rules.take_up(Outdated(self.case, card, False, None)))
        self.case = replace(self.case, standing=proposed, scorecard_version=card.version)
        if proposed != before.standing:
            self.agreed = set()

    @invariant()
    def silence_is_no_rating(self) -> None:
        if self.case.state is CaseState.UNDECIDED:
            assert self.case.band is None
            assert not self.agreed
        else:
            assert self.agreed

    @invariant()
    def a_confirmed_band_is_the_scored_one(self) -> None:
        if self.case.state is CaseState.CONFIRMED:
            assert self.case.band == self.case.standing

    @invariant()
    def a_far_move_stands_only_with_two_people(self) -> None:
        if self.case.state is CaseState.CHANGED and rules.needs_second_person(
            BANDS, self.case.standing, self.case.band
        ):
            assert len(self.agreed) == 2


TestCaseMachine = CaseMachine.TestCase
