"""The story of an event can be followed from the request to the batch that applied it, and tells nothing personal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.clock import utc_now
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.messaging import dead_letters, outbox
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Batch
from shared.messaging.log import Partition
from shared.messaging.subscriptions import Subscription
from tests.memory_broker import MemoryBroker
from tests.shared.brokers import applied
from tests.shared.ledger import SERVICE, Ledger, as_sent, eventually, kpi, running, unreadable
from tests.shared.spans import told

Spans = Callable[[], dict[str, ReadableSpan]]
HERE = Partition(KPI_EVENTS.name, 0)
PROCESS = f"process {KPI_EVENTS.name}"


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker({KPI_EVENTS.name: 1})


@pytest.fixture
def ledger(ledger_database: Database) -> Ledger:
    return Ledger(ledger_database, KPI_EVENTS)


def identity(found: SpanContext | None) -> tuple[int, int]:
    assert found is not None
    return found.trace_id, found.span_id


def of(span: ReadableSpan) -> tuple[int, int]:
    return identity(span.get_span_context())


async def announce_in_a_request(database: Database, name: str, event: str) -> str:
    """The traceparent that stands in the outbox row of an event announced by a request of this name."""
    with telemetry.span(name, SpanKind.SERVER, {}):
        async with database.begin() as tx:
            outbox.append(tx, [kpi(event)])
    async with database.begin() as tx:
        rows = await tx.execute(text("SELECT traceparent FROM outbox ORDER BY id DESC LIMIT 1"))
        return str(rows.scalar_one())


def append(broker: MemoryBroker, event: str, traceparent: str | None) -> None:
    sent = as_sent(kpi(event), traceparent=traceparent)
    broker.append(HERE, sent.key, sent.value, sent.headers)


async def test_a_batch_is_linked_to_the_requests_that_caused_it_and_starts_a_trace_of_its_own(
    broker: MemoryBroker, ledger: Ledger, spans: Spans
) -> None:
    for name, event in (("POST /first", "k-1"), ("POST /second", "k-2")):
        append(broker, event, await announce_in_a_request(ledger.database, name, event))
    append(broker, "k-3", None)
    async with running(ledger.consumer(lambda: broker.reader(SERVICE, [KPI_EVENTS.name]))):
        await eventually(lambda: applied(ledger, 3))
    found = spans()
    batch = found[PROCESS]
    assert [identity(link.context) for link in batch.links] == [of(found["POST /first"]), of(found["POST /second"])]
    assert batch.parent is None
    assert batch.kind == SpanKind.CONSUMER
    assert batch.attributes == {
        telemetry.DESTINATION: KPI_EVENTS.name,
        telemetry.PARTITION: 0,
        telemetry.FIRST_OFFSET: 0,
        telemetry.BATCH_SIZE: 3,
        telemetry.PARKED: 0,
    }


async def test_what_a_batch_announces_names_the_batch_as_its_cause(
    broker: MemoryBroker, ledger_database: Database, spans: Spans
) -> None:
    async def announce(tx: AsyncConnection, _: Batch) -> None:
        outbox.append(tx, [kpi("k-2")])

    append(broker, "k-1", None)
    consumer = Consumer(
        ledger_database,
        [Subscription(KPI_EVENTS, announce)],
        lambda: broker.reader(SERVICE, [KPI_EVENTS.name]),
        utc_now,
    )

    async def announced() -> str | None:
        async with ledger_database.begin() as tx:
            return (await tx.execute(text("SELECT traceparent FROM outbox"))).scalar_one_or_none()

    async def seen() -> bool:
        return await announced() is not None

    async with running(consumer):
        await eventually(seen)
    assert identity(telemetry.parse_traceparent(await announced())) == of(spans()[PROCESS])


async def test_a_parked_record_keeps_the_trace_it_came_from(broker: MemoryBroker, ledger: Ledger, spans: Spans) -> None:
    traceparent = await announce_in_a_request(ledger.database, "POST /first", "k-1")
    bad = unreadable()
    broker.append(HERE, bad.key, bad.value, [*bad.headers, ("traceparent", traceparent.encode())])
    append(broker, "k-2", None)
    async with running(ledger.consumer(lambda: broker.reader(SERVICE, [KPI_EVENTS.name]))):
        await eventually(lambda: applied(ledger, 1))
    async with ledger.database.begin() as tx:
        (letter,) = await dead_letters.page(tx, provider=None, state=None, topic=None, after=None, limit=1)
    found = spans()
    assert letter.trace_id == f"{of(found['POST /first'])[0]:032x}"
    assert (found[PROCESS].attributes or {})[telemetry.PARKED] == 1


async def test_an_error_leaves_its_type_in_the_span_and_nothing_personal(
    broker: MemoryBroker, ledger: Ledger, spans: Spans
) -> None:
    append(broker, "k-1", None)
    ledger.failures["k-1"].append(ConnectionResetError("while paying Ann 1,234 EUR"))
    with pytest.raises(ValueError, match="Ann"), telemetry.span("POST /first", SpanKind.SERVER, {}):
        raise ValueError("Ann earns 1,234 EUR")
    async with running(ledger.consumer(lambda: broker.reader(SERVICE, [KPI_EVENTS.name]))):
        await eventually(lambda: applied(ledger, 1))
    request = spans()["POST /first"]
    assert request.status.status_code == StatusCode.ERROR
    assert request.attributes == {telemetry.ERROR_TYPE: "ValueError"}
    for span in spans().values():
        assert "Ann" not in told(span)
        assert "e-1" not in told(span)
