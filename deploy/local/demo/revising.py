"""What comes after publication: late scorecards accepted by HR, revised by the session's people, settled in pay."""

from __future__ import annotations

from deploy.local.demo import money, policy
from deploy.local.demo.client import Body, Refused
from deploy.local.demo.context import Course, each
from deploy.local.demo.expectation import Late
from deploy.local.demo.world import CYCLE

_SAID = {"code": "data-error", "text": "The survey batch arrived after publication and is genuine."}
_DONE = ("revised", "confirmed")


async def accept_late(course: Course) -> None:
    """HR sees each late scorecard, and lets it count."""
    await each(course.expected.late, lambda late: _accept(course, late))


async def _accept(course: Course, late: Late) -> None:
    hr, employee = course.desk.administrator, late.worker.id
    path = f"/v1/cycles/{CYCLE}/scorecards/{employee}"

    async def computed() -> Body | None:
        card = (await course.api.get("scoring", path, hr)).body
        return card if card["status"] in ("late", "accepted") else None

    card = await course.screen.until(f"scoring has computed {employee} anew", computed)
    if card["status"] == "late":
        wanted = {"version": card["version"], "reason": "The survey vendor confirmed the batch."}
        key = f"{course.world.provider}-accept-{employee}-{card['version']}"
        await course.unless_done(course.api.post("scoring", f"{path}/acceptances", hr, wanted, key=key), "not-late")


async def revise(course: Course) -> None:
    await each(course.expected.late, lambda late: _revise(course, late))


async def _revise(course: Course, late: Late) -> None:
    """The facilitator revises to what the new scorecard proposes; two bands are the lead's to ask for."""
    worker = late.worker
    path = f"/v1/revisions/{worker.id}"
    facilitator, hr = course.desk.facilitator(worker.final.program.client), course.desk.administrator

    async def opened() -> Body | None:
        found = await course.found("calibration", path, hr, cycle=CYCLE)
        return None if found is None else found.body

    seen = await course.screen.until(f"calibration asks about {worker.id} again", opened)
    far = policy.needs_second_person(seen["current_band"], seen["proposed_band"])
    asker = course.desk.lead(worker.final.manager) if far else facilitator
    while seen["state"] not in _DONE:
        try:
            if seen["state"] == "open":
                wanted = {"cycle": CYCLE, "kind": "revise", "band": seen["proposed_band"], "rationale": _SAID}
                await course.api.edit("POST", "calibration", f"{path}/decision", asker, wanted, seen["version"])
            else:
                reply = {"cycle": CYCLE, "approve": True, "reason": "Two people have read the corrected surveys."}
                await course.api.edit("POST", "calibration", f"{path}/approval", facilitator, reply, seen["version"])
        except Refused as refused:
            if refused.status != 412 and refused.reason != "revision-closed":
                raise
        seen = await course.screen.until(f"the revision of {worker.id} can be read", opened)


async def settle(course: Course) -> None:
    """Pay has followed every revision."""
    await each(course.expected.late, lambda late: _settle(course, late))


async def _settle(course: Course, late: Late) -> None:
    employee = late.worker.id
    plan = money.plan_of(money.home_currency(late.worker))

    async def followed() -> bool | None:
        path, analyst = f"/v1/statements/{employee}", course.desk.analyst
        found = await course.found("compensation", path, analyst, cycle=CYCLE, plan=plan)
        awards = found.body["awards"] if found else []
        return True if awards and awards[0]["classification_version"] == 2 else None

    await course.screen.until(f"pay has followed the revision of {employee}", followed)
