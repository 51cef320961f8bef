"""The small world, told once and then only looked at or copied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider

from deploy.local.databases import DatabaseUrls, drop_database
from deploy.local.postgres import PostgresServer
from deploy.local.spans import SpanRef, SpanWriter, StoredSpan
from tests.issuer import ServedIssuer
from tests.system.pipeline import NAMES, at_work, running
from tests.system.small_world import NOW, SmallWorld

_SERVICE = "test.service"


@dataclass(frozen=True)
class Told:
    """The databases of the five services after the small world's quarter, to which nobody is connected, and its spans
    as the collector keeps them."""

    urls: Mapping[str, DatabaseUrls]
    spans: Path


@pytest.fixture(scope="session")
def told(
    clone: Callable[[str], DatabaseUrls],
    postgres: PostgresServer,
    issuer: ServedIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    urls = {name: clone(name) for name in NAMES}
    kept = _Kept()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # it can be set only once in a process
        provider = TracerProvider(span_limits=SpanLimits(max_links=10_000))
        trace.set_tracer_provider(provider)
    provider.add_span_processor(kept)

    async def tell() -> None:
        async with running(urls, issuer, NOW) as pipeline:
            await SmallWorld(pipeline).told()

    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, tell()).result()
    kept.ends()
    path = tmp_path_factory.mktemp("spans") / "spans.sqlite"
    writer = SpanWriter(path)
    writer.add(map(_stored, kept.spans))
    writer.close()
    yield Told(urls, path)
    for each in urls.values():
        drop_database(postgres, each.name)


class _Kept(SpanProcessor):
    """Every span, with the service that was at work when it began, until `ends`."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self._ended = False

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        if not self._ended:
            span.set_attribute(_SERVICE, at_work.get())

    def on_end(self, span: ReadableSpan) -> None:
        if not self._ended:
            self.spans.append(span)

    def ends(self) -> None:
        self._ended = True


def _stored(span: ReadableSpan) -> StoredSpan:
    where = span.get_span_context()
    assert where is not None and span.start_time is not None and span.end_time is not None
    return StoredSpan(
        trace_id=f"{where.trace_id:032x}",
        span_id=f"{where.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else None,
        service=str((span.attributes or {})[_SERVICE]),
        name=span.name,
        kind=span.kind.name.lower(),
        started_ns=span.start_time,
        ended_ns=span.end_time,
        status="unset",
        attributes={key: value for key, value in (span.attributes or {}).items() if isinstance(value, str | int)},
        links=tuple(_links(span)),
    )


def _links(span: ReadableSpan) -> Iterable[SpanRef]:
    for link in span.links:
        yield SpanRef(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}")
