"""What a source sends becomes journal rows and announcements, item by item or all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model import Amendment, JournalRow, Observation, Original, Reason, Rejection, Roster
from services.ingest.rules.amendments import amend
from services.ingest.rules.intake import observed, place
from services.ingest.rules.normal_form import described
from services.ingest.store import journal, rosters
from shared.contracts.event import Event
from shared.contracts.ids import EmployeeId, KpiEventId, MetricKey, ProviderId, SourceId
from shared.contracts.kpi import KpiCorrected, KpiRecorded, KpiVoided
from shared.errors import NotFound, PlumblineError
from shared.messaging import outbox

_TAKEN = Reason("conflict", "another body was accepted under this id", "id")
Claim = tuple[Observation | Amendment, Reason]


@dataclass(frozen=True, slots=True)
class Submission:
    """The readable events of one request of one source."""

    provider: ProviderId
    source: SourceId
    observations: Sequence[Observation]
    amendments: Sequence[Amendment]
    now: datetime
    trace_id: str | None


@dataclass(slots=True)
class Outcome:
    written: list[JournalRow] = field(default_factory=list)
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    conflicts: list[journal.Refused] = field(default_factory=list)


class Undone(PlumblineError):
    """Something was rejected where all had to be accepted."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("not all events can be accepted")
        self.outcome = outcome


async def record_kpi_events(tx: AsyncConnection, submission: Submission) -> Outcome:
    """Journal and announce what can be accepted, and keep the bodies that conflict."""
    outcome = await _journal(tx, submission, await _roster_of_observations(tx, submission))
    await _conclude(tx, submission, outcome)
    return outcome


async def record_all_kpi_events(tx: AsyncConnection, submission: Submission) -> Outcome:
    """The same, but nothing is written once anything is rejected. Conflicting bodies are kept either way, which is why
    the refusal is an outcome: an exception would undo that too."""
    roster = await _roster_of_observations(tx, submission)
    try:
        async with tx.begin_nested():
            outcome = await _journal(tx, submission, roster)
            if outcome.rejected:
                raise Undone(outcome)
    except Undone as undone:
        outcome = undone.outcome
        outcome.written.clear()
    await _conclude(tx, submission, outcome)
    return outcome


async def _conclude(tx: AsyncConnection, submission: Submission, outcome: Outcome) -> None:
    if outcome.conflicts:
        stamp = (submission.now, submission.trace_id)
        await journal.keep_conflicts(tx, submission.provider, submission.source, outcome.conflicts, *stamp)
    outbox.append(tx, _announcements(submission, outcome.written))


async def _journal(tx: AsyncConnection, submission: Submission, roster: Roster) -> Outcome:
    outcome = Outcome()
    if submission.observations:
        await _observe(tx, submission, roster, outcome)
    if submission.amendments:
        await _amend(tx, submission, outcome)
    return outcome


async def _observe(tx: AsyncConnection, submission: Submission, roster: Roster, outcome: Outcome) -> None:
    rows: dict[KpiEventId, tuple[Observation, JournalRow]] = {}
    claims: list[Claim] = []
    for seen in submission.observations:
        placed = place(seen, roster, submission.now)
        if isinstance(placed, Reason):
            claims.append((seen, placed))
        elif seen.id in rows:
            claims.append((seen, _TAKEN))
        else:
            rows[seen.id] = (seen, observed(seen, placed))
    await _write(tx, submission, rows, claims, outcome)


