"""The subjects of sessions: who becomes one, what stands for each, and which have a newer scorecard."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.calibration.model import Card, Case, CaseState, Decision, Outdated, Revision, Stage
from services.calibration.store import decisions as history
from services.calibration.store.copies import Key
from services.calibration.tables import subjects
from shared.contracts.ids import CycleId, EmployeeId, ProviderId, SessionId

_ENTER_SHARED = text("""
    SELECT pg_advisory_xact_lock_shared(hashtextextended(:provider || chr(10) || cycle, 7203))
    FROM unnest(CAST(:cycles AS text[])) AS cycle
""")
_ENTER_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:provider || chr(10) || :cycle, 7203))")


async def enter_cycles(tx: AsyncConnection, provider: ProviderId, cycles: Sequence[CycleId]) -> None:
    """Side by side with other batches of scorecards, but not while a session of one of `cycles` opens."""
    await tx.execute(_ENTER_SHARED, {"provider": provider, "cycles": sorted(set(cycles))})


async def enter_cycle_alone(tx: AsyncConnection, provider: ProviderId, cycle: CycleId) -> None:
    """For opening a session.

    A scorecard stored at the same time would be seen by neither: not as a subject's, because it is not committed, nor
    as a newer one, because there is no subject yet. Two sessions opening at once could take the same people.
    """
    await tx.execute(_ENTER_ALONE, {"provider": provider, "cycle": cycle})


_IN_SCOPE = """
    FROM sessions AS session JOIN scorecards AS card ON card.cycle = session.cycle
        AND (session.units = '{}' OR card.unit = ANY(session.units))
        AND (session.clients = '{}' OR card.client = ANY(session.clients))
        AND (session.lines_of_business = '{}' OR card.line_of_business = ANY(session.lines_of_business))
        AND (session.grades = '{}' OR card.grade = ANY(session.grades))
    WHERE session.session = :session
"""
_TAKEN = "EXISTS (SELECT FROM subjects AS s WHERE s.cycle = card.cycle AND s.employee = card.employee AND NOT released)"
_COUNT_TAKEN = text(f"""
    SELECT count(*) AS people, (array_agg(card.employee ORDER BY card.employee))[1:5] AS first
    {_IN_SCOPE} AND {_TAKEN}
""")
_ADD = text(f"""
    WITH added AS (
        INSERT INTO subjects (provider_id, session, employee, cycle, scorecard_version, score, coverage, proposed_band)
        SELECT session.provider_id, session.session, card.employee, card.cycle, card.version, card.score, card.coverage,
               card.proposed_band
        {_IN_SCOPE} AND NOT {_TAKEN} RETURNING 1
    ) SELECT count(*) FROM added
""")  # noqa: S608 - as above
_COUNT_COPY = text("SELECT count(*) FROM scorecards WHERE cycle = :cycle AND counted")
_RELEASE = text("UPDATE subjects SET released = true WHERE session = :session")


async def taken_elsewhere(tx: AsyncConnection, session: SessionId) -> tuple[int, list[str]]:
    """How many people of the session's scope sit in another session of the cycle, and the first of them."""
    row = (await tx.execute(_COUNT_TAKEN, {"session": session})).one()
    return row.people, list(row.first or ())


async def add_subjects(tx: AsyncConnection, session: SessionId) -> int:
    """Everybody in scope who is free becomes a subject; how many that are."""
    return int((await tx.execute(_ADD, {"session": session})).scalar_one())


async def scorecards_held(tx: AsyncConnection, cycle: CycleId) -> int:
    return int((await tx.execute(_COUNT_COPY, {"cycle": cycle})).scalar_one())


async def release_subjects(tx: AsyncConnection, session: SessionId) -> None:
    await tx.execute(_RELEASE, {"session": session})


async def is_subject(tx: AsyncConnection, session: SessionId, employee: EmployeeId) -> bool:
    found = select(subjects.c.employee).where(subjects.c.session == session, subjects.c.employee == employee)
    return await tx.scalar(found) is not None


def _case(row: Row[tuple[str]]) -> Case:
    return Case(
        session=row.session,
        cycle=row.cycle,
        employee=row.employee,
        stage=Stage.SESSION,
        version=row.version,
        state=CaseState(row.state),
        standing=row.proposed_band,
        band=row.band,
        scorecard_version=row.scorecard_version,
    )


async def lock_cases(
    tx: AsyncConnection, session: SessionId, employees: Sequence[EmployeeId]
) -> dict[EmployeeId, Case]:
    """The cases of a session under decision; the session itself is shared or locked already."""
    found = select(subjects).where(subjects.c.session == session, subjects.c.employee.in_(employees))
    rows = await tx.execute(found.order_by(subjects.c.employee).with_for_update())
    return {row.employee: _case(row) for row in rows}


async def undecided(tx: AsyncConnection, session: SessionId) -> tuple[int, list[str]]:
    """How many subjects have no band yet, and the first of them."""
    row = (await tx.execute(_UNDECIDED, {"session": session})).one()
    return row.people, list(row.first or ())


