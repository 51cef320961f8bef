"""Every route of every service, with every role and with foreign objects.

`role_matrix.json` says who may call what. It is compared with what the services say of themselves in their OpenAPI
documents, so that a new route fails here until somebody has decided who it is for; then each cell is tried.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.local.databases import DatabaseUrls, drop_database, ensure_service_database
from deploy.local.postgres import PostgresServer
from shared.auth import Role
from tests.issuer import ServedIssuer
from tests.system.conftest import Told
from tests.system.pipeline import NAMES, Pipeline, running
from tests.system.small_world import CYCLE, NOW, PROVIDER

MATRIX: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("role_matrix.json").read_text())
OWN, FOREIGN = "e-01", "e-02"
HEADERS = {"if-match": '"1"', "idempotency-key": "tried-by-a-stranger"}
API = Path(__file__).parents[2] / "docs" / "api"
DOCUMENTED = {service: json.loads((API / f"{service}.openapi.json").read_text())["paths"] for service in MATRIX}


@dataclass(frozen=True)
class Route:
    service: str
    method: str
    template: str
    roles: frozenset[str]

    @property
    def query(self) -> Mapping[str, str]:
        """What some lists cannot do without."""
        parameters = DOCUMENTED[self.service][self.template][self.method.lower()].get("parameters", [])
        return {"cycle": CYCLE} if any(each["name"] == "cycle" and each["in"] == "query" for each in parameters) else {}

    def path(self, ids: Mapping[str, str]) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], self.template.removeprefix("/v1"))


ROUTES = [
    Route(service, name.split(" ")[0], name.split(" ")[1], frozenset(roles))
    for service, routes in MATRIX.items()
    for name, roles in routes.items()
]


def _ids(postgres: PostgresServer, urls: Mapping[str, DatabaseUrls]) -> dict[str, str]:
    def first(service: str, query: str) -> str:
        return postgres.run_sql(query, database=urls[service].name).strip().splitlines()[0]

    return {
        "client": "northwind",
        "employee": OWN,
        "source": "northwind-acd",
        "key": first("ingest", "SELECT key_id FROM source_keys ORDER BY 1 LIMIT 1"),
        "event": first("ingest", "SELECT split_part(event_id, '/', 2) FROM kpi_events ORDER BY event_id LIMIT 1"),
        "metric": "aht",
        "letter": str(uuid.uuid4()),
        "timer": "1",
        "cycle": CYCLE,
        "template": first("scoring", "SELECT template FROM templates ORDER BY 1 LIMIT 1"),
        "version": "1",
        "session": "s-1",
        "budget": "northwind",
        "plan": "northwind",
        "run": "run-northwind",
        "id": first("compensation", "SELECT recovery FROM recoveries ORDER BY 1 LIMIT 1"),
        "delivery": first("notifications", "SELECT id FROM deliveries ORDER BY 1 LIMIT 1"),
        "notice": first("notifications", "SELECT id FROM notices ORDER BY 1 LIMIT 1"),
        "endpoint": str(uuid.uuid4()),
    }


@pytest.fixture(scope="module")
def copies(told: Told, postgres: PostgresServer) -> Iterator[Mapping[str, DatabaseUrls]]:
    """The told world's databases for this module alone: strangers leave audit entries behind."""
    made = {
        name: ensure_service_database(postgres, name, f"t_{name}_{uuid.uuid4().hex[:12]}", template=urls.name)
        for name, urls in told.urls.items()
    }
    yield made
    for each in made.values():
        drop_database(postgres, each.name)


@pytest.fixture(scope="module")
def ids(copies: Mapping[str, DatabaseUrls], postgres: PostgresServer) -> dict[str, str]:
    return _ids(postgres, copies)


@pytest.fixture
async def world(copies: Mapping[str, DatabaseUrls], issuer: ServedIssuer) -> AsyncIterator[Pipeline]:
    async with running(copies, issuer, NOW) as pipeline:
        yield pipeline


@pytest.fixture
def untouched(copies: Mapping[str, DatabaseUrls], postgres: PostgresServer) -> Iterator[None]:
    """Whatever the test tries, no row of the provider is another one afterwards."""
    before = _fingerprint(postgres, copies)
    yield
    assert _fingerprint(postgres, copies) == before


def _fingerprint(postgres: PostgresServer, urls: Mapping[str, DatabaseUrls]) -> dict[str, str]:
    tables = """
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name = 'provider_id' AND table_name NOT LIKE 'audit_%' ORDER BY 1
    """
    found: dict[str, str] = {}
    for service, url in urls.items():
        names = postgres.run_sql(tables, database=url.name).split()
        whole = " UNION ALL ".join(
            f"SELECT '{name}', md5(string_agg(row::text, '' ORDER BY row::text)) FROM {name} AS row "  # noqa: S608
            f"WHERE provider_id = '{PROVIDER}'"
            for name in names
        )
        found[service] = postgres.run_sql(whole, database=url.name)
    return found


