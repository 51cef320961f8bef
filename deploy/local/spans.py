"""Spans in a SQLite file: by trace, by what links to them, by attribute."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.sqlite import open_readable, open_writable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    seq INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, service TEXT NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL,
    status TEXT NOT NULL, attributes TEXT NOT NULL, UNIQUE (trace_id, span_id)
);
CREATE TABLE IF NOT EXISTS links (seq INTEGER NOT NULL, trace_id TEXT NOT NULL, span_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS links_target ON links (trace_id, span_id);
CREATE INDEX IF NOT EXISTS links_seq ON links (seq);
CREATE TABLE IF NOT EXISTS attributes (seq INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attributes_value ON attributes (key, value);
CREATE INDEX IF NOT EXISTS attributes_seq ON attributes (seq);
"""
_TRIM_EVERY = 2_000

Value = str | int | float | bool | list[str | int | float | bool]


@dataclass(frozen=True)
class SpanRef:
    """Trace id and span id, both in lower-case hexadecimal, as a `traceparent` has them."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class StoredSpan:
    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    started_ns: int
    ended_ns: int
    status: str
    attributes: dict[str, Value] = field(default_factory=dict)
    links: tuple[SpanRef, ...] = ()

    @property
    def ref(self) -> SpanRef:
        return SpanRef(self.trace_id, self.span_id)


class SpanStore:
    """Reads the spans that the collector keeps; spans come in order of their start."""

    def __init__(self, path: Path) -> None:
        self._connection = open_readable(path)

    def close(self) -> None:
        self._connection.close()

    def trace(self, trace_id: str) -> list[StoredSpan]:
        return self._spans("WHERE spans.trace_id = ?", [trace_id])

    def span(self, ref: SpanRef) -> StoredSpan | None:
        found = self._spans("WHERE spans.trace_id = ? AND spans.span_id = ?", [ref.trace_id, ref.span_id])
        return found[0] if found else None

    def links_to(self, trace_id: str, span_id: str | None = None) -> list[StoredSpan]:
        """Spans that name this one as a cause; without `span_id`, those that name any span of the trace."""
        condition = "trace_id = ?" + (" AND span_id = ?" if span_id else "")
        return self._spans(
            f"WHERE seq IN (SELECT seq FROM links WHERE {condition})",  # noqa: S608 - a constant
            [trace_id, *([span_id] if span_id else [])],
        )

    def with_attribute(self, key: str, value: Value, limit: int = 100) -> list[StoredSpan]:
        """The newest spans whose attribute has this value, or is a list that contains it."""
        return self._spans(
            "WHERE seq IN (SELECT seq FROM attributes WHERE key = ? AND value = ? ORDER BY seq DESC LIMIT ?)",
            [key, _indexed(value), limit],
        )

    def count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM spans").fetchone()[0])

    def _spans(self, condition: str, values: Sequence[object]) -> list[StoredSpan]:
        query = f"SELECT * FROM spans {condition} ORDER BY started_ns, seq"  # noqa: S608 - a constant
        return [self._span(row) for row in self._connection.execute(query, values).fetchall()]

    def _span(self, row: sqlite3.Row) -> StoredSpan:
        links = self._connection.execute("SELECT trace_id, span_id FROM links WHERE seq = ?", [row["seq"]])
        stored = {key: row[key] for key in row.keys() if key not in ("seq", "attributes")}  # noqa: SIM118
        return StoredSpan(
            **stored, attributes=json.loads(row["attributes"]), links=tuple(SpanRef(link[0], link[1]) for link in links)
        )


class SpanWriter:
    """Adds spans and forgets the oldest beyond `keep_spans` spans or `keep_links` links."""

    def __init__(self, path: Path, keep_spans: int = 200_000, keep_links: int = 2_000_000) -> None:
        self._connection = open_writable(path, _SCHEMA)
        self._keep_spans = keep_spans
        self._keep_links = keep_links
        self._since_trim = 0

    def close(self) -> None:
        self._connection.close()

    def add(self, spans: Iterable[StoredSpan]) -> None:
        """A span that is there already is left alone: exporters repeat a batch whose answer they missed."""
        with self._connection:
            for span in spans:
                self._insert(span)
                self._since_trim += 1 + len(span.links)
        if self._since_trim >= _TRIM_EVERY:
            self.trim()

    def trim(self) -> None:
        self._since_trim = 0
        with self._connection:
            oldest = self._connection.execute(
                "SELECT max(coalesce((SELECT seq FROM spans ORDER BY seq DESC LIMIT 1 OFFSET ?), 0),"
                " coalesce((SELECT seq FROM links ORDER BY seq DESC LIMIT 1 OFFSET ?), 0))",
                [self._keep_spans, self._keep_links],
            ).fetchone()[0]
            for table in ("spans", "links", "attributes"):
                self._connection.execute(f"DELETE FROM {table} WHERE seq <= ?", [oldest])  # noqa: S608 - a constant

    def _insert(self, span: StoredSpan) -> None:
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO spans (trace_id, span_id, parent_id, service, name, kind, started_ns, ended_ns,"
            " status, attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(span.trace_id, span.span_id, span.parent_id, span.service, span.name, span.kind),
                *(span.started_ns, span.ended_ns, span.status, json.dumps(span.attributes)),
            ),
        )
        if cursor.rowcount == 0:
            return
        seq = cursor.lastrowid
        self._connection.executemany(
            "INSERT INTO links VALUES (?, ?, ?)", [(seq, link.trace_id, link.span_id) for link in span.links]
        )
        pairs = [
            (seq, key, _indexed(item))
            for key, value in span.attributes.items()
            for item in (value if isinstance(value, list) else [value])
        ]
        self._connection.executemany("INSERT INTO attributes VALUES (?, ?, ?)", pairs)


def _indexed(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
