"""The freeze, and three sessions in which a facilitator and the leads of a client settle every band."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from deploy.local.demo import policy
from deploy.local.demo.client import Answer, Body, Refused
from deploy.local.demo.context import Course, each
from deploy.local.demo.policy import Act, Verdict
from deploy.local.demo.world import CLIENTS, CYCLE

_BULK = 1_000
_SAID = {"code": "evidence-beyond-metrics", "text": "The lead sees in daily work what the metrics do not count."}
_AGREED = "The evidence was read in the session and supports it."
_NOT_AGREED = "The session found no evidence beyond what the scorecard counts."


async def freeze(course: Course) -> None:
    """Everything accepted until now counts; scoring says when it has read it all."""
    hr, path = course.desk.administrator, f"/v1/cycles/{CYCLE}"
    key = f"{course.world.provider}-freeze"
    await course.unless_done(course.api.post("scoring", f"{path}/freeze", hr, None, key=key), "not-open")

    async def frozen() -> bool | None:
        state = (await course.api.get("scoring", path, hr)).body["state"]
        return True if state in ("frozen", "closed") else None

    await course.screen.until("scoring has read everything and the cycle is frozen", frozen, within=900)


def session_of(client: str) -> str:
    return f"{CYCLE}-{client}"


async def open_sessions(course: Course) -> None:
    for client, name in CLIENTS.items():
        await _open_session(course, client, name)


async def _open_session(course: Course, client: str, name: str) -> None:
    hr, session = course.desk.administrator, session_of(client)
    participants = [lead.id for lead in course.world.leads if lead.final.program.client == client]
    wanted = {
        "id": session,
        "name": f"{name}, second quarter 2025",
        "cycle": CYCLE,
        "scope": {"units": [], "clients": [client], "lines_of_business": [], "grades": []},
        "owner": course.world.administrator.id,
        "facilitator": course.world.facilitators[client].id,
        "participants": participants,
        "deadline": _deadline(),
    }

    async def prepare() -> Answer:
        return await course.api.post("calibration", "/v1/sessions", hr, wanted)

    async def begin() -> Answer:
        return await course.api.post("calibration", f"/v1/sessions/{session}/open", hr, {})

    if await course.found("calibration", f"/v1/sessions/{session}", hr) is None:
        await course.when_ready(f"calibration knows the cycle for {name}", prepare, "unknown-cycle", "invalid-input")
    if (await course.api.get("calibration", f"/v1/sessions/{session}", hr)).body["state"] == "prepared":
        early = ("copy-incomplete", "cycle-not-frozen", "nobody-in-scope")
        await course.when_ready(f"calibration has every scorecard for {name}", begin, *early)


async def calibrate(course: Course) -> None:
    with course.screen.bar("subjects", len(course.expected.calibrated)) as step:
        for client in CLIENTS:
            step(await _calibrate(course, client))


async def _calibrate(course: Course, client: str) -> int:
    """Decides until nobody is left, then locks; a session decided earlier is left as it is."""
    path, facilitator = f"/v1/sessions/{session_of(client)}", course.desk.facilitator(client)
    while True:
        session = (await course.api.get("calibration", path, facilitator)).body
        left = session["counts"]["undecided"] + session["counts"]["awaiting_approval"]
        if session["state"] == "published" or (session["state"] == "locked" and not left):
            return int(session["counts"]["subjects"])
        if session["state"] == "locked":
            again = {"reason": "A newer scorecard asks for another look.", "deadline": _deadline()}
            await course.api.post("calibration", f"{path}/reopen", course.desk.administrator, again)
        elif left:
            await _decide(course, client)
        else:
            await course.unless_done(course.api.post("calibration", f"{path}/lock", facilitator, {}), "session-state")


async def _decide(course: Course, client: str) -> None:
    path, facilitator = f"/v1/sessions/{session_of(client)}", course.desk.facilitator(client)
    await _await_copies(course, client)
    seen = [one async for one in course.api.pages("calibration", f"{path}/subjects", facilitator)]
    found = [(one, _verdict(course, one)) for one in seen if one["state"] in ("undecided", "awaiting-approval")]
    changes = [one for one in found if one[1].act is Act.CHANGE]
    asks = [one for one in found if one[1].act is Act.ASK]
    await each(changes, lambda item: _change(course, facilitator, path, item[0]["employee"], item[1].asked))
    await each(asks, lambda item: _ask(course, client, *item))
    subjects = course.api.pages("calibration", f"{path}/subjects", facilitator, state="undecided")
    await _confirm(course, facilitator, path, [one async for one in subjects])


def _deadline() -> str:
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


async def _await_copies(course: Course, client: str) -> None:
    """Ratings and the last scorecards each reach calibration by a way of their own: a facilitator begins when what is
    seen there is what scoring shows and what the leads have said."""
    rated = {
        rating.employee for said in course.expected.ratings.values() for rating in said if rating.category == "manager"
    }
    subjects = f"/v1/sessions/{session_of(client)}/subjects"
    cards = f"/v1/cycles/{CYCLE}/scorecards"
    final = {
        card["employee"]: card["version"]
        async for card in course.api.pages("scoring", cards, course.desk.administrator)
        if card["client"] == client
    }

    async def there() -> bool | None:
        seen = [one async for one in course.api.pages("calibration", subjects, course.desk.facilitator(client))]
        newest = all(final.get(one["employee"]) == one["scorecard_version"] for one in seen)
        heard = all(one["manager_rating"] is not None for one in seen if one["employee"] in rated)
        return True if newest and heard else None

    await course.screen.until(f"calibration has the last scorecards and ratings of {client}", there)


def _verdict(course: Course, subject: Body) -> Verdict:
    seed = course.world.size.seed
    return policy.verdict(seed, subject["employee"], subject["proposed_band"], subject["manager_band"])


async def _change(course: Course, token: str, path: str, employee: str, band: str | None) -> Body:
    """Decides as of the version just read; where an answer was lost, the decision already stands."""
    subject = f"{path}/subjects/{employee}"
    wanted = {"kind": "change", "band": band, "rationale": _SAID}
    while True:
        seen = (await course.api.get("calibration", subject, token)).body
        if seen["state"] != "undecided":
            return seen
        try:
            done = await course.api.edit("PUT", "calibration", f"{subject}/decision", token, wanted, seen["version"])
        except Refused as refused:
            if refused.status != 412:
                raise
        else:
            return done.body


async def _ask(course: Course, client: str, subject: Body, found: Verdict) -> None:
    """A lead asks for a move by two bands or more; the facilitator, another person, answers."""
    path, facilitator = f"/v1/sessions/{session_of(client)}", course.desk.facilitator(client)
    employee = subject["employee"]
    await _change(course, course.desk.lead(subject["manager"]), path, employee, found.asked)
    reply = {"approve": found.approved, "reason": _AGREED if found.approved else _NOT_AGREED}
    while True:
        seen = (await course.api.get("calibration", f"{path}/subjects/{employee}", facilitator)).body
        if seen["state"] != "awaiting-approval":
            return
        try:
            await course.api.edit(
                "POST", "calibration", f"{path}/subjects/{employee}/approval", facilitator, reply, seen["version"]
            )
        except Refused as refused:
            if refused.status != 412:
                raise


async def _confirm(course: Course, facilitator: str, path: str, subjects: Sequence[Body]) -> None:
    items = [{"employee": one["employee"], "version": one["version"]} for one in subjects]
    for first in range(0, len(items), _BULK):
        chosen = {"subjects": items[first : first + _BULK]}
        answer = (await course.api.post("calibration", f"{path}/confirmations", facilitator, chosen)).body
        for result in answer["results"]:
            # Stale after a lost answer: it was confirmed by the request that was sent again.
            if result["outcome"] != "confirmed" and result["code"] != "stale":
                raise ValueError(f"a confirmation was refused: {result}")


async def publish(course: Course) -> None:
    """Each facilitator publishes their session: from here on people know their band."""
    for client in CLIENTS:
        path, facilitator = f"/v1/sessions/{session_of(client)}", course.desk.facilitator(client)
        key = f"{course.world.provider}-{session_of(client)}"
        if (await course.api.get("calibration", path, facilitator)).body["state"] != "published":
            call = course.api.post("calibration", f"{path}/publish", facilitator, {}, key=key)
            await course.unless_done(call, "session-state")
