"""What was computed is computed again, and every planted fault is found and named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from deploy.local.__main__ import cli
from deploy.local.databases import drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from deploy.verify.databases import BlindReader
from deploy.verify.verification import verify
from tests.system.conftest import Told


@pytest.fixture(scope="module")
def dsns(told: Told, postgres: PostgresServer) -> Mapping[str, str]:
    return {name: postgres.superuser_dsn(urls.name) for name, urls in told.urls.items()}


async def test_what_the_services_hold_is_what_is_computed_again(dsns: Mapping[str, str]) -> None:
    report = await verify(dsns)
    assert [str(found) for found in report.differences] == []
    assert report.checked["scorecards"] == 14
    assert all(report.checked[kind] for kind in ("people", "facts", "day sums", "classifications", "awards", "notices"))
    assert report.checked["ledger entries"] > report.checked["awards"], "no award was ever adjusted"


async def test_a_role_that_sees_no_other_provider_is_refused(dsns: Mapping[str, str], told: Told) -> None:
    confined = told.urls["compensation"].app.replace("postgresql+asyncpg", "postgresql")
    with pytest.raises(BlindReader, match="compensation"):
        await verify({**dsns, "compensation": confined})


@dataclass(frozen=True)
class Fault:
    """A statement that damages one row and returns what the report must name, in this table of this database."""

    service: str
    sql: str
    table: str
    refused_by: str = ""
    """The index that would not let it happen, and that is dropped first."""


FAULTS = {
    "a journal row changed": Fault(
        "ingest",
        """UPDATE kpi_events SET numerator = numerator + 1 WHERE event_id = (
               SELECT min(event_id) FROM kpi_events WHERE kind = 'observation' AND employee_id = 'e-10')
           RETURNING event_id""",
        "scoring.facts",
    ),
    "a journal row gone": Fault(
        "ingest",
        """DELETE FROM kpi_events WHERE event_id = (
               SELECT min(event_id) FROM kpi_events WHERE kind = 'observation' AND employee_id = 'e-10')
           RETURNING event_id""",
        "scoring.facts",
    ),
    "an assignment moved": Fault(
        "ingest",
        "UPDATE assignments SET unit = 'team-x' WHERE employee_id = 'e-05' RETURNING employee_id",
        "scoring.assignments",
    ),
    "feedback changed": Fault(
        "ingest",
        "UPDATE feedback SET rating = 1 WHERE employee_id = 'e-04' AND category = 'manager' RETURNING employee_id",
        "calibration.manager_ratings",
    ),
    "a fact dropped": Fault(
        "scoring",
        """DELETE FROM facts WHERE event = (SELECT min(event) FROM facts WHERE employee = 'e-07' AND event = root)
           RETURNING event""",
        "scoring.facts",
    ),
    "a fact moved to another day": Fault(
        "scoring",
        """UPDATE facts SET occurred_on = occurred_on + 1
           WHERE event = (SELECT min(event) FROM facts WHERE employee = 'e-07' AND event = root)
           RETURNING event""",
        "scoring.facts",
    ),
    "the sum of a day shifted": Fault(
        "scoring",
        """UPDATE day_sums SET denominator = denominator + 0.001 WHERE (employee, metric, day) =
            (SELECT employee, metric, min(day) FROM day_sums WHERE employee = 'e-01' AND metric = 'aht' GROUP BY 1, 2)
           RETURNING employee || '/' || day""",
        "scoring.day_sums",
    ),
    "a score off by a millionth": Fault(
        "scoring",
        """UPDATE scorecard_versions SET score = score + 0.000001 WHERE employee = 'e-03' AND version = (
               SELECT max(version) FROM scorecard_versions WHERE employee = 'e-03')
           RETURNING employee""",
        "scoring.scorecard_versions",
    ),
    "a cap of a gate forgotten": Fault(
        "scoring",
        """UPDATE scorecard_versions SET proposed_band = band_before_gates WHERE employee = 'e-09'
           AND proposed_band <> band_before_gates RETURNING employee""",
        "scoring.scorecard_versions",
    ),
    "a published template changed": Fault(
        "scoring",
        """UPDATE template_versions SET coverage_minimum = 1 WHERE template = 'seniors'
           RETURNING 'e-12'""",
        "scoring.scorecard_versions",
    ),
    "a late version without effect changed": Fault(
        "scoring",
        """UPDATE scorecard_versions SET score = score - 1 WHERE employee = 'e-10' AND status = 'late'
           RETURNING employee""",
        "scoring.scorecard_versions",
    ),
    "a row of the list of scorecards changed": Fault(
        "scoring",
        "UPDATE scorecards SET unit = 'team-x' WHERE employee = 'e-01' RETURNING employee",
        "scoring.scorecards",
    ),
    "a band shifted": Fault(
        "calibration",
        "UPDATE classifications SET band = 'top' WHERE employee = 'e-01' RETURNING employee",
        "calibration.classifications",
    ),
    "somebody published twice": Fault(
        "calibration",
        """INSERT INTO classifications SELECT (again).* FROM (
               SELECT jsonb_populate_record(c, '{"version": 2, "supersedes": 1}') AS again
               FROM classifications AS c WHERE employee = 'e-03') AS one
           RETURNING employee || '/2'""",
        "calibration.classifications",
    ),
    "a decision rewritten": Fault(
        "calibration",
        "UPDATE decisions SET after_band = 'top' WHERE employee = 'e-04' AND act = 'confirm' RETURNING employee",
        "calibration.decisions",
    ),
    "a subject's band shifted": Fault(
        "calibration",
        "UPDATE subjects SET band = 'low' WHERE employee = 'e-07' RETURNING employee",
        "calibration.subjects",
    ),
    "a scorecard's copy changed": Fault(
        "calibration",
        "UPDATE scorecards SET score = score + 0.000001 WHERE employee = 'e-07' RETURNING employee",
        "calibration.scorecards",
    ),
    "a cent of an award moved": Fault(
        "compensation",
        """UPDATE award_amounts SET amount = amount + CASE employee WHEN 'e-03' THEN 1 ELSE -1 END
           WHERE component = 'bonus' AND employee IN ('e-03', 'e-07') RETURNING employee""",
        "compensation.award_amounts",
    ),
    "a cent of a run moved from one to another": Fault(
        "compensation",
        """UPDATE run_items SET amount = amount + CASE employee WHEN 'e-03' THEN 1 ELSE -1 END
           WHERE component = 'bonus' AND employee IN ('e-03', 'e-07') RETURNING employee""",
        "compensation.run_items",
    ),
    "an entry of the ledger a cent higher": Fault(
        "compensation",
        """UPDATE ledger_entries SET amount = amount + 1, after = after + 1 WHERE employee = 'e-09'
           AND component = 'merit' RETURNING employee""",
        "compensation.ledger_entries",
    ),
    "an entry doubled": Fault(
        "compensation",
        """INSERT INTO ledger_entries (provider_id, employee, plan, cycle, component, sequence, before, amount, after,
                                       currency, run, cause, comment, posted_at, posted_by)
           SELECT provider_id, employee, plan, cycle, component, sequence + 1, after, amount, after + amount,
                  currency, run, cause || ' again', comment, posted_at, posted_by
           FROM ledger_entries WHERE employee = 'e-07' AND component = 'bonus'
           RETURNING employee || '/harbor/2026-q1/bonus/2'""",
        "compensation.ledger_entries",
    ),
    "a second plan that pays the same component": Fault(
        "compensation",
        """INSERT INTO ledger_entries (provider_id, employee, plan, cycle, component, sequence, before, amount, after,
                                       currency, run, cause, comment, posted_at, posted_by)
           SELECT provider_id, employee, 'northwind', cycle, component, sequence, before, amount, after,
                  currency, run, cause, comment, posted_at, posted_by
           FROM ledger_entries WHERE employee = 'e-07' AND component = 'bonus' AND sequence = 1
           RETURNING employee || '/2026-q1/bonus'""",
        "compensation.ledger_entries",
        refused_by="one_plan_per_component",
    ),
    "an entry gone": Fault(
        "compensation",
        """DELETE FROM ledger_entries WHERE employee = 'e-08' AND component = 'bonus' AND sequence = 3
           RETURNING employee""",
        "compensation.ledger_entries",
    ),
    "a factor of a pool changed": Fault(
        "compensation", "UPDATE run_pools SET scale = '1/2' WHERE scale <> '1' RETURNING run", "compensation.run_pools"
    ),
    "pay other than the run took": Fault(
        "compensation",
        """UPDATE run_subjects SET inputs = jsonb_set(inputs, '{pay,0,base}', '2400000') WHERE employee = 'e-07'
           RETURNING employee""",
        "compensation.run_subjects",
    ),
    "somebody left out of a run": Fault(
        "compensation",
        "DELETE FROM run_subjects WHERE employee = 'e-11' RETURNING employee",
        "compensation.run_subjects",
    ),
    "a proposal to take back withdrawn": Fault(
        "compensation", "DELETE FROM recoveries WHERE employee = 'e-04' RETURNING employee", "compensation.recoveries"
    ),
    "a classification's copy changed": Fault(
        "compensation",
        "UPDATE classifications SET band = 'low' WHERE employee = 'e-10' RETURNING employee",
        "compensation.classifications",
    ),
    "a notice gone": Fault(
        "notifications",
        "DELETE FROM notices WHERE cause LIKE 'award/run-harbor/e-08/2' RETURNING cause",
        "notifications.notices",
    ),
    "a notice given twice": Fault(
        "notifications",
        """INSERT INTO notices SELECT (again).* FROM (
               SELECT jsonb_populate_record(n, jsonb_build_object('id', uuidv7(), 'cause', cause || '9')) AS again
               FROM notices AS n WHERE cause = 'award/run-harbor/e-03/1') AS one
           RETURNING cause""",
        "notifications.notices",
    ),
    "a notice to somebody else": Fault(
        "notifications",
        "UPDATE notices SET recipient = 'e-01' WHERE cause = 'classification/2026-q1/e-02/2' RETURNING cause",
        "notifications.notices",
    ),
}


@pytest.fixture
def damaged(
    dsns: Mapping[str, str],
    told: Told,
    postgres: PostgresServer,
    request: pytest.FixtureRequest,
) -> Iterator[Mapping[str, str]]:
    """The world with the database of the fault's service exchanged for a copy to damage."""
    fault: Fault = FAULTS[request.param]
    name = f"{told.urls[fault.service].name}_copy"
    drop_database(postgres, name)
    ensure_service_database(postgres, fault.service, database=name, template=told.urls[fault.service].name)
    yield {**dsns, fault.service: postgres.superuser_dsn(name)}
    drop_database(postgres, name)


