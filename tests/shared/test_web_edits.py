"""Edits name the version they change; what must happen once happens once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from shared.auth import TokenVerifier
from shared.clock import utc_now
from shared.contracts.ids import ProviderId
from shared.database import Database
from tests.shared.conftest import talk_to
from tests.shared.web_app import build, entries

Bearer = Callable[..., dict[str, str]]
PUBLISH = "/v1/notes/1/publication"


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:plumbline:problem:")


@pytest.mark.parametrize(
    ("if_match", "status"),
    [(None, 428), ('"7"', 200), ('"6", "7"', 200), ("*", 200), ('"6"', 412), ('W/"7"', 412), ("7", 412), ("", 412)],
)
async def test_an_edit_goes_through_only_on_the_version_that_was_read(
    notes: httpx.AsyncClient, bearer: Bearer, if_match: str | None, status: int
) -> None:
    headers = bearer("hr_admin") | ({} if if_match is None else {"If-Match": if_match})
    answer = await notes.put("/v1/notes/1", json={"text": "a"}, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["etag"] == '"8"'


@pytest.mark.parametrize(
    ("if_match", "status"), [(None, 200), ('"0"', 200), ('"1"', 412), ('"-1"', 412), ("*", 412), ('"7"', 412)]
)
async def test_whoever_names_a_version_of_what_is_not_there_is_refused(
    notes: httpx.AsyncClient, bearer: Bearer, if_match: str | None, status: int
) -> None:
    headers = bearer("hr_admin") | ({} if if_match is None else {"If-Match": if_match})
    assert (await notes.put("/v1/notes/0", json={"text": "a"}, headers=headers)).status_code == status


@pytest.mark.parametrize(("if_match", "status"), [(None, 200), ('"7"', 200), ("*", 200), ('"6"', 412), ('"0"', 412)])
async def test_saying_what_is_so_already_needs_no_version_but_no_wrong_one_either(
    notes: httpx.AsyncClient, bearer: Bearer, if_match: str | None, status: int
) -> None:
    headers = bearer("hr_admin") | ({} if if_match is None else {"If-Match": if_match})
    assert (await notes.put("/v1/notes/1", json={"text": "as ever"}, headers=headers)).status_code == status


async def test_the_second_request_gets_the_first_answer_and_does_nothing(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    headers = {**bearer("hr_admin"), "Idempotency-Key": "k"}
    first, second = [await notes.post(PUBLISH, headers=headers) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(await entries(machinery, "acme")) == 1


async def test_twenty_at_once_do_it_once(notes: httpx.AsyncClient, bearer: Bearer, machinery: Database) -> None:
    headers = {**bearer("hr_admin"), "Idempotency-Key": "k"}
    answers = await asyncio.gather(*(notes.post(PUBLISH, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(await entries(machinery, "acme")) == 1


async def test_while_one_is_at_work_another_is_told_to_wait(
    notes: httpx.AsyncClient, bearer: Bearer, machinery: Database
) -> None:
    headers = {**bearer("hr_admin", subject="ada"), "Idempotency-Key": "k"}
    scope = "\n".join(("idempotency", "acme", "ada", "POST /v1/notes/{number}/publication", "k"))
    async with machinery.begin(ProviderId("acme")) as tx:
        await tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 0))"), {"scope": scope})
        assert kind(await notes.post(PUBLISH, headers=headers)) == (409, "idempotency-in-progress")
    assert (await notes.post(PUBLISH, headers=headers)).status_code == 201


@pytest.mark.parametrize("other", ["/v1/notes/2/publication", f"{PUBLISH}?fail=0"])
async def test_a_key_is_good_for_one_request_only(notes: httpx.AsyncClient, bearer: Bearer, other: str) -> None:
    headers = {**bearer("hr_admin"), "Idempotency-Key": "k"}
    await notes.post(PUBLISH, headers=headers, content=b"a")
    assert kind(await notes.post(PUBLISH, headers=headers, content=b"b")) == (422, "idempotency-key-reused")
    assert kind(await notes.post(other, headers=headers, content=b"a")) == (422, "idempotency-key-reused")


async def test_keys_of_other_people_and_providers_do_not_meet(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    for provider, subject in (("acme", "ada"), ("acme", "bob"), ("beta", "ada")):
        headers = {**bearer("hr_admin", provider=provider, subject=subject), "Idempotency-Key": "k"}
        answer = await notes.post(PUBLISH, headers=headers)
        assert "idempotency-replayed" not in answer.headers


async def test_a_failed_request_leaves_its_key_free(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = {**bearer("hr_admin"), "Idempotency-Key": "k"}
    assert (await notes.post(f"{PUBLISH}?fail=1", headers=headers)).status_code == 422
    assert (await notes.post(PUBLISH, headers=headers)).status_code == 201


async def test_a_missing_key_is_asked_for(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await notes.post(PUBLISH, headers=bearer("hr_admin"))
    assert kind(answer) == (400, "idempotency-key-required")
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"


class Later:
    ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
async def aging_notes(machinery: Database, verifier: TokenVerifier, later: Later) -> AsyncIterator[httpx.AsyncClient]:
    async with talk_to(build(machinery, verifier, clock=later)) as client:
        yield client


async def test_an_answer_is_kept_a_day_and_then_forgotten(
    aging_notes: httpx.AsyncClient, bearer: Bearer, machinery: Database, later: Later
) -> None:
    async def publish(key: str) -> bool:
        answer = await aging_notes.post(PUBLISH, headers={**bearer("hr_admin"), "Idempotency-Key": key})
        return "idempotency-replayed" in answer.headers

    assert [await publish("k"), await publish("old")] == [False, False]
    later.ahead = timedelta(hours=23, minutes=59)
    assert await publish("k")
    later.ahead = timedelta(hours=24, minutes=1)
    assert not await publish("k")
    async with machinery.begin(ProviderId("acme")) as tx:
        assert (await tx.scalars(text("SELECT key FROM idempotency_keys"))).all() == ["k"]
    assert datetime.now(UTC) < later()
