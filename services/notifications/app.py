"""Notifications, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from services.notifications.api import contacts, deliveries, inbox, webhook_endpoints
from services.notifications.channels.mail import Mailer
from services.notifications.channels.webhooks import PinnedTransport, WebhookSender
from services.notifications.commands.deliveries import claim_mail, claim_webhooks
from services.notifications.handlers.deliveries import DeliveryLoop
from services.notifications.handlers.topics import SUBSCRIPTIONS
from services.notifications.model import Channel, Letter, Message
from services.notifications.settings import NotificationsSettings
from shared.clock import Clock
from shared.database import Database
from shared.messaging.supervise import Part
from shared.process import Service


def mail_loop(settings: NotificationsSettings, database: Database, clock: Clock) -> DeliveryLoop[Letter]:
    return DeliveryLoop(database, clock, Channel.EMAIL, claim_mail, Mailer(settings, clock).send)


def webhook_loop(sender: WebhookSender, database: Database, clock: Clock) -> DeliveryLoop[Message]:
    return DeliveryLoop(database, clock, Channel.WEBHOOK, claim_webhooks, sender.send)


def parts(settings: NotificationsSettings, database: Database, clock: Clock) -> Sequence[Part]:
    """One loop per channel: a webhook endpoint that hangs does not hold up mail."""

    async def send_webhooks(stop: asyncio.Event) -> None:
        allow_private = settings.webhook_allow_private
        sender = WebhookSender(PinnedTransport(allow_private=allow_private), clock, allow_private=allow_private)
        try:
            await webhook_loop(sender, database, clock).run(stop)
        finally:
            await sender.close()

    return (Part("mail", mail_loop(settings, database, clock).run), Part("webhooks", send_webhooks))


SERVICE = Service(
    name="notifications",
    title="Plumbline notifications",
    settings=NotificationsSettings,
    routers=(contacts.router, inbox.router, webhook_endpoints.router, deliveries.router),
    subscriptions=SUBSCRIPTIONS,
    migrations=Path(__file__).parent / "migrations" / "versions",
    parts=parts,
)
