"""What other services announced, as far as calibration decides on it. The highest version wins, in any order."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.contracts.ids import CycleId, EmployeeId
from shared.contracts.kpi import FeedbackSubmitted
from shared.contracts.scoring import CycleChanged, ScorecardComputed
from shared.contracts.workforce import Assignment, EmployeeChanged

Key = tuple[CycleId, EmployeeId]

_LEARN_PEOPLE = text("""
    INSERT INTO employees (provider_id, employee, version, display_name)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:employees AS text[]), CAST(:versions AS bigint[]),
                         CAST(:names AS text[]))
    ON CONFLICT (provider_id, employee) DO UPDATE
    SET version = excluded.version, display_name = excluded.display_name
    WHERE employees.version < excluded.version
    RETURNING employee
""")
_FORGET_SUPERIORS = text("DELETE FROM superiors WHERE employee = ANY(CAST(:employees AS text[]))")
_PUT_SUPERIORS = text("""
    INSERT INTO superiors (provider_id, employee, since, until, manager)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:employees AS text[]), CAST(:since AS date[]),
                         CAST(:until AS date[]), CAST(:managers AS text[]))
""")


async def learn_people(tx: AsyncConnection, events: Sequence[EmployeeChanged]) -> None:
    """`events` sorted by employee, one each."""
    stored = await tx.scalars(
        _LEARN_PEOPLE,
        {
            "providers": [event.provider for event in events],
            "employees": [event.employee for event in events],
            "versions": [event.version for event in events],
            "names": [event.display_name for event in events],
        },
    )
    newer = set(stored)
    lines = [(event, *line) for event in events if event.employee in newer for line in _lines(event.assignments)]
    await tx.execute(_FORGET_SUPERIORS, {"employees": sorted(newer)})
    await tx.execute(
        _PUT_SUPERIORS,
        {
            "providers": [event.provider for event, *_ in lines],
            "employees": [event.employee for event, *_ in lines],
            "since": [since for _, since, _, _ in lines],
            "until": [until for _, _, until, _ in lines],
            "managers": [manager for *_, manager in lines],
        },
    )


def _lines(assignments: Sequence[Assignment]) -> Iterator[tuple[date, date, EmployeeId]]:
    ordered = sorted(assignments, key=lambda each: each.valid_from)
    starts = [assignment.valid_from for assignment in ordered] + [date.max]
    for assignment, until in zip(ordered, starts[1:], strict=True):
        if assignment.manager is not None:
            yield assignment.valid_from, until, assignment.manager


_LEARN_CYCLES = text("""
    INSERT INTO cycles (provider_id, cycle, version, state, ends_on, bands, scorecards)
    SELECT provider_id, cycle, version, state, ends_on,
           ARRAY(SELECT jsonb_array_elements_text(CAST(bands AS jsonb))), scorecards
    FROM unnest(CAST(:providers AS text[]), CAST(:cycles AS text[]), CAST(:versions AS bigint[]),
                CAST(:states AS text[]), CAST(:ends AS date[]), CAST(:bands AS text[]), CAST(:scorecards AS integer[]))
         AS row (provider_id, cycle, version, state, ends_on, bands, scorecards)
    ON CONFLICT (provider_id, cycle) DO UPDATE
    SET version = excluded.version, state = excluded.state, ends_on = excluded.ends_on, bands = excluded.bands,
        scorecards = excluded.scorecards
    WHERE cycles.version < excluded.version
""")


async def learn_cycles(tx: AsyncConnection, events: Sequence[CycleChanged]) -> None:
    """`events` sorted by cycle, one each."""
    await tx.execute(
        _LEARN_CYCLES,
        {
            "providers": [event.provider for event in events],
            "cycles": [event.cycle for event in events],
            "versions": [event.version for event in events],
            "states": [event.state.value for event in events],
            "ends": [event.ends_on for event in events],
            "bands": [json.dumps([cut.band for cut in event.bands]) for event in events],
            "scorecards": [event.scorecards for event in events],
        },
    )


_LEARN_SCORECARDS = text("""
    INSERT INTO scorecards (provider_id, cycle, employee, version, counted, score, coverage, proposed_band, parts,
                            role, grade, unit, manager, client, line_of_business, site, as_of, traceparent)
    SELECT provider_id, cycle, employee, version, counted, score, coverage, proposed_band, CAST(parts AS jsonb),
           role, grade, unit, manager, client, line_of_business, site, as_of, :traceparent
    FROM unnest(CAST(:providers AS text[]), CAST(:cycles AS text[]), CAST(:employees AS text[]),
                CAST(:versions AS bigint[]), CAST(:counted AS boolean[]), CAST(:scores AS numeric[]),
                CAST(:coverages AS numeric[]), CAST(:proposed AS text[]), CAST(:parts AS text[]),
                CAST(:roles AS text[]), CAST(:grades AS text[]), CAST(:units AS text[]), CAST(:managers AS text[]),
                CAST(:clients AS text[]), CAST(:lines_of_business AS text[]), CAST(:sites AS text[]),
                CAST(:as_of AS timestamptz[]))
         AS row (provider_id, cycle, employee, version, counted, score, coverage, proposed_band, parts,
                 role, grade, unit, manager, client, line_of_business, site, as_of)
    ON CONFLICT (provider_id, cycle, employee) DO UPDATE
    SET version = excluded.version, counted = scorecards.counted OR excluded.counted, score = excluded.score,
        coverage = excluded.coverage, proposed_band = excluded.proposed_band, parts = excluded.parts,
        role = excluded.role, grade = excluded.grade, unit = excluded.unit, manager = excluded.manager,
        client = excluded.client, line_of_business = excluded.line_of_business, site = excluded.site,
        as_of = excluded.as_of, traceparent = excluded.traceparent
    WHERE scorecards.version < excluded.version
