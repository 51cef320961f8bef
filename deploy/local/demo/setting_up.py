"""The provider moves in: its clients, people, metrics and rules, and where its people can be reached."""

from __future__ import annotations

from deploy.local.demo import scheme
from deploy.local.demo.client import Answer
from deploy.local.demo.context import Course
from deploy.local.demo.expectation import has_contact
from deploy.local.demo.world import (
    CLIENTS,
    CYCLE,
    FIRST_DAY,
    GRADE_OF,
    PROGRAMS,
    Stint,
    Worker,
    client_agent,
    source_of,
)

WEBHOOK_KINDS = ("classification-published", "classification-revised", "award-decided", "award-adjusted")
_AT_A_TIME = 2_000


async def register(course: Course) -> None:
    """The operator makes the provider; HR enters clients, their source systems and the metric dictionary."""
    api, hr, provider = course.api, course.desk.administrator, course.world.provider
    made = await api.post("ingest", "/v1/providers", course.desk.operator, {"id": provider, "name": "Meridian BPO"})
    course.journal.open(made.body["created_at"])
    for client, name in CLIENTS.items():
        lines = [program.line_of_business for program in PROGRAMS if program.client == client]
        await api.put("ingest", f"/v1/clients/{client}", hr, {"name": name, "lines_of_business": lines})
        source = {"name": f"{name} operations", "client": client, "lines_of_business": lines}
        await api.put("ingest", f"/v1/sources/{source_of(client)}", hr, source)
    for key, metric in scheme.METRICS.items():
        await api.put("ingest", f"/v1/metrics/{key}", hr, metric)


async def employ(course: Course) -> None:
    """The nightly list of the HR system, and which agent id of which client system is whom."""
    hr, world = course.desk.administrator, course.world
    items: list[dict[str, object]] = [_partner(partner.id, partner.name) for partner in world.partners]
    items += [_employee(worker) for worker in world.workers]
    for first in range(0, len(items), _AT_A_TIME):
        answer = await course.api.post("ingest", "/v1/employees", hr, items[first : first + _AT_A_TIME])
        _refuse_rejections("employees", answer.body["rejected"])
    for client in CLIENTS:
        mappings = [
            {"agent": client_agent(agent, client), "employee": agent.id, **_span(stint)}
            for agent in world.agents
            for stint in agent.stints
            if stint.program.client == client
        ]
        for first in range(0, len(mappings), _AT_A_TIME):
            path = f"/v1/sources/{source_of(client)}/agents"
            answer = await course.api.put("ingest", path, hr, mappings[first : first + _AT_A_TIME])
            _refuse_rejections("agents", answer.body["rejected"])


async def connect(course: Course) -> None:
    """Addresses come before what is to be said: nobody gets yesterday's mail."""
    api, hr, provider = course.api, course.desk.administrator, course.world.provider
    people = [(worker.id, "employee") for worker in course.world.workers if has_contact(worker)]
    people += [(partner.id, partner.role) for partner in course.world.partners]
    items = [
        {"employee": one, "email": f"{one}@{provider}.example", "roles": ["employee", role]} for one, role in people
    ]
    for first in range(0, len(items), _AT_A_TIME):
        chosen = [item | {"roles": sorted({*item["roles"]})} for item in items[first : first + _AT_A_TIME]]
        await api.post("notifications", "/v1/contacts", hr, {"items": chosen})
    url = f"{course.stack.url('webhooks')}/{provider}"
    known = [endpoint["url"] async for endpoint in api.pages("notifications", "/v1/webhook-endpoints", hr)]
    if url not in known:
        wanted = {"url": url, "kinds": list(WEBHOOK_KINDS), "description": "HR portal"}
        await api.post("notifications", "/v1/webhook-endpoints", hr, wanted, key=f"{provider}-portal")


async def publish_templates(course: Course) -> None:
    """Role templates, each published once scoring has heard of the metrics it weighs."""
    api, hr = course.api, course.desk.administrator
    for head, version in scheme.templates():
        path = f"/v1/templates/{head['template']}"
        await course.unless_done(api.post("scoring", "/v1/templates", hr, head), "template-exists")
        known = (await api.get("scoring", path, hr)).body
        if known["published"]:
            continue
        if not known["versions"]:
            await api.post("scoring", f"{path}/versions", hr, version)

        async def publish(path: str = path) -> Answer:
            return await api.post("scoring", f"{path}/versions/1/publish", hr, None, key=f"{path}-1")

        await course.when_ready("scoring knows the metrics", publish, "version-refused", within=60)


async def open_cycle(course: Course) -> None:
    world = course.world
    cycle = {
        "cycle": CYCLE,
        "name": "Second quarter 2025",
        "starts_on": FIRST_DAY.isoformat(),
        "ends_on": world.last_day.isoformat(),
        "bands": [{"band": band, "cut_score": cut} for band, cut in scheme.BANDS],
    }
    hr = course.desk.administrator
    await course.unless_done(course.api.post("scoring", "/v1/cycles", hr, cycle), "cycle-exists")


def _partner(employee: str, name: str) -> dict[str, object]:
    return {"id": employee, "display_name": name, "country": "PL", "locale": "en-GB", "assignments": [], "absences": []}


def _employee(worker: Worker) -> dict[str, object]:
    site = worker.final.site
    return {
        "id": worker.id,
        "display_name": worker.name,
        "country": site.country,
        "locale": site.locale,
        "assignments": [_assignment(stint) for stint in worker.stints],
        "absences": [{"starts_on": first.isoformat(), "ends_on": last.isoformat()} for first, last in worker.absences],
    }


def _assignment(stint: Stint) -> dict[str, object]:
    return {
        **_span(stint),
        "role": stint.role,
        "grade": GRADE_OF[stint.role],
        "unit": stint.unit,
        "manager": stint.manager,
        "client": stint.program.client,
        "line_of_business": stint.program.line_of_business,
        "site": stint.site.id,
        "time_zone": stint.site.time_zone,
    }


def _span(stint: Stint) -> dict[str, str | None]:
    last = stint.last
    return {"valid_from": stint.first.isoformat(), "valid_to": None if last is None else last.isoformat()}


def _refuse_rejections(what: str, rejected: list[object]) -> None:
    if rejected:
        raise ValueError(f"{len(rejected)} {what} were rejected; the first: {rejected[0]}")
