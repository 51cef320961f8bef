"""The demo's client: it asks again until there is an answer, and counts right what it asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import typer

from deploy.local import commands
from deploy.local.demo import command
from deploy.local.demo.activity import ACCEPTED, DUPLICATE, Posting
from deploy.local.demo.client import Api, Refused, Unreachable
from deploy.local.demo.findings import Findings
from deploy.local.demo.journal import Journal, Posted
from deploy.local.demo.posting import Batch, posted


def _answer(status: str, body: str, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join([*head, "", ""]) + body).encode()


OK = _answer("200 OK", '{"done": 1}', 'ETag: "7"')
BUSY = _answer("503 Service Unavailable", "", "Retry-After: 2")
BEING_DONE = _answer("409 Conflict", '{"type": "urn:plumbline:problem:idempotency-in-progress"}')
NO = _answer("409 Conflict", '{"type": "urn:plumbline:problem:not-open", "detail": "it is over"}')
RESET = b""


@asynccontextmanager
async def service(answers: Sequence[bytes]) -> AsyncIterator[str]:
    """A server that gives these answers, one a connection; an empty one ends the connection without any."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(waiting.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_request_is_sent_again_after_a_reset_and_while_the_service_is_busy() -> None:
    async with service([RESET, BUSY, BEING_DONE, OK]) as address, Api(lambda name: address, patience=20) as api:
        answer = await api.post("ingest", "/v1/things", "token", {}, key="k")
        assert (answer.body, answer.version, answer.tries) == ({"done": 1}, 7, 4)
        assert api.repeated == 3


async def test_a_refusal_is_not_asked_again_and_says_why() -> None:
    async with service([NO, OK]) as address, Api(lambda name: address) as api:
        with pytest.raises(Refused, match="409 not-open: it is over") as caught:
            await api.get("scoring", "/v1/cycles/q", "token")
        assert caught.value.reason == "not-open" and api.repeated == 0


async def test_a_service_that_stays_away_ends_the_wait() -> None:
    async with service([]) as address:
        pass
    async with Api(lambda name: address, patience=0.5) as api:
        with pytest.raises(Unreachable, match=r"GET scoring /v1/x: no answer in 0 s; .*Connect"):
            await api.get("scoring", "/v1/x", "token")


def _batch(*fates: str) -> Batch:
    return Batch("quarter/a/0", "a", [Posting("a", {"id": str(n)}, fate) for n, fate in enumerate(fates)])


def test_events_of_a_lost_answer_count_as_accepted_once() -> None:
    batch = _batch(ACCEPTED, ACCEPTED, ACCEPTED, DUPLICATE, "conflict")
    refused = [{"code": "conflict"}]
    first = {"accepted": 3, "duplicates": 1, "rejected": refused}
    second = {"accepted": 0, "duplicates": 4, "rejected": refused}
    assert posted(batch, first, maybe_again=False) == Posted(batch.name, 3, 1, 0, {"conflict": 1})
    assert posted(batch, first, maybe_again=True) == Posted(batch.name, 3, 1, 0, {"conflict": 1})
    assert posted(batch, second, maybe_again=True) == Posted(batch.name, 3, 1, 3, {"conflict": 1})


def test_a_service_that_accepts_too_little_or_repeats_unasked_is_found_out() -> None:
    batch = _batch(ACCEPTED, ACCEPTED)
    unasked = {"accepted": 1, "duplicates": 1, "rejected": []}
    assert posted(batch, unasked, maybe_again=False).accepted == 1
    lost = {"accepted": 0, "duplicates": 1, "rejected": []}
    assert posted(batch, lost, maybe_again=True).accepted == 1


def test_a_journal_goes_on_where_a_killed_run_stopped(tmp_path: Path) -> None:
    first = Journal(tmp_path, "meridian")
    first.open("monday")
    first.add(Posted("quarter/a/0", 3, 1, 0, {"conflict": 1}))
    with (tmp_path / "meridian.jsonl").open("a") as file:
        file.write('{"batch": "quarter/a/1", "acce')
    second = Journal(tmp_path, "meridian")
    second.open("monday")
    assert second.resumed and "quarter/a/0" in second and "quarter/a/1" not in second
    second.add(Posted("late/a/0", 1, 0, 1))
    third = Journal(tmp_path, "meridian")
    third.open("monday")
    assert (third.accepted(), third.accepted("late"), third.duplicates(), third.again()) == (4, 1, 1, 1)
    assert third.refused() == {"conflict": 1}


def test_a_journal_forgets_what_another_provider_of_the_name_was_sent(tmp_path: Path) -> None:
    first = Journal(tmp_path, "meridian")
    first.open("monday")
    first.add(Posted("quarter/a/0", 3, 1, 0))
    second = Journal(tmp_path, "meridian")
    second.open("tuesday")
    assert not second.resumed and second.accepted() == 0


def test_a_demo_that_cannot_go_on_says_why_and_exits_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stopped(*given: object) -> Findings:
        async with asyncio.TaskGroup():
            raise Unreachable("POST ingest /v1/kpi-events: no answer in 180 s")

    monkeypatch.setattr(commands, "up", lambda: None)
    monkeypatch.setattr(command, "run", stopped)
    with pytest.raises(typer.Exit) as caught:
        command.demo(agents=24, weeks=1)
    assert caught.value.exit_code == 1
    assert "The demo stopped: POST ingest /v1/kpi-events: no answer in 180 s" in capsys.readouterr().out
