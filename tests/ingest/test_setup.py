"""Providers, clients, sources, metrics and people: what is put, what is refused, what is announced."""

from __future__ import annotations

import asyncio
import base64
import json

from tests.ingest.conftest import Json, World, metric, person, without


def refused(answer: Json) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:plumbline:problem:")


async def test_an_operator_of_the_platform_creates_providers(bare: World) -> None:
    operator = bare.bearer("operator", provider=None)
    body = {"id": "acme", "name": "Acme BPO"}
    assert (await bare.post("/providers", body, operator)).status_code == 201
    again = await bare.post("/providers", body, operator)
    assert (again.status_code, again.json()["name"]) == (200, "Acme BPO")
    assert refused(await bare.post("/providers", body | {"name": "Other"}, operator)) == (409, "provider-exists")
    assert (await bare.post("/providers", {"id": "beta", "name": "Beta"}, operator)).status_code == 201
    everything = (await bare.get("/providers", **operator)).json()["items"]
    assert [provider["id"] for provider in everything] == ["acme", "beta"]
    own = (await bare.get("/providers", **bare.bearer("operator", provider="acme"))).json()["items"]
    assert [provider["id"] for provider in own] == ["acme"]
    assert refused(await bare.post("/providers", body, bare.bearer("operator"))) == (403, "not-platform")
    assert refused(await bare.post("/providers", body)) == (403, "role-missing")
    assert (await bare.post("/providers", {"id": "-", "name": "x"}, operator)).status_code == 422


async def test_a_client_needs_its_provider(bare: World) -> None:
    body = {"name": "Northwind", "lines_of_business": ["care"]}
    assert refused(await bare.put("/clients/northwind", body)) == (409, "unknown-provider")


async def test_an_edit_says_which_version_it_changes(world: World) -> None:
    body = {"name": "Northwind Ltd", "lines_of_business": ["care", "sales"]}
    assert refused(await world.put("/clients/northwind", body)) == (428, "precondition-required")
    assert refused(await world.put("/clients/northwind", body, **{"If-Match": '"9"'})) == (412, "precondition-failed")
    changed = await world.put("/clients/northwind", body, **{"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"], changed.json()["version"]) == (200, '"2"', 2)
    same = await world.put("/clients/northwind", body)
    assert (same.status_code, same.json()["version"]) == (200, 2)
    stale = await world.put("/clients/northwind", body, **{"If-Match": '"1"'})
    assert refused(stale) == (412, "precondition-failed")
    assert (await world.get("/clients/northwind")).headers["etag"] == '"2"'


async def test_nothing_is_created_by_who_thinks_it_is_there(world: World) -> None:
    created = {
        "/clients/contoso": {"name": "Contoso", "lines_of_business": ["care"]},
        "/metrics/csat2": metric(),
        "/sources/chat": {"name": "Chat", "client": "northwind", "lines_of_business": ["care"]},
        "/employees/e-77": person(),
    }
    for path, body in created.items():
        answer = await world.put(path, body, **{"If-Match": '"1"'})
        assert refused(answer) == (412, "precondition-failed"), path
        assert (await world.get(path)).status_code == 404, path
        assert (await world.put(path, body)).status_code == 201, path
        same = await world.put(path, body, **{"If-Match": '"7"'})
        assert refused(same) == (412, "precondition-failed"), path


