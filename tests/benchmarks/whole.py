"""What several services do together: the way from a request to a readable scorecard, tracing, memory at rest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import asyncpg

from deploy.local.environment import process_environment
from deploy.services import SERVICES
from tests.benchmarks.load import bodies, exchange, post_all, request
from tests.benchmarks.report import Measure, Pair, paired
from tests.benchmarks.rig import Rig, drained, set_up_ingest
from tests.benchmarks.scoring_rig import CYCLE, applied, open_cycle, scored

PATH = "/v1/kpi-events"
PROBES = 120
BURST = 30_000
"""Events posted at once to see what ingest and scoring sustain together."""
_BLOCK = 100


def latency(rig: Rig) -> Iterator[Measure]:
    """One event posted, until the scorecard that contains it can be read, beside a steady load."""
    dsn = rig.database("ingest")
    dsn_scoring = rig.database("scoring")
    with rig.service("ingest", otlp_endpoint=""), rig.service("scoring", otlp_endpoint=""):
        key = {"x-api-key": set_up_ingest(rig)}
        asyncio.run(drained(dsn))
        _cycle_when_known(rig)
        asyncio.run(_sustained(rig, key, dsn_scoring))
        sustained = asyncio.run(_sustained(rig, key, dsn_scoring))
        samples = asyncio.run(_probe(rig, key, sustained / 2))
    cuts = statistics.quantiles(samples, n=100)
    note = f"median {statistics.median(samples):.2f} s, {len(samples)} probes beside {sustained / 2:,.0f} events/s"
    yield Measure("POST to readable scorecard, p99", "seconds", cuts[98], at_most=2.0, note=note)


def _cycle_when_known(rig: Rig) -> None:
    """The metric has to reach scoring before a template can name it."""
    for _ in range(100):
        try:
            open_cycle(rig)
        except RuntimeError:
            time.sleep(0.3)
        else:
            return
    raise RuntimeError("scoring never heard of the metric")


async def _sustained(rig: Rig, key: Mapping[str, str], dsn_scoring: str) -> float:
    """Events a second from the first POST until the last scorecard is saved."""
    connection = await asyncpg.connect(dsn_scoring)
    before = await applied(connection)
    payloads = bodies(BURST // _BLOCK, _BLOCK, f"burst-{time.time_ns()}", people=1_900)
    started = time.perf_counter()
    await post_all(rig.stack.port("ingest"), PATH, key, payloads, 4)
    while await applied(connection) < before + BURST or not await scored(connection):
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - started
    await connection.close()
    return BURST / seconds


async def _probe(rig: Rig, key: Mapping[str, str], rate: float) -> list[float]:
    stop = asyncio.Event()
    load = asyncio.create_task(_steady(rig, key, rate, stop))
    await asyncio.sleep(5)
    token = rig.token("hr_admin")
    samples = []
    for number in range(PROBES):
        employee = 1_900 + number % 100
        samples.append(await _seen(rig, key, token, employee, f"probe-{number}"))
    stop.set()
    await load
    return samples


async def _steady(rig: Rig, key: Mapping[str, str], rate: float, stop: asyncio.Event) -> None:
    salt = f"steady-{time.time_ns()}"
    payloads = (bodies(1, _BLOCK, f"{salt}-{number}", people=1_900)[0] for number in itertools.count())
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.stack.port("ingest"))
    due = time.perf_counter()
    while not stop.is_set():
        await exchange(
            reader, writer, request("POST", PATH, {"content-type": "application/json", **key}, next(payloads))
        )
        due += _BLOCK / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    writer.close()


async def _seen(rig: Rig, key: Mapping[str, str], token: Mapping[str, str], number: int, event: str) -> float:
    event_id = f"{event}-{time.time_ns()}"
    body = {
        "id": event_id,
        "agent": f"A-{number:05d}",
        "metric": "aht",
        "occurred_at": "2026-05-05T10:00:00+00:00",
        "numerator": 9_000 + time.time_ns() % 5_000,
        "denominator": 25,
    }
    path = f"/v1/cycles/{CYCLE}/scorecards/e-{number:05d}/lineage?limit=200"
    to_ingest = await asyncio.open_connection("127.0.0.1", rig.stack.port("ingest"))
    to_scoring = await asyncio.open_connection("127.0.0.1", rig.stack.port("scoring"))
    started = time.perf_counter()
    payload = json.dumps(body).encode()
    await exchange(*to_ingest, request("POST", PATH, {"content-type": "application/json", **key}, payload))
    while event_id.encode() not in (await exchange(*to_scoring, request("GET", path, token, b"")))[1]:
        await asyncio.sleep(0.03)
    seconds = time.perf_counter() - started
    to_ingest[1].close()
    to_scoring[1].close()
    return seconds


def tracing(rig: Rig) -> Iterator[Measure]:
    """Ingest with tracing on and off, one process at a time: of two on one database, one would relay for both."""
    dsn = rig.database("ingest")
    port = rig.stack.port("ingest")
    collector = [sys.executable, "-m", "deploy.local.collector", "--path", str(rig.stack.spans)]
    collector += ["--port", str(rig.stack.port("collector"))]
    with contextlib.ExitStack() as running:
        environment = process_environment(rig.stack)
        running.enter_context(rig.process(collector, environment, rig.stack.port("collector"), path="/count"))
        with rig.service("ingest"):
            key = {"x-api-key": set_up_ingest(rig)}

        def posted(salt: str, **settings: str) -> float:
            with rig.service("ingest", **settings):
                asyncio.run(post_all(port, PATH, key, bodies(10, 1_000, f"{salt}-warm"), 4))
                asyncio.run(drained(dsn))
                seconds = asyncio.run(post_all(port, PATH, key, bodies(40, 1_000, salt), 4)).seconds
                asyncio.run(drained(dsn))
            return 40_000 / seconds

        pair = Pair(posted, lambda salt: posted(salt, otlp_endpoint=""))
        yield paired("tracing on / off, ingest", "events/s", pair, 5, lambda: None, at_least=0.85)


def memory(rig: Rig) -> Iterator[Measure]:
    """Resident memory of each service, ready and left alone for ten seconds."""
    for name in SERVICES:
        rig.database(name)
        with rig.service(name, otlp_endpoint="") as process:
            time.sleep(10)
            status = Path(f"/proc/{process.pid}/status").read_text()
        resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
        yield Measure(f"memory of {name} at rest", "MiB", resident, at_most=150)
