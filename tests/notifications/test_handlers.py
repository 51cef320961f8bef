"""From what happened to what people were told."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text

from services.notifications.handlers.topics import on_awards, on_classifications, on_cycles, on_notices, on_workforce
from services.notifications.model import Kind
from services.notifications.rules.wording import LANGUAGES
from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.outcomes import NoticeKind
from shared.database import Database
from shared.errors import RuleViolation
from shared.messaging.subscriptions import Handler
from tests.notifications import events
from tests.notifications.conftest import ACME, House, Mailbox, Receiver

Rows = set[tuple[str, ...]]

STORY: tuple[tuple[Handler, tuple[Event, ...]], ...] = (
    (on_workforce, (events.person("e-1", manager="m-1"), events.person("e-2", unit="u-2", manager="m-2"))),
    (on_workforce, (events.person("m-1", unit="u-9"),)),
    (on_cycles, (events.cycle(),)),
    (on_classifications, (events.published("e-1"), events.published("e-2"))),
    (on_classifications, (events.revised("e-1"),)),
    (on_awards, (events.decided("e-1"), events.decided("e-2"))),
    (on_awards, (events.adjusted("e-1"),)),
    (on_notices, (events.requested("direct", recipient="e-2"),)),
    (on_notices, (events.requested("admins", role="hr_admin"),)),
    (on_notices, (events.requested("unit", role="manager", unit="u-1"),)),
)
TOLD = {
    ("classification/2026-h1/e-1/1", "e-1", "classification-published"),
    ("classification/2026-h1/e-2/1", "e-2", "classification-published"),
    ("classification/2026-h1/e-1/2", "e-1", "classification-revised"),
    ("award/r-1/e-1/1", "e-1", "award-decided"),
    ("award/r-1/e-2/1", "e-2", "award-decided"),
    ("award/r-1/e-1/2", "e-1", "award-adjusted"),
    ("notice/run-awaits-approval/direct", "e-2", "run-awaits-approval"),
    ("notice/run-awaits-approval/admins", "hr-1", "run-awaits-approval"),
    ("notice/run-awaits-approval/admins", "hr-2", "run-awaits-approval"),
    ("notice/run-awaits-approval/unit", "m-1", "run-awaits-approval"),
}


async def notices(database: Database, provider: ProviderId = ACME) -> Rows:
    async with database.begin(provider) as tx:
        return {tuple(row) for row in await tx.execute(text("SELECT cause, recipient, kind FROM notices"))}


async def contacts_of_the_story(house: House) -> None:
    for employee, roles in (("e-1", ["employee"]), ("hr-1", ["hr_admin"]), ("hr-2", ["hr_admin", "manager"])):
        await house.contact(employee, roles=roles)
    for manager in ("m-1", "m-2"):
        await house.contact(manager, roles=["manager"])


async def test_a_published_classification_reaches_inbox_and_mail_without_band_or_score(
    house: House, mailbox: Mailbox
) -> None:
    await house.told(on_cycles, events.cycle())
    await house.told(on_workforce, events.person("e-1"))
    await house.contact("e-1")
    await house.told(on_classifications, events.published("e-1"))
    await house.deliver()

    (notice,) = await house.inbox("e-1")
    assert notice["title"] == "Your classification for Spring 2026 is available"
    assert notice["ids"] == {"cycle": "2026-h1", "employee": "e-1", "session": "s-1", "version": 1}
    (delivery,) = await house.deliveries()
    assert (delivery["channel"], delivery["state"], delivery["attempts"]) == ("email", "delivered", 1)
    (message,) = mailbox.messages
    assert mailbox.recipients == ["e-1@example.com"]
    assert mailbox.ids == [f"<{delivery['id']}@mail.example.com>"]
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    for said in (str(message), plain.get_content(), html.get_content()):
        assert "outstanding" not in said and "solid" not in said and "87.5" not in said
    assert "Hello Ana Cruz," in plain.get_content()
    assert "Date: 1 July 2026" in plain.get_content()
    assert 'href="https://portal.example.com/"' in html.get_content()


async def test_every_topic_makes_the_notices_of_the_story(house: House) -> None:
    await contacts_of_the_story(house)
    for handler, batch in STORY:
        await house.told(handler, *batch)
    assert await notices(house.database) == TOLD


@pytest.mark.parametrize("seed", range(4))
async def test_the_story_shuffled_doubled_and_replayed_makes_the_same_notices_and_mails(
    house: House, mailbox: Mailbox, seed: int
) -> None:
    """Topics overtake one another; within one topic the order of a key holds."""
    chance = random.Random(seed)
    await contacts_of_the_story(house)
    for _ in range(2):
        topics: dict[Handler, list[Event]] = {}
        for handler, batch in STORY:
            topics.setdefault(handler, []).extend(event for event in batch for _ in range(chance.randint(1, 2)))
        while topics:
            handler = chance.choice(list(topics))
            some = chance.randint(1, len(topics[handler]))
            await house.told(handler, *topics[handler][:some])
            del topics[handler][:some]
            if not topics[handler]:
                del topics[handler]
    await house.deliver()
    await house.deliver()

    assert await notices(house.database) == TOLD
    with_contact = [row for row in TOLD if row[1] != "e-2"]
    assert len(mailbox.ids) == len(set(mailbox.ids)) == len(with_contact)


async def test_the_same_event_at_the_same_moment_on_two_consumers_makes_one_notice(house: House) -> None:
    await house.contact("e-1")
    await asyncio.gather(*(house.told(on_classifications, events.published("e-1")) for _ in range(8)))
    assert len(await notices(house.database)) == 1
    assert len(await house.deliveries()) == 1


async def test_one_cause_told_to_two_roles_reaches_a_person_who_holds_both_once(house: House) -> None:
    await house.contact("hr-1", roles=["hr_admin", "compensation_admin"])
    await house.told(on_notices, events.requested(role="hr_admin"), events.requested(role="compensation_admin"))
    assert len(await notices(house.database)) == 1


async def test_a_notice_to_a_unit_waits_for_the_people_of_the_unit_to_become_known(house: House) -> None:
    await house.contact("m-1", roles=["manager"])
    await house.told(on_notices, events.requested(role="manager", unit="u-1"))
    assert await house.inbox("m-1") == []
    await house.told(on_workforce, events.person("e-1", manager="m-1"))
    assert len(await house.inbox("m-1")) == 1


async def test_a_contact_added_after_a_request_gets_nothing_of_it_even_when_the_unit_becomes_known(
    house: House,
) -> None:
    await house.told(on_notices, events.requested(role="manager", unit="u-1"))
    house.clock.forward(minutes=1)
    await house.contact("m-1", roles=["manager"])
    await house.told(on_workforce, events.person("e-1", manager="m-1"))
    assert await house.inbox("m-1") == []


async def test_without_a_contact_the_notice_is_in_the_inbox_and_a_later_contact_gets_no_old_mail(
    house: House, mailbox: Mailbox
) -> None:
    await house.told(on_awards, events.decided("e-1"))
    await house.contact("e-1")
    await house.told(on_awards, events.decided("e-1"))
    await house.deliver()
    assert len(await house.inbox("e-1")) == 1
    assert mailbox.messages == []


async def test_mail_of_a_kind_that_was_switched_off_is_not_made_and_the_inbox_still_has_it(
    house: House, mailbox: Mailbox
) -> None:
    await house.contact("e-1")
    me = house.headers("employee", employee="e-1")
    await house.http.put("/preferences", json={"email": {"award-decided": False}}, headers=me)
    await house.told(on_awards, events.decided("e-1"))
    await house.told(on_classifications, events.published("e-1"))
    await house.deliver()
    assert len(await house.inbox("e-1")) == 2
    assert [str(message["Subject"]) for message in mailbox.messages] == ["Your classification for 2026-h1 is available"]


async def test_an_older_state_of_a_person_or_a_cycle_changes_nothing(house: House, mailbox: Mailbox) -> None:
    await house.told(on_workforce, events.person("e-1", version=2, name="Ana Reyes", locale="de-AT"))
    await house.told(on_workforce, events.person("e-1", version=1, name="Ana Cruz", locale="en"))
    await house.told(on_cycles, events.cycle("Frühjahr", version=2), events.cycle("Spring", version=1))
    await house.contact("e-1")
    await house.told(on_classifications, events.published("e-1"))
    await house.deliver()
    (message,) = mailbox.messages
    plain = message.get_body(("plain",))
    assert plain is not None
    assert "Guten Tag Ana Reyes," in plain.get_content()
    assert message["Subject"] == "Ihre Einstufung für Frühjahr liegt vor"


async def test_a_request_to_nobody_is_refused_and_leaves_nothing(house: House) -> None:
    with pytest.raises(RuleViolation):
        await house.told(on_notices, events.requested("good", recipient="e-1"), events.requested("bad"))
    assert await notices(house.database) == set()


async def test_another_provider_sees_none_of_it(house: House) -> None:
    await house.told(on_awards, events.decided("e-1"))
    assert await notices(house.database, ProviderId("beta")) == set()
    theirs = house.headers("employee", employee="e-1", provider="beta")
    assert (await house.http.get("/inbox", headers=theirs)).json()["items"] == []


async def test_a_webhook_carries_ids_and_no_name_band_or_amount(house: House, receiver: Receiver) -> None:
    await house.told(on_workforce, events.person("e-1"))
    await house.endpoint(receiver.url, "classification-published", "award-decided")
    await house.told(on_classifications, events.published("e-1"), events.revised("e-1"))
    await house.told(on_awards, events.decided("e-1"))
    await house.deliver()
    bodies = sorted(hook.body.decode() for hook in receiver.hooks)
    assert len(bodies) == 2, "one per notice of a kind the endpoint listens to"
    assert '"type":"notice.award-decided"' in bodies[0] and '"run":"r-1"' in bodies[0]
    assert not [body for body in bodies if "Ana" in body or "outstanding" in body or "87.5" in body]


def test_every_kind_another_service_may_ask_for_has_words_in_every_language() -> None:
    assert {kind.value for kind in NoticeKind} <= {kind.value for kind in Kind}
    assert [set(language.kinds) for language in LANGUAGES.values()] == [set(Kind)] * len(LANGUAGES)