_UNDECIDED = text("""
    SELECT count(*) AS people, (array_agg(employee ORDER BY employee))[1:10] AS first FROM subjects
    WHERE session = :session AND state NOT IN ('confirmed', 'changed')
""")

# A scorecard that changes nothing keeps the decision it met; without a state there is none to keep.
_SAVE = text("""
    UPDATE subjects SET version = made.version, state = made.state, band = made.band,
        decided = CASE WHEN made.state = 'undecided' THEN NULL WHEN made.act = 'scorecard' THEN subjects.decided
                       ELSE made.version END,
        scorecard_version = coalesce(made.card, subjects.scorecard_version),
        score = CASE WHEN made.card IS NULL THEN subjects.score ELSE made.score END,
        coverage = coalesce(made.coverage, subjects.coverage),
        proposed_band = CASE WHEN made.card IS NULL THEN subjects.proposed_band ELSE made.proposed END
    FROM unnest(CAST(:sessions AS text[]), CAST(:employees AS text[]), CAST(:versions AS bigint[]),
                CAST(:acts AS text[]), CAST(:states AS text[]), CAST(:bands AS text[]), CAST(:cards AS bigint[]),
                CAST(:scores AS numeric[]), CAST(:coverages AS numeric[]), CAST(:proposed AS text[]))
         AS made (session, employee, version, act, state, band, card, score, coverage, proposed)
    WHERE subjects.session = made.session AND subjects.employee = made.employee
""")


async def save(tx: AsyncConnection, provider: ProviderId, made: Sequence[Decision]) -> None:
    """Append decisions on locked cases of sessions and let them stand."""
    await history.append(tx, provider, made)
    await tx.execute(
        _SAVE,
        {
            "sessions": [each.case.session for each in made],
            "employees": [each.case.employee for each in made],
            "versions": [each.version for each in made],
            "acts": [each.step.act.value for each in made],
            "states": [each.step.state.value for each in made],
            "bands": [each.step.band for each in made],
            "cards": [each.card.version if each.card else None for each in made],
            "scores": [each.card.score if each.card else None for each in made],
            "coverages": [each.card.coverage if each.card else None for each in made],
            "proposed": [each.card.band if each.card else None for each in made],
        },
    )


_SHARE_SESSIONS = text("""
    SELECT FROM sessions WHERE session IN (
        SELECT s.session FROM subjects AS s
        JOIN unnest(CAST(:cycles AS text[]), CAST(:employees AS text[])) AS key (cycle, employee)
            ON s.cycle = key.cycle AND s.employee = key.employee AND NOT s.released)
    ORDER BY session FOR SHARE
""")
_LOCK_SUBJECTS = text("""
    SELECT FROM subjects AS s
    JOIN unnest(CAST(:cycles AS text[]), CAST(:employees AS text[])) AS key (cycle, employee)
        ON s.cycle = key.cycle AND s.employee = key.employee AND NOT s.released
    ORDER BY s.session, s.employee FOR UPDATE OF s
""")
_OUTDATED = text("""
    SELECT s.session, s.cycle, s.employee, s.version, s.state, s.proposed_band, s.band, s.scorecard_version,
           session.state = 'published' AS published, card.version AS card_version, card.score, card.coverage,
           card.proposed_band AS card_band, r.number, r.state AS revision_state, r.band AS revision_band,
           r.scorecard_version AS revision_card, r.opened_at
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[])) AS key (cycle, employee)
    JOIN subjects AS s ON s.cycle = key.cycle AND s.employee = key.employee AND NOT s.released
    JOIN sessions AS session ON session.session = s.session
    JOIN scorecards AS card ON card.cycle = key.cycle AND card.employee = key.employee
    LEFT JOIN LATERAL (SELECT * FROM revisions WHERE cycle = key.cycle AND employee = key.employee
                       ORDER BY number DESC LIMIT 1) AS r ON true
    WHERE card.version > greatest(s.scorecard_version, r.scorecard_version)
    ORDER BY s.session, s.employee
""")


async def lock_outdated(tx: AsyncConnection, keys: Sequence[Key]) -> list[Outdated]:
    """Those of `keys` who are subjects with a newer scorecard than the one they stand on."""
    values = {"cycles": [cycle for cycle, _ in keys], "employees": [employee for _, employee in keys]}
    # Read only once both are held: what a statement saw before it waited for a lock may be gone.
    await tx.execute(_SHARE_SESSIONS, values)
    await tx.execute(_LOCK_SUBJECTS, values)
    return [_outdated(row) for row in await tx.execute(_OUTDATED, values)]


def _outdated(row: Row[tuple[str]]) -> Outdated:
    case = _case(row)
    revision = None
    if row.number is not None:
        asked = Case(
            session=case.session,
            cycle=case.cycle,
            employee=case.employee,
            stage=Stage.REVISION,
            version=case.version,
            state=CaseState(row.revision_state),
            standing=case.band,
            band=row.revision_band,
            scorecard_version=row.revision_card,
        )
        revision = Revision(row.number, asked, row.opened_at)
    return Outdated(case, Card(row.card_version, row.score, row.coverage, row.card_band), row.published, revision)
