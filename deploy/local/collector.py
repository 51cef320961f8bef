"""Receives traces over OTLP/HTTP and answers questions about them."""

import argparse
import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.local.spans import SpanRef, SpanStore, SpanWriter, StoredSpan, Value

_PROTOBUF = "application/x-protobuf"
_STATUS = {0: "unset", 1: "ok", 2: "error"}


def decode(body: bytes) -> Iterator[StoredSpan]:
    """The spans of an export request; raises `DecodeError` for anything else."""
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", "unknown"))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _stored(span, service)


def app(writer: SpanWriter, store: SpanStore) -> FastAPI:
    served = FastAPI(title="Plumbline local trace collector", docs_url=None, redoc_url=None)

    @served.post("/v1/traces")
    async def receive(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != _PROTOBUF:
            raise HTTPException(415, f"only {_PROTOBUF} is understood")
        body = await request.body()
        try:
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            spans = list(decode(body))
        except (DecodeError, OSError, EOFError, zlib.error) as error:
            raise HTTPException(400, f"not an OTLP trace export: {error}") from error
        writer.add(spans)
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=_PROTOBUF)

    @served.get("/traces/{trace_id}")
    async def trace(trace_id: str) -> list[dict[str, object]]:
        return _answer(store.trace(trace_id))

    @served.get("/links")
    async def links(trace_id: str, span_id: str | None = None) -> list[dict[str, object]]:
        return _answer(store.links_to(trace_id, span_id))

    @served.get("/spans")
    async def spans(key: str, value: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, object]]:
        return _answer(store.with_attribute(key, value, limit))

    @served.get("/count")
    async def count() -> dict[str, int]:
        return {"spans": store.count()}

    return served


def _answer(spans: Iterable[StoredSpan]) -> list[dict[str, object]]:
    return [asdict(span) for span in spans]


def _stored(span: Span, service: str) -> StoredSpan:
    return StoredSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        status=_STATUS.get(span.status.code, "unset"),
        attributes=_attributes(span.attributes),
        links=tuple(SpanRef(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [item for item in map(_value, value.array_value.values) if not isinstance(item, list)]
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        plain: str | bool | int | float = getattr(value, kind)
        return plain
    return str(value).strip()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.collector", description=__doc__)
    arguments.add_argument("--path", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    writer = SpanWriter(given.path)
    served = app(writer, SpanStore(given.path))
    uvicorn.run(served, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
