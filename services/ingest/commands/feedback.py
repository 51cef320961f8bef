"""What people say of each other, and the seal that ends it for a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.commands.editing import By
from services.ingest.model import Rating, Reason, Rejection
from services.ingest.rules.feedback import fault
from services.ingest.store import cycles, employees, feedback, journal
from services.ingest.store.feedback import Said, Thread
from shared.contracts.ids import EmployeeId, FeedbackId
from shared.contracts.kpi import FeedbackCategory, FeedbackSubmitted
from shared.messaging import outbox

_REPEATED = Reason("repeated", "the same rating stands in this request before, with other content", "rating")


@dataclass(frozen=True, slots=True)
class Accepted:
    index: int
    id: FeedbackId
    revision: int


@dataclass(slots=True)
class Outcome:
    accepted: list[Accepted] = field(default_factory=list)
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)


async def submit_feedback(
    tx: AsyncConnection, ratings: Sequence[Rating], submitter: EmployeeId | None, by: By
) -> Outcome:
    """Each rating on its own. Saying again what one says already is no new revision."""
    await journal.join_intake(tx, by.provider)
    known = await cycles.known(tx, by.provider, {rating.cycle for rating in ratings})
    named = {rating.employee for rating in ratings} | {rating.rater for rating in ratings}
    people = await employees.assignments_of(tx, by.provider, named)
    outcome = Outcome()
    valid: dict[Thread, Rating] = {}
    for rating in ratings:
        thread = Thread(rating.cycle, rating.employee, rating.rater, rating.category)
        first = valid.get(thread)
        reason = fault(rating, submitter, known, people, by.now)
        if reason is None and first is not None:
            if _same(first, rating):
                outcome.duplicates += 1
                continue
            reason = _REPEATED
        if reason is None:
            valid[thread] = rating
        else:
            outcome.rejected.append(Rejection(rating.index, None, *reason))
    if valid:
        await _write(tx, valid, outcome, by)
    return outcome


async def _write(tx: AsyncConnection, valid: dict[Thread, Rating], outcome: Outcome, by: By) -> None:
    said = await feedback.lock_threads(tx, by.provider, valid)
    new = {
        thread: (said[thread].revision + 1, rating)
        for thread, rating in valid.items()
        if not _same(said[thread], rating)
    }
    outcome.duplicates += len(valid) - len(new)
    if not new:
        return
    ids = await feedback.add(tx, by.provider, new, by.actor, by.now)
    for thread, (revision, rating) in new.items():
        outcome.accepted.append(Accepted(rating.index, ids[thread], revision))
    outbox.append(
        tx,
        [
            FeedbackSubmitted(
                provider=by.provider,
                feedback=ids[thread],
                cycle=thread.cycle,
                employee=thread.employee,
                rater=thread.rater,
                category=FeedbackCategory(thread.category),
                revision=revision,
                rating=rating.rating,
                submitted_at=by.now,
            )
            for thread, (revision, rating) in new.items()
        ],
    )


def _same(said: Said | Rating, rating: Rating) -> bool:
    return (said.rating, said.comment) == (rating.rating, rating.comment)
