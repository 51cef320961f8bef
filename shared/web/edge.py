"""What happens around every request: one span, one duration, bounded reading, headers, and an answer whatever fails.

Plain ASGI, because every KPI event comes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from opentelemetry.trace import SpanKind, StatusCode
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import telemetry
from shared.field_problems import FieldProblem
from shared.web.body import limited
from shared.web.problems import on_unexpected, problem

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_CLIENT_GONE = 499

# Answers are data about people, for one reader, never a page: nothing may keep, frame, run or guess at them.
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"strict-transport-security": b"max-age=31536000; includeSubDomains",
    b"x-content-type-options": b"nosniff",
}

# Somebody on the way may have believed the one of two that we do not.
_ONCE = {
    b"authorization": "Authorization",
    b"x-api-key": "X-API-Key",
    b"idempotency-key": "Idempotency-Key",
    b"if-match": "If-Match",
    b"content-encoding": "Content-Encoding",
}


class Edge:
    """`templates` maps endpoint and method to the route's path template; it is filled once all routes are known.
    A body has `read_seconds` to arrive."""

    def __init__(self, app: ASGIApp, templates: Mapping[tuple[object, str], str], read_seconds: float) -> None:
        self._app = app
        self._templates = templates
        self._read_seconds = read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        started = perf_counter()
        attributes: dict[str, str | int] = {telemetry.HTTP_METHOD: method}
        with telemetry.span(method, SpanKind.SERVER, attributes, parent=_traceparent(scope)) as span:
            status = await self._answer(scope, receive, send)
            route = self._templates.get((scope.get("endpoint"), method), "-")
            span.update_name(f"{method} {route}")
            span.set_attribute(telemetry.HTTP_ROUTE, route)
            span.set_attribute(telemetry.HTTP_STATUS, status)
            if status >= 500:
                span.set_status(StatusCode.ERROR)
        telemetry.REQUEST_SECONDS.labels(method, route, str(status)).observe(perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        status = 0
        trace_id = telemetry.current_trace_id()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), trace_id)
            await send(message)

        try:
            app = _objection(scope) or self._app
            await app(scope, limited(scope, receive, self._read_seconds), send_with_headers)
        except ClientDisconnect:
            return status or _CLIENT_GONE
        except Exception as error:
            if status:
                raise  # half an answer is out: the server must cut the connection
            await on_unexpected(error)(scope, receive, send_with_headers)
        return status


def _objection(scope: Scope) -> Response | None:
    if b"%00" in scope["query_string"] or "\0" in scope["path"]:
        # PostgreSQL refuses such a parameter with an error that would look like a bug of ours.
        return problem(400, "nul-character", "no parameter can hold the character NUL")
    given = [name for name, _ in scope["headers"] if name in _ONCE]
    twice = [_ONCE[name] for name in _ONCE if given.count(name) > 1]
    if twice:
        found = [FieldProblem(name, "repeated", "send it once") for name in twice]
        return problem(400, "repeated-header", f"sent more than once: {', '.join(twice)}", found)
    return None


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return bytes(value).decode("latin-1")
    return None


def _completed(headers: list[tuple[bytes, bytes]], trace_id: str | None) -> list[tuple[bytes, bytes]]:
    present = {name for name, _ in headers}
    added = [(name, value) for name, value in _HEADERS.items() if name not in present]
    if trace_id:
        added.append((b"trace-id", trace_id.encode()))
    return [*headers, *added]
