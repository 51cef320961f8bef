"""From what happened to what people were told."""

from __future__ import annotations

from sqlalchemy import text

from services.notifications.handlers.topics import on_classifications, on_cycles
from shared.contracts.event import Event
from shared.messaging.subscriptions import Handler
from tests.notifications import events
from tests.notifications.conftest import ACME, House

Told = tuple[Handler, Event]


async def given(house: House) -> set[tuple[str, str, str]]:
    async with house.database.begin(ACME) as tx:
        rows = await tx.execute(text("SELECT cause, recipient, kind FROM notices"))
        return {(row.cause, row.recipient, row.kind) for row in rows}


async def test_a_published_classification_reaches_inbox_and_mail_without_band_or_score(
    house: House, mailbox: object
) -> None:
    await house.told(on_cycles, events.cycle())
    await house.contact("e-1")
    await house.told(on_classifications, events.published("e-1"))
    await house.deliver()

    (notice,) = await house.inbox("e-1")
    assert notice["title"] == "Your classification for Spring 2026 is available"
    assert notice["ids"] == {"cycle": "2026-h1", "employee": "e-1", "session": "s-1", "version": 1}
    (delivery,) = await house.deliveries()
    assert (delivery["channel"], delivery["state"], delivery["attempts"]) == ("email", "delivered", 1)
