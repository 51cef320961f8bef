"""Hostile, broken and unusual bodies, and who may send them."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.conftest import Json, World, seen, without

NDJSON = "application/x-ndjson"


def refused(answer: Json) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:plumbline:problem:")


async def test_ten_megabytes_are_refused_before_they_are_read(world: World) -> None:
    assert refused(await world.send_raw(b"[" + b" " * (10 << 20) + b"]")) == (413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_bomb_is_refused_while_it_inflates(world: World, encoding: str) -> None:
    zeros = b"0" * (64 << 20)
    bomb = gzip.compress(zeros) if encoding == "gzip" else zstandard.compress(zeros)
    assert len(bomb) < 100_000
    assert refused(await world.send_raw(bomb, **{"Content-Encoding": encoding})) == (413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_body_is_read(world: World, encoding: str) -> None:
    body = json.dumps([seen(f"evt-{n}") for n in range(100)]).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
    answer = await world.send_raw(packed, **{"Content-Encoding": encoding})
    assert answer.json() == {"accepted": 100, "duplicates": 0, "rejected": []}


async def test_a_broken_encoding_is_told(world: World) -> None:
    packed = gzip.compress(json.dumps(seen()).encode())
    assert refused(await world.send_raw(packed[:-9], **{"Content-Encoding": "gzip"})) == (400, "broken-encoding")
    assert refused(await world.send_raw(b"[]", **{"Content-Encoding": "br"})) == (415, "unsupported-encoding")


async def test_what_cannot_be_read_at_all_is_a_bad_request(world: World) -> None:
    for body in (b"", b"{", b"nonsense", b"12", b'"text"', b"null", b"[" * 40 + b"]" * 40, b'[{"id": 1},'):
        assert refused(await world.send_raw(body)) == (400, "malformed-json"), body
    assert refused(await world.send_raw(b'{"id": "\xff"}')) == (400, "not-utf8")
    assert refused(await world.send_raw(b"[]", "text/csv")) == (415, "unsupported-media-type")
    assert refused(await world.send_raw(b"{\n[\nx", NDJSON)) == (400, "malformed-json")
    assert (await world.send_raw(b"[]")).json() == {"accepted": 0, "duplicates": 0, "rejected": []}


async def test_five_thousand_events_are_taken_and_one_more_is_not(world: World) -> None:
    assert refused(await world.send([seen(f"evt-{n}") for n in range(5_001)])) == (413, "too-many-items")
    lines = b"\n".join(json.dumps(seen(f"evt-{n}")).encode() for n in range(5_001))
    assert refused(await world.send_raw(lines, NDJSON)) == (413, "too-many-items")
    assert (await world.send([seen(f"evt-{n}") for n in range(5_000)])).json()["accepted"] == 5_000


async def test_a_number_that_is_none_is_refused_alone(world: World) -> None:
    numbers = ["NaN", "Infinity", "-Infinity", "1e400", "1e-400", "1" * 5_000, "1e99999999999999999999"]
    for place, number in enumerate(numbers):
        good = json.dumps(seen(f"evt-{place}"))
        bad = json.dumps(seen("bad")).replace("9000", number)
        answer = (await world.send_raw(f"[{bad}, {good}]".encode())).json()
        assert answer["accepted"] == 1
        assert [(one["index"], one["pointer"]) for one in answer["rejected"]] == [(0, "/0/numerator")], number


async def test_a_member_named_twice_makes_its_event_unreadable(world: World) -> None:
    twice = json.dumps(seen()).replace('"metric"', '"metric": "csat", "metric"')
    answer = (await world.send_raw(f"[{twice}, {json.dumps(seen('evt-2'))}]".encode())).json()
    assert answer["accepted"] == 1
    assert [(one["code"], one["pointer"]) for one in answer["rejected"]] == [("duplicate-key", "/0/metric")]
    alone = (await world.send_raw(twice.encode())).json()
    assert [(one["code"], one["pointer"]) for one in alone["rejected"]] == [("duplicate-key", "/metric")]


async def test_a_member_named_twice_inside_is_pointed_at_there(world: World) -> None:
    body = b'[{"id": "e-9", "assignments": [{"role": "a", "role": "b"}]}, {"id": "e-9", "absences": {"x": 1, "x": 2}}]'
    headers = {**world.hr, "Content-Type": "application/json"}
    answer = (await world.http.post("/v1/employees", content=body, headers=headers)).json()
    assert [(one["code"], one["pointer"]) for one in answer["rejected"]] == [
        ("duplicate-key", "/0/assignments/0/role"),
        ("duplicate-key", "/1/absences/x"),
    ]


async def test_a_member_named_twice_in_a_cloud_event_is_pointed_at_there(world: World) -> None:
    once = json.dumps(envelope())
    attribute = once.replace('"id"', '"id": "evt-0", "id"', 1)
    data = once.replace('"metric"', '"metric": "csat", "metric"')
    body = f"[{attribute}, {data}]".encode()
    answer = (await world.send_raw(body, "application/cloudevents-batch+json")).json()
    assert [one["pointer"] for one in answer["rejected"]] == ["/0/id", "/1/data/metric"]
    answer = (await world.send_raw(attribute.encode(), "application/cloudevents+json")).json()
    assert [(one["code"], one["pointer"]) for one in answer["rejected"]] == [("duplicate-key", "/id")]


async def test_one_bad_line_spoils_no_other(world: World) -> None:
    lines = [json.dumps(seen()), "{not json", "", json.dumps(seen("evt-2")), "[" * 50 + "]" * 50]
    answer = (await world.send_raw("\r\n".join(lines).encode(), NDJSON)).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["code"], one["pointer"]) for one in answer["rejected"]] == [
        (1, "malformed-json", "/1"),
        (3, "malformed-json", "/3"),
    ]


async def test_a_lone_surrogate_is_refused_and_not_a_failure_of_ours(world: World) -> None:
    raw = json.dumps(seen()).replace("A-1", "\\ud800").encode()
    answer = (await world.send_raw(raw)).json()
    assert [(one["code"], one["pointer"]) for one in answer["rejected"]] == [("invalid", "/agent")]


def envelope(event: str = "evt-1", **changes: Json) -> Json:
    data = without(seen(event), "id", "occurred_at")
    return {
        "specversion": "1.0",
        "id": event,
        "source": "/acd",
        "type": "kpi.recorded",
        "time": "2026-11-02T09:30:00+08:00",
        "data": data,
    } | changes


async def test_the_three_forms_of_cloud_events_are_one_event(world: World) -> None:
    structured = json.dumps(envelope()).encode()
    assert (await world.send_raw(structured, "application/cloudevents+json; charset=utf-8")).json()["accepted"] == 1
    batch = json.dumps([envelope(), envelope("evt-2")]).encode()
    answer = (await world.send_raw(batch, "application/cloudevents-batch+json")).json()
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    attributes = {"ce-specversion": "1.0", "ce-id": "evt-1", "ce-source": "/acd", "ce-type": "kpi.recorded"}
    binary = await world.send_raw(
        json.dumps(envelope()["data"]).encode(), **attributes, **{"ce-time": "2026-11-02T01:30:00Z"}
    )
    assert binary.json() == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert (await world.send(seen())).json()["duplicates"] == 1


async def test_what_is_wrong_in_a_cloud_event_is_named_where_it_stands(world: World) -> None:
    sent = [
        without(envelope("e1"), "source"),
        envelope("e2", specversion="0.3"),
        envelope("e3", data="text"),
        envelope("e4", time="2026-11-02T09:30:00"),
        envelope("e5", data=envelope()["data"] | {"metric": "nps"}),
        envelope("e6", data=envelope()["data"] | {"id": "e7"}),
        envelope("with/slash"),
        17,
    ]
    answer = (await world.send_raw(json.dumps(sent).encode(), "application/cloudevents-batch+json")).json()
    assert [(one["code"], one["pointer"]) for one in answer["rejected"]] == [
        ("missing", "/0/source"),
        ("invalid", "/1/specversion"),
        ("missing", "/2/data"),
        ("naive-time", "/3/time"),
        ("unknown-metric", "/4/data/metric"),
        ("invalid", "/5/data/id"),
        ("invalid", "/6/id"),
        ("not-an-object", "/7"),
    ]
    attributes = {"ce-specversion": "1.0", "ce-id": "evt-1", "ce-source": "/acd", "ce-type": "kpi.recorded"}
    data = json.dumps(envelope()["data"] | {"metric": "nps"}).encode()
    binary = (await world.send_raw(data, **attributes)).json()
    assert [(one["code"], one["pointer"]) for one in binary["rejected"]] == [("missing", "ce-time")]
    binary = (await world.send_raw(data, **attributes, **{"ce-time": "2026-11-02T01:30:00Z"})).json()
    assert [(one["code"], one["pointer"]) for one in binary["rejected"]] == [("unknown-metric", "/metric")]
    unnamed = (await world.send_raw(data, **without(attributes, "ce-type"))).json()
    assert [(one["code"], one["pointer"]) for one in unnamed["rejected"]] == [("missing", "ce-type")]
    listed = json.dumps([envelope()]).encode()
    assert refused(await world.send_raw(listed, "application/cloudevents+json")) == (400, "malformed-json")
    assert refused(await world.send_raw(b"{}", "application/cloudevents-batch+json")) == (400, "malformed-json")


async def test_only_a_valid_key_of_a_source_posts(world: World) -> None:
    async def post(**headers: str) -> tuple[int, str]:
        return refused(await world.http.post("/v1/kpi-events", json=seen(), headers=headers))

    assert await post() == (401, "unauthenticated")
    assert await post(**{"X-API-Key": "pl_nonsense"}) == (401, "unknown-key")
    assert await post(**{"X-API-Key": world.key[:-1] + ("A" if world.key[-1] != "A" else "B")}) == (401, "unknown-key")
    assert await post(**world.hr) == (403, "role-missing")
    assert await post(**world.bearer("source")) == (403, "no-source")
    assert await post(**world.bearer("client", "source", client="northwind")) == (403, "client-boundary")
    assert await post(Authorization=f"Bearer {world.key}") == (401, "malformed-token")
    expired = world.issuer.token(provider="acme", roles=["hr_admin"], now=world.now.timestamp(), ttl=-60)
    assert await post(Authorization=f"Bearer {expired}") == (401, "expired-token")


async def test_a_revoked_and_an_expired_key_stop_at_once(world: World) -> None:
    other = (await world.post("/sources/acd/keys", {"expires_at": "2026-11-21T00:00:00Z"})).json()
    third = await world.post("/sources/acd/keys", {})
    assert refused(third) == (409, "two-live-keys")
    first = world.key.split("_")[1]
    assert (await world.send(seen())).status_code == 202
    assert (await world.http.delete(f"/v1/sources/acd/keys/{first}", headers=world.hr)).status_code == 204
    assert refused(await world.send(seen())) == (401, "revoked-key")
    world.key = other["secret"]
    assert (await world.send(seen())).status_code == 202
    world.now = world.now.replace(day=21)
    assert refused(await world.send(seen())) == (401, "expired-key")


async def test_a_source_reads_back_its_own_events_and_nothing_else(world: World) -> None:
    await world.send(seen())
    key = {"X-API-Key": world.key}
    story = (await world.http.get("/v1/kpi-events/acd/evt-1", headers=key)).json()
    assert (story["agent"], story["employee"]) == ("A-1", None)
    assert (await world.http.get("/v1/kpi-events/other/evt-1", headers=key)).status_code == 404
    for path in ("/employees", "/feedback", "/conflicts", "/metrics", "/sources", "/audit"):
        assert (await world.http.get(f"/v1{path}", headers=key)).status_code == 401
    await world.put("/sources/chat", {"name": "Chat", "client": "northwind", "lines_of_business": ["care"]})
    write_only = (await world.post("/sources/chat/keys", {"scopes": ["kpi-events:write"]})).json()["secret"]
    answer = await world.http.get("/v1/kpi-events/chat/evt-1", headers={"X-API-Key": write_only})
    assert refused(answer) == (403, "scope-missing")
    world.key = write_only
    # The same id under another source is another event; this source has no agents of its own.
    assert (await world.send(seen())).json()["rejected"][0]["code"] == "unknown-agent"
    assert (await world.send(without(seen(employee="e-1"), "agent"))).json()["accepted"] == 1


async def test_another_provider_sees_nothing(world: World) -> None:
    await world.send(seen())
    other = world.bearer("hr_admin", "auditor", provider="beta")
    assert (await world.get("/kpi-events/acd/evt-1", **other)).status_code == 404
    assert (await world.get("/employees/e-1", **other)).status_code == 404
    for path in ("/employees", "/clients", "/sources", "/metrics", "/conflicts", "/feedback"):
        assert (await world.get(path, **other)).json()["items"] == []


GOOD = st.builds(lambda n, value: seen(f"evt-{n}", numerator=value), st.integers(0, 8), st.integers(0, 1))
AMENDING = st.builds(
    lambda n, root, value: {"id": f"c-{n}", "corrects": f"evt-{root}", "numerator": value, "denominator": 1},
    st.integers(0, 5),
    st.integers(0, 8),
    st.integers(0, 1),
)
BAD = st.one_of(
    st.builds(lambda n: seen(f"evt-{n}", metric="nps"), st.integers(0, 8)),
    st.builds(lambda n: without(seen(f"bad-{n}"), "metric"), st.integers(0, 8)),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(items=st.lists(st.one_of(GOOD, AMENDING, BAD), max_size=12))
async def test_every_item_has_one_fate_and_exactly_the_accepted_ones_stand(world: World, items: list[Json]) -> None:
    journal = "SELECT event_id FROM kpi_events"
    before = {*await world.rows(journal)}, len(await world.waiting("plumbline.kpi.*"))
    answer = (await world.send(items)).json()
    assert answer["accepted"] + answer["duplicates"] + len(answer["rejected"]) == len(items)
    refused_at = [found["index"] for found in answer["rejected"]]
    assert refused_at == sorted(set(refused_at)) and all(0 <= index < len(items) for index in refused_at)
    added = {*await world.rows(journal)} - before[0]
    assert len(added) == answer["accepted"] == len(await world.waiting("plumbline.kpi.*")) - before[1]
    offered = {f"acd/{item['id']}" for index, item in enumerate(items) if index not in refused_at}
    assert {event for (event,) in added} <= offered
    again = (await world.send(items)).json()
    assert (again["accepted"], again["duplicates"]) == (0, answer["accepted"] + answer["duplicates"])