async def test_of_two_edits_of_one_version_one_wins(world: World) -> None:
    bodies = [{"name": f"N{n}", "lines_of_business": ["care", "sales"]} for n in range(8)]
    answers = await asyncio.gather(*(world.put("/clients/northwind", body, **{"If-Match": '"1"'}) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_a_line_of_business_that_is_used_stays(world: World) -> None:
    body = {"name": "Northwind", "lines_of_business": ["sales"]}
    gone = await world.put("/clients/northwind", body, **{"If-Match": '"1"'})
    assert refused(gone) == (422, "line-of-business-in-use")
    assert gone.json()["errors"][0]["pointer"] == "/lines_of_business"
    unused = body | {"lines_of_business": ["care"]}
    assert (await world.put("/clients/northwind", unused, **{"If-Match": '"1"'})).status_code == 200


async def test_a_source_posts_for_lines_of_its_own_client(world: World) -> None:
    source = {"name": "x", "client": "northwind", "lines_of_business": ["care"]}
    assert refused(await world.put("/sources/x", source | {"client": "nobody"})) == (422, "unknown-client")
    stranger = await world.put("/sources/x", source | {"lines_of_business": ["claims"]})
    assert refused(stranger) == (422, "unknown-line-of-business")
    assert refused(await world.post("/sources/x/keys", {})) == (404, "not-found")
    for never in (
        "2026-11-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2027-01-01T00:00:00",
    ):
        answer = await world.post("/sources/acd/keys", {"expires_at": never})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/expires_at"), never


async def test_a_metric_is_not_saved_without_who_what_and_how(world: World) -> None:
    for name in ("name", "owner", "source_system", "unit", "direction", "aggregation", "precision"):
        answer = await world.put("/metrics/new", without(metric(), name))
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{name}")
    assert (await world.get("/metrics/new")).status_code == 404


async def test_a_metric_is_announced_with_each_version_and_keeps_its_aggregation(world: World) -> None:
    wanted = metric(precision=2, minimum_volume="20." + "0" * 20_000)
    changed = await world.put("/metrics/aht", wanted, **{"If-Match": '"1"'})
    assert changed.json()["version"] == 2
    versions = [one["version"] for one in await world.announced("plumbline.metrics.*") if one["metric"] == "aht"]
    assert versions == [1, 2]
    fixed = await world.put("/metrics/aht", metric("sum"), **{"If-Match": '"2"'})
    assert refused(fixed) == (422, "aggregation-fixed")
    for wrong in ({"precision": -1}, {"unit": " "}, {"direction": "up"}, {"minimum_volume": -1}, {"colour": "red"}):
        assert (await world.put("/metrics/bad", metric(**wrong))).status_code == 422, wrong


async def test_a_persons_whole_state_is_announced_with_each_version(world: World) -> None:
    body = person("e-90", grade="G4") | {"absences": [{"starts_on": "2026-03-02", "ends_on": "2026-03-06"}]}
    assert refused(await world.put("/employees/e-1", body)) == (428, "precondition-required")
    changed = await world.put("/employees/e-1", body, **{"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    announced = [one for one in await world.announced("plumbline.workforce.*") if one["employee"] == "e-1"]
    assert [one["version"] for one in announced] == [1, 2]
    assert announced[1]["assignments"][0]["grade"] == "G4"
    assert announced[1]["absences"] == [{"starts_on": "2026-03-02", "ends_on": "2026-03-06"}]
    read = await world.get("/employees/e-1")
    assert (read.headers["etag"], read.json()["absences"]) == ('"2"', announced[1]["absences"])
    created = await world.put("/employees/e-7", person())
    assert (created.status_code, created.headers["etag"]) == (201, '"1"')


async def test_a_nightly_load_announces_only_who_changed(world: World) -> None:
    people = [{"id": "e-1", **person("e-90")}, {"id": "e-2", **person()}, {"id": "e-3", **person("e-1")}]
    before = len(await world.announced("plumbline.workforce.*"))
    answer = (await world.post("/employees", people)).json()
    assert answer == {"created": 1, "changed": 1, "unchanged": 1, "rejected": []}
    announced = (await world.announced("plumbline.workforce.*"))[before:]
    assert [(one["employee"], one["version"]) for one in announced] == [("e-2", 2), ("e-3", 1)]
    again = (await world.post("/employees", people[::-1])).json()
    assert again == {"created": 0, "changed": 0, "unchanged": 3, "rejected": []}


async def test_one_wrong_person_keeps_no_other_back(world: World) -> None:
    shifted = person()
    shifted["assignments"] = [person()["assignments"][0], person(valid_from="2026-05-01")["assignments"][0]]
    wrong = {
        ("overlap", "assignments"): shifted,
        ("unknown-client", "assignments/0/client"): person(client="nobody"),
        ("unknown-line-of-business", "assignments/0/line_of_business"): person(line_of_business="claims"),
        ("unknown-time-zone", "assignments/0/time_zone"): person(time_zone="Mars/Olympus"),
        ("ends-before-start", "assignments/0/valid_to"): person(valid_to="2025-01-01"),
        ("own-manager", "assignments/0/manager"): person("p-5"),
        ("invalid", "assignments/0/valid_from"): person(valid_from="yesterday"),
        ("invalid", "assignments/0/valid_to"): person(valid_to=1_900_022_400),
        ("invalid", "country"): person() | {"country": "Philippines"},
        ("invalid", "display_name"): person() | {"display_name": "a\x00b"},
        ("missing", "locale"): without(person(), "locale"),
    }
    people = [{"id": f"p-{n}", **body} for n, body in enumerate(wrong.values())]
    answer = (await world.post("/employees", [*people, {"id": "p-99", **person()}, {"id": "p-99", **person()}])).json()
    assert answer["created"] == 1
    expected = [(f"p-{n}", code, f"/{n}/{field}") for n, (code, field) in enumerate(wrong)]
    expected.append(("p-99", "repeated", "/12/id"))
    assert [(one["id"], one["code"], one["pointer"]) for one in answer["rejected"]] == expected
    single = await world.put("/employees/p-5", person("p-5"))
    assert (single.status_code, single.json()["errors"][0]["pointer"]) == (422, "/assignments/0/manager")


async def test_two_loads_of_the_same_people_at_once_do_not_block_each_other_for_good(world: World) -> None:
    people = [{"id": f"p-{n}", **person()} for n in range(60)]
    answers = await asyncio.gather(*(world.post("/employees", people[:: 1 if n % 2 else -1]) for n in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(answer.json()["created"] for answer in answers) == 60
    assert len({one["employee"] for one in await world.announced("plumbline.workforce.*")}) == 63


async def test_mappings_of_an_agent_id_do_not_overlap(world: World) -> None:
    mappings = [
        {"agent": "A-1", "employee": "e-2", "valid_from": "2026-06-01"},
        {"agent": "A-1", "employee": "e-1", "valid_from": "2026-01-01", "valid_to": "2026-05-31"},
        {"agent": "A-1", "employee": "e-2", "valid_from": "2026-06-01"},
        {"agent": "B-1", "employee": "e-404", "valid_from": "2026-06-01"},
        {"agent": "B-1", "employee": "e-1", "valid_from": "2026-06-02", "valid_to": "2026-06-01"},
        {"agent": "", "employee": "e-1", "valid_from": "2026-06-02"},
        {"agent": "A-2", "employee": "e-2", "valid_from": "2026-01-01"},
    ]
    answer = (await world.put("/sources/acd/agents", mappings)).json()
    assert (answer["saved"], answer["unchanged"]) == (2, 1)
    assert [(one["index"], one["code"], one["pointer"]) for one in answer["rejected"]] == [
        (0, "overlap", "/0/valid_from"),
        (3, "unknown-employee", "/3/employee"),
        (4, "ends-before-start", "/4/valid_to"),
        (5, "invalid", "/5/agent"),
    ]
    listed = (await world.get("/sources/acd/agents")).json()["items"]
    assert [(one["agent"], one["valid_from"], one["employee"]) for one in listed] == [
        ("A-1", "2026-01-01", "e-1"),
        ("A-1", "2026-06-01", "e-2"),
        ("A-2", "2026-01-01", "e-2"),
    ]
    assert (await world.put("/sources/nobody/agents", mappings)).status_code == 404


async def test_lists_come_page_by_page_and_as_csv(world: World) -> None:
    first = (await world.get("/employees?limit=2")).json()
    rest = (await world.get(f"/employees?limit=2&cursor={first['next']}")).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == ["e-1", "e-2", "e-90"] and rest["next"] is None
    sheet = await world.get("/employees", **world.hr, Accept="text/csv")
    assert sheet.text.splitlines()[0].startswith("id,version,display_name")
    assert (await world.get("/employees?cursor=AAAA")).status_code == 400
    for path in ("/clients", "/sources", "/metrics", "/sources/acd/keys", "/conflicts", "/feedback"):
        assert (await world.get(path, **world.hr, Accept="text/csv")).status_code == 200, path


async def test_an_invented_cursor_is_refused_and_no_failure_of_ours(world: World) -> None:
    lists = ("/clients", "/sources", "/metrics", "/employees", "/sources/acd/keys", "/sources/acd/agents")
    for key in (["a\x00"], ["\ud800"], [10**30], [-1], ["2026-01-01T00:00:00", "k"], ["a", "b"], [], 1):
        cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
        for path in (*lists, "/conflicts", "/feedback"):
            assert (await world.get(f"{path}?cursor={cursor}")).status_code == 400, (path, key)


async def test_every_change_is_audited_and_no_secret_is(world: World) -> None:
    entries = (await world.get("/audit?limit=100")).json()["items"]
    assert {entry["action"] for entry in entries} >= {
        "provider.created",
        "client.saved",
        "source.saved",
        "metric.saved",
        "employees.loaded",
        "source-agents.saved",
        "source-key.issued",
    }
    assert world.key not in json.dumps(entries)
    stored = await world.rows("SELECT CAST(source_keys AS text) FROM source_keys")
    assert world.key not in str(stored) and world.key.split("_", 2)[2] not in str(stored)


async def test_only_hr_administers(world: World) -> None:
    for role in ("employee", "manager", "facilitator", "compensation_admin", "operator", "source"):
        headers = world.bearer(role)
        attempts = [
            await world.http.put("/v1/clients/northwind", json={}, headers=headers),
            await world.http.put("/v1/sources/acd", json={}, headers=headers),
            await world.http.put("/v1/metrics/aht", json={}, headers=headers),
            await world.http.put("/v1/employees/e-1", json={}, headers=headers),
            await world.http.post("/v1/employees", json=[], headers=headers),
            await world.http.put("/v1/sources/acd/agents", json=[], headers=headers),
            await world.http.post("/v1/sources/acd/keys", json={}, headers=headers),
            await world.http.get("/v1/employees/e-1", headers=headers),
            await world.http.get("/v1/conflicts", headers=headers),
        ]
        assert {answer.status_code for answer in attempts} == {403}, role


async def test_of_many_who_create_the_same_person_at_once_one_does_and_the_others_are_asked_to_read(
    world: World,
) -> None:
    bodies = [person() | {"display_name": f"Ana {number}"} for number in range(12)]
    answers = await asyncio.gather(*(world.put("/employees/e-new", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [428] * 11
    assert (await world.get("/employees/e-new")).json()["version"] == 1


async def test_of_many_who_create_the_same_person_alike_all_are_content(world: World) -> None:
    answers = await asyncio.gather(*(world.put("/employees/e-new", person()) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert {answer.headers["etag"] for answer in answers} == {'"1"'}
