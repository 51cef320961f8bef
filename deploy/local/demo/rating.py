"""People rate people: every lead their own, colleagues each other, each with a token of their own."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.local.demo.context import Course, each
from deploy.local.demo.opinions import Rating
from deploy.local.demo.world import CYCLE


async def rate(course: Course) -> None:
    """Until the cycle is frozen; what was said then counts, and saying it again changes nothing."""
    cycle = (await course.api.get("scoring", f"/v1/cycles/{CYCLE}", course.desk.administrator)).body
    if cycle["state"] != "open":
        return
    said = course.expected.ratings
    with course.screen.bar("people who rate", len(said)) as step:
        await each(said.items(), lambda item: _submit(course, *item), step)


async def _submit(course: Course, rater: str, ratings: Sequence[Rating]) -> None:
    leads = {lead.id for lead in course.world.leads}
    token = course.desk.lead(rater) if rater in leads else course.desk.person(rater)
    items = [
        {"cycle": CYCLE, "employee": rating.employee, "category": rating.category, "rating": rating.rating}
        for rating in ratings
    ]

    async def submitted() -> bool | None:
        answer = (await course.api.post("ingest", "/v1/feedback", token, items)).body
        codes = {rejected["code"] for rejected in answer["rejected"]}
        if codes == {"unknown-cycle"}:
            return None
        if codes:
            raise ValueError(f"ratings by {rater} were rejected: {answer['rejected'][0]}")
        return True

    if await submitted() is None:
        await course.screen.until("ingest knows the cycle", submitted)
