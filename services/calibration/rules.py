"""How a band is decided, by whom, and what a session allows when. Nothing here reads a clock or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from services.calibration.model import (
    Act,
    Actor,
    BandCount,
    Case,
    CaseState,
    Distribution,
    Move,
    Outdated,
    Person,
    Plan,
    Reach,
    Refused,
    Revision,
    SessionState,
    Stage,
    Step,
    Tally,
)
from shared.contracts.ids import Band, EmployeeId

DECIDED = frozenset({CaseState.CONFIRMED, CaseState.CHANGED})
"""A case in one of these has its band; silence leaves it in another."""

_FROM: dict[Move, frozenset[SessionState]] = {
    Move.EDIT: frozenset({SessionState.PREPARED, SessionState.OPEN, SessionState.LOCKED}),
    Move.OPEN: frozenset({SessionState.PREPARED}),
    Move.LOCK: frozenset({SessionState.OPEN}),
    Move.REOPEN: frozenset({SessionState.LOCKED}),
    Move.CANCEL: frozenset({SessionState.PREPARED, SessionState.OPEN, SessionState.LOCKED}),
    Move.PUBLISH: frozenset({SessionState.LOCKED}),
}


def allowed(move: Move, state: SessionState) -> bool:
    return state in _FROM[move]


def leads(who: Person, plan: Plan) -> bool:
    """Whether somebody may lock and publish the session, and decide on all of its subjects but themself."""
    return "hr_admin" in who.roles or (who.employee is not None and who.employee == plan.facilitator)


def reach_of_decider(who: Person, plan: Plan) -> Reach:
    if leads(who, plan):
        return Reach.ALL
    return Reach.LINE if who.employee in plan.participants else Reach.NONE


def reach_of_reader(who: Person, plan: Plan) -> Reach:
    if "auditor" in who.roles or (who.employee is not None and who.employee == plan.owner):
        return Reach.ALL
    return reach_of_decider(who, plan)


def own_case(who: Person, employee: EmployeeId) -> bool:
    return who.employee is not None and who.employee == employee


def same_person(who: Person, asker: Actor) -> bool:
    """Somebody with two accounts is still one person, and one account is one person whatever employee it names."""
    return who.subject == asker.subject or (who.employee is not None and who.employee == asker.employee)


def manager_band(bands: Sequence[Band], rating: Decimal | None) -> Band | None:
    """Rating n names the cycle's n-th band from below; a rating between two bands names none."""
    if rating is None or rating != rating.to_integral_value() or not 1 <= rating <= len(bands):
        return None
    return bands[int(rating) - 1]


def needs_second_person(bands: Sequence[Band], standing: Band | None, band: Band | None) -> bool:
    """Two bands or more; unrated is next to no band, so a move into or out of it always does."""
    if standing == band:
        return False
    if standing not in bands or band not in bands:
        return True
    return abs(bands.index(standing) - bands.index(band)) >= 2


def confirm(case: Case) -> Step:
    return Step(Act.CONFIRM, CaseState.CONFIRMED, case.standing)


def change(case: Case, bands: Sequence[Band], band: Band | None) -> Step | Refused:
    if band is not None and band not in bands:
        return Refused("unknown-band", f"the cycle's bands are {', '.join(bands)}", "/band")
    if band == case.standing and case.stage is Stage.SESSION:
        return Refused("no-change", "that is the scored band: confirm it", "/band")
    waits = needs_second_person(bands, case.standing, band)
    return Step(Act.CHANGE, CaseState.AWAITING if waits else CaseState.CHANGED, band)


def judge(case: Case, approve: bool, asker: Actor | None, who: Person) -> Step | Refused:
    """What a second person's answer makes of a change that waits for it."""
    if case.state is not CaseState.AWAITING or asker is None:
        return Refused("nothing-to-approve", "no change waits for approval here")
    if same_person(who, asker):
        return Refused("second-person-needed", "a change is approved by another person than the one who asked for it")
    if approve:
        return Step(Act.APPROVE, CaseState.CHANGED, case.band)
    return Step(Act.REJECT, CaseState.UNDECIDED, None)


def take_up(outdated: Outdated) -> Step:
    """What a newer scorecard makes of a case.

    A decision stands only while the session is not published and the scored band it was about is the same; else people
    decide again, in a session or in a revision.
    """
    case = outdated.case
    if not outdated.published and outdated.card.band == case.standing:
        return Step(Act.SCORECARD, case.state, case.band)
    return Step(Act.SCORECARD, CaseState.UNDECIDED, None)


def question(outdated: Outdated, now: datetime) -> Revision:
    """The revision a newer scorecard of a published person belongs to: the one still open, or the next."""
    case, latest = outdated.case, outdated.revision
    if latest is not None and latest.case.state not in DECIDED:
        return latest
    number = latest.number + 1 if latest else 1
    return Revision(number, replace(case, stage=Stage.REVISION, standing=case.band), now)


def distribution(bands: Sequence[Band], tallies: Sequence[Tally]) -> Distribution:
    """Head counts per band, scored beside manager's beside calibrated."""

    def people(chosen: Sequence[Tally]) -> int:
        return sum(tally.people for tally in chosen)

    decided = [tally for tally in tallies if tally.state in DECIDED]
    rated = [(tally, manager_band(bands, tally.rating)) for tally in tallies if tally.rating is not None]
    return Distribution(
        subjects=people(tallies),
        bands=tuple(
            BandCount(
                band,
                scored=people([tally for tally in tallies if tally.proposed == band]),
                manager=people([tally for tally, named in rated if named == band]),
                calibrated=people([tally for tally in decided if tally.band == band]),
            )
            for band in bands
        ),
        unrated_scored=people([tally for tally in tallies if tally.proposed is None]),
        unrated_calibrated=people([tally for tally in decided if tally.band is None]),
        manager_missing=people([tally for tally in tallies if tally.rating is None]),
        manager_between_bands=people([tally for tally, named in rated if named is None]),
        undecided=people([tally for tally in tallies if tally.state is CaseState.UNDECIDED]),
        awaiting_approval=people([tally for tally in tallies if tally.state is CaseState.AWAITING]),
    )
