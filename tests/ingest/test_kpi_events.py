"""What sources post: accepted, known already, or refused one by one."""

from __future__ import annotations

import asyncio

from shared.contracts.ids import ProviderId
from tests.ingest.conftest import Json, World, metric, person, seen, without

ACME = ProviderId("acme")


def codes(answer: Json) -> list[tuple[int, str, str]]:
    return [(found["index"], found["code"], found["pointer"]) for found in answer["rejected"]]


async def test_an_accepted_event_is_in_the_journal_and_announced(world: World) -> None:
    answer = await world.send(seen())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    (announced,) = await world.announced("plumbline.kpi.*")
    assert {name: announced[name] for name in ("event", "employee", "metric", "occurred_on", "numerator")} == {
        "event": "acd/evt-1",
        "employee": "e-1",
        "metric": "aht",
        "occurred_on": "2026-11-02",
        "numerator": "9000",
    }
    rows = await world.rows("SELECT event_id, employee_id, agent, numerator, denominator FROM kpi_events")
    assert rows == [("acd/evt-1", "e-1", "A-1", 9000, 25)]


async def test_the_same_event_again_however_formatted_has_one_effect(world: World) -> None:
    await world.send(seen())
    again = [
        seen(numerator=9000.0, denominator="25.00"),
        seen(occurred_at="2026-11-02T01:30:00Z"),
        seen(occurred_at="2026-11-02T01:30:00.000+00:00", numerator="9e3"),
    ]
    assert (await world.send(again)).json() == {"accepted": 0, "duplicates": 3, "rejected": []}
    assert len(await world.announced("plumbline.kpi.*")) == 1


async def test_the_same_id_with_another_body_is_refused_and_kept_for_inspection(world: World) -> None:
    await world.send(seen())
    for _ in range(2):
        answer = (await world.send([seen(numerator=1), seen("evt-2")])).json()
        assert codes(answer) == [(0, "conflict", "/0/id")]
    kept = (await world.get("/conflicts?source=acd")).json()["items"]
    assert [(one["source"], one["event"]) for one in kept] == [("acd", "evt-1")]
    assert '"numerator": "1"' in kept[0]["refused_body"]
    (recorded,) = await world.rows("SELECT encode(body_hash, 'hex') FROM kpi_events WHERE event_id = 'acd/evt-1'")
    assert kept[0]["recorded_hash"] == recorded[0] != kept[0]["refused_hash"]
    assert await world.rows("SELECT numerator FROM kpi_events WHERE event_id = 'acd/evt-1'") == [(9000,)]


async def test_an_id_twice_in_one_request_is_a_duplicate_or_a_conflict(world: World) -> None:
    answer = (await world.send([seen(), seen(), seen(numerator=2)])).json()
    assert (answer["accepted"], answer["duplicates"], codes(answer)) == (1, 1, [(2, "conflict", "/2/id")])


async def test_an_accepted_event_stays_accepted_when_its_mapping_is_gone(world: World) -> None:
    await world.send(seen())
    mapping = [{"agent": "A-1", "employee": "e-1", "valid_from": "2026-01-01", "valid_to": "2026-01-02"}]
    assert (await world.put("/sources/acd/agents", mapping)).json()["saved"] == 1
    answer = (await world.send([seen(), seen("evt-2")])).json()
    assert (answer["duplicates"], codes(answer)) == (1, [(1, "not-assigned", "/1/agent")])


async def test_each_kind_of_refusal_names_its_field(world: World) -> None:
    refused = {
        ("unknown-metric", "metric"): seen(metric="nps"),
        ("unknown-agent", "agent"): seen(agent="A-77"),
        ("unknown-employee", "employee"): without(seen(employee="e-77"), "agent"),
        ("not-assigned", "agent"): seen(occurred_at="2025-12-01T00:00:00Z"),
        ("future-time", "occurred_at"): seen(occurred_at="2026-11-20T12:05:01Z"),
        ("early-time", "occurred_at"): seen(occurred_at="0001-01-01T00:00:00+14:00"),
        ("naive-time", "occurred_at"): seen(occurred_at="2026-11-02T09:30:00"),
        ("invalid", "occurred_at"): seen(occurred_at="2026-13-02T09:30:00Z"),
        ("wrong-measure", "value"): without(seen(value=3), "numerator", "denominator"),
        ("negative-denominator", "denominator"): seen(denominator=-1),
        ("number-not-exact", "numerator"): seen(numerator="1234567890.123456"),
        ("not-finite", "numerator"): seen(numerator="NaN"),
        ("missing", "metric"): without(seen(), "metric"),
        ("missing", "agent"): without(seen(), "agent"),
        ("missing", "denominator"): without(seen(), "denominator"),
        ("missing", "id"): without(seen(), "id"),
        ("invalid", "id"): seen("with/slash"),
        ("invalid", "agent"): seen(agent="a\x00b"),
        ("invalid", "employee"): seen(employee=7),
        ("invalid", "colour"): seen(colour="red"),
        ("invalid", "value"): seen(value=1),
        ("invalid", "metric"): {"id": "evt-3", "voids": "evt-1", "metric": "aht"},
        ("unknown-original", "corrects"): {"id": "evt-4", "corrects": "evt-1", "numerator": 1, "denominator": 1},
        ("unknown-original", "voids"): {"id": "evt-5", "voids": "evt-1"},
    }
    answer = (await world.send([*refused.values(), "text", 12, None, []])).json()
    expected = [(index, code, f"/{index}/{field}") for index, (code, field) in enumerate(refused)]
    expected += [(len(refused) + n, "not-an-object", f"/{len(refused) + n}") for n in range(4)]
    assert codes(answer) == expected
    assert (answer["accepted"], await world.announced("plumbline.kpi.*")) == (0, [])


