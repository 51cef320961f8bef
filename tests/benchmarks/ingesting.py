"""Ingest over HTTP, against the floor and the plain service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from tests.benchmarks.floors import insert_bodies
from tests.benchmarks.load import bodies, post_all, single_bodies
from tests.benchmarks.report import Measure, Pair, paired
from tests.benchmarks.rig import Rig, drained, set_up_ingest

PAIRS = 5
REQUESTS = 40
BATCH = 1_000
IN_FLIGHT = 4
PLAIN_PORT = 8490
PATH = "/v1/kpi-events"


def measure(rig: Rig) -> Iterator[Measure]:
    dsn, scratch = rig.database("ingest"), rig.scratch()
    with rig.service("ingest", otlp_endpoint=""), rig.plain_service(PLAIN_PORT, scratch):
        key = {"x-api-key": set_up_ingest(rig)}
        asyncio.run(drained(dsn))
        port = rig.stack.port("ingest")

        def ours(salt: str) -> float:
            payloads = bodies(REQUESTS, BATCH, salt)
            return REQUESTS * BATCH / asyncio.run(post_all(port, PATH, key, payloads, IN_FLIGHT)).seconds

        def floor(salt: str) -> float:
            return REQUESTS * BATCH / asyncio.run(insert_bodies(scratch, bodies(REQUESTS, BATCH, salt), IN_FLIGHT))

        def plain(salt: str) -> float:
            payloads = bodies(4, BATCH, salt)
            return 4 * BATCH / asyncio.run(post_all(PLAIN_PORT, "/events", {}, payloads, IN_FLIGHT)).seconds

        def ours_single(salt: str) -> float:
            payloads = single_bodies(2_000, salt)
            return 2_000 / asyncio.run(post_all(port, PATH, key, payloads, 32)).seconds

        def plain_single(salt: str) -> float:
            payloads = single_bodies(2_000, salt)
            return 2_000 / asyncio.run(post_all(PLAIN_PORT, "/event", {}, payloads, 32)).seconds

        def settle() -> None:
            asyncio.run(drained(dsn))
            time.sleep(0.5)

        ours("warm"), floor("warm"), plain("warm"), ours_single("warm-1"), plain_single("warm-1")
        yield paired("ingest, relay running / floor", "events/s", Pair(ours, floor), PAIRS, settle, at_least=0.4)
        yield paired("ingest / plain service", "events/s", Pair(ours, plain), PAIRS, settle, at_least=25)
        single = Pair(ours_single, plain_single)
        yield paired("single events, 32 at once / plain service", "requests/s", single, PAIRS, settle, at_least=1.5)
        with rig.frozen_broker():
            yield paired("ingest, relay paused / floor", "events/s", Pair(ours, floor), PAIRS, _rest, at_least=0.55)
        settle()


def _rest() -> None:
    time.sleep(0.5)
