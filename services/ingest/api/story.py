"""Where one event is now, and the bodies that claimed the id of another."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self

from fastapi import Query, Response
from pydantic import BaseModel, Field

from services.ingest.api.events import EventId
from services.ingest.api.submitters import requires_key
from services.ingest.model import Scope
from services.ingest.store import journal
from services.ingest.store.journal import ConflictRow, StoryRow
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, KpiEventId, SourceId
from shared.errors import NotFound
from shared.web import App, Page, Paging, Router, Written, requires

router = Router(prefix="/kpi-events", tags=["kpi events"])
conflicts_router = Router(prefix="/conflicts", tags=["kpi events"])
Watcher = Annotated[Principal, requires_key(Scope.READ, Role.HR_ADMIN, Role.AUDITOR)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR)]
Sequence = Annotated[int, Field(ge=0, lt=1 << 63)]


class RevisionOut(BaseModel):
    """`announced`: it has left for Kafka; until then it waits here, and is not lost."""

    id: str
    kind: Literal["observation", "correction", "void"]
    revision: int
    occurred_at: datetime
    occurred_on: date
    numerator: Written | None
    denominator: Written | None
    recorded_at: datetime
    trace_id: str | None
    announced: bool

    @classmethod
    def of(cls, row: StoryRow, waiting: set[KpiEventId]) -> Self:
        return cls(
            id=row.id.partition("/")[2],
            kind=row.kind,
            revision=row.revision,
            occurred_at=row.occurred_at,
            occurred_on=row.occurred_on,
            numerator=row.numerator,
            denominator=row.denominator,
            recorded_at=row.recorded_at,
            trace_id=row.trace_id,
            announced=row.id not in waiting,
        )


class EffectiveOut(BaseModel):
    """What the event counts for today: its latest revision."""

    revision: int
    voided: bool
    occurred_at: datetime
    occurred_on: date
    numerator: Written | None
    denominator: Written | None


class StoryOut(RevisionOut):
    source: str
    agent: str | None
    employee: str | None
    metric: str
    effective: EffectiveOut
    revisions: list[RevisionOut]


class ConflictOut(BaseModel):
    """`refused_body` is the refused event in its normal form; hashes are over that form, in hex."""

    sequence: int
    source: str
    event: str
    recorded_hash: str
    refused_hash: str
    refused_body: str
    received_at: datetime
    trace_id: str | None

    @classmethod
    def of(cls, row: ConflictRow) -> Self:
        return cls(
            sequence=row.sequence,
            source=row.source,
            event=row.event.partition("/")[2],
            recorded_hash=row.recorded.hex(),
            refused_hash=row.refused.hex(),
            refused_body=row.body,
            received_at=row.received_at,
            trace_id=row.trace_id,
        )


@router.get("/{source}/{event}")
async def get_kpi_event(source: Annotated[SourceId, IDENTIFIER], event: EventId, who: Watcher, app: App) -> StoryOut:
    """The story of an original, whichever of its ids is asked for."""
    absent = NotFound("no event of this id was accepted")
    if who.source not in (None, source):
        raise absent  # whether another source has it is none of this one's business
    async with app.database.begin(who.tenant) as tx:
        rows = await journal.story(tx, who.tenant, KpiEventId(f"{source}/{event}"))
        if not rows:
            raise absent
        waiting = await journal.waiting(tx, who.tenant, rows[0].employee, [row.id for row in rows])
    original, latest = rows[0], rows[-1]
    return StoryOut(
        **RevisionOut.of(original, waiting).model_dump(),
        source=source,
        agent=original.agent,
        # A source that knows somebody by its own agent id is not told who that is.
        employee=None if who.source and original.agent else original.employee,
        metric=original.metric,
        effective=EffectiveOut(
            revision=latest.revision,
            voided=latest.kind == "void",
            occurred_at=latest.occurred_at,
            occurred_on=latest.occurred_on,
            numerator=latest.numerator,
            denominator=latest.denominator,
        ),
        revisions=[RevisionOut.of(row, waiting) for row in rows[1:]],
    )


@conflicts_router.get("", response_model=Page[ConflictOut])
async def list_conflicts(
    who: Reader,
    app: App,
    paging: Paging,
    source: Annotated[SourceId | None, Query(pattern=IDENTIFIER.pattern)] = None,
) -> Page[ConflictOut] | Response:
    async with app.database.begin(who.tenant) as tx:
        found = await journal.conflicts_page(tx, source, paging.after(tuple[Sequence]), paging.fetch)
    return paging.page(ConflictOut, [ConflictOut.of(row) for row in found], key=lambda one: (one.sequence,))