async def _call(
    world: Pipeline, route: Route, ids: Mapping[str, str], role: str, *, provider: str = PROVIDER, employee: str = OWN
) -> httpx.Response:
    token = world.issuer.token(
        provider=provider,
        roles=[role],
        employee=employee,
        client="northwind" if role == Role.CLIENT else None,
        subject=f"{role}@{provider}",
        now=world.clock().timestamp(),
        ttl=3600,
    )
    headers = {**HEADERS, "authorization": f"Bearer {token}"}
    body: dict[str, str] | None = {} if route.method in ("POST", "PUT", "PATCH") else None
    http = world.houses[route.service].http
    return await http.request(route.method, route.path(ids), headers=headers, json=body, params=route.query)


def _reason(answer: httpx.Response) -> str:
    return str(answer.json().get("type", "")).rpartition(":")[2] if answer.status_code >= 400 else ""


@pytest.mark.parametrize("service", NAMES)
async def test_the_matrix_names_every_route_and_its_roles(service: str, world: Pipeline) -> None:
    document = (await world.houses[service].http.get("http://test/openapi.json")).json()
    said = {
        f"{method.upper()} {path}": sorted(operation["x-roles"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert said == MATRIX[service], "decide who a new route is for, and write it into role_matrix.json"


@pytest.mark.parametrize("service", NAMES)
async def test_a_role_reaches_what_it_is_named_for_and_is_refused_the_rest(
    service: str, world: Pipeline, ids: dict[str, str], untouched: None
) -> None:
    wrong = []
    for route in (route for route in ROUTES if route.service == service):
        for role in Role:
            if role in route.roles and route.method != "GET":
                continue  # would do what it is for; the foreign provider tries it below
            answer = await _call(world, route, ids, role)
            refused = answer.status_code == 403 and _reason(answer) in ("role-missing", "client-boundary")
            if refused != (role not in route.roles) or answer.status_code in (401, 500):
                wrong.append((role, route.method, route.template, answer.status_code, _reason(answer)))
    assert wrong == []


@pytest.mark.parametrize("service", NAMES)
async def test_nobody_enters_without_a_token_or_with_one_that_is_over(
    service: str, world: Pipeline, ids: dict[str, str], untouched: None
) -> None:
    over = world.issuer.token(provider=PROVIDER, roles=["hr_admin"], now=world.clock().timestamp() - 7200, ttl=3600)
    http = world.houses[service].http
    for route in (route for route in ROUTES if route.service == service):
        for headers in ({}, {"authorization": f"Bearer {over}"}, {"authorization": "Bearer not.a.token"}):
            answer = await http.request(route.method, route.path(ids), headers=headers, params=route.query)
            assert answer.status_code == 401, (route, answer.text)


@pytest.mark.parametrize("service", NAMES)
async def test_a_client_is_refused_every_route_and_each_attempt_is_audited(
    service: str, world: Pipeline, ids: dict[str, str], untouched: None
) -> None:
    tried = 0
    for route in (route for route in ROUTES if route.service == service):
        answer = await _call(world, route, ids, Role.CLIENT)
        assert (answer.status_code, _reason(answer)) == (403, "client-boundary"), (route, answer.text)
        tried += 1
    auditor = world.caller("auditor", provider=PROVIDER)
    entries = await auditor.get(service, "/audit?limit=200")
    items = entries["items"]
    assert isinstance(items, list)
    attempts = [item for item in items if isinstance(item, dict) and item["actor"] == f"client@{PROVIDER}"]
    assert len(attempts) >= tried and all(attempt["action"] == "access.refused" for attempt in attempts)


@pytest.mark.parametrize("service", NAMES)
async def test_another_provider_sees_and_changes_nothing(
    service: str, world: Pipeline, ids: dict[str, str], untouched: None
) -> None:
    leaks = []
    for route in (route for route in ROUTES if route.service == service):
        for role in route.roles:
            answer = await _call(world, route, ids, role, provider="rival")
            if answer.status_code == 200 and route.method == "GET":
                body = answer.json()
                empty = body.get("items") == [] or route.template.endswith(("/verification", "/preferences", "/audit"))
                if not empty or "northwind" in answer.text or f'"{OWN}"' in answer.text:
                    leaks.append((role, route.template, answer.text[:200]))
            elif answer.status_code == 500:
                leaks.append((role, route.template, answer.text[:200]))
    assert leaks == []


_INDIVIDUAL = [route for route in ROUTES if "{employee}" in route.template and route.method == "GET"]


@pytest.mark.parametrize("role", [Role.EMPLOYEE, Role.MANAGER])
async def test_a_person_and_a_foreign_manager_do_not_reach_somebody_else(
    role: Role, world: Pipeline, ids: dict[str, str], untouched: None
) -> None:
    who = FOREIGN if role is Role.EMPLOYEE else "m-2"
    for route in (route for route in _INDIVIDUAL if role in route.roles):
        answer = await _call(world, route, ids, role, employee=who)
        assert answer.status_code in (403, 404), (route, answer.text)


def test_every_individual_route_was_looked_at() -> None:
    assert len(_INDIVIDUAL) >= 8
    assert {route.service for route in ROUTES} == set(NAMES)
