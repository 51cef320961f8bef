"""Routes that need nothing but the request are answered without FastAPI's solver, which takes longer than most of them.

Everything else stays FastAPI's: matching, exceptions, the document. What it would do here is what these lines do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

Handler = Callable[[Request], Awaitable[Response]]


def flat(route: APIRoute) -> Handler | None:
    """What answers `route`; `None` if it reads a body by a model, or needs more than FastAPI's simplest."""
    needs = route.dependant
    call, field = needs.call, route.response_field
    if route.body_field or field is None or not isinstance(route.response_class, DefaultPlaceholder):
        return None
    if call is None or not iscoroutinefunction(call):
        return None
    if not (_simple(needs) and all(_by_request(needed) for needed in needs.dependencies)):
        return None
    status = route.status_code or 200

    async def answer(request: Request) -> Response:
        values: dict[str, Any] = {}
        for needed in needs.dependencies:
            found = await needed.call(request)  # type: ignore[misc] # `_by_request` has seen it
            if needed.name is not None:
                values[needed.name] = found
        path, wrong = request_params_to_args(needs.path_params, request.path_params)
        query, wrong_too = request_params_to_args(needs.query_params, request.query_params)
        if wrong or wrong_too:
            raise RequestValidationError([*wrong, *wrong_too])
        values |= path | query
        if needs.request_param_name:
            values[needs.request_param_name] = request
        said = await call(**values)
        if isinstance(said, Response):
            return said
        # Not validated once more: what a route returns is of the type it declares, and mypy has seen that.
        return Response(field.serialize_json(said, by_alias=True), status, media_type="application/json")

    return answer


def _simple(needs: Dependant) -> bool:
    """Of what FastAPI can hand to a function, this one takes the request and parameters of path and query alone."""
    named = (needs.response_param_name, needs.background_tasks_param_name, needs.security_scopes_param_name)
    return not (any(named) or needs.header_params or needs.cookie_params or needs.body_params)


def _by_request(needed: Dependant) -> bool:
    takes_more = needed.dependencies or needed.path_params or needed.query_params
    return bool(needed.request_param_name) and _simple(needed) and not takes_more
