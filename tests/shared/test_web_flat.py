"""Which routes are answered without FastAPI's solver, and that nobody can tell which those are."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fastapi.routing import APIRoute

from shared.web.flat import flat
from tests.shared.web_app import router

Bearer = Callable[..., dict[str, str]]
ROUTES = {route.name: route for route in router.routes if isinstance(route, APIRoute)}


@pytest.mark.parametrize("route", ["post_raw"])
def test_what_needs_the_request_alone_is_answered_directly(route: str) -> None:
    assert flat(ROUTES[route]) is not None


@pytest.mark.parametrize("route", ["post_note", "list_notes", "put_note", "publish_note", "fail_note"])
def test_bodies_headers_and_dependencies_of_their_own_are_left_to_fastapi(route: str) -> None:
    assert flat(ROUTES[route]) is None


async def test_a_wrong_parameter_is_named_as_fastapi_names_it(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    direct = await notes.post("/v1/notes/raw", content=b"{}", params={"limit": "much"}, headers=bearer("hr_admin"))
    solved = await notes.get("/v1/notes", params={"count": "much"}, headers=bearer("hr_admin"))
    for answer, name in ((direct, "limit"), (solved, "count")):
        assert answer.status_code == 422
        (found,) = answer.json()["errors"]
        assert (found["pointer"], found["code"]) == (name, "int-parsing")


async def test_nobody_who_may_not_call_a_route_hears_of_its_parameters(notes: httpx.AsyncClient) -> None:
    answer = await notes.post("/v1/notes/raw", content=b"{}", params={"limit": "much"})
    assert answer.status_code == 401


async def test_a_default_stands_where_a_parameter_is_not_given(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.post("/v1/notes/raw", content=b"[1]", headers=bearer("hr_admin"))
    assert (answer.status_code, answer.json()) == (200, 3)
