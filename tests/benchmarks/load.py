"""A cheap load generator: bodies made beforehand, HTTP/1.1 over plain streams, one connection per worker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

PEOPLE = 2_000
METRIC = "aht"
START = datetime(2026, 4, 6, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """What a round of requests took, in seconds."""

    requests: int
    seconds: float
    latencies: Sequence[float]


def events(count: int, salt: str, *, people: int = PEOPLE) -> list[dict[str, str | int]]:
    """Distinct observations of random people; `salt` keeps the ids of two rounds apart."""
    random = Random(salt)
    return [
        {
            "id": f"{salt}-{number}",
            "agent": f"A-{random.randrange(people):05d}",
            "metric": METRIC,
            "occurred_at": (START + timedelta(minutes=random.randrange(80 * 24 * 60))).isoformat(),
            "numerator": random.randrange(5_000, 20_000),
            "denominator": random.randrange(20, 60),
        }
        for number in range(count)
    ]


def bodies(count: int, size: int, salt: str, *, people: int = PEOPLE) -> list[bytes]:
    """`count` JSON arrays of `size` events."""
    found = events(count * size, salt, people=people)
    return [json.dumps(found[start : start + size]).encode() for start in range(0, len(found), size)]


def single_bodies(count: int, salt: str) -> list[bytes]:
    return [json.dumps(event).encode() for event in events(count, salt)]


def request(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> tuple[int, bytes]:
    """Send one request on a kept connection; status and body of the answer."""
    writer.write(message)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return status, await reader.readexactly(length) if length else b""


async def post_all(
    port: int, path: str, headers: Mapping[str, str], payloads: Sequence[bytes], workers: int
) -> Outcome:
    """Post every payload once over `workers` connections; any answer but 202 stops the round with an error."""
    waiting = [request("POST", path, {"content-type": "application/json", **headers}, body) for body in payloads]
    waiting.reverse()
    latencies: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            message = waiting.pop()
            sent = time.perf_counter()
            status, answer = await exchange(reader, writer, message)
            if status != 202 or b'"rejected":[{' in answer:
                raise RuntimeError(f"{path} answered {status}: {answer[:300]!r}")
            latencies.append(time.perf_counter() - sent)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return Outcome(len(payloads), time.perf_counter() - started, latencies)
