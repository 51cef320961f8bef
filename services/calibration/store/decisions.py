"""What was done on a case: appended, never changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.model import Actor, Case, Decision
from services.calibration.tables import decisions
from shared import telemetry
from shared.contracts.ids import EmployeeId, ProviderId, SessionId

_APPEND = text("""
    INSERT INTO decisions (provider_id, session, employee, version, stage, act, actor, actor_employee, at,
                           before_state, before_band, after_state, after_band,
                           rationale_code, rationale_text, reason, scorecard_version, traceparent)
    SELECT made.*, :traceparent FROM unnest(
        CAST(:providers AS text[]), CAST(:sessions AS text[]), CAST(:employees AS text[]), CAST(:versions AS bigint[]),
        CAST(:stages AS text[]), CAST(:acts AS text[]), CAST(:actors AS text[]), CAST(:actor_employees AS text[]),
        CAST(:times AS timestamptz[]), CAST(:before_states AS text[]), CAST(:before_bands AS text[]),
        CAST(:after_states AS text[]), CAST(:after_bands AS text[]), CAST(:codes AS text[]), CAST(:texts AS text[]),
        CAST(:reasons AS text[]), CAST(:cards AS bigint[])) AS made
""")


async def append(tx: AsyncConnection, provider: ProviderId, made: Sequence[Decision]) -> None:
    await tx.execute(
        _APPEND,
        {
            "providers": [provider for _ in made],
            "sessions": [each.case.session for each in made],
            "employees": [each.case.employee for each in made],
            "versions": [each.version for each in made],
            "stages": [each.case.stage.value for each in made],
            "acts": [each.step.act.value for each in made],
            "actors": [each.by.subject for each in made],
            "actor_employees": [each.by.employee for each in made],
            "times": [each.at for each in made],
            "before_states": [each.case.state.value for each in made],
            "before_bands": [each.case.band for each in made],
            "after_states": [each.step.state.value for each in made],
            "after_bands": [each.step.band for each in made],
            "codes": [each.rationale.code.value if each.rationale else None for each in made],
            "texts": [each.rationale.text if each.rationale else None for each in made],
            "reasons": [each.reason for each in made],
            "cards": [each.scorecard_version for each in made],
            "traceparent": telemetry.current_traceparent(),
        },
    )


async def asker(tx: AsyncConnection, case: Case) -> Actor | None:
    """Who asked last for a change of this case."""
    found = (
        select(decisions.c.actor, decisions.c.actor_employee)
        .where(decisions.c.session == case.session, decisions.c.employee == case.employee)
        .where(decisions.c.stage == case.stage.value, decisions.c.act == "change")
        .order_by(decisions.c.version.desc())
        .limit(1)
    )
    row = (await tx.execute(found)).one_or_none()
    return Actor(row.actor, row.actor_employee) if row else None


async def history(tx: AsyncConnection, session: SessionId, employee: EmployeeId) -> Sequence[Row[tuple[str]]]:
    """Everything that happened to a subject, the oldest first."""
    found = select(decisions).where(decisions.c.session == session, decisions.c.employee == employee)
    return (await tx.execute(found.order_by(decisions.c.version))).all()
