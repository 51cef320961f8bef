"""What the client systems send: batches of events, compressed, a few at a time, each with its source's key."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deploy.local.demo import activity
from deploy.local.demo.activity import ACCEPTED, DUPLICATE, Posting
from deploy.local.demo.client import Body, Refused
from deploy.local.demo.context import Course, each
from deploy.local.demo.journal import Posted
from deploy.local.demo.screen import Step
from deploy.local.demo.world import CLIENTS, source_of

PER_REQUEST = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    name: str
    source: str
    postings: Sequence[Posting]


async def post_quarter(course: Course) -> None:
    """Thirteen weeks of days, as each client system reports them."""
    fates = course.expected.fates
    with course.screen.bar("KPI events", fates.total()) as step:
        await _post(course, batches("quarter", activity.quarter(course.world)), step)


async def amend(course: Course) -> None:
    """Corrections and voids that come in time."""
    with course.screen.bar("corrections and voids", len(course.expected.amendments)) as step:
        await _post(course, batches("amendments", course.expected.amendments), step)


async def correct_late(course: Course) -> None:
    await _post(course, batches("late", [late.posting for late in course.expected.late]), lambda done: None)


def batches(stage: str, postings: Iterable[Posting]) -> Iterator[Batch]:
    """Requests of one client each. What follows an event under its id goes with it: requests overtake each other."""
    open_ones: dict[str, list[Posting]] = {client: [] for client in CLIENTS}
    made: Counter[str] = Counter()

    def close(client: str, kept: list[Posting]) -> Batch:
        batch = Batch(f"{stage}/{source_of(client)}/{made[client]}", source_of(client), open_ones[client])
        open_ones[client] = kept
        made[client] += 1
        return batch

    for posting in postings:
        full = open_ones[posting.client]
        if len(full) == PER_REQUEST:
            kept = [full.pop()] if full[-1].id == posting.id else []
            yield close(posting.client, kept)
        open_ones[posting.client].append(posting)
    yield from (close(client, []) for client in CLIENTS if open_ones[client])


async def _post(course: Course, waiting: Iterable[Batch], step: Step) -> None:
    keys: dict[str, str] = {}

    async def post(batch: Batch) -> None:
        if batch.name not in course.journal:
            course.journal.add(await _send(course, keys, batch))
        step(len(batch.postings))

    await each(waiting, post)


async def _send(course: Course, keys: dict[str, str], batch: Batch) -> Posted:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    content = gzip.compress(json.dumps([posting.body for posting in batch.postings]).encode(), compresslevel=3)
    if batch.source not in keys:
        keys[batch.source] = await _key(course, batch.source)
    used = keys[batch.source]
    try:
        answer = await course.api.ask(
            "POST", "ingest", "/v1/kpi-events", headers | {"X-API-Key": used}, content=content
        )
    except Refused as refused:
        if refused.status != 401 or keys[batch.source] == used:
            raise
        # Two tasks that began at once each took a key of their own; the other's is the one that lives.
        return await _send(course, keys, batch)
    return posted(batch, answer.body, maybe_again=answer.tries > 1 or course.journal.resumed)


def posted(batch: Batch, answer: Body, *, maybe_again: bool) -> Posted:
    """What became of a request. Where an answer was lost, what it had accepted is answered as duplicates."""
    planned = Counter(posting.fate for posting in batch.postings)
    again = 0
    if maybe_again:
        again = min(max(0, answer["duplicates"] - planned[DUPLICATE]), planned[ACCEPTED] - answer["accepted"])
    refused = Counter(str(rejected["code"]) for rejected in answer["rejected"])
    return Posted(batch.name, answer["accepted"] + again, answer["duplicates"] - again, again, dict(refused))


async def _key(course: Course, source: str) -> str:
    """A new key of the source. Keys made before are revoked: their secrets were shown once and are gone.

    So are those of answers that were lost on their way; two of them are as many as a source may have.
    """
    path, hr = f"/v1/sources/{source}/keys", course.desk.administrator
    while True:
        async for key in course.api.pages("ingest", path, hr):
            if key["revoked_at"] is None:
                await course.api.ask("DELETE", "ingest", f"{path}/{key['id']}", {"Authorization": f"Bearer {hr}"})
        try:
            made = await course.api.post("ingest", path, hr, {})
        except Refused as refused:
            if refused.reason != "two-live-keys":
                raise
        else:
            return str(made.body["secret"])