async def plant(fault: Fault, dsns: Mapping[str, str]) -> set[str]:
    """Past triggers, foreign keys and, where it must, an index, as a superuser can; the keys of what was damaged."""
    connection = await asyncpg.connect(dsns[fault.service])
    try:
        await connection.execute("SET session_replication_role = replica")
        if fault.refused_by:
            await connection.execute(f"DROP INDEX {fault.refused_by}")
        return {str(row[0]) for row in await connection.fetch(fault.sql)}
    finally:
        await connection.close()


@pytest.mark.parametrize(("damaged", "name"), [(name, name) for name in FAULTS], ids=list(FAULTS), indirect=["damaged"])
async def test_a_planted_fault_is_found_and_named(damaged: Mapping[str, str], name: str) -> None:
    fault = FAULTS[name]
    planted = await plant(fault, damaged)
    assert planted, "nothing was damaged"
    found = (await verify(damaged)).differences
    named = [each for each in found if f"{each.database}.{each.table}" == fault.table]
    for key in planted:
        assert any(key in each.key for each in named), [str(each) for each in found]
    assert all(each.stored != each.computed for each in found)


def asked(dsns: Mapping[str, str], report: Path) -> tuple[int, str]:
    options = [f"--dsn={service}={dsn}" for service, dsn in dsns.items()]
    answer = CliRunner().invoke(cli, ["verify", "--within", "0", "--to", str(report), *options])
    return answer.exit_code, answer.stdout