""")
_COUNT_IN = text("""
    UPDATE scorecards SET counted = true
    FROM unnest(CAST(:cycles AS text[]), CAST(:employees AS text[])) AS key (cycle, employee)
    WHERE scorecards.cycle = key.cycle AND scorecards.employee = key.employee AND NOT scorecards.counted
""")


async def learn_scorecards(tx: AsyncConnection, events: Sequence[ScorecardComputed], counted: Collection[Key]) -> None:
    """`events` sorted by cycle and employee, one each. `counted` names whose scorecards the freeze counts."""
    await tx.execute(
        _LEARN_SCORECARDS,
        {
            "providers": [event.provider for event in events],
            "cycles": [event.cycle for event in events],
            "employees": [event.employee for event in events],
            "versions": [event.version for event in events],
            "counted": [(event.cycle, event.employee) in counted for event in events],
            "scores": [event.score for event in events],
            "coverages": [event.coverage for event in events],
            "proposed": [event.proposed_band for event in events],
            "parts": [json.dumps([part.model_dump(mode="json") for part in event.parts]) for event in events],
            "roles": [event.placement.role for event in events],
            "grades": [event.placement.grade for event in events],
            "units": [event.placement.unit for event in events],
            "managers": [event.placement.manager for event in events],
            "clients": [event.placement.client for event in events],
            "lines_of_business": [event.placement.line_of_business for event in events],
            "sites": [event.placement.site for event in events],
            "as_of": [event.as_of for event in events],
            "traceparent": telemetry.current_traceparent(),
        },
    )
    # An accepted version can stand here before the current one that the freeze counted is read.
    keys = sorted(counted)
    await tx.execute(_COUNT_IN, {"cycles": [cycle for cycle, _ in keys], "employees": [who for _, who in keys]})


_LEARN_LATE = text("""
    INSERT INTO late_scorecards (provider_id, cycle, employee, version, score, proposed_band, as_of)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:cycles AS text[]), CAST(:employees AS text[]),
                         CAST(:versions AS bigint[]), CAST(:scores AS numeric[]), CAST(:proposed AS text[]),
                         CAST(:as_of AS timestamptz[]))
    ON CONFLICT (provider_id, cycle, employee) DO UPDATE
    SET version = excluded.version, score = excluded.score, proposed_band = excluded.proposed_band,
        as_of = excluded.as_of
    WHERE late_scorecards.version < excluded.version
""")


async def learn_late(tx: AsyncConnection, events: Sequence[ScorecardComputed]) -> None:
    """`events` sorted by cycle and employee, one each."""
    await tx.execute(
        _LEARN_LATE,
        {
            "providers": [event.provider for event in events],
            "cycles": [event.cycle for event in events],
            "employees": [event.employee for event in events],
            "versions": [event.version for event in events],
            "scores": [event.score for event in events],
            "proposed": [event.proposed_band for event in events],
            "as_of": [event.as_of for event in events],
        },
    )


_LEARN_RATINGS = text("""
    INSERT INTO manager_ratings (provider_id, cycle, employee, rater, revision, feedback, rating, submitted_at)
    SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:cycles AS text[]), CAST(:employees AS text[]),
                         CAST(:raters AS text[]), CAST(:revisions AS bigint[]), CAST(:feedback AS text[]),
                         CAST(:ratings AS numeric[]), CAST(:submitted AS timestamptz[]))
    ON CONFLICT (provider_id, cycle, employee, rater) DO UPDATE
    SET revision = excluded.revision, feedback = excluded.feedback, rating = excluded.rating,
        submitted_at = excluded.submitted_at
    WHERE (manager_ratings.revision, manager_ratings.feedback) < (excluded.revision, excluded.feedback)
""")


async def learn_ratings(tx: AsyncConnection, events: Sequence[FeedbackSubmitted]) -> None:
    """`events` sorted by cycle, employee and rater, one each."""
    await tx.execute(
        _LEARN_RATINGS,
        {
            "providers": [event.provider for event in events],
            "cycles": [event.cycle for event in events],
            "employees": [event.employee for event in events],
            "raters": [event.rater for event in events],
            "revisions": [event.revision for event in events],
            "feedback": [event.feedback for event in events],
            "ratings": [event.rating for event in events],
            "submitted": [event.submitted_at for event in events],
        },
    )
