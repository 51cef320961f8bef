"""A person's band, from what was scored and what people decided, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

DECIDED = ("confirmed", "changed")


@dataclass(frozen=True)
class Act:
    """One recorded step. `asked` is the band a change asks for; the rest of what it led to is recomputed."""

    version: int
    stage: str
    act: str
    actor: str
    actor_employee: str | None
    asked: str | None
    scorecard: int


@dataclass(frozen=True)
class Case:
    """Where somebody stands. `standing` is what a change is measured against; `band` is decided or asked for."""

    state: str
    band: str | None
    scorecard: int
    standing: str | None


@dataclass(frozen=True)
class Outcome:
    """After every act the case it led to (by the act's version), and what was published, in its order.

    A publication is (decision, band, scorecard).
    """

    after: Mapping[int, Case]
    subject: Case
    decided: int | None
    revisions: Sequence[tuple[Case, int | None]]
    published: Sequence[tuple[int, str | None, int]]
    faults: Sequence[tuple[int, str]]


def far(bands: Sequence[str], one: str | None, other: str | None) -> bool:
    """Two bands or more apart, or into or out of unrated: a second person is needed."""
    if one == other:
        return False
    if one is None or other is None or one not in bands or other not in bands:
        return True
    return abs(bands.index(one) - bands.index(other)) >= 2


def replay(
    acts: Sequence[Act], opening: int, scored: Mapping[int, str | None], bands: Sequence[str], was_published: bool
) -> Outcome:
    """`opening` is the scorecard that stood when the session opened, `scored` the proposed band of each scorecard."""
    subject = Case("undecided", None, opening, scored.get(opening))
    decided: int | None = None
    case, asker = subject, None
    after: dict[int, Case] = {}
    revisions: list[tuple[Case, int | None]] = []
    published: list[tuple[int, str | None, int]] = []
    faults: list[tuple[int, str]] = []
    first_published = False
    for act in acts:
        revising = act.stage == "revision"
        if revising and not first_published:
            first_published = True
            published.append((decided or 0, subject.band, subject.scorecard))
        if revising and (not revisions or revisions[-1][0].state in DECIDED):
            case, asker = Case("undecided", None, subject.scorecard, subject.band), None
            revisions.append((case, None))
        case, fault = _step(case, act, asker, scored, bands, revising)
        if fault:
            faults.append((act.version, fault))
        asker = act if act.act == "change" else asker
        after[act.version] = case
        at = None if case.state == "undecided" else act.version
        if not revising:
            kept = act.act == "scorecard" and case.state != "undecided"
            subject, decided = case, decided if kept else at
            continue
        revisions[-1] = (case, at)
        if case.state == "changed":
            subject = Case("changed", case.band, case.scorecard, scored.get(case.scorecard))
            decided = act.version
            published.append((act.version, case.band, case.scorecard))
    if was_published and not first_published:
        published.append((decided or 0, subject.band, subject.scorecard))
    return Outcome(after, subject, decided, revisions, published, faults)


def _step(
    case: Case, act: Act, asker: Act | None, scored: Mapping[int, str | None], bands: Sequence[str], revising: bool
) -> tuple[Case, str]:
    """The case after one act, and what would have forbidden it."""
    match act.act:
        case "confirm":
            return _now(case, "confirmed", case.standing), ""
        case "change":
            fault = "" if act.asked is None or act.asked in bands else "the cycle has no such band"
            if act.asked == case.standing and not revising:
                fault = "a change to the scored band"
            waits = far(bands, case.standing, act.asked)
            return _now(case, "awaiting-approval" if waits else "changed", act.asked), fault
        case "approve" | "reject":
            same = asker is not None and (
                act.actor == asker.actor
                or (act.actor_employee is not None and act.actor_employee == asker.actor_employee)
            )
            fault = "approved by who asked" if same else "" if case.state == "awaiting-approval" else "nothing waited"
            return (_now(case, "changed", case.band) if act.act == "approve" else _now(case, "undecided", None)), fault
        case "scorecard":
            new = scored.get(act.scorecard)
            if revising:
                return Case("undecided", None, act.scorecard, case.standing), ""
            if new == case.standing:
                return Case(case.state, case.band, act.scorecard, new), ""
            return Case("undecided", None, act.scorecard, new), ""
    return case, "an unknown act"


def _now(case: Case, state: str, band: str | None) -> Case:
    return Case(state, band, case.scorecard, case.standing)


def by_rating(bands: Sequence[str], rating: Decimal | None) -> str | None:
    """Rating n names the n-th band from below; one between two bands names none."""
    if rating is None or rating != int(rating) or not 1 <= rating <= len(bands):
        return None
    return bands[int(rating) - 1]
