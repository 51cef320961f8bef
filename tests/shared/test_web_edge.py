"""Around every request: a span, a duration, headers; and the probes beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.auth import TokenVerifier
from shared.database import Database
from tests.shared.conftest import talk_to
from tests.shared.spans import told
from tests.shared.web_app import build

Bearer = Callable[..., dict[str, str]]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The process has one tracer provider for good, so every test hangs an exporter of its own on it."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    processor.shutdown()


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


async def test_a_request_is_one_span_that_names_the_route_and_not_the_object(
    spans: InMemorySpanExporter, notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    headers = {**bearer("hr_admin"), "traceparent": PARENT}
    answer = await notes.put("/v1/notes/17?employee=e-1", json={"text": "a"}, headers=headers)
    span = only(spans)
    assert (span.name, span.kind) == ("PUT /v1/notes/{number}", SpanKind.SERVER)
    assert dict(span.attributes or {}) == {
        "http.request.method": "PUT",
        "http.route": "/v1/notes/{number}",
        "http.response.status_code": 422,
    }
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert answer.headers["trace-id"] == answer.json()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_bug_is_an_error_in_the_trace_without_its_words(
    spans: InMemorySpanExporter, notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    answer = await notes.post("/v1/notes/1/failure?how=transient", headers=bearer("hr_admin"))
    span = only(spans)
    assert (answer.status_code, span.status.status_code) == (503, StatusCode.ERROR)
    assert "e-1" not in told(span)


async def test_an_unknown_path_adds_no_name_of_its_own(spans: InMemorySpanExporter, notes: httpx.AsyncClient) -> None:
    await notes.get("/v1/people/ada")
    assert only(spans).name == "GET -"


async def test_durations_are_measured_by_route_and_status(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    await notes.get("/v1/notes", headers=bearer("manager"))
    metrics = (await notes.get("/metrics")).text
    assert 'plumbline_http_request_seconds_count{method="GET",route="/v1/notes",status="200"}' in metrics


async def test_answers_are_neither_kept_nor_framed(notes: httpx.AsyncClient) -> None:
    headers = (await notes.get("/v1/notes")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Idempotency-Key", "If-Match", "Content-Encoding"])
async def test_a_header_that_two_readers_could_read_differently_comes_once(
    notes: httpx.AsyncClient, bearer: Bearer, name: str
) -> None:
    said = {
        **bearer("hr_admin"),
        "If-Match": '"7"',
        "Idempotency-Key": "k",
        "X-API-Key": "k",
        "Content-Encoding": "identity",
    }
    once = await notes.put("/v1/notes/17", json={"text": "a"}, headers=said)
    assert once.status_code == 200
    twice = await notes.put("/v1/notes/17", json={"text": "a"}, headers=[*said.items(), (name, said[name])])
    assert (twice.status_code, twice.json()["type"]) == (400, "urn:plumbline:problem:repeated-header")
    assert [found["pointer"] for found in twice.json()["errors"]] == [name]


async def test_the_process_is_alive_and_ready_without_a_token(
    spans: InMemorySpanExporter, notes: httpx.AsyncClient
) -> None:
    assert (await notes.get("/livez")).status_code == 200
    assert (await notes.get("/readyz")).status_code == 200
    assert not spans.get_finished_spans()


async def test_what_keeps_a_process_from_being_ready_is_named(machinery: Database, verifier: TokenVerifier) -> None:
    async with talk_to(build(machinery, verifier, problems={"consumer": "not assigned"})) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "consumer: not assigned"


@pytest.mark.parametrize(("origin", "admitted"), [("https://portal.example", True), ("https://evil.example", False)])
async def test_only_configured_origins_may_read_answers(
    machinery: Database, verifier: TokenVerifier, bearer: Bearer, origin: str, admitted: bool
) -> None:
    async with talk_to(build(machinery, verifier, cors_origins=("https://portal.example",))) as client:
        answer = await client.get("/v1/notes", headers={**bearer("manager"), "Origin": origin})
        bug = await client.post("/v1/notes/1/failure?how=transient", headers={**bearer("hr_admin"), "Origin": origin})
    assert (answer.headers.get("access-control-allow-origin") == origin) is admitted
    assert (bug.headers.get("access-control-allow-origin") == origin) is admitted


async def test_without_configured_origins_no_answer_names_one(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.get("/v1/notes", headers={**bearer("manager"), "Origin": "https://portal.example"})
    assert "access-control-allow-origin" not in answer.headers
