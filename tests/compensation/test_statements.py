"""What a person and an administrator read: every line, every entry, and the events behind the score."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from services.compensation.app import SERVICE
from services.compensation.settings import CompensationSettings
from shared.auth import TokenVerifier
from shared.database import Database
from shared.process import build_app
from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import CYCLE, NOW, Json
from tests.issuer import ServedIssuer


@pytest.fixture
async def paid(trio: House) -> House:
    await trio.admin.put("/pay/ada", {"entries": [events.pay(5_900_000, fte="0.8")]}, seen=1)
    await trio.admin.put("/budgets/b-1", events.budget(400_003, 1_200_007), seen=1)
    await trio.computed()
    assert (await trio.approved()).status_code == 200
    return trio


async def test_a_statement_shows_the_whole_calculation_and_its_lines_add_up(paid: House) -> None:
    statement = await paid.statement("ada")

    (calculation,) = statement.calculations
    steps = [(line.step, line.component) for line in calculation.lines]
    assert steps == [
        ("eligibility", None),
        ("raw", "merit"),
        ("proration", "merit"),
        ("range-maximum", "merit"),
        ("range-maximum", "lump-sum"),
        ("raw", "bonus"),
        ("measure", "bonus"),
        ("cap", "bonus"),
        ("budget", "bonus"),
        ("rounding", "bonus"),
        ("budget", "lump-sum"),
        ("rounding", "lump-sum"),
        ("budget", "merit"),
        ("rounding", "merit"),
    ]
    assert calculation.lines[1].label == ("5 % of 59,000.00 EUR at 0.8 of full time: band exceeds, fourth-quartile")
    for component in statement.components:
        lines = [line for line in calculation.lines if line.component == component.component]
        assert sum(Fraction(line.change) for line in lines) == component.amount == component.posted
    assert statement.total == sum(entry.amount for entry in statement.ledger)


async def test_a_statement_of_an_adjusted_award_shows_both_calculations(paid: House) -> None:
    await paid.told(events.revised("ben", 2, "exceeds", "117.25"))

    statement = await paid.statement("ben")

    assert [each.cause for each in statement.calculations] == ["run/r-1", "classification/2"]
    newest = {component.component: component.amount for component in statement.components}
    assert statement.calculations[1].amounts == newest
    assert (statement.version, statement.classification_version, statement.scorecard_version) == (2, 2, 4)


async def test_pay_is_shown_to_the_person_and_to_who_administers_or_audits_it(paid: House) -> None:
    path = f"/statements/ben?cycle={CYCLE}"
    allowed = [
        paid.person("employee", employee="ben"),
        paid.person("auditor"),
        paid.person("compensation_admin"),
    ]
    refused = [
        paid.person("employee", employee="ada"),
        paid.person("manager", employee="boss"),
        paid.person("hr_admin"),
        paid.person("facilitator", employee="fac"),
        paid.person("client"),
    ]

    assert [(await who.get(path)).status_code for who in allowed] == [200] * 3
    assert [(await who.get(path)).status_code for who in refused] == [403] * 5
    assert [(await who.get("/pay/ben")).status_code for who in allowed] == [200] * 3
    assert [(await who.get("/pay/ben")).status_code for who in refused] == [403] * 5


async def test_another_providers_people_and_runs_are_not_there(paid: House) -> None:
    other = paid.person("compensation_admin", provider="umbrella")

    for path in (f"/statements/ben?cycle={CYCLE}", "/pay/ben", "/runs/r-1", "/runs/r-1/awards", "/plans/annual"):
        assert (await other.get(path)).status_code == 404, path
    assert (await other.get("/ledger")).json()["items"] == []
    assert (await other.post("/runs/r-1/approve", key="k", seen=1)).status_code == 404


async def test_nothing_is_stated_before_an_approval(trio: House) -> None:
    await trio.computed()

    assert (await trio.admin.get(f"/statements/ben?cycle={CYCLE}")).status_code == 404


@contextmanager
def _scoring(asked: list[tuple[str, str | None]]) -> Iterator[str]:
    """Answers a lineage in two pages to whoever brings a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            second = "cursor" in parse_qs(urlsplit(self.path).query)
            page: Json = {
                "parts": [{"part": "aht"}],
                "items": [{"event": "acd/2" if second else "acd/1"}],
                "next": None if second else "two",
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_without_scoring_the_statement_says_so_and_stops_at_the_scorecard(paid: House) -> None:
    leaves = (await paid.statement("ben", "&leaves=true")).leaves

    assert leaves is not None
    assert (leaves.available, leaves.scorecard_version, leaves.reason) == (False, 3, "scoring cannot be reached")


@pytest.fixture
async def beside_scoring(
    paid: House, settings: CompensationSettings, issuer: ServedIssuer
) -> AsyncIterator[tuple[House, list[tuple[str, str | None]]]]:
    """The same database, served by a process whose scoring answers."""
    asked: list[tuple[str, str | None]] = []
    with _scoring(asked) as url:
        verifier = TokenVerifier(issuer.url, "plumbline", lambda: NOW)
        database = Database(settings.database_url)
        app = build_app(SERVICE, settings.model_copy(update={"scoring_url": url}), database, verifier, lambda: NOW)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c.test/v1") as http:
            yield House(database, http, issuer), asked
        await verifier.close()
        await database.close()


async def test_leaves_are_asked_of_scoring_in_the_callers_own_name(
    beside_scoring: tuple[House, list[tuple[str, str | None]]],
) -> None:
    house, asked = beside_scoring

    ben = house.person("employee", employee="ben")

    answer = await ben.get(f"/statements/ben?cycle={CYCLE}&leaves=true")

    leaves = answer.json()["awards"][0]["leaves"]
    assert (leaves["available"], leaves["items"]) == (True, [{"event": "acd/1"}, {"event": "acd/2"}])
    assert asked[0][0] == f"/v1/cycles/{CYCLE}/scorecards/ben/lineage?version=3&limit=200"
    assert {token for _, token in asked} == {ben.headers["authorization"]}
