"""Who may rate whom, when, and on which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.ingest.model import Assignment, Cycle, Rating, Reason
from services.ingest.rules.workforce import manager_on
from shared.contracts.ids import CycleId, EmployeeId

SELF, MANAGER = "self", "manager"
NOT_YOURS = frozenset({"own-case", "not-the-manager", "not-oneself", "other-rater"})
"""Refusals that are about the right to rate, not about what was sent."""


def fault(
    rating: Rating,
    submitter: EmployeeId | None,
    cycles: Mapping[CycleId, Cycle],
    people: Mapping[EmployeeId, Sequence[Assignment]],
    now: datetime,
) -> Reason | None:
    """Why a rating is refused. `submitter` is the employee who sends it, `None` for one who is no employee here;
    `people` holds everybody known, with their assignments."""
    if rating.employee not in people:
        return Reason("unknown-employee", "no employee of this id", "employee")
    if rating.rater not in people:
        return Reason("unknown-rater", "no employee of this id", "rater")
    refused = _right_to_rate(rating, submitter)
    if refused is not None:
        return refused
    cycle = cycles.get(rating.cycle)
    if cycle is None:
        return Reason("unknown-cycle", "no cycle of this id is known here", "cycle")
    if cycle.state != "open":
        return Reason("cycle-not-open", f"the cycle is {cycle.state}: what was rated until then counts", "cycle")
    if not 1 <= rating.rating <= cycle.bands:
        return Reason("rating-out-of-scale", f"the scale of this cycle goes from 1 to {cycle.bands}", "rating")
    if rating.category == MANAGER and manager_on(people[rating.employee], now, cycle.ends_on) != rating.rater:
        return Reason("not-the-manager", "only the person's manager on the day in question rates so", "category")
    return None


def _right_to_rate(rating: Rating, submitter: EmployeeId | None) -> Reason | None:
    """Nobody rates themselves, except in the category made for it; nor does who is rated enter what others say."""
    if rating.category == SELF:
        if rating.rater != rating.employee:
            return Reason("not-oneself", "a self-rating is one's own", "category")
    elif rating.rater == rating.employee:
        return Reason("own-case", "nobody rates themselves except in the category self", "category")
    elif submitter == rating.employee:
        return Reason("own-case", "nobody enters what others say of them", "employee")
    return None
