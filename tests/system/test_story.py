"""One event followed from its request to the notice; a link that is gone is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from deploy.local.spans import SpanStore
from deploy.local.story import Story, drawn, follow, spans_of
from tests.system.conftest import Told

EARLY = "northwind-acd/k-6"
"""Of somebody whose classification a late event revised afterwards."""
PUBLISH = "POST /v1/sessions/{session}/publish"
APPROVE = "POST /v1/runs/{run}/approve"
ACCEPT = "POST /v1/cycles/{cycle}/scorecards/{employee}/acceptances"
JUDGE = "POST /v1/sessions/{session}/subjects/{employee}/approval"
REVISE = "POST /v1/revisions/{employee}/decision"


@pytest.fixture(scope="module")
def dsns(told: Told, postgres: PostgresServer) -> Mapping[str, str]:
    return {name: postgres.superuser_dsn(urls.name) for name, urls in told.urls.items()}


@pytest.fixture
def spans(told: Told, tmp_path: Path) -> Path:
    """The spans in a file of this test's own."""
    return Path(shutil.copy(told.spans, tmp_path / "spans.sqlite"))


async def tell(dsns: Mapping[str, str], spans: Path, event: str) -> Story:
    with closing(SpanStore(spans)) as store:
        return await follow(dsns, store, event)


def steps(story: Story) -> list[str]:
    """Service and name of every span, once, in the order in which they are told."""
    return list(dict.fromkeys(f"{span.service}: {span.name}" for span in spans_of(story.root)))


def event_of(told: Told, postgres: PostgresServer, condition: str) -> str:
    query = f"SELECT min(event_id) FROM kpi_events WHERE {condition}"  # noqa: S608 - own conditions
    return postgres.run_sql(query, told.urls["ingest"].name).strip()


async def test_an_event_leads_from_the_request_to_the_mails(dsns: Mapping[str, str], spans: Path) -> None:
    story = await tell(dsns, spans, EARLY)
    assert story.missing == []
    told = steps(story)
    expected = [
        "ingest: POST /v1/kpi-events",
        "scoring: process kpi-events",
        "scoring: timer rescore",
        "calibration: process scorecards",
        f"calibration: {JUDGE}",
        f"calibration: {PUBLISH}",
        "notifications: process classifications",
        "notifications: send email",
        "compensation: process classifications",
        "compensation: timer run",
        f"compensation: {APPROVE}",
        "notifications: process awards",
    ]
    assert told[: len(expected)] == expected


async def test_a_late_event_leads_over_acceptance_and_revision_to_the_adjustment(
    dsns: Mapping[str, str], spans: Path, postgres: PostgresServer, told: Told
) -> None:
    late = event_of(told, postgres, "event_id LIKE '%/late-up-%' AND employee_id = 'e-02'")
    story = await tell(dsns, spans, late)
    assert story.missing == []
    assert steps(story) == [
        "ingest: POST /v1/kpi-events",
        "scoring: process kpi-events",
        "scoring: timer rescore",
        f"scoring: {ACCEPT}",
        "calibration: process scorecards",
        f"calibration: {REVISE}",
        "notifications: process classifications",
        "notifications: send email",
        "compensation: process classifications",
        "notifications: process awards",
    ]


async def test_a_story_that_has_not_ended_is_not_broken(
    dsns: Mapping[str, str], spans: Path, postgres: PostgresServer, told: Told
) -> None:
    """Late and not accepted; of somebody who left before the cycle's end, and has no award."""
    waiting = await tell(dsns, spans, event_of(told, postgres, "event_id LIKE '%/late-up-%' AND employee_id = 'e-10'"))
    assert waiting.missing == []
    assert steps(waiting)[-1] == "scoring: timer rescore"
    left = await tell(dsns, spans, event_of(told, postgres, "employee_id = 'e-12' AND kind = 'observation'"))
    assert left.missing == []
    assert "notifications: send email" in steps(left)
    assert f"compensation: {APPROVE}" not in steps(left)


async def test_a_corrected_and_a_voided_event_have_stories_of_their_own(
    dsns: Mapping[str, str], spans: Path, postgres: PostgresServer, told: Told
) -> None:
    for kind in ("correction", "void"):
        story = await tell(dsns, spans, event_of(told, postgres, f"kind = '{kind}' AND event_id NOT LIKE '%late%'"))
        assert story.missing == []
        assert f"calibration: {PUBLISH}" in steps(story)


async def test_an_event_that_ingest_never_accepted_is_named(dsns: Mapping[str, str], spans: Path) -> None:
    story = await tell(dsns, spans, "northwind-acd/nothing")
    assert story.missing == ["ingest has accepted no event northwind-acd/nothing"]


@pytest.mark.parametrize(
    ("service", "name", "missing"),
    [
        ("scoring", "process kpi-events", "POST /v1/kpi-events (ingest) → process kpi-events (scoring)"),
        ("scoring", "timer rescore", "process kpi-events (scoring) → timer rescore (scoring)"),
        ("calibration", "process scorecards", "timer rescore (scoring) → process scorecards (calibration)"),
        ("calibration", JUDGE, f"process scorecards (calibration) → {JUDGE}"),
        ("calibration", PUBLISH, f"{JUDGE} (calibration) → {PUBLISH}"),
        (
            "compensation",
            "process classifications",
            f"{PUBLISH} (calibration) → process classifications (compensation)",
        ),
        ("compensation", "timer run", "process classifications (compensation) → timer run"),
        ("compensation", APPROVE, f"timer run (compensation) → {APPROVE}"),
        (
            "notifications",
            "process classifications",
            f"{PUBLISH} (calibration) → process classifications (notifications)",
        ),
        ("notifications", "process awards", f"{APPROVE} (compensation) → process awards (notifications)"),
        ("notifications", "send email", "process awards (notifications) → send email"),
        ("scoring", ACCEPT, f"timer rescore (scoring) → {ACCEPT}"),
        ("calibration", REVISE, f"process scorecards (calibration) → {REVISE}"),
    ],
)
async def test_a_link_that_is_gone_is_named(
    dsns: Mapping[str, str], spans: Path, service: str, name: str, missing: str
) -> None:
    with closing(sqlite3.connect(spans)) as file, file:
        file.execute(
            "DELETE FROM links WHERE seq IN (SELECT seq FROM spans WHERE service = ? AND name = ?)", (service, name)
        )
    story = await tell(dsns, spans, EARLY)
    assert any(edge.startswith(missing) for edge in story.missing), story.missing


async def test_spans_that_were_not_kept_are_named(dsns: Mapping[str, str], spans: Path) -> None:
    with closing(sqlite3.connect(spans)) as file, file:
        file.execute("DELETE FROM spans WHERE name = 'POST /v1/kpi-events'")
    story = await tell(dsns, spans, EARLY)
    assert len(story.missing) == 1
    assert story.missing[0].startswith("journal of ingest → POST /v1/kpi-events")


async def test_the_tree_shows_when_who_and_what(dsns: Mapping[str, str], spans: Path) -> None:
    story = await tell(dsns, spans, EARLY)
    lines = [line.plain for line in drawn(story.root)]
    assert lines[0] == f"event {EARLY}"
    first = next(span for span in spans_of(story.root))
    assert f"ingest POST /v1/kpi-events {(first.ended_ns - first.started_ns) / 1e6:,.1f} ms" in lines[1]
    assert first.trace_id in lines[1]
    assert any("notice award-adjusted: email delivered" in line for line in lines)
