"""Publishing: decided bands become classification versions, and the world hears of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration import rules
from services.calibration.commands.access import cycle_of
from services.calibration.commands.sessions import locked_for
from services.calibration.model import Cycle, Move, Session, SessionState
from services.calibration.store import classifications, sessions, subjects, traces
from services.calibration.store.classifications import Published
from shared import audit, telemetry
from shared.auth import Principal
from shared.contracts.ids import Band, SessionId
from shared.contracts.outcomes import ClassificationPublished, ClassificationRevised
from shared.contracts.scoring import PartAttainment, Placement
from shared.errors import Conflict, Forbidden
from shared.messaging import outbox

_PARTS = TypeAdapter(tuple[PartAttainment, ...])


def bands_by_rating(cycle: Cycle) -> Mapping[int, Band]:
    named = {n: rules.manager_band(cycle.bands, Decimal(n)) for n in range(1, len(cycle.bands) + 1)}
    return {n: band for n, band in named.items() if band is not None}


def announced(rows: Iterable[Published]) -> list[ClassificationPublished | ClassificationRevised]:
    """One event per version, saying everything that pay is decided from."""
    return [_event(row) for row in rows]


def _event(row: Published) -> ClassificationPublished | ClassificationRevised:
    placement = Placement(
        role=row.role,
        grade=row.grade,
        unit=row.unit,
        manager=row.manager,
        client=row.client,
        line_of_business=row.line_of_business,
        site=row.site,
    )
    said = {
        "provider": row.provider_id,
        "cycle": row.cycle,
        "employee": row.employee,
        "version": row.version,
        "session": row.session,
        "band": row.band,
        "proposed_band": row.proposed_band,
        "manager_band": row.manager_band,
        "scorecard_version": row.scorecard_version,
        "score": row.score,
        "parts": _PARTS.validate_python(row.parts),
        "placement": placement,
        "decided_at": row.decided_at,
    }
    if row.supersedes is None:
        return ClassificationPublished(**said)
    return ClassificationRevised(**said, supersedes=row.supersedes)


async def publish(tx: AsyncConnection, who: Principal, session: SessionId, now: datetime) -> tuple[Session, int]:
    """Publish a locked session; how many people that were. One open case refuses the whole."""
    found = await locked_for(tx, who, session, Move.PUBLISH)
    if who.employee is not None and await subjects.is_subject(tx, session, who.employee):
        raise Forbidden("nobody publishes the session that calibrates them", code="own-case")
    waiting, first = await subjects.undecided(tx, session)
    if waiting:
        more = " …" if waiting > len(first) else ""
        raise Conflict(f"{waiting} subjects have no decided band: {', '.join(first)}{more}", code="cases-open")
    bands = bands_by_rating(await cycle_of(tx, found))
    rows = await classifications.publish(tx, session, None, bands, who.subject, now)
    done = await sessions.change_state(tx, session, SessionState.PUBLISHED, published_at=now, published_by=who.subject)
    outbox.append(tx, announced(rows))
    telemetry.link(await traces.of_decisions(tx, session))
    await audit.record(tx, who.subject, now, "session.published", f"session/{session}", subjects=len(rows))
    return done, len(rows)