async def _amend(tx: AsyncConnection, submission: Submission, outcome: Outcome) -> None:
    """After the observations, so that an event and its correction may come in one request."""
    originals = await journal.lock_originals(
        tx, submission.provider, {found.original for found in submission.amendments}
    )
    roster = await _roster_of_originals(tx, submission, originals.values())
    # Under the lock, so that a repeated correction is known for one before it would be given a revision.
    taken = await journal.digests(tx, submission.provider, [found.id for found in submission.amendments])
    revisions = {original.id: original.revisions for original in originals.values()}
    rows: dict[KpiEventId, tuple[Amendment, JournalRow]] = {}
    claims: list[Claim] = []
    for amendment in submission.amendments:
        if amendment.id in taken or amendment.id in rows:
            claims.append((amendment, _TAKEN))
            continue
        revision = revisions.get(amendment.original, 0) + 1
        row = amend(amendment, originals.get(amendment.original), revision, roster, submission.now)
        if isinstance(row, Reason):
            claims.append((amendment, row))
        else:
            rows[amendment.id] = (amendment, row)
            revisions[amendment.original] = revision
    await _write(tx, submission, rows, claims, outcome)


async def _write(
    tx: AsyncConnection,
    submission: Submission,
    rows: Mapping[KpiEventId, tuple[Observation | Amendment, JournalRow]],
    claims: list[Claim],
    outcome: Outcome,
) -> None:
    """Write what has a free id. Whatever is left over is asked for what stands under its id: an event that was accepted
    once stays accepted when it is sent again, even if its metric or mapping was changed since."""
    stamp = (submission.now, submission.trace_id)
    taken = await journal.append(tx, submission.provider, [row for _, row in rows.values()], *stamp)
    outcome.written.extend(row for _, row in rows.values() if row.id not in taken)
    claims.extend((sent, _TAKEN) for sent, row in rows.values() if row.id in taken)
    recorded = await journal.digests(tx, submission.provider, {sent.id for sent, _ in claims})
    for sent, reason in claims:
        standing = recorded.get(sent.id)
        if standing == sent.digest:
            outcome.duplicates += 1
            continue
        if standing is not None:
            reason = _TAKEN
            outcome.conflicts.append(journal.Refused(sent.id, standing, sent.digest, described(sent)))
        outcome.rejected.append(Rejection(sent.position, sent.id.partition("/")[2], *reason))


async def _roster_of_observations(tx: AsyncConnection, submission: Submission) -> Roster:
    seen = submission.observations
    return await _roster(
        tx,
        submission,
        agents={found.agent for found in seen if found.agent is not None},
        people={found.employee for found in seen if found.employee is not None},
        metrics={found.metric for found in seen},
    )


async def _roster_of_originals(tx: AsyncConnection, submission: Submission, originals: Collection[Original]) -> Roster:
    people, metrics = {found.employee for found in originals}, {found.metric for found in originals}
    return await _roster(tx, submission, agents=(), people=people, metrics=metrics)


async def _roster(
    tx: AsyncConnection,
    submission: Submission,
    *,
    agents: Collection[str],
    people: Collection[EmployeeId],
    metrics: Collection[MetricKey],
) -> Roster:
    provider, source = submission.provider, submission.source
    roster = await rosters.join_and_read(tx, provider, source, agents=agents, people=people, metrics=metrics)
    if roster is None:
        raise NotFound("there is no source of this id")
    return roster


_RECORDED = TypeAdapter(list[KpiRecorded])


def _announcements(submission: Submission, rows: Sequence[JournalRow]) -> list[Event]:
    # Observations come by the thousand, and a list is validated in a third of the time its items take one by one.
    observed = [_content(submission, row) for row in rows if row.kind == "observation"]
    amended = [_amendment(_content(submission, row), row) for row in rows if row.kind != "observation"]
    return [*_RECORDED.validate_python(observed), *amended]


def _content(submission: Submission, row: JournalRow) -> dict[str, object]:
    return {
        "provider": submission.provider,
        "recorded_at": submission.now,
        "event": row.id,
        "employee": row.employee,
        "metric": row.metric,
        "occurred_at": row.occurred_at,
        "occurred_on": row.occurred_on,
        "numerator": row.numerator,
        "denominator": row.denominator,
    }


def _amendment(content: Mapping[str, object], row: JournalRow) -> KpiCorrected | KpiVoided:
    if row.kind == "void":
        return KpiVoided.model_validate({**content, "voids": row.root, "revision": row.revision})
    return KpiCorrected.model_validate({**content, "corrects": row.root, "revision": row.revision})
