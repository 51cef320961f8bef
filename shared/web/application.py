"""The HTTP application of a service, made of its routers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import JsonValue
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException as RouterException

from shared.errors import DomainError, Forbidden
from shared.web.body import Router
from shared.web.edge import Edge
from shared.web.pages import paging
from shared.web.problems import Problem, on_domain_error, on_http_exception, on_invalid_input, problem
from shared.web.security import Requires, on_forbidden
from shared.web.wiring import Wiring

Readiness = Callable[[], Mapping[str, str]]
"""What keeps the process from doing its work, by name; nothing when it is ready."""

_HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Forbidden: on_forbidden,
    DomainError: on_domain_error,
    RouterException: on_http_exception,
    RequestValidationError: on_invalid_input,
}


def create_app(wiring: Wiring, routers: Sequence[Router], *, title: str, version: str, readiness: Readiness) -> FastAPI:
    """Serve `routers` under /v1, beside /livez, /readyz, /metrics and /openapi.json.

    A route without `requires`, or one whose endpoint serves two paths, is refused here rather than found in a review.
    """
    app = _Application(
        title=title,
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=_HANDLERS,
        # FastAPI would make spans of its own, with paths and query strings in them.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in routers:
        # Included, each router would be searched by way of a layer of its own.
        app.router.routes.extend(router.routes)
    app.state.wiring = wiring
    app.state.templates = _templates(app)
    app.state.parameters = {
        (route.endpoint, method): _parameters(route.dependant) for route, method in _operations(app)
    }
    app.add_middleware(Edge, templates=app.state.templates, read_seconds=wiring.settings.http_read_seconds)
    if wiring.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=wiring.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "if-match", "idempotency-key", "traceparent"],
            expose_headers=["etag", "link", "idempotency-replayed", "retry-after", "trace-id"],
        )
    _add_probes(app, readiness)
    return app


def _operations(app: FastAPI) -> Iterator[tuple[RouteContext, str]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            for method in sorted(route.methods or ()):
                yield route, method


def _templates(app: FastAPI) -> dict[tuple[object, str], str]:
    templates: dict[tuple[object, str], str] = {}
    for route, method in _operations(app):
        if len(_guards(route.dependant)) != 1:
            raise ValueError(f"{method} {route.path_format} must have exactly one requires(…)")
        if (route.endpoint, method) in templates:
            raise ValueError(f"{method} {route.path_format} shares its endpoint with another path")
        templates[route.endpoint, method] = route.path_format or "-"
    return templates


def _calls(dependant: Dependant) -> Iterator[object]:
    for needed in dependant.dependencies:
        yield needed.call
        yield from _calls(needed)


def _parameters(dependant: Dependant) -> frozenset[str]:
    own = frozenset(parameter.alias for parameter in dependant.query_params)
    return own.union(*map(_parameters, dependant.dependencies))


def _guards(dependant: Dependant) -> list[Requires]:
    return [call for call in dict.fromkeys(_calls(dependant)) if isinstance(call, Requires)]


def _add_probes(app: FastAPI, readiness: Readiness) -> None:
    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        missing = readiness()
        if not missing:
            return JSONResponse({"status": "ready"})
        detail = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return problem(503, "not-ready", detail, headers={"Retry-After": "5"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    for probe in (livez, readyz, metrics):
        app.add_route(f"/{probe.__name__}", probe, include_in_schema=False)


class _Application(FastAPI):
    def openapi(self) -> dict[str, JsonValue]:
        if not self.openapi_schema:
            document = super().openapi()
            schemes: dict[str, JsonValue] = {}
            for route, method in _operations(self):
                operation = document["paths"][route.path_format][method.lower()]
                (guard,) = _guards(route.dependant)
                operation["x-roles"] = sorted(guard.roles)
                operation["security"] = [{name: []} for name in guard.schemes]
                schemes |= {name: jsonable_encoder(scheme.model) for name, scheme in guard.schemes.items()}
                responses = operation["responses"]
                responses.pop("422", None)
                responses["default"] = {
                    "description": "Anything but success",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                if paging in _calls(route.dependant):
                    responses["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            _, problem_schemas = models_json_schema(
                [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
            )
            schemas.update(problem_schemas["$defs"])
            document["components"]["securitySchemes"] = schemes
            self.openapi_schema = document
        return self.openapi_schema