def test_the_command_counts_what_it_compared(dsns: Mapping[str, str], tmp_path: Path) -> None:
    code, shown = asked(dsns, tmp_path / "verify.json")
    assert code == 0, shown
    assert "0 differences" in shown
    assert "ledger entries" in shown
    assert json.loads((tmp_path / "verify.json").read_text())["checked"]["scorecards"] == 14


@pytest.mark.parametrize("damaged", ["a score off by a millionth"], indirect=True)
def test_a_difference_ends_the_command_with_1(damaged: Mapping[str, str], tmp_path: Path) -> None:
    asyncio.run(plant(FAULTS["a score off by a millionth"], damaged))
    code, shown = asked(damaged, tmp_path / "verify.json")
    assert code == 1
    assert "scoring.scorecard_versions acme/2026-q1/e-03/" in shown
    named = json.loads((tmp_path / "verify.json").read_text())["differences"]
    assert {"scorecard_versions", "scorecards"} <= {each["table"] for each in named}


def test_a_database_that_does_not_answer_is_no_agreement(dsns: Mapping[str, str], tmp_path: Path) -> None:
    nowhere = dict.fromkeys(dsns, "postgresql://nobody@127.0.0.1:1/none")
    code, shown = asked(nowhere, tmp_path / "verify.json")
    assert code == 3
    assert "cannot be read" in shown