async def test_the_last_hours_of_the_calendar_spoil_no_other_event(world: World) -> None:
    answer = (await world.send([seen(), seen("evt-2", occurred_at="9999-12-31T23:59:59-14:00")])).json()
    assert (answer["accepted"], codes(answer)) == (1, [(1, "future-time", "/1/occurred_at")])


async def test_a_time_as_a_bare_number_is_refused(world: World) -> None:
    answer = (await world.send([seen(occurred_at=1_700_000_000), seen(occurred_at="1700000000")])).json()
    assert [found["code"] for found in answer["rejected"]] == ["invalid", "invalid"]


async def test_a_person_outside_the_sources_program_is_as_unknown_as_nobody(world: World) -> None:
    await world.put("/employees/e-5", person(line_of_business="sales"))
    by_employee = without(seen(employee="e-5"), "agent")
    answer = (await world.send([by_employee, by_employee | {"id": "evt-2", "employee": "e-404"}])).json()
    assert answer["rejected"][0]["code"] == answer["rejected"][1]["code"] == "unknown-employee"
    assert answer["rejected"][0]["detail"] == answer["rejected"][1]["detail"]


async def test_a_chain_of_corrections_is_numbered_and_nothing_is_overwritten(world: World) -> None:
    await world.send(seen())
    first = {"id": "c-1", "corrects": "evt-1", "numerator": 8000, "denominator": 25}
    second = {"id": "c-2", "corrects": "evt-1", "numerator": 7000, "denominator": 24, "metric": "aht", "agent": "A-1"}
    answer = (await world.send([first, second, first])).json()
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (2, 1, [])
    assert (await world.send({"id": "v-1", "voids": "evt-1"})).json()["accepted"] == 1
    story = (await world.get("/kpi-events/acd/c-2")).json()
    assert [(one["id"], one["kind"], one["revision"]) for one in story["revisions"]] == [
        ("c-1", "correction", 1),
        ("c-2", "correction", 2),
        ("v-1", "void", 3),
    ]
    assert (story["id"], story["numerator"], story["employee"]) == ("evt-1", "9000", "e-1")
    assert story["effective"] | {"occurred_at": None} == {
        "revision": 3,
        "voided": True,
        "occurred_at": None,
        "occurred_on": "2026-11-02",
        "numerator": None,
        "denominator": None,
    }
    kinds = [(body.get("corrects") or body.get("voids"), body.get("revision")) for body in await world.announced()]
    assert kinds[-4:] == [(None, None), ("acd/evt-1", 1), ("acd/evt-1", 2), ("acd/evt-1", 3)]


async def test_an_event_and_its_correction_may_come_in_one_request_in_any_order(world: World) -> None:
    correction = {"id": "c-1", "corrects": "evt-1", "numerator": 8000, "denominator": 25}
    assert (await world.send([correction, seen()])).json()["accepted"] == 2


async def test_a_correction_keeps_the_person_and_the_metric(world: World) -> None:
    await world.send([seen(), {"id": "c-1", "corrects": "evt-1", "numerator": 1, "denominator": 1}])
    base = {"corrects": "evt-1", "numerator": 8000, "denominator": 25}
    sent = [
        {"id": "c-2", **base, "agent": "A-2"},
        {"id": "c-3", **base, "employee": "e-2"},
        {"id": "c-4", **base, "metric": "csat"},
        {"id": "c-5", "corrects": "evt-1", "value": 3},
        {"id": "c-6", **base, "corrects": "c-1"},
        {"id": "c-7", **base, "occurred_at": "2027-01-01T00:00:00Z"},
    ]
    answer = (await world.send(sent)).json()
    assert codes(answer) == [
        (0, "other-person", "/0/agent"),
        (1, "other-person", "/1/employee"),
        (2, "other-metric", "/2/metric"),
        (3, "wrong-measure", "/3/value"),
        (4, "not-an-original", "/4/corrects"),
        (5, "future-time", "/5/occurred_at"),
    ]


