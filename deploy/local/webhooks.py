"""Receives webhooks on this machine: keeps every delivery, and can be told to fail some first."""

import argparse
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Query, Request, Response

from deploy.local.sqlite import open_writable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY, received TEXT NOT NULL, path TEXT NOT NULL, webhook_id TEXT,
    status INTEGER NOT NULL, headers TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_webhook ON deliveries (webhook_id);
"""
_KEPT = 100_000

Delivery = dict[str, object]


class Receiver:
    """Deliveries in the order they came, with the status they were answered with."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = open_writable(path, _SCHEMA)
        self._to_fail = 0

    def close(self) -> None:
        self._connection.close()

    def fail(self, times: int) -> None:
        self._to_fail = times

    def add(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keeps a delivery and returns the status to answer with."""
        status = 500 if self._to_fail else 204
        self._to_fail = max(0, self._to_fail - 1)
        row = (
            datetime.now(UTC).isoformat(),
            path,
            headers.get("webhook-id"),
            status,
            json.dumps(headers),
            body.decode(errors="replace"),
        )
        with self._connection:
            self._connection.execute(
                "INSERT INTO deliveries (received, path, webhook_id, status, headers, body) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            self._connection.execute(
                "DELETE FROM deliveries WHERE seq <= (SELECT max(seq) FROM deliveries) - ?", [_KEPT]
            )
        return status

    def received(self, webhook_id: str | None = None, limit: int = 50) -> list[Delivery]:
        rows = self._connection.execute(
            "SELECT * FROM deliveries WHERE ? IS NULL OR webhook_id = ? ORDER BY seq DESC LIMIT ?",
            (webhook_id, webhook_id, limit),
        )
        return [{**dict(row), "headers": json.loads(row["headers"])} for row in rows]

    def count(self, path: str | None = None) -> dict[str, int]:
        found = self._connection.execute(
            "SELECT count(*) AS deliveries, count(*) FILTER (WHERE status = 204) AS accepted,"
            " count(DISTINCT webhook_id) AS distinct_webhook_ids FROM deliveries WHERE ? IS NULL OR path = ?",
            (path, path),
        ).fetchone()
        return dict(found)


def app(receiver: Receiver) -> FastAPI:
    served = FastAPI(title="Plumbline local webhook receiver", docs_url=None, redoc_url=None)

    @served.get("/received")
    async def received(
        webhook_id: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> list[Delivery]:
        return receiver.received(webhook_id, limit)

    @served.get("/count")
    async def count(path: str | None = None) -> dict[str, int]:
        return receiver.count(path)

    @served.post("/fail", status_code=204)
    async def fail(times: Annotated[int, Query(ge=0, le=1000)]) -> None:
        receiver.fail(times)

    @served.post("/{path:path}")
    async def deliver(path: str, request: Request) -> Response:
        status = receiver.add(f"/{path}", dict(request.headers), await request.body())
        return Response(status_code=status)

    return served


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.webhooks", description=__doc__)
    arguments.add_argument("--path", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    uvicorn.run(app(Receiver(given.path)), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
