"""What people were told: in their inboxes, in the caught mail and at the webhook receiver."""

from __future__ import annotations

from collections import Counter

from deploy.local.demo.context import Course, each
from deploy.local.demo.expectation import Expected, has_contact
from deploy.local.demo.screen import Overdue
from deploy.local.demo.setting_up import WEBHOOK_KINDS
from deploy.local.demo.world import World

Notice = tuple[str, str, str]
"""Kind, cause and recipient."""
_LATE = "scorecard-late"


def expected_mails(expected: Expected) -> int:
    reachable = {worker.id for worker in expected.world.workers if has_contact(worker)}
    reachable |= {partner.id for partner in expected.world.partners}
    return sum(recipient in reachable for _, _, recipient in expected.notices())


def expected_webhooks(expected: Expected) -> int:
    return sum(kind in WEBHOOK_KINDS for kind, _, _ in expected.notices())


def mail_domain(world: World) -> str:
    return f"{world.provider}.example"


async def deliver(course: Course) -> None:
    """Waits until as many messages have left as there should be; what is missing in the end, the report shows."""
    wanted = Counter(email=expected_mails(course.expected), webhook=expected_webhooks(course.expected))

    async def left() -> bool | None:
        found = {channel: await delivered(course, channel) for channel in wanted}
        return True if all(found[channel] >= count for channel, count in wanted.items()) else None

    try:
        await course.screen.until(f"{wanted.total()} mails and webhooks are delivered", left, within=240)
    except Overdue as overdue:
        course.screen.say(str(overdue))


async def delivered(course: Course, channel: str) -> int:
    hr = course.desk.administrator
    return await course.api.rows("notifications", "/v1/deliveries", hr, channel=channel, state="delivered")


async def read_inboxes(course: Course) -> list[Notice]:
    """Everybody's inbox, read with their own token."""
    found: list[Notice] = []
    people = [worker.id for worker in course.world.workers]
    desk = course.desk
    holders = {employee: desk.person(employee) for employee in people}
    holders |= {partner.id: desk.person(partner.id) for partner in course.world.partners}

    async def read(employee: str) -> None:
        items = course.api.pages("notifications", "/v1/inbox", holders[employee])
        found.extend([(item["kind"], _natural(item["kind"], item["cause"]), employee) async for item in items])

    with course.screen.bar("inboxes", len(holders)) as step:
        await each(holders, read, step)
    return sorted(found)


def _natural(kind: str, cause: str) -> str:
    """In which of its versions a scorecard is late depends on how often scoring had looked at it before."""
    return cause.rpartition("/")[0] if kind == _LATE else cause
