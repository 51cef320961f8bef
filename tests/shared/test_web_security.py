"""Who gets in, who does not, and what is written down about those who do not."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from shared.auth import Role, TokenVerifier
from shared.database import Database
from shared.web import Router
from tests.issuer import ServedIssuer
from tests.shared.web_app import Editor, Reader, build, entries

Bearer = Callable[..., dict[str, str]]


async def test_without_a_token_nobody_is_known(notes: httpx.AsyncClient, machinery: Database) -> None:
    answer = await notes.get("/v1/notes")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["type"] == "urn:plumbline:problem:unauthenticated"


async def test_an_expired_token_is_told_so(notes: httpx.AsyncClient, issuer: ServedIssuer) -> None:
    token = issuer.token(provider="acme", roles=["hr_admin"], ttl=-60)
    answer = await notes.get("/v1/notes", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:plumbline:problem:expired-token")


@pytest.mark.parametrize("role", list(Role))
async def test_only_the_roles_of_a_route_get_in(notes: httpx.AsyncClient, bearer: Bearer, role: Role) -> None:
    allowed = role in (Role.HR_ADMIN, Role.MANAGER)
    assert (await notes.get("/v1/notes", headers=bearer(role))).status_code == (200 if allowed else 403)


async def test_a_refusal_is_audited_under_the_provider_without_naming_what_was_asked_for(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    headers = bearer("employee", subject="eve")
    answer = await notes.post("/v1/notes/17/publication", headers={**headers, "Idempotency-Key": "k"})
    assert answer.json()["type"] == "urn:plumbline:problem:role-missing"
    assert await entries(machinery, "acme") == [
        ("eve", "access.refused", "POST /v1/notes/{number}/publication", "refused")
    ]


async def test_a_client_is_refused_even_with_a_role_that_may(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    answer = await notes.get("/v1/notes", headers=bearer("client", "hr_admin"))
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:plumbline:problem:client-boundary")
    assert len(await entries(machinery, "acme")) == 1


async def test_a_refusal_inside_a_command_leaves_its_audit_entry_and_nothing_else(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    answer = await notes.post("/v1/notes/3/failure?how=forbidden", headers=bearer("hr_admin", subject="ada"))
    assert answer.status_code == 403
    assert await entries(machinery, "acme") == [("ada", "access.refused", "POST /v1/notes/{number}/failure", "refused")]


async def test_an_operator_without_a_provider_is_refused_among_tenants_and_audited_on_the_platform(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    headers = bearer("operator", "hr_admin", provider=None, subject="op")
    answer = await notes.post("/v1/notes/3/failure?how=bug", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:plumbline:problem:no-provider")
    assert [entry[0] for entry in await entries(machinery, "-")] == ["op"]


async def test_the_roles_of_every_operation_stand_in_the_openapi_document(notes: httpx.AsyncClient) -> None:
    document = (await notes.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operation = document["paths"]["/v1/notes"]["get"]
    assert operation["x-roles"] == ["hr_admin", "manager"]
    assert operation["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path in document["paths"].values():
        for described in path.values():
            assert described["x-roles"]
            assert "422" not in described["responses"]
            assert "application/problem+json" in described["responses"]["default"]["content"]


def test_a_route_without_roles_does_not_start(machinery: Database, verifier: TokenVerifier) -> None:
    open_router = Router(prefix="/open")

    @open_router.get("")
    async def anybody() -> None: ...

    with pytest.raises(ValueError, match="GET /v1/open must have exactly one requires"):
        build(machinery, verifier, routers=[open_router])


def test_two_guards_on_one_route_do_not_start(machinery: Database, verifier: TokenVerifier) -> None:
    double = Router(prefix="/double")

    @double.get("")
    async def twice(one: Reader, two: Editor) -> None: ...

    with pytest.raises(ValueError, match="exactly one"):
        build(machinery, verifier, routers=[double])


async def test_the_chain_is_listed_newest_first_and_verified(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    for _ in range(3):
        await notes.get("/v1/notes", headers=bearer("employee"))
    first = (await notes.get("/v1/audit?limit=2", headers=bearer("auditor"))).json()
    rest = (await notes.get(f"/v1/audit?limit=2&cursor={first['next']}", headers=bearer("auditor"))).json()
    assert [entry["sequence"] for entry in first["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None
    assert rest["items"][0]["detail"] == {"reason": "role-missing"}
    verification = await notes.get("/v1/audit/verification", headers=bearer("auditor"))
    assert verification.json() == {"entries": 3, "first_broken": None}
    other = await notes.get("/v1/audit", headers=bearer("auditor", provider="beta"))
    assert other.json() == {"items": [], "next": None}
