"""`POST /v1/kpi-events`: what sources send, item by item or all or nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import BaseModel

from services.ingest.api import cloud_events
from services.ingest.api.bodies import Documents, media_type, one_or_many, read_items
from services.ingest.api.events import SHAPE, read_event
from services.ingest.api.shapes import RejectionOut
from services.ingest.api.submitters import requires_key
from services.ingest.commands.kpi_events import Outcome, Submission, record_all_kpi_events, record_kpi_events
from services.ingest.model import Amendment, Observation, Rejection, Scope
from shared import telemetry
from shared.auth import Principal
from shared.errors import Forbidden, RuleViolation
from shared.field_problems import FieldProblem
from shared.web import App, Router, read_body

MOST_BYTES = 4 << 20

router = Router(prefix="/kpi-events", tags=["kpi events"])
Submitter = Annotated[Principal, requires_key(Scope.WRITE)]


class KpiEventsOut(BaseModel):
    """202 means that what was accepted is durable."""

    accepted: int
    duplicates: int
    rejected: list[RejectionOut]


_ENVELOPE = {
    "type": "object",
    "required": ["id", "source", "specversion", "type", "data"],
    "properties": {"specversion": {"const": "1.0"}, "data": {"type": "object"}},
}
_BODIES: dict[str, object] = {
    **one_or_many(SHAPE),
    cloud_events.STRUCTURED: {"schema": _ENVELOPE},
    cloud_events.BATCH: {"schema": {"type": "array", "maxItems": 5000, "items": _ENVELOPE}},
}


@router.post("", status_code=202, openapi_extra={"requestBody": {"required": True, "content": _BODIES}})
async def post_kpi_events(request: Request, who: Submitter, app: App, atomic: bool = False) -> KpiEventsOut:
    documents = await _read(request)
    submission, misshapen = _submission(documents, who, app)
    if atomic:
        outcome = Outcome(rejected=misshapen)
        if not misshapen:
            async with app.database.begin(who.tenant, kept_plans=True) as tx:
                outcome = await record_all_kpi_events(tx, submission)
        _require_all(documents, outcome)
    else:
        async with app.database.begin(who.tenant, kept_plans=True) as tx:
            outcome = await record_kpi_events(tx, submission)
    rejected = documents.show([*misshapen, *outcome.rejected])
    return KpiEventsOut(accepted=len(outcome.written), duplicates=outcome.duplicates, rejected=rejected)


async def _read(request: Request) -> Documents:
    raw = await read_body(request, MOST_BYTES)
    kind = media_type(request)
    if cloud_events.is_binary(request):
        return cloud_events.read_binary(request, raw, kind)
    if kind == cloud_events.STRUCTURED:
        return cloud_events.read_structured(raw)
    if kind == cloud_events.BATCH:
        return cloud_events.read_batch(raw)
    return read_items(raw, kind)


def _submission(documents: Documents, who: Principal, app: App) -> tuple[Submission, list[Rejection]]:
    if who.source is None:
        raise Forbidden("only a source posts events", code="no-source")
    valid, rejected = SHAPE.read(documents.items)
    observations: list[Observation] = []
    amendments: list[Amendment] = []
    for index, sent in valid:
        event = read_event(index, sent, who.source)
        if isinstance(event, Observation):
            observations.append(event)
        elif isinstance(event, Amendment):
            amendments.append(event)
        else:
            rejected.append(event)
    trace = telemetry.current_trace_id()
    return Submission(who.tenant, who.source, observations, amendments, app.clock(), trace), rejected


def _require_all(documents: Documents, outcome: Outcome) -> None:
    """After the commit, because the conflicting bodies stay."""
    if outcome.rejected:
        problems = [FieldProblem(found.pointer, found.code, found.detail) for found in documents.show(outcome.rejected)]
        detail = f"{len(problems)} events cannot be accepted, so none was"
        raise RuleViolation(detail, code="atomic-refused", problems=problems)