async def test_twenty_corrections_at_once_get_twenty_revisions(world: World) -> None:
    await world.send(seen())
    sent = [{"id": f"c-{n}", "corrects": "evt-1", "numerator": n, "denominator": 25} for n in range(20)]
    answers = await asyncio.gather(*(world.send(one) for one in sent))
    assert all(answer.json()["accepted"] == 1 for answer in answers)
    revisions = await world.rows("SELECT revision FROM kpi_events WHERE root_id IS NOT NULL ORDER BY revision")
    assert revisions == [(n,) for n in range(1, 21)]
    assert sorted(body["revision"] for body in await world.announced("plumbline.kpi.corrected*")) == [*range(1, 21)]


async def test_the_same_events_at_once_have_one_effect(world: World) -> None:
    forwards = [seen(f"evt-{n}") for n in range(200)]
    answers = await asyncio.gather(*(world.send(forwards[:: 1 if n % 2 else -1]) for n in range(6)))
    outcomes = [answer.json() for answer in answers]
    assert sum(one["accepted"] for one in outcomes) == 200
    assert all(one["accepted"] + one["duplicates"] == 200 and not one["rejected"] for one in outcomes)
    assert len(await world.announced("plumbline.kpi.*")) == 200


async def test_all_or_nothing_writes_nothing_when_one_is_refused(world: World) -> None:
    await world.send(seen())
    sent = [seen("evt-2"), seen("evt-3", metric="nps"), seen(numerator=5)]
    refused = await world.send(sent, atomic="true")
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:plumbline:problem:atomic-refused")
    assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [
        ("/1/metric", "unknown-metric"),
        ("/2/id", "conflict"),
    ]
    assert (
        len(await world.rows("SELECT event_id FROM kpi_events")) == len(await world.announced("plumbline.kpi.*")) == 1
    )
    assert len((await world.get("/conflicts")).json()["items"]) == 1
    misshapen = await world.send([seen("evt-2"), 5], atomic="true")
    assert (misshapen.status_code, misshapen.json()["errors"][0]["pointer"]) == (422, "/1")
    accepted = await world.send([seen("evt-2"), seen("evt-4"), seen()], atomic="true")
    assert accepted.json() == {"accepted": 2, "duplicates": 1, "rejected": []}


async def test_a_mean_is_measured_by_one_value(world: World) -> None:
    await world.put("/metrics/csat", metric("mean", direction="higher-is-better"))
    sent = without(seen(metric="csat", value="4.5"), "numerator", "denominator")
    assert (await world.send(sent)).json()["accepted"] == 1
    (announced,) = await world.announced("plumbline.kpi.*")
    assert (announced["numerator"], announced["denominator"]) == ("4.5", "1")


async def test_a_digit_of_a_json_number_is_never_lost(world: World) -> None:
    raw = b'{"id":"evt-1","agent":"A-1","metric":"aht","occurred_at":"2026-11-02T01:30:00Z",'
    assert (await world.send_raw(raw + b'"numerator":123456789.123456,"denominator":1}')).json()["accepted"] == 1
    assert str((await world.rows("SELECT numerator FROM kpi_events"))[0][0]) == "123456789.123456"
    # A float would read this as exactly 0.1.
    rounded = await world.send_raw(
        raw.replace(b"evt-1", b"evt-2") + b'"numerator":0.1000000000000000055,"denominator":1}'
    )
    assert codes(rounded.json()) == [(0, "number-not-exact", "/numerator")]


async def test_zeros_that_say_nothing_are_not_kept(world: World) -> None:
    for place, sent in enumerate(["7." + "0" * 20_000, "0e-20000", "0e-400", "-0.0", "0e99999"]):
        answer = await world.send(seen(f"evt-{place}", numerator=sent))
        assert answer.json()["accepted"] == 1, sent[:10]
    assert [one["numerator"] for one in await world.announced("plumbline.kpi.*")] == ["7", "0", "0", "0", "0"]


async def test_the_trace_leads_from_the_request_to_the_journal(world: World) -> None:
    await world.send(seen())
    story = (await world.get("/kpi-events/acd/evt-1")).json()
    assert story["announced"] is False and story["recorded_at"].startswith("2026-11-20T12:00:00")
    await world.rows("DELETE FROM outbox WHERE topic = 'kpi-events' RETURNING id")
    assert (await world.get("/kpi-events/acd/evt-1")).json()["announced"] is True
