"""The service as HR, employees and operators meet it."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from services.notifications.handlers.topics import on_awards, on_classifications, on_workforce
from services.notifications.model import Kind
from tests.notifications import events
from tests.notifications.conftest import ACME, Build, House, Receiver

ADDRESS = "ana@example.com"


def problems(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return [each["pointer"] for each in answer.json().get("errors", [])]


async def test_a_contact_is_created_freely_and_changed_only_by_who_read_it(house: House) -> None:
    admin = house.headers("hr_admin")
    body = {"email": ADDRESS, "roles": ["manager", "employee"], "locale": "es-MX"}
    assert (await house.http.put("/contacts/e-1", json=body, headers={**admin, "if-match": '"1"'})).status_code == 412
    made = await house.http.put("/contacts/e-1", json=body, headers=admin)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.json() == {**body, "roles": ["employee", "manager"], "employee": "e-1", "version": 1}

    changed = {"email": "ana@example.org"}
    assert (await house.http.put("/contacts/e-1", json=changed, headers=admin)).status_code == 428
    stale = {**admin, "if-match": '"7"'}
    assert (await house.http.put("/contacts/e-1", json=changed, headers=stale)).status_code == 412
    read = {**admin, "if-match": '"1"'}
    saved = await house.http.put("/contacts/e-1", json=changed, headers=read)
    assert (saved.status_code, saved.headers["etag"]) == (200, '"2"')
    same = await house.http.put("/contacts/e-1", json=changed, headers={**admin, "if-match": '"2"'})
    assert (same.status_code, same.headers["etag"]) == (200, '"2"')
    assert (await house.http.get("/contacts/e-1", headers=admin)).json()["email"] == "ana@example.org"

    assert (await house.http.delete("/contacts/e-1", headers=admin)).status_code == 428
    gone = await house.http.delete("/contacts/e-1", headers={**admin, "if-match": '"2"'})
    assert gone.status_code == 204
    assert (await house.http.get("/contacts/e-1", headers=admin)).status_code == 404


async def test_of_two_who_create_the_same_contact_at_once_one_is_told(house: House) -> None:
    admin = house.headers("hr_admin")
    answers = await asyncio.gather(
        *(
            house.http.put("/contacts/e-1", json={"email": f"ana{number}@example.com"}, headers=admin)
            for number in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [428] * 5
    assert (await house.http.get("/contacts/e-1", headers=admin)).json()["version"] == 1


async def test_thousands_of_contacts_are_loaded_at_once_and_again_without_effect(house: House) -> None:
    admin = house.headers("hr_admin")
    items = [{"employee": f"e-{number:04}", "email": f"p{number}@example.com"} for number in range(5_000)]
    loaded = await house.http.post("/contacts", json={"items": items}, headers=admin)
    assert loaded.json() == {"created": 5_000, "changed": 0, "unchanged": 0}
    items[7]["email"] = "other@example.com"
    again = await house.http.post("/contacts", json={"items": items}, headers=admin)
    assert again.json() == {"created": 0, "changed": 1, "unchanged": 4_999}
    first = (await house.http.get("/contacts?limit=2", headers=admin)).json()
    second = (await house.http.get(f"/contacts?limit=2&cursor={first['next']}", headers=admin)).json()
    assert [item["employee"] for item in first["items"] + second["items"]] == ["e-0000", "e-0001", "e-0002", "e-0003"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/email"]),
        ({"email": "ana"}, ["/email"]),
        ({"email": "ana@example.com\r\nBcc: b@example.com"}, ["/email"]),
        ({"email": ADDRESS, "roles": ["client"]}, ["/roles/0"]),
        ({"email": ADDRESS, "roles": "employee"}, ["/roles"]),
        ({"email": ADDRESS, "locale": "x"}, ["/locale"]),
        ({"email": ADDRESS, "salary": 1}, ["/salary"]),
    ],
)
async def test_a_wrong_contact_is_refused_by_field_without_repeating_the_address(
    house: House, body: dict[str, object], pointers: list[str]
) -> None:
    answer = await house.http.put("/contacts/e-1", json=body, headers=house.headers("hr_admin"))
    assert (answer.status_code, problems(answer)) == (422, pointers)
    assert "example.com\\r" not in answer.text


async def test_a_load_with_one_wrong_or_doubled_contact_changes_nothing(house: House) -> None:
    admin = house.headers("hr_admin")
    good, bad = {"employee": "e-1", "email": ADDRESS}, {"employee": "no/slash", "email": ADDRESS}
    wrong = await house.http.post("/contacts", json={"items": [good, bad]}, headers=admin)
    assert (wrong.status_code, problems(wrong)) == (422, ["/items/1/employee"])
    doubled = await house.http.post("/contacts", json={"items": [good, good]}, headers=admin)
    assert (doubled.status_code, problems(doubled)) == (422, ["/items/1/employee"])
    many = [{"employee": f"e-{number}", "email": ADDRESS} for number in range(5_001)]
    assert (await house.http.post("/contacts", json={"items": many}, headers=admin)).status_code == 422
    assert await house.get("/contacts", "hr_admin") == []


async def test_nobody_reads_the_inbox_of_another_whatever_the_role(house: House) -> None:
    await house.told(on_classifications, events.published("e-1"))
    (notice,) = await house.inbox("e-1")
    everything = ("employee", "manager", "facilitator", "hr_admin", "compensation_admin", "auditor", "operator")
    assert await house.get("/inbox", *everything, employee="e-2") == []
    other = house.headers(*everything, employee="e-2")
    assert (await house.http.post(f"/inbox/{notice['id']}/read", headers=other)).status_code == 404
    nobody = await house.http.get("/inbox", headers=house.headers("hr_admin"))
    assert (nobody.status_code, nobody.json()["type"]) == (403, "urn:plumbline:problem:no-employee")
    (again,) = await house.inbox("e-1")
    assert again["read_at"] is None


async def test_reading_a_notice_twice_keeps_the_first_time_and_filters_see_it(house: House) -> None:
    await house.told(on_classifications, events.published("e-1"))
    await house.told(on_awards, events.decided("e-1"))
    newest, oldest = await house.inbox("e-1")
    assert (newest["kind"], oldest["kind"]) == ("award-decided", "classification-published")
    me = house.headers("employee", employee="e-1")
    first = await house.http.post(f"/inbox/{oldest['id']}/read", headers=me)
    house.clock.forward(hours=1)
    second = await house.http.post(f"/inbox/{oldest['id']}/read", headers=me)
    assert first.json() == second.json()
    assert first.json()["read_at"] is not None
    unread = await house.get("/inbox?unread=true", "employee", employee="e-1")
    read = await house.get("/inbox?unread=false", "employee", employee="e-1")
    assert ([item["id"] for item in unread], [item["id"] for item in read]) == ([newest["id"]], [oldest["id"]])


async def test_the_inbox_is_paged_newest_first_and_speaks_the_readers_language(house: House) -> None:
    await house.told(on_workforce, events.person("e-1", locale="de-DE"))
    await house.told(on_classifications, *(events.published("e-1", version) for version in range(1, 6)))
    me = house.headers("employee", employee="e-1")
    seen: list[str] = []
    path = "/inbox?limit=2"
    while True:
        page = (await house.http.get(path, headers=me)).json()
        seen += [item["cause"] for item in page["items"]]
        if page["next"] is None:
            break
        path = f"/inbox?limit=2&cursor={page['next']}"
    assert seen == [f"classification/2026-h1/e-1/{version}" for version in range(5, 0, -1)]
    assert page["items"][0]["title"] == "Ihre Einstufung für 2026-h1 liegt vor"
    assert (await house.http.get("/inbox?cursor=nonsense", headers=me)).status_code == 400


async def test_preferences_start_with_everything_on_and_are_changed_by_who_read_them(house: House) -> None:
    me = house.headers("employee", employee="e-1")
    before = await house.http.get("/preferences", headers=me)
    assert before.headers["etag"] == '"0"'
    assert before.json() == {"email": {kind.value: True for kind in Kind}, "version": 0}
    off = {"email": {"award-decided": False}}
    for stale in ('"-1"', '"1"'):
        answer = await house.http.put("/preferences", json=off, headers={**me, "if-match": stale})
        assert answer.status_code == 412
    assert (await house.http.put("/preferences", json=off, headers=me)).json()["email"]["award-decided"] is False
    other = {"email": {"award-decided": True}}
    assert (await house.http.put("/preferences", json=other, headers=me)).status_code == 428
    on = await house.http.put("/preferences", json={"email": {}}, headers={**me, "if-match": '"1"'})
    assert (on.json()["version"], on.json()["email"]["award-decided"]) == (2, True)
    unknown = await house.http.put("/preferences", json={"email": {"gossip": False}}, headers=me)
    assert unknown.status_code == 422


async def test_of_many_who_put_the_same_contact_at_once_one_creates_it_and_all_are_content(house: House) -> None:
    admin, body = house.headers("hr_admin"), {"email": "ana@example.com"}
    answers = await asyncio.gather(*(house.http.put("/contacts/e-1", json=body, headers=admin) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert (await house.http.put("/contacts/e-1", json=body, headers=admin)).headers["etag"] == '"1"'


async def test_the_same_preferences_again_are_no_change(house: House) -> None:
    me, body = house.headers("employee", employee="e-1"), {"email": {"award-decided": False}}
    answers = [await house.http.put("/preferences", json=body, headers=me) for _ in range(3)]
    assert [(answer.status_code, answer.json()["version"]) for answer in answers] == [(200, 1)] * 3


async def test_of_two_first_preferences_at_once_one_is_told(house: House) -> None:
    me = house.headers("employee", employee="e-1")
    answers = await asyncio.gather(
        *(house.http.put("/preferences", json={"email": {kind.value: False}}, headers=me) for kind in Kind)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [428] * (len(Kind) - 1)


async def test_an_endpoint_is_made_once_per_key_and_shows_its_secret_only_there(house: House) -> None:
    admin = {**house.headers("hr_admin"), "idempotency-key": "k-1"}
    body = {"url": "https://hooks.example.com/plumbline", "kinds": ["award-decided"], "description": "HRIS"}
    first = await house.http.post("/webhook-endpoints", json=body, headers=admin)
    again = await house.http.post("/webhook-endpoints", json=body, headers=admin)
    assert (first.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert first.json() == again.json()
    assert first.json()["secret"].startswith("whsec_")
    (listed,) = await house.get("/webhook-endpoints", "operator")
    one = await house.http.get(f"/webhook-endpoints/{listed['id']}", headers=house.headers("auditor"))
    assert "secret" not in listed and "secret" not in one.json()
    assert (one.headers["etag"], one.json()["description"]) == ('"1"', "HRIS")
    without = await house.http.post("/webhook-endpoints", json=body, headers=house.headers("hr_admin"))
    assert (without.status_code, problems(without)) == (400, ["Idempotency-Key"])


async def test_an_endpoint_inside_the_house_is_refused_unless_the_setting_allows_it(build: Build) -> None:
    house = await build(allow_private=False)
    for url in ("http://hooks.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.8:8443/x"):
        answer = await house.http.post(
            "/webhook-endpoints",
            json={"url": url, "kinds": ["award-decided"]},
            headers={**house.headers("hr_admin"), "idempotency-key": url},
        )
        assert (answer.status_code, problems(answer)) == (422, ["/url"]), url
    made = await house.endpoint("https://hooks.example.com/", "award-decided")
    changed = await house.http.patch(
        f"/webhook-endpoints/{made['id']}",
        json={"url": "https://169.254.169.254/"},
        headers={**house.headers("hr_admin"), "if-match": '"1"'},
    )
    assert (changed.status_code, problems(changed)) == (422, ["/url"])


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(house: House, receiver: Receiver) -> None:
    house.clock.now = datetime.now(UTC)
    made = await house.endpoint(receiver.url, "award-decided")
    admin = {**house.headers("hr_admin"), "idempotency-key": "rotate"}
    rotated = (await house.http.post(f"/webhook-endpoints/{made['id']}/secret", headers=admin)).json()
    assert rotated["secret"] != made["secret"]
    await house.told(on_awards, events.decided("e-1"))
    await house.deliver()
    (hook,) = receiver.hooks
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(hook.body, hook.headers)

    house.clock.forward(hours=24)
    await house.told(on_awards, events.decided("e-2"))
    await house.deliver()
    assert len(receiver.hooks[1].headers["webhook-signature"].split(" ")) == 1


async def test_editing_an_endpoint_needs_its_version_and_leaves_the_rest_as_it_was(house: House) -> None:
    made = await house.endpoint("https://hooks.example.com/", "award-decided")
    path, admin = f"/webhook-endpoints/{made['id']}", house.headers("hr_admin")
    assert (await house.http.patch(path, json={"enabled": False}, headers=admin)).status_code == 428
    off = await house.http.patch(path, json={"enabled": False}, headers={**admin, "if-match": '"1"'})
    assert (off.json()["enabled"], off.json()["disabled_reason"], off.headers["etag"]) == (False, "by-hand", '"2"')
    named = await house.http.patch(path, json={"description": "x"}, headers={**admin, "if-match": '"2"'})
    assert named.json() == off.json() | {"description": "x", "version": 3}
    empty = await house.http.patch(path, json={"kinds": []}, headers={**admin, "if-match": '"3"'})
    assert (empty.status_code, problems(empty)) == (422, ["/kinds"])
    assert (await house.http.delete(path, headers={**admin, "if-match": '"3"'})).status_code == 204
    assert (await house.http.get(path, headers=admin)).status_code == 404
    async with house.database.begin(ACME) as tx:
        assert await tx.scalar(text("SELECT secret FROM webhook_endpoints")) is None


async def test_deliveries_are_filtered_paged_and_exported_without_any_address(house: House, receiver: Receiver) -> None:
    await house.contact("e-1")
    made = await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"), events.decided("e-2"))
    await house.deliver()
    assert len(await house.deliveries(channel="email")) == 1
    assert len(await house.deliveries(endpoint=made["id"])) == 2
    assert await house.deliveries(state="dead") == []
    auditor = house.headers("auditor")
    exported = await house.http.get("/deliveries", headers={**auditor, "accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert sorted((row["recipient"], row["channel"]) for row in rows) == [
        ("e-1", "email"),
        ("e-1", "webhook"),
        ("e-2", "webhook"),
    ]
    assert "@" not in exported.text and "127.0.0.1" not in exported.text
    page = (await house.http.get("/deliveries?limit=2", headers=auditor)).json()
    rest = (await house.http.get(f"/deliveries?limit=2&cursor={page['next']}", headers=auditor)).json()
    assert len({item["id"] for item in page["items"] + rest["items"]}) == 3
    wrong = await house.http.get("/deliveries?channel=pigeon", headers=auditor)
    assert (wrong.status_code, problems(wrong)) == (422, ["channel"])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/contacts", {"hr_admin"}),
        ("GET", "/contacts/e-1", {"hr_admin"}),
        ("PUT", "/contacts/e-1", {"hr_admin"}),
        ("POST", "/contacts", {"hr_admin"}),
        ("DELETE", "/contacts/e-1", {"hr_admin"}),
        ("POST", "/webhook-endpoints", {"hr_admin"}),
        ("GET", "/webhook-endpoints", {"hr_admin", "auditor", "operator"}),
        ("GET", "/deliveries", {"hr_admin", "auditor", "operator"}),
        ("POST", "/deliveries/00000000-0000-0000-0000-000000000001/retry", {"hr_admin", "operator"}),
    ],
)
async def test_each_route_is_for_the_roles_it_names(house: House, method: str, path: str, allowed: set[str]) -> None:
    roles = ("source", "client", "employee", "manager", "facilitator", "hr_admin", "compensation_admin")
    for role in (*roles, "auditor", "operator"):
        answer = await house.http.request(method, path, headers=house.headers(role, employee="e-9"))
        assert (answer.status_code != 403) == (role in allowed), role
    both = await house.http.request(method, path, headers=house.headers("hr_admin", "client"))
    assert both.status_code == 403
    assert (await house.http.request(method, path)).status_code == 401


async def test_every_decision_is_in_the_audit_and_no_address_is(house: House) -> None:
    await house.contact("e-1")
    made = await house.endpoint("https://hooks.example.com/", "award-decided")
    admin = {**house.headers("hr_admin"), "if-match": '"1"', "idempotency-key": "r"}
    await house.http.post(f"/webhook-endpoints/{made['id']}/secret", headers=admin)
    await house.http.delete("/contacts/e-1", headers=admin)
    entries = await house.get("/audit", "auditor")
    assert [entry["action"] for entry in reversed(entries)] == [
        "contact.saved",
        "webhook-endpoint.created",
        "webhook-endpoint.secret-rotated",
        "contact.deleted",
    ]
    assert "example.com" not in str(entries) and "whsec" not in str(entries)


async def test_rows_of_another_provider_are_not_there(house: House) -> None:
    await house.contact("e-1")
    made = await house.endpoint("https://hooks.example.com/", "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    (delivery,) = await house.deliveries(channel="email")
    theirs = {**house.headers("hr_admin", "operator", provider="beta"), "if-match": '"1"', "idempotency-key": "k"}
    for method, path in (
        ("GET", "/contacts/e-1"),
        ("DELETE", "/contacts/e-1"),
        ("GET", f"/webhook-endpoints/{made['id']}"),
        ("DELETE", f"/webhook-endpoints/{made['id']}"),
        ("POST", f"/webhook-endpoints/{made['id']}/secret"),
        ("POST", f"/deliveries/{delivery['id']}/retry"),
    ):
        assert (await house.http.request(method, path, headers=theirs)).status_code == 404, path
    assert (await house.http.get("/deliveries", headers=theirs)).json()["items"] == []
