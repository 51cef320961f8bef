"""`python -m deploy.local story <source>/<id>`: one KPI event from its request to the notice, edge by edge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.text import Text

from deploy.local.databases import service_urls
from deploy.local.layout import Stack
from deploy.local.spans import SpanRef, SpanStore, StoredSpan
from deploy.services import SERVICES
from shared.contracts.event import person_key

_BROKEN, _UNKNOWN = 1, 3
_PARTITION = "messaging.destination.partition.id"
_SCORING = ("timer rescore", "timer freeze")
_out = Console(highlight=False, soft_wrap=True)

Databases = Mapping[str, asyncpg.Connection]


@dataclass
class Node:
    """A span, or a fact of a database between two spans."""

    title: str
    span: StoredSpan | None = None
    children: list[Node] = field(default_factory=list)

    def add(self, child: Node) -> Node:
        self.children.append(child)
        return child


@dataclass
class Story:
    """`missing` names every edge that must be there, by what the databases say, and is not."""

    root: Node
    missing: list[str] = field(default_factory=list)


def story(event: Annotated[str, typer.Argument(help="<source>/<id>, as the source named it.")]) -> None:
    """Follow one KPI event over scorecard, classification and award to the notice, by its traces."""
    stack = Stack.from_environment()
    if not stack.spans.exists():
        _out.print(f"There are no traces in {stack.state}: the stack has never run.")
        raise typer.Exit(_UNKNOWN)
    server = stack.postgres
    dsns = {name: server.superuser_dsn(service_urls(server, name).name) for name in SERVICES}
    store = SpanStore(stack.spans)
    try:
        found = asyncio.run(follow(dsns, store, event))
    except (OSError, asyncpg.PostgresError) as error:
        _out.print(f"The databases cannot be read: {error}", markup=False)
        raise typer.Exit(_UNKNOWN) from None
    finally:
        store.close()
    for line in drawn(found.root):
        _out.print(line)
    for edge in found.missing:
        _out.print(f"missing: {edge}", markup=False)
    if found.missing:
        raise typer.Exit(_BROKEN)


async def follow(dsns: Mapping[str, str], store: SpanStore, event: str) -> Story:
    """The story of an event: what the databases say became of it, and the spans that did it."""
    databases: dict[str, asyncpg.Connection] = {}
    try:
        for name in SERVICES:
            databases[name] = await asyncpg.connect(dsns[name], timeout=10)
        return await _Teller(databases, store, event).tell()
    finally:
        for connection in databases.values():
            await connection.close()


def drawn(node: Node, guide: str = "", branch: str = "") -> Iterator[Text]:
    """A tree, one line for each node however long: a chain of twelve steps leaves no width to wrap in."""
    yield Text(guide + branch, style="dim").append_text(_line(node))
    below = guide + {"": "", "├ ": "│ ", "└ ": "  "}[branch]
    for child in node.children:
        yield from drawn(child, below, "└ " if child is node.children[-1] else "├ ")


def _line(node: Node) -> Text:
    if node.span is None:
        return Text(node.title, style="italic")
    at = datetime.fromtimestamp(node.span.started_ns / 1e9, UTC)
    took = (node.span.ended_ns - node.span.started_ns) / 1e6
    return Text.assemble(
        (f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} ", "dim"),
        (f"{node.span.service} ", "cyan"),
        (node.span.name, "bold"),
        f" {took:,.1f} ms",
        f"  {node.title}" if node.title else "",
        (f"  trace {node.span.trace_id}", "dim"),
    )


def referred(traceparent: str | None) -> SpanRef | None:
    parts = (traceparent or "").split("-")
    return SpanRef(parts[1], parts[2]) if len(parts) == 4 else None


class _Teller:
    def __init__(self, databases: Databases, store: SpanStore, event: str) -> None:
        self._databases = databases
        self._store = store
        self._event = event
        self._told = Story(Node(f"event {event}"))
        self._partition = -1

    async def tell(self) -> Story:
        rows = await self._databases["ingest"].fetch(
            """SELECT provider_id AS provider, employee_id AS employee, metric, kind, occurred_on, recorded_at, trace_id
               FROM kpi_events WHERE event_id = $1""",
            self._event,
        )
        if not rows:
            self._miss(f"ingest has accepted no event {self._event}")
        for row in rows:
            root = self._told.root
            if len(rows) > 1:
                root = root.add(Node(f"provider {row['provider']}"))
            await self._from_request(row, root)
        return self._told

    async def _from_request(self, event: asyncpg.Record, root: Node) -> None:
        posts = [
            span
            for span in self._store.trace(event["trace_id"] or "")
            if span.service == "ingest" and span.name.startswith("POST /v1/")
        ]
        if not posts:
            self._miss(f"journal of ingest → POST /v1/kpi-events: no span of trace {event['trace_id']} was kept")
            return
        kind = (
            f"{event['kind']} of {event['metric']} on {event['occurred_on']}, accepted {event['recorded_at']:%Y-%m-%d}"
        )
        post = root.add(Node(kind, posts[0]))
        self._partition = await self._partition_of(event["provider"], event["employee"])
        fact = await self._databases["scoring"].fetchrow(
            "SELECT sequence FROM facts WHERE provider_id = $1 AND event = $2", event["provider"], self._event
        )
        if fact is None:
            post.add(Node("scoring has not read it yet"))
            return
        applied = self._follow(post, "scoring", "process kpi-events")
        scored = [node for each in applied for node in self._linked(each, "scoring", *_SCORING)]
        cycles = await self._databases["scoring"].fetch(
            """SELECT cycle, (SELECT min(at) <= $3 FROM audit_entries AS entry
                              WHERE entry.provider_id = cycles.provider_id AND entry.action = 'cycle.opened'
                                AND entry.object = 'cycle/' || cycle) AS was_open
               FROM cycles WHERE provider_id = $1 AND $2 BETWEEN starts_on AND ends_on ORDER BY cycle""",
            event["provider"],
            event["occurred_on"],
            event["recorded_at"],
        )
        if not cycles:
            post.add(Node(f"no cycle holds {event['occurred_on']}"))
        for cycle in cycles:
            person = _Person(event["provider"], cycle["cycle"], event["employee"], fact["sequence"])
            if await self._scorecards(person, [*scored, *applied, post]) and cycle["was_open"] and not scored:
                self._miss("process kpi-events (scoring) → timer rescore (scoring): no link")

    async def _partition_of(self, provider: str, employee: str) -> int:
        """Where events about a person lie: of the batches that one request caused, theirs is of this partition."""
        from shared.messaging.outbox import partition_of  # Kafka's client is slow to import, for every command

        count = "SELECT count(*) FROM positions WHERE topic = 'kpi-events'"
        partitions = await self._databases["scoring"].fetchval(count)
        return partition_of(person_key(provider, employee), partitions) if partitions else -1

    async def _scorecards(self, person: _Person, before: Sequence[Node]) -> bool:
        """The versions that counted for something: those decided on, and the newest. Whether there is any."""
        rows = await self._databases["scoring"].fetch(
            """SELECT version, status, watermark, accepted_version, traceparent FROM scorecard_versions
               WHERE provider_id = $1 AND cycle = $2 AND employee = $3 ORDER BY version""",
            *person.key,
        )
        versions = {row["version"]: row for row in rows if row["watermark"] >= person.sequence}
        if not versions:
            before[0].add(Node(f"no scorecard of cycle {person.cycle} has counted it yet"))
            return False
        decided = await self._databases["calibration"].fetch(
            """SELECT version, session, decision, scorecard_version FROM classifications
               WHERE provider_id = $1 AND cycle = $2 AND employee = $3 ORDER BY version""",
            *person.key,
        )
        told = {row["scorecard_version"] for row in decided} & versions.keys()
        for version in sorted(told | {max(versions)}):
            row = versions[version]
            made = self._made(person, row, versions, before)
            if made is None or row["status"] == "late":
                continue
            arrived = self._follow(made, "calibration", "process scorecards")
            for classification in decided:
                if classification["scorecard_version"] == version:
                    await self._classification(person, classification, arrived)
        return True

    def _made(
        self, person: _Person, row: asyncpg.Record, versions: Mapping[int, asyncpg.Record], before: Sequence[Node]
    ) -> Node | None:
        """The span that made a version, below what it is linked to; failing a link, below where the event went in."""
        name = f"scorecard {person.cycle} version {row['version']} ({row['status']})"
        span = self._span(row["traceparent"], name)
        if span is None:
            return None
        if row["status"] == "accepted":
            late = versions.get(row["accepted_version"])
            made = self._made(person, late, versions, before) if late else None
            if made is not None:
                self._need(made, span)
                return made.add(Node(name, span))
        for node in before:
            if node.span is not None and node.span.ref == span.ref:
                node.title = node.title or name
                return node
            if node.span is not None and node.span.ref in span.links:
                return node.add(Node(name, span))
        return before[0].add(Node(f"{name}, made later, has counted it")).add(Node("", span))

    async def _classification(self, person: _Person, row: asyncpg.Record, arrived: Sequence[Node]) -> None:
        decision = await self._databases["calibration"].fetchrow(
            """SELECT act, traceparent FROM decisions
               WHERE provider_id = $1 AND session = $2 AND employee = $3 AND version = $4""",
            person.provider,
            row["session"],
            person.employee,
            row["decision"],
        )
        name = f"classification version {row['version']}"
        span = self._span(decision["traceparent"], f"{name}: decision") if decision else None
        if span is None:
            return
        cause = next((node for node in arrived if node.span is not None and node.span.ref in span.links), None)
        if cause is None:
            self._miss(f"process scorecards (calibration) → {span.name}: no link")
            cause = arrived[0] if arrived else self._told.root
        decided = cause.add(Node(f"{decision['act']}, for {name}", span))
        if row["version"] == 1:
            published = self._follow(decided, "calibration", "POST /v1/sessions/{session}/publish")
        else:
            published = [decided]
        for each in published:
            told = self._follow(each, "notifications", "process classifications")
            cause_id = f"classification/{person.cycle}/{person.employee}/{row['version']}"
            await self._delivered(person, cause_id, told)
            known = self._follow(each, "compensation", "process classifications")
            await self._awards(person, row["version"], known)

    async def _awards(self, person: _Person, version: int, known: Sequence[Node]) -> None:
        rows = await self._databases["compensation"].fetch(
            """SELECT award.plan, award.run, award.version, run.traceparent,
                      CAST(subject.inputs -> 'classification' ->> 'version' AS integer) AS decided_on
               FROM awards AS award JOIN runs AS run USING (provider_id, run)
               JOIN run_subjects AS subject USING (provider_id, run, employee)
               WHERE award.provider_id = $1 AND award.cycle = $2 AND award.employee = $3 ORDER BY award.plan""",
            *person.key,
        )
        for row in rows:
            if row["decided_on"] == version:
                announced = self._run(row, known)
                causes = [f"award/{row['run']}/{person.employee}/1"]
            else:
                announced = list(known)
                causes = await self._adjusted(person, row, version)
            for cause in causes:
                for each in announced:
                    await self._delivered(person, cause, self._follow(each, "notifications", "process awards"))

    async def _adjusted(self, person: _Person, award: asyncpg.Record, version: int) -> list[str]:
        """The announcement that a later classification caused, where it moved the award."""
        rows = await self._databases["notifications"].fetch(
            """SELECT cause FROM notices WHERE provider_id = $1 AND recipient = $2 AND kind = 'award-adjusted'
               AND ids ->> 'run' = $3 AND CAST(ids ->> 'classification_version' AS integer) = $4""",
            person.provider,
            person.employee,
            award["run"],
            version,
        )
        return [row["cause"] for row in rows]

    def _run(self, award: asyncpg.Record, known: Sequence[Node]) -> list[Node]:
        """From classifications over the steps of the computation to the approval."""
        computed = self._span(award["traceparent"], f"run {award['run']}: computed")
        if computed is None:
            return []
        paths: list[tuple[Node, list[StoredSpan]]] = [(node, []) for node in known]
        seen: set[SpanRef] = set()
        while paths:
            node, steps = paths.pop(0)
            for span in self._consequences(steps[-1] if steps else node.span, "compensation", "timer run"):
                if span.ref == computed.ref:
                    for step in steps:
                        node = node.add(Node("", step))
                    node = node.add(Node(f"run {award['run']} computed", span))
                    return self._follow(node, "compensation", "POST /v1/runs/{run}/approve")
                if span.ref not in seen:
                    seen.add(span.ref)
                    paths.append((node, [*steps, span]))
        self._miss(f"process classifications (compensation) → timer run: no path to the computation of {award['run']}")
        return []

    async def _delivered(self, person: _Person, cause: str, told: Sequence[Node]) -> None:
        """Notice and delivery, below the batch that gave the notice."""
        rows = await self._databases["notifications"].fetch(
            """SELECT notice.kind, array_agg(delivery.channel || ' ' || delivery.state)
                          FILTER (WHERE delivery.id IS NOT NULL) AS deliveries
               FROM notices AS notice LEFT JOIN deliveries AS delivery
                   ON delivery.provider_id = notice.provider_id AND delivery.notice_id = notice.id
               WHERE notice.provider_id = $1 AND notice.recipient = $2 AND notice.cause = $3
               GROUP BY notice.id, notice.kind""",
            person.provider,
            person.employee,
            cause,
        )
        if told and not rows:
            self._miss(f"process … (notifications) → notice: there is none of {cause}")
        for row in rows:
            for each in told:
                notice = each.add(Node(f"notice {row['kind']}: {', '.join(row['deliveries'] or ['inbox only'])}"))
                for delivery in row["deliveries"] or ():
                    channel, _, state = delivery.partition(" ")
                    if state == "delivered":
                        sent = self._linked(each, "notifications", f"send {channel}", below=notice)
                        if not sent:
                            self._miss(f"{_named(each)} → send {channel} (notifications): no link")

    def _span(self, traceparent: str | None, what: str) -> StoredSpan | None:
        """The span a row names as its maker."""
        ref = referred(traceparent)
        span = self._store.span(ref) if ref else None
        if span is None:
            self._miss(f"{what}: {'its span was not kept' if ref else 'its row names no span'}")
        return span

    def _need(self, cause: Node, span: StoredSpan) -> None:
        if cause.span is not None and cause.span.ref not in span.links:
            self._miss(f"{_named(cause)} → {span.name} ({span.service}): no link")

    def _follow(self, cause: Node, service: str, name: str) -> list[Node]:
        """The spans of this name that are linked to `cause`; there must be one."""
        found = self._linked(cause, service, name)
        if not found:
            self._miss(f"{_named(cause)} → {name} ({service}): no link")
        return found

    def _linked(self, cause: Node, service: str, *names: str, below: Node | None = None) -> list[Node]:
        """The spans of these names that are linked to `cause`, told below it."""
        return [(below or cause).add(Node("", span)) for span in self._consequences(cause.span, service, *names)]

    def _consequences(self, cause: StoredSpan | None, service: str, *names: str) -> list[StoredSpan]:
        linked = self._store.links_to(cause.trace_id, cause.span_id) if cause else []
        return [
            span
            for span in linked
            if span.service == service
            and span.name in names
            and span.attributes.get(_PARTITION, self._partition) == self._partition
        ]

    def _miss(self, edge: str) -> None:
        if edge not in self._told.missing:
            self._told.missing.append(edge)


@dataclass(frozen=True)
class _Person:
    provider: str
    cycle: str
    employee: str
    sequence: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.provider, self.cycle, self.employee


def _named(node: Node) -> str:
    return f"{node.span.name} ({node.span.service})" if node.span else node.title


def spans_of(node: Node) -> Iterator[StoredSpan]:
    """Every span of a story, the first told first."""
    if node.span is not None:
        yield node.span
    for child in node.children:
        yield from spans_of(child)
