from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.local.collector import app
from deploy.local.spans import SpanRef, SpanStore, SpanWriter, StoredSpan

PROTOBUF = {"content-type": "application/x-protobuf"}


def exported(number: int, *, links: tuple[int, ...] = ()) -> bytes:
    """An export of one span; its trace id and span id are the number."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    named = resource.resource.attributes.add()
    named.key, named.value.string_value = "service.name", "scoring"
    span = resource.scope_spans.add().spans.add()
    span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
    span.name, span.kind = "apply batch", span.SPAN_KIND_CONSUMER
    span.start_time_unix_nano, span.end_time_unix_nano = number, number + 5
    size = span.attributes.add()
    size.key, size.value.int_value = "messaging.batch.message_count", 7
    events = span.attributes.add()
    events.key = "plumbline.events"
    for event in ("e-1", "e-2"):
        events.value.array_value.values.add().string_value = event
    for target in links:
        link = span.links.add()
        link.trace_id, link.span_id = target.to_bytes(16, "big"), target.to_bytes(8, "big")
    return bytes(request.SerializeToString())


def ref(number: int) -> SpanRef:
    return SpanRef(f"{number:032x}", f"{number:016x}")


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, SpanStore]]:
    writer, store = SpanWriter(tmp_path / "spans.sqlite"), SpanStore(tmp_path / "spans.sqlite")
    transport = httpx.ASGITransport(app(writer, store))
    async with httpx.AsyncClient(transport=transport, base_url="http://collector.test", headers=PROTOBUF) as client:
        yield client, store
    store.close()
    writer.close()


async def test_a_span_is_found_by_trace_by_link_and_by_attribute(
    collector: tuple[httpx.AsyncClient, SpanStore],
) -> None:
    client, store = collector
    assert (await client.post("/v1/traces", content=exported(1))).status_code == 200
    await client.post("/v1/traces", content=exported(2, links=(1,)))
    (cause,) = store.trace(ref(1).trace_id)
    assert (cause.service, cause.name, cause.kind, cause.ended_ns) == ("scoring", "apply batch", "consumer", 6)
    assert cause.attributes == {"messaging.batch.message_count": 7, "plumbline.events": ["e-1", "e-2"]}
    (effect,) = store.links_to(ref(1).trace_id, ref(1).span_id)
    assert effect.ref == ref(2)
    assert effect.links == (ref(1),)
    assert [span.ref for span in store.with_attribute("messaging.batch.message_count", 7)] == [ref(1), ref(2)]
    assert [span.ref for span in store.with_attribute("plumbline.events", "e-2", limit=1)] == [ref(2)]
    assert store.span(ref(9)) is None


async def test_the_same_answers_come_over_http(collector: tuple[httpx.AsyncClient, SpanStore]) -> None:
    client, _ = collector
    for number, links in ((1, ()), (2, (1,))):
        await client.post("/v1/traces", content=exported(number, links=links))
    assert (await client.get(f"/traces/{ref(1).trace_id}")).json()[0]["name"] == "apply batch"
    assert (await client.get("/links", params={"trace_id": ref(1).trace_id})).json()[0]["span_id"] == ref(2).span_id
    found = await client.get("/spans", params={"key": "plumbline.events", "value": "e-1"})
    assert len(found.json()) == 2
    assert (await client.get("/count")).json() == {"spans": 2}


async def test_a_repeated_export_is_kept_once(collector: tuple[httpx.AsyncClient, SpanStore]) -> None:
    client, store = collector
    for _ in range(2):
        await client.post("/v1/traces", content=exported(2, links=(1,)))
    assert store.count() == 1
    assert len(store.links_to(ref(1).trace_id)) == 1


async def test_gzip_is_accepted_and_nonsense_refused(collector: tuple[httpx.AsyncClient, SpanStore]) -> None:
    client, store = collector
    zipped = {"content-encoding": "gzip"}
    assert (await client.post("/v1/traces", content=gzip.compress(exported(1)), headers=zipped)).status_code == 200
    assert (await client.post("/v1/traces", content=exported(2), headers=zipped)).status_code == 400
    assert (await client.post("/v1/traces", content=b"\xff\xff nonsense")).status_code == 400
    json = {"content-type": "application/json"}
    assert (await client.post("/v1/traces", content=b"{}", headers=json)).status_code == 415
    assert store.count() == 1


def test_the_oldest_spans_are_forgotten(tmp_path: Path) -> None:
    writer = SpanWriter(tmp_path / "spans.sqlite", keep_spans=3, keep_links=100)
    for number in range(1, 6):
        writer.add([_span(number)])
    writer.trim()
    store = SpanStore(tmp_path / "spans.sqlite")
    assert [bool(store.span(ref(number))) for number in range(1, 6)] == [False, False, True, True, True]
    assert len(store.links_to(ref(77).trace_id)) == 3
    store.close()
    writer.close()


def test_spans_with_very_many_links_count_for_more(tmp_path: Path) -> None:
    writer = SpanWriter(tmp_path / "spans.sqlite", keep_spans=100, keep_links=2)
    for number in range(1, 6):
        writer.add([_span(number)])
    writer.trim()
    store = SpanStore(tmp_path / "spans.sqlite")
    assert store.count() == 2
    store.close()
    writer.close()


def _span(number: int) -> StoredSpan:
    return StoredSpan(
        **{"trace_id": ref(number).trace_id, "span_id": ref(number).span_id},
        parent_id=None,
        service="scoring",
        name="apply batch",
        kind="consumer",
        started_ns=number,
        ended_ns=number,
        status="unset",
        attributes={"n": number},
        links=(ref(77),),
    )
