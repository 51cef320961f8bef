"""Every answer that is not a success is a problem, with what the caller needs and nothing of ours or theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from shared.auth import TokenVerifier
from shared.database import Database
from tests.shared.conftest import talk_to
from tests.shared.web_app import build, entries

Bearer = Callable[..., dict[str, str]]


async def test_wrong_fields_are_named_by_pointer_and_never_quoted(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    body = {"text": "x" * 21, "kind": "SECRET", "lines": [1, "SECRET"], "weight": "SECRET", "a/b~c": "SECRET"}
    answer = await notes.post("/v1/notes", json=body, headers=bearer("hr_admin"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:plumbline:problem:invalid-input"
    assert {(error["pointer"], error["code"]) for error in problem["errors"]} == {
        ("/text", "string-too-long"),
        ("/kind", "literal-error"),
        ("/lines/1", "int-parsing"),
        ("/weight", "decimal-parsing"),
        ("/a~1b~0c", "extra-forbidden"),
    }
    assert "SECRET" not in answer.text


async def test_a_wrong_query_parameter_is_named(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.get("/v1/notes?count=many", headers=bearer("manager"))
    assert answer.json()["errors"][0]["pointer"] == "count"


async def test_a_query_parameter_that_is_none_is_named_and_filters_nothing(
    notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    answer = await notes.get("/v1/notes?cuont=2&limit=3&a[]=b", headers=bearer("manager"))
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("a[]", "extra-forbidden"),
        ("cuont", "extra-forbidden"),
    ]
    stranger = await notes.get("/v1/notes?cuont=2", headers=bearer("auditor"))
    assert stranger.status_code == 403


async def test_a_missing_body_is_an_invalid_input(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.post("/v1/notes", headers=bearer("hr_admin"))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "missing")


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [("GET", "/v1/nothing", 404, "not-found"), ("DELETE", "/v1/notes", 405, "method-not-allowed")],
)
async def test_the_routers_own_refusals_are_problems(
    notes: httpx.AsyncClient, method: str, path: str, status: int, reason: str
) -> None:
    answer = await notes.request(method, path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:plumbline:problem:{reason}")


@pytest.mark.parametrize("path", ["/v1/notes?cursor=%00", "/v1/notes/%00/failure", "/v1/notes?%00=1"])
async def test_a_nul_in_an_address_never_reaches_the_database(
    notes: httpx.AsyncClient, bearer: Bearer, path: str
) -> None:
    answer = await notes.get(path, headers=bearer("hr_admin"))
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:plumbline:problem:nul-character")


@pytest.mark.parametrize(
    ("text", "status"), [(r"a\u0000", 400), (r"a\\u0000", 201), (r"\ud800", 422), (r"\ud83d\ude00", 201)]
)
async def test_only_text_that_a_column_can_hold_is_accepted(
    notes: httpx.AsyncClient, bearer: Bearer, text: str, status: int
) -> None:
    headers = {**bearer("hr_admin"), "Content-Type": "application/json"}
    answer = await notes.post("/v1/notes", content=f'{{"text": "{text}"}}', headers=headers)
    assert answer.status_code == status


async def test_a_refused_command_says_what_and_leaves_nothing(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    answer = await notes.post("/v1/notes/1/failure?how=conflict", headers=bearer("hr_admin"))
    assert answer.status_code == 409
    assert answer.json()["errors"] == [{"pointer": "/text", "code": "closed", "detail": "nobody writes here any more"}]
    assert await entries(machinery, "acme") == []


async def test_what_may_succeed_later_says_when_to_come_back(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.post("/v1/notes/1/failure?how=transient", headers=bearer("hr_admin"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "e-1" not in answer.text


async def test_a_bug_shows_nothing_of_itself_but_to_the_log(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    with capture_logs() as logged:
        answer = await notes.post("/v1/notes/1/failure?how=bug", headers=bearer("hr_admin"))
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:plumbline:problem:internal-error")
    assert "salary" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [(line["event"], type(line["exc_info"])) for line in logged] == [("request failed", RuntimeError)]


@pytest.fixture
async def without_database(verifier: TokenVerifier) -> AsyncIterator[httpx.AsyncClient]:
    gone = Database(SecretStr("postgresql+asyncpg://nobody:x@127.0.0.1:1/none"))
    async with talk_to(build(gone, verifier)) as client:
        yield client
    await gone.close()


async def test_an_unreachable_database_is_for_now(without_database: httpx.AsyncClient, bearer: Bearer) -> None:
    assert (await without_database.get("/v1/audit", headers=bearer("auditor"))).status_code == 503


async def test_a_refusal_that_cannot_be_audited_is_not_answered_as_one(
    without_database: httpx.AsyncClient, bearer: Bearer
) -> None:
    assert (await without_database.get("/v1/notes", headers=bearer("client"))).status_code == 503
